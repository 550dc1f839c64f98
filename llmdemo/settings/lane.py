"""One lane of a comparison: strategies, the settings that each uses, and what only a tokenizer can tell. No torch.

`LaneSettings` is a lane as resolved by settings/decoding.py; `TextSide` is what decoding, which knows token ids only, may
ask of whoever has the tokenizer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

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
    "best_of_n",
    "self_consistency",
    "mbr",
    "diverse_beam",
    "stochastic_beam",
    "speculative",
    "contrastive",
    "dola",
]
SEVERAL = ("best_of_n", "self_consistency", "mbr")
"""Strategies that draw num_return_sequences answers in as many rows and then choose one of them."""
BEAMS = ("beam", "diverse_beam", "stochastic_beam")
"""Strategies that search with num_beams rows."""
SEARCHES = ("greedy", "beam", "diverse_beam", "speculative", "contrastive", "dola")
"""Strategies that leave nothing to chance: a temperature and a seed say nothing to them."""
OWN_FORWARD = ("speculative", "contrastive", "dola")
"""Strategies that compute forwards of their own, beside the one that the others share."""
DolaLayers = Literal["low", "high"]
VoteOn = Literal["number", "regex", "text"]
FilterOrder = Literal["temperature_first", "filters_first"]
Precision = Literal["auto", "fp32", "bf16", "int8"]
"""Number formats of the weights; "auto" is the one that the model was loaded in."""
EarlyStopping = Literal[False, True, "never"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)
"""Every way of choosing the next token; "sample" draws from the whole distribution."""
DEFAULT_LANES = ("greedy", "top_k", "top_p", "beam")
MAX_NEW_TOKENS = 1024
MAX_BEAMS = 16
MAX_ROWS = 32
"""Most rows (one a sampling lane, one a beam) that one forward may carry."""
OF_BEAMS = ("num_beams", "length_penalty", "early_stopping")
OFF = {
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "top_n_sigma": 0.0,
}
"""Every filter (decoding.lanes has what each keeps), with the value that switches it off in a lane."""
RARE_FILTERS = tuple(key for key in OFF if key not in ("top_k", "top_p", "min_p"))
OF_SAMPLING = ("temperature", *OFF, "filter_order")
ORDER: dict[str, Any] = {"filter_order": "temperature_first"}
"""Whether filters see what the temperature made of the distribution, as in transformers."""
OWN = {
    "top_k": ("top_k",),
    "top_p": ("top_p",),
    "min_p": ("min_p",),
    "typical_p": ("typical_p",),
    "epsilon": ("epsilon_cutoff",),
    "eta": ("eta_cutoff",),
    "top_n_sigma": ("top_n_sigma",),
    "xtc": ("xtc_threshold", "xtc_probability"),
    "mirostat": ("mirostat_tau", "mirostat_eta"),
    "best_of_n": ("num_return_sequences", "reward_model_id"),
    "self_consistency": ("num_return_sequences", "vote_on", "vote_regex"),
    "mbr": ("num_return_sequences",),
    "diverse_beam": ("num_beam_groups", "diversity_penalty"),
    "speculative": ("prompt_lookup_num_tokens", "assistant_model_id", "num_assistant_tokens"),
    "contrastive": ("penalty_alpha", "top_k"),
    "dola": ("dola_layers",),
}
"""What makes a strategy what it is."""
ALL_KEYS = tuple(dict.fromkeys((*OF_SAMPLING, *OF_BEAMS, *(key for keys in OWN.values() for key in keys))))
PENALTIES = {
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "min_new_tokens": 0,
    "dry_multiplier": 0.0,
    "guidance_scale": 1.0,
}
"""What any lane may have that changes its scores before it chooses, and the values that are none of it."""
CONSTRAINTS: dict[str, Any] = {"json_schema": {}, "regex": "", "choice": ()}
"""The form that any lane's text may be held to, one of these at a time, and the values that are none."""
DRY = {"dry_base": 1.75, "dry_allowed_length": 2}
"""The further values of DRY, and what they are unless told."""
ANY_LANE = (*PENALTIES, *DRY, *CONSTRAINTS)

_KEYS: dict[str, tuple[str, ...]] = {
    "greedy": (),
    "beam": OF_BEAMS,
    "diverse_beam": (*OF_BEAMS, *OWN["diverse_beam"]),
    "stochastic_beam": ("num_beams", "temperature"),
    "speculative": OWN["speculative"],
    "contrastive": OWN["contrastive"],
    "dola": OWN["dola"],
}
"""All settings of the strategies that are no plain sampling."""


def keys_of(strategy: str) -> tuple[str, ...]:
    """The settings that a lane of this strategy uses."""
    sampling = tuple(dict.fromkeys((*OF_SAMPLING, *OWN.get(strategy, ()))))
    return (*_KEYS.get(strategy, sampling), *ANY_LANE)


