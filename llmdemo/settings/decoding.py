"""The settings of a comparison, checked before any model runs. Knows no torch, no tokens, no page.

`DecodeSettings.from_dict` is the only way in: whatever comes from a page or an API call is either a `DecodeSettings`
whose every value is usable, or a UserError that names the value and what is valid.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.settings.app import Settings
from llmdemo.settings.lane import (
    ALL_KEYS,
    ANY_LANE,
    CONSTRAINTS,
    DEFAULT_LANES,
    MAX_BEAMS,
    MAX_NEW_TOKENS,
    MAX_ROWS,
    OFF,
    ORDER,
    PENALTIES,
    SEARCHES,
    STRATEGIES,
    DolaLayers,
    EarlyStopping,
    FilterOrder,
    LaneSettings,
    Precision,
    Resolved,
    VoteOn,
    common_keys_of,
    keys_of,
)
from llmdemo.settings.lane_checks import (
    as_schema,
    check_beams,
    check_constraint,
    check_least,
    check_own_forward,
    check_stops,
    check_vote,
    check_words,
)
from llmdemo.settings.schema import Limit, Setting, check, check_one, describe, fields_of, show

_MAX_NAME = 40
_CONTRASTIVE_K = 4
"""The contrastive lane's top_k unless it has its own: each of them is a row of its forward."""


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
    filter_order: Annotated[FilterOrder, Setting(form=True)] = "temperature_first"
    """temperature_first: filters measure what the temperature made of the distribution, as in transformers; filters_first: they
    measure the model's own, and the temperature evens out or sharpens what they left."""
    xtc_threshold: Annotated[float, Field(gt=0, le=0.5), Setting(form=True)] = 0.1
    """The xtc lane leaves out the tokens of at least this probability, all but the least likely of them."""
    xtc_probability: Annotated[float, Field(ge=0, le=1), Setting(form=True)] = 0.5
    """How often it does so: the chance at each token."""
    mirostat_tau: Annotated[float, Field(gt=0, le=20), Setting("bits", form=True)] = 5.0
    """The surprise that the mirostat lane aims at."""
    mirostat_eta: Annotated[float, Field(gt=0, le=1), Setting(form=True)] = 0.1
    """How fast the mirostat lane corrects itself."""
    prompt_lookup_num_tokens: Annotated[int, Field(ge=1, le=64), Setting("tokens", form=True)] = 10
    """Most tokens that the speculative lane drafts at once, from what stood in prompt and answer before."""
    assistant_model_id: Annotated[str, Field(max_length=500), Setting(form=True, widget="model")] = ""
    """A smaller model with the same vocabulary that drafts for the speculative lane; empty: it looks in the prompt."""
    num_assistant_tokens: Annotated[int, Field(ge=1, le=64), Setting("tokens", form=True)] = 5
    """Tokens that it drafts at once."""
    penalty_alpha: Annotated[float, Field(ge=0, le=1), Setting(form=True)] = 0.6
    """How much the contrastive lane minds likeness with what was said, against probability; its own top_k is 4."""
    dola_layers: Annotated[DolaLayers, Setting(form=True)] = "low"
    """The half of the model's layers, the lower or the higher, that the dola lane holds the last one against."""
    length_penalty: Annotated[float, Field(ge=-10, le=10), Setting(form=True)] = 1.0
    """A hypothesis' score is its log-probability / length**length_penalty."""
    num_beam_groups: Annotated[int, Field(ge=1, le=MAX_ROWS), Setting(form=True)] = 2
    """Groups of the diverse_beam lane, into which its beams are divided evenly."""
    diversity_penalty: Annotated[float, Field(ge=0, le=100), Setting(form=True)] = 1.0
    """What diverse_beam takes off a token's score for each beam of an earlier group that takes it in the same step."""
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
    dry_multiplier: Annotated[float, Field(ge=0, le=100), Setting(form=True)] = 0.0
    """DRY: taken off the score of a token that would make a repeat longer, times dry_base for each token that the repeat
    has over dry_allowed_length; 0: off."""
    dry_base: Annotated[float, Field(ge=1, le=4), Setting()] = 1.75
    """DRY: how fast the penalty grows with the repeat's length."""
    dry_allowed_length: Annotated[int, Field(ge=1, le=50), Setting("tokens")] = 2
    """DRY: the longest repeat that may go on freely is one shorter."""
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    """DRY: texts that no repeat goes across."""
    guidance_scale: Annotated[float, Field(ge=0, le=20), Setting(form=True)] = 1.0
    """Classifier-free guidance: how far scores move away from what the model says to the negative prompt; 1: off. Pays a
    forward of its own."""
    negative_prompt: Annotated[str, Field(max_length=10_000), Setting(form=True)] = ""
    """A text that stands as the system prompt in that second pass, or as the whole prompt of a raw continuation; empty:
    nothing but the prompt's last token stands there."""
    bad_words: Annotated[tuple[str, ...], Setting(form=True)] = ()
    """Texts that no lane says, with or without a space before them."""
    logit_bias: Annotated[dict[str, float], Setting(form=True)] = field(default_factory=dict)
    """{token id or text: what is added to its score, −100 to 100}; of a text of several tokens, to the last one's."""
    stop: Annotated[tuple[str, ...], Setting(form=True)] = ()
    """Texts at which every lane ends: its text is cut before the first of them, also where it crosses tokens."""
    json_schema: Annotated[dict[str, Any], Setting(form=True)] = field(default_factory=dict)
    """A JSON schema that every lane's text satisfies once it has ended; {"type": "object"}: any JSON object. Tokens that
    would break it cannot be chosen."""
    regex: Annotated[str, Field(max_length=1000), Setting(form=True)] = ""
    """A pattern that every lane's whole text matches once it has ended, in the syntax of Rust's regex."""
    choice: Annotated[tuple[str, ...], Setting(form=True)] = ()
    """Texts, one of which is every lane's whole text."""
    num_return_sequences: Annotated[int, Field(ge=1, le=MAX_ROWS), Setting(form=True)] = 8
    """How many answers best_of_n, self_consistency and mbr draw and choose from."""
    reward_model_id: Annotated[str, Field(max_length=500), Setting(form=True, widget="reward_model")] = ""
    """A reward model whose number chooses among best_of_n's answers; empty: the likeliest by the model itself is taken."""
    vote_on: Annotated[VoteOn, Setting(form=True)] = "number"
    """What self_consistency's answers vote for: their last number, what vote_regex finds in them, or their whole text."""
    vote_regex: Annotated[str, Field(max_length=300), Setting(form=True)] = ""
    """Its last match is what an answer votes for, or that match's first group, as in "answer: (\\w+)"; RE2 syntax."""
    resolved: Resolved = Resolved()
    """What only who has the tokenizer can fill in; never from outside."""
    precision: Annotated[Precision, Setting(form=True)] = "auto"
    """Number format of the weights; "auto" is the one that the model was loaded in."""
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
        common = {key: as_schema(value) if key == "json_schema" else value for key, value in values.items()}
        common.pop("lanes", None)
        base = cls(**check(cls, common, say("what_settings"), limits=_limits(limits)))
        lanes = _lanes(base, values.get("lanes"), limits)
        _check_rows(lanes)
        check_words(base.bad_words, base.logit_bias)
        check_stops(base.stop)
        for lane in lanes:
            check_least(lane, base.max_new_tokens)
            check_vote(lane)
            check_beams(lane)
            check_constraint(lane)
            check_own_forward(lane)
        return replace(base, lanes=lanes)

    def _lane(self, name: str, strategy: str, over: dict[str, Any]) -> LaneSettings:
        """The lane `strategy` with this object's values, changed by `over`; only its own filter is on unless `over` says more."""
        common = {key: getattr(self, key) for key in common_keys_of(strategy)}
        if strategy == "contrastive":
            common["top_k"] = _CONTRASTIVE_K
        return LaneSettings(name, strategy, **{**common, **over})

    @property
    def rows(self) -> int:
        """Rows of one forward while every lane is live: LaneSettings.rows of each."""
        return sum(lane.rows for lane in self.lanes)

    def to_dict(self) -> dict[str, Any]:
        """JSON-like; `from_dict(settings.to_dict())` equals settings."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "resolved"}
        return {
            **values,
            "bad_words": list(self.bad_words),
            "logit_bias": dict(self.logit_bias),
            "stop": list(self.stop),
            "choice": list(self.choice),
            "dry_sequence_breakers": list(self.dry_sequence_breakers),
            "lanes": [{**lane.to_dict(), **self._off_in(lane)} for lane in self.lanes],
        }

    def _off_in(self, lane: LaneSettings) -> dict[str, Any]:
        """The penalties and constraints that are on in common and off in `lane`."""
        offs = {**PENALTIES, **CONSTRAINTS, **(ORDER if lane.samples else {})}
        off = {key: off for key, off in offs.items() if getattr(lane, key) == off and getattr(self, key) != off}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in off.items()}


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
        if key not in (*ALL_KEYS, *ANY_LANE, "strategy", "name", "draws"):
            raise UserError("err_lane_no_setting", key=show(key), names=list((*ALL_KEYS, *ANY_LANE)))
    over = {
        key: _lane_value(key, item[key], say("of_lane", name=show(name)), limits)
        for key in keys_of(strategy)
        if item.get(key) is not None
    }
    if any(over.get(key, off) != off for key, off in CONSTRAINTS.items()):  # its own form, and not the common one too
        over = {**CONSTRAINTS, **over}
    draws = item.get("draws") or ""
    if not isinstance(draws, str) or len(draws) > _MAX_NAME:
        raise UserError("err_lane_draws", name=show(name), draws=show(draws), most=_MAX_NAME)
    return base._lane(name.strip(), strategy, {**over, "draws": draws if strategy not in SEARCHES else ""})


def _lane_value(key: str, value: Any, where: str, limits: Settings | None) -> Any:
    if type(value) in (int, float) and key in OFF and value == OFF[key]:
        return OFF[key]
    value = as_schema(value) if key == "json_schema" else value
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
    rows = sum(lane.rows for lane in lanes)
    if rows > MAX_ROWS:
        raise UserError("err_too_many_rows_of_lanes", rows=rows, most=MAX_ROWS)
