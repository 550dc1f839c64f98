"""The settings of a comparison, checked before any model runs. Knows no torch, no tokens, no page.

`DecodeSettings.from_dict` is the only way in: whatever comes from a page or an API call is either a `DecodeSettings`
whose every value is usable, or a UserError that names the value and what is valid.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.settings.app import Settings
from llmdemo.settings.schema import Limit, Setting, check, check_one, describe, fields_of, show

Strategy = Literal[
    "greedy",
    "top_k",
    "top_p",
    "min_p",
    "sample",
    "beam",
    "typical_p",
    "epsilon",
    "eta",
    "top_n_sigma",
    "xtc",
    "mirostat",
]
Precision = Literal["auto", "fp32", "bf16", "int8"]
EarlyStopping = Literal[False, True, "never"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)
"""Every way of choosing the next token; "sample" draws from the whole distribution."""
PRECISIONS: tuple[str, ...] = get_args(Precision)
"""Number formats of the weights; "auto" is the one that the model was loaded in."""
DEFAULT_LANES = ("greedy", "top_k", "top_p", "beam")
MAX_NEW_TOKENS = 1024
MAX_BEAMS = 16
MAX_ROWS = 32
"""Most rows (one a sampling lane, one a beam) that one forward may carry."""
_MAX_NAME = 40
_OF_BEAMS = ("num_beams", "length_penalty", "early_stopping")
_RARE_FILTERS = ("typical_p", "epsilon_cutoff", "eta_cutoff", "top_n_sigma")
_OF_SAMPLING = ("temperature", "top_k", "top_p", "min_p", *_RARE_FILTERS)
_OWN = {
    "top_k": ("top_k",),
    "top_p": ("top_p",),
    "min_p": ("min_p",),
    "typical_p": ("typical_p",),
    "epsilon": ("epsilon_cutoff",),
    "eta": ("eta_cutoff",),
    "top_n_sigma": ("top_n_sigma",),
    "xtc": ("xtc_threshold", "xtc_probability"),
    "mirostat": ("mirostat_tau", "mirostat_eta"),
}
"""What makes a strategy what it is. xtc's and mirostat's settings are no other lane's."""
_OFF = {
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "top_n_sigma": 0.0,
}
"""The values that switch a filter off in a lane."""
_ALL_KEYS = tuple(dict.fromkeys((*_OF_SAMPLING, *_OF_BEAMS, *_OWN["xtc"], *_OWN["mirostat"])))
PENALTIES = {
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "min_new_tokens": 0,
}
"""What any lane may have that changes its scores before it chooses, and the values that are none of it."""
_MOST_BIASES = 300
_LONGEST_WORD = 200


def keys_of(strategy: str) -> tuple[str, ...]:
    """The settings that a lane of this strategy uses."""
    sampling = tuple(dict.fromkeys((*_OF_SAMPLING, *_OWN.get(strategy, ()))))
    return (*{"greedy": (), "beam": _OF_BEAMS}.get(strategy, sampling), *PENALTIES)


@dataclass(frozen=True)
class LaneSettings:
    """One lane as resolved: what is decoded, under which name, with which values. Off is 1 for top_p and typical_p, 0
    for every other filter."""

    name: str
    """Unique in a comparison; also seeds the lane, so that the same name and seed give the same text."""
    strategy: str
    """One of STRATEGIES."""
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    top_n_sigma: float = 0.0
    xtc_threshold: float = 0.1
    xtc_probability: float = 0.5
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: EarlyStopping = False
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    min_new_tokens: int = 0
    draws: str = ""
    """Seeds the lane in place of its name: lanes that share it draw with the same random numbers, so that what differs
    between them comes from their settings alone."""

    @property
    def samples(self) -> bool:
        """True for lanes that draw at random; at temperature 0 nothing is left to chance, and the lane is greedy."""
        return self.strategy not in ("greedy", "beam") and self.temperature > 0

    @property
    def penalised(self) -> bool:
        """Whether one of PENALTIES is on."""
        return any(getattr(self, key) != off for key, off in PENALTIES.items())

    def to_dict(self) -> dict[str, Any]:
        """The values that matter to this lane's strategy, name and strategy first; of PENALTIES and the rarer filters
        only those that are on."""
        draws = {"draws": self.draws} if self.draws and self.strategy not in ("greedy", "beam") else {}
        values = {key: getattr(self, key) for key in keys_of(self.strategy)}
        offs = {**PENALTIES, **{key: _OFF[key] for key in _RARE_FILTERS if key not in _OWN.get(self.strategy, ())}}
        on = {key: value for key, value in values.items() if key not in offs or value != offs[key]}
        return {"name": self.name, "strategy": self.strategy, **on, **draws}