def common_keys_of(strategy: str) -> tuple[str, ...]:
    """Those of them that a lane takes from the common settings, where it has none of its own: not the other lanes' filters."""
    return (*_KEYS.get(strategy, ("temperature", "filter_order", *OWN.get(strategy, ()))), *ANY_LANE)


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
    filter_order: FilterOrder = "temperature_first"
    xtc_threshold: float = 0.1
    xtc_probability: float = 0.5
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    num_return_sequences: int = 1
    reward_model_id: str = ""
    vote_on: VoteOn = "number"
    vote_regex: str = ""
    num_beams: int = 1
    prompt_lookup_num_tokens: int = 10
    assistant_model_id: str = ""
    num_assistant_tokens: int = 5
    penalty_alpha: float = 0.6
    dola_layers: DolaLayers = "low"
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    length_penalty: float = 1.0
    early_stopping: EarlyStopping = False
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    min_new_tokens: int = 0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    guidance_scale: float = 1.0
    json_schema: dict[str, Any] = field(default_factory=dict)
    regex: str = ""
    choice: tuple[str, ...] = ()
    draws: str = ""
    """Seeds the lane in place of its name: lanes that share it draw with the same random numbers, so that what differs
    between them comes from their settings alone."""

    @property
    def samples(self) -> bool:
        """True for lanes that draw at random; at temperature 0 nothing is left to chance, and the lane is greedy."""
        return self.strategy not in SEARCHES and self.temperature > 0

    @property
    def rows(self) -> int:
        """Rows of one forward: one a sampling lane, one a beam, one an answer that is drawn to choose from."""
        return self.num_return_sequences if self.strategy in SEVERAL else self.num_beams  # speculative: 1, of its own

    @property
    def penalised(self) -> bool:
        """Whether one of PENALTIES is on; guidance, which pays a forward, is none of them."""
        return any(getattr(self, key) != off for key, off in PENALTIES.items() if key != "guidance_scale")

    @property
    def constrained(self) -> str:
        """Which of CONSTRAINTS its text is held to; "" for none."""
        return next((key for key, off in CONSTRAINTS.items() if getattr(self, key) != off), "")

    def to_dict(self) -> dict[str, Any]:
        """The values that matter to this lane's strategy, name and strategy first; of PENALTIES, CONSTRAINTS and the
        rarer filters only those that are on."""
        draws = {"draws": self.draws} if self.draws and self.strategy not in SEARCHES else {}
        values = {key: getattr(self, key) for key in keys_of(self.strategy)}
        offs: dict[str, Any] = {
            "vote_regex": "",
            "reward_model_id": "",
            "assistant_model_id": "",
            **PENALTIES,
            **DRY,
            **CONSTRAINTS,
            **ORDER,
            **{key: OFF[key] for key in RARE_FILTERS if key not in OWN.get(self.strategy, ())},
        }
        on = {key: value for key, value in values.items() if key not in offs or value != offs[key]}
        if "choice" in on:
            on["choice"] = list(on["choice"])
        if self.strategy == "speculative":  # what drafts otherwise says nothing
            on.pop("prompt_lookup_num_tokens" if self.assistant_model_id else "num_assistant_tokens")
        return {"name": self.name, "strategy": self.strategy, **on, **draws}


class TokenMasks(Protocol):
    """Which tokens may follow, so that a text keeps a form. Knows texts; is asked by token ids only."""

    def allowed(self, said: Sequence[int]) -> bytes:
        """A bit for each token id, the lowest bit of a byte first: may it follow `said`, the tokens of an answer? Tokens
        that end a text have no say in it, see `complete`. No bit is set behind what breaks the form.
        Raises UserError where that takes too much work."""

    def complete(self, said: Sequence[int]) -> bool:
        """Whether a text that ends after `said` has the form."""


class Stops(Protocol):
    """Who can tell of an answer's tokens whether they end here, besides by a token that ends texts."""

    def stops(self, token_ids: Sequence[int]) -> bool:
        """Whether the text of these ids holds a stop string."""


class TextSide(Stops, Protocol):
    """What decoding asks of whoever has the tokenizer. May be sent to another process: it must be picklable."""

    def rank(self, lane: LaneSettings, answers: Sequence[Sequence[int]]) -> list[tuple[float, str]]:
        """(score, label) of each answer of a lane that chooses among several: the best has the highest score. The label
        is what it was voted for by, "" where nothing was found in it."""

    def masks(self, lane: LaneSettings) -> TokenMasks:
        """What holds a lane to its form, for one text or for several that are asked of in turn. Raises UserError."""


@dataclass(frozen=True)
class Resolved:
    """What a comparison's settings mean for one model, as token ids."""

    biases: tuple[tuple[tuple[int, ...], float], ...] = ()
    """((token ids, bias), …) of bad_words (−∞) and logit_bias: added to the last id's score after the others."""
    answer_tokens: int = 0
    """So many tokens at the prompt's end are the answer's own: frequency and presence penalties count them."""
    negative: tuple[int, ...] = ()
    """The negative prompt's tokens; empty: there is none."""
    breakers: tuple[int, ...] = ()
    """Tokens that no repeat of DRY goes across."""
    texts: TextSide | None = None
    """Who has the tokenizer; None: nothing that is about texts can be asked for."""
    trace: bool = True
    """Whether steps tell more of a token than which it is; where not, lanes that need no more leave it out."""
    surprise_of: int = 0
    """Of how many of the prompt's last tokens the first step tells the mean −log p, where the forward can."""