@dataclass(frozen=True)
class Resolved:
    """What a comparison's settings mean for one model, as token ids."""

    biases: tuple[tuple[tuple[int, ...], float], ...] = ()
    """((token ids, bias), …) of bad_words (−∞) and logit_bias: added to the last id's score after the others."""
    answer_tokens: int = 0
    """So many tokens at the prompt's end are the answer's own: frequency and presence penalties count them."""


@dataclass(frozen=True)
class DecodeSettings:
    """All settings of one comparison. Built directly it is not checked; `from_dict` checks."""

    temperature: Annotated[float, Field(ge=0, le=10), Setting(form=True)] = 0.8
    """Divides the logits of sampling lanes, before any filter; 0: the likeliest token at every step."""
    top_k: Annotated[int, Field(ge=1, le=1_000_000), Setting(form=True, remedy=say("remedy_top_k"))] = 50
    """How many tokens the top_k lane keeps."""
    top_p: Annotated[float, Field(gt=0, le=1), Setting(form=True, remedy=say("remedy_top_p"))] = 0.9
    """The mass that the top_p lane keeps, the crossing token included."""
    num_beams: Annotated[int, Field(ge=1, le=MAX_ROWS), Setting(form=True)] = 4
    """Beams of the beam lane."""
    max_new_tokens: Annotated[int, Field(ge=1, le=1_000_000), Setting("tokens", form=True)] = 64
    """Most tokens that a lane generates."""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1), Setting(form=True)] = 7
    """With a lane's name, seeds that lane's generator."""
    min_p: Annotated[float, Field(gt=0, le=1), Setting(form=True)] = 0.05
    """The min_p lane keeps tokens at least this share as likely as the likeliest."""
    typical_p: Annotated[float, Field(gt=0, le=1), Setting(form=True)] = 0.9
    """The mass that the typical_p lane keeps, of the tokens whose surprise is nearest to the entropy."""
    epsilon_cutoff: Annotated[float, Field(gt=0, lt=1), Setting(form=True)] = 0.001
    """The epsilon lane keeps tokens of at least this probability."""
    eta_cutoff: Annotated[float, Field(gt=0, lt=1), Setting(form=True)] = 0.002
    """The eta lane's ε: it keeps tokens as likely as ε or √ε · exp(−entropy), whichever is less."""
    top_n_sigma: Annotated[float, Field(gt=0, le=100), Setting(form=True)] = 1.0
    """The top_n_sigma lane keeps tokens whose logit is at most so many standard deviations below the highest."""
    xtc_threshold: Annotated[float, Field(gt=0, le=0.5), Setting(form=True)] = 0.1
    """The xtc lane leaves out the tokens of at least this probability, all but the least likely of them."""
    xtc_probability: Annotated[float, Field(ge=0, le=1), Setting(form=True)] = 0.5
    """How often it does so: the chance at each token."""
    mirostat_tau: Annotated[float, Field(gt=0, le=20), Setting("bits", form=True)] = 5.0
    """The surprise that the mirostat lane aims at."""
    mirostat_eta: Annotated[float, Field(gt=0, le=1), Setting(form=True)] = 0.1
    """How fast the mirostat lane corrects itself."""
    length_penalty: Annotated[float, Field(ge=-10, le=10), Setting(form=True)] = 1.0
    """A hypothesis' score is its log-probability / length**length_penalty."""
    early_stopping: Annotated[EarlyStopping, Setting(form=True)] = False
    """False, True or "never", as in transformers' generate."""
    repetition_penalty: Annotated[float, Field(gt=0, le=10), Setting(form=True, remedy=say("remedy_penalty"))] = 1.0
    """Divides the scores of all tokens of prompt and answer, or multiplies them where negative; 1: off."""
    no_repeat_ngram_size: Annotated[int, Field(ge=0, le=100), Setting("tokens", form=True)] = 0
    """No sequence of so many tokens is said twice, the prompt included, unless nothing else is left; 0: off."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2), Setting(form=True)] = 0.0
    """Taken off a token's score for each time that the answer has it; 0: off."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2), Setting(form=True)] = 0.0
    """Taken off a token's score once the answer has it; 0: off."""
    min_new_tokens: Annotated[int, Field(ge=0, le=1_000_000), Setting("tokens", form=True)] = 0
    """So many tokens are generated before a text may end; 0: off."""
    bad_words: Annotated[tuple[str, ...], Setting(form=True)] = ()
    """Texts that no lane says, with or without a space before them."""
    logit_bias: Annotated[dict[str, float], Setting(form=True)] = field(default_factory=dict)
    """{token id or text: what is added to its score, −100 to 100}; of a text of several tokens, to the last one's."""
    resolved: Resolved = Resolved()
    """What only who has the tokenizer can fill in; never from outside."""
    precision: Annotated[Precision, Setting(form=True)] = "auto"
    """One of PRECISIONS."""
    lanes: tuple[LaneSettings, ...] = ()
    """The lanes as resolved; empty means the four of DEFAULT_LANES with the values above."""

    def __post_init__(self) -> None:
        if not self.lanes:
            object.__setattr__(self, "lanes", tuple(self._lane(name, name, {}) for name in DEFAULT_LANES))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None = None, limits: Settings | None = None) -> "DecodeSettings":
        """Settings from JSON-like `values`; missing keys take their defaults.

        `lanes` is a list whose items are a strategy's name, or {"strategy", "name"?, and any of the values
        above to differ in}: [{"strategy": "top_p", "name": "narrow", "top_p": 0.5}, "greedy"]. `limits` are
        the app's Settings, or None. Raises UserError on the first bad value.
        """
        values = {} if values is None else values
        if not isinstance(values, dict):
            raise UserError("err_settings_no_object", kind=type(values).__name__)
        common = {key: value for key, value in values.items() if key != "lanes"}
        base = cls(**check(cls, common, say("what_settings"), limits=_limits(limits)))
        lanes = _lanes(base, values.get("lanes"), limits)
        _check_rows(lanes)
        _check_words(base)
        for lane in lanes:
            _check_least(lane, base.max_new_tokens)
        return replace(base, lanes=lanes)

    def _lane(self, name: str, strategy: str, over: dict[str, Any]) -> LaneSettings:
        """The lane `strategy` with this object's values, changed by `over`; only its own filter is on unless `over` says more."""
        filters = _OWN.get(strategy, ())
        own = _OF_BEAMS if strategy == "beam" else () if strategy == "greedy" else ("temperature", *filters)
        return LaneSettings(name, strategy, **{**{key: getattr(self, key) for key in (*own, *PENALTIES)}, **over})

    @property
    def rows(self) -> int:
        """Rows of one forward while every lane is live: one a sampling lane, one a beam."""
        return sum(lane.num_beams for lane in self.lanes)

    def to_dict(self) -> dict[str, Any]:
        """JSON-like; `from_dict(settings.to_dict())` equals settings."""
        values = {key: value for key, value in asdict(self).items() if key != "resolved"}
        return {
            **values,
            "bad_words": list(self.bad_words),
            "lanes": [{**lane.to_dict(), **self._off_in(lane)} for lane in self.lanes],
        }

    def _off_in(self, lane: LaneSettings) -> dict[str, Any]:
        """The penalties that are on in common and off in `lane`."""
        return {key: off for key, off in PENALTIES.items() if getattr(lane, key) == off and getattr(self, key) != off}


def _lanes(base: DecodeSettings, items: Any, limits: Settings | None) -> tuple[LaneSettings, ...]:
    if items is None:
        return base.lanes
    if not isinstance(items, (list, tuple)) or not items:
        raise UserError("err_lanes_no_list", items=show(items), names=list(STRATEGIES))
    most = min(limits.max_lanes, MAX_ROWS) if limits is not None else MAX_ROWS
    if len(items) > most:
        raise UserError("err_too_many_lanes", n=len(items), most=most, limit=_named(limits, most))
    lanes = [_one_lane(base, item, limits) for item in items]
    names = [lane.name for lane in lanes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError("err_lanes_same_name", twice=show(twice))
    return tuple(lanes)


def _one_lane(base: DecodeSettings, item: Any, limits: Settings | None) -> LaneSettings:
    item = {"strategy": item} if isinstance(item, str) else item
    if not isinstance(item, dict):
        raise UserError("err_lane_no_object", item=show(item))
    strategy = item.get("strategy")
    if strategy not in STRATEGIES:
        raise UserError("err_lane_strategy", strategy=show(strategy), names=list(STRATEGIES))
    name = item.get("name", strategy)
    if not isinstance(name, str) or not 0 < len(name.strip()) <= _MAX_NAME:
        raise UserError("err_lane_name", name=show(name), most=_MAX_NAME)
    for key in item:
        if key not in (*_ALL_KEYS, *PENALTIES, "strategy", "name", "draws"):
            raise UserError("err_lane_no_setting", key=show(key), names=list((*_ALL_KEYS, *PENALTIES)))
    over = {
        key: _lane_value(key, item[key], say("of_lane", name=show(name)), limits)
        for key in keys_of(strategy)
        if item.get(key) is not None
    }
    draws = item.get("draws") or ""
    if not isinstance(draws, str) or len(draws) > _MAX_NAME:
        raise UserError("err_lane_draws", name=show(name), draws=show(draws), most=_MAX_NAME)
    return base._lane(name.strip(), strategy, {**over, "draws": draws if strategy not in ("greedy", "beam") else ""})


def _lane_value(key: str, value: Any, where: str, limits: Settings | None) -> Any:
    if type(value) in (int, float) and key in _OFF and value == _OFF[key]:
        return _OFF[key]
    return check_one(fields_of(DecodeSettings)[key], value, where=where, limit=_limits(limits).get(key))


def _limits(limits: Settings | None) -> dict[str, Limit]:
    """The app's own bounds of settings, with the variables that hold them."""
    if limits is None:
        return {"max_new_tokens": Limit(MAX_NEW_TOKENS), "num_beams": Limit(MAX_BEAMS)}
    return {
        "max_new_tokens": Limit(limits.max_new_tokens, limits.variable("max_new_tokens")),
        "num_beams": Limit(limits.max_beams, limits.variable("max_beams")),
    }


def described(limits: Settings) -> dict[str, dict[str, Any]]:
    """What a form needs to know of each setting (schema.describe), within the app's own bounds."""
    found = describe(DecodeSettings)
    for key, limit in _limits(limits).items():
        found[key]["high"] = min(found[key]["high"], limit.most)
    return found


def _named(limits: Settings | None, most: int) -> str:
    """Where the limit of lanes comes from, for an error: " (LLMDEMO_MAX_LANES)"; "" where it is not the app's."""
    if limits is None or limits.max_lanes != most:
        return ""
    return say("from_variable", name=limits.variable("max_lanes"))


def _check_rows(lanes: tuple[LaneSettings, ...]) -> None:
    rows = sum(lane.num_beams for lane in lanes)
    if rows > MAX_ROWS:
        raise UserError("err_too_many_rows_of_lanes", rows=rows, most=MAX_ROWS)


def _check_least(lane: LaneSettings, most: int) -> None:
    if lane.min_new_tokens > most:
        raise UserError("err_lane_min_new_tokens", name=show(lane.name), min_new_tokens=lane.min_new_tokens, most=most)


def _check_words(settings: DecodeSettings) -> None:
    """Raises UserError for a banned or biased text that is empty, too long or one of too many, or a bias out of range."""
    for key, words in (("bad_words", settings.bad_words), ("logit_bias", tuple(settings.logit_bias))):
        if len(words) > _MOST_BIASES:
            raise UserError("err_too_many_words", key=key, n=len(words), most=_MOST_BIASES)
        wrong = next((word for word in words if not word.strip() or len(word) > _LONGEST_WORD), None)
        if wrong is not None:
            raise UserError("err_odd_word", key=key, wrong=show(wrong), most=_LONGEST_WORD)
    for word, bias in settings.logit_bias.items():
        if not -100 <= bias <= 100:
            raise UserError("err_logit_bias", word=show(word), bias=show(bias))
