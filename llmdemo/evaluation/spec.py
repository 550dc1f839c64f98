"""What an evaluation is asked to do: one frozen dataclass, checked before anything starts. Imports no torch.

Knows nothing of how models answer. A judge's key is no part of it: it is never written anywhere.
"""

import math
from dataclasses import asdict, dataclass, field, fields, replace

from llmdemo.data.split import VERSION as SPLIT_VERSION
from llmdemo.errors import UserError

KINDS = ("answers", "perplexity", "classify", "kfold")
KIND_OF_TASK = {"chat": "answers", "preference": "answers", "text": "perplexity", "classify": "classify"}
LIMITS = {"answers": 32, "perplexity": 64, "classify": 2000, "kfold": 2000}
"""Most held-out records that are evaluated unless told otherwise: about two minutes on two cores with the starter model."""
PRECISIONS = ("auto", "fp32", "bf16")
JUDGES = ("none", "model", "endpoint")
CRITERIA = "Is the response correct, complete and in the form that the instruction asks for?"


@dataclass(frozen=True)
class JudgeSpec:
    """Who says which of two answers is better."""

    kind: str = "none"
    """none, model (a local causal model), or endpoint (an OpenAI-compatible address)."""
    model_id: str = ""
    """The local model."""
    url: str = ""
    """The endpoint's base address, such as http://localhost:11434/v1."""
    model: str = ""
    """The model's name there."""
    criteria: str = CRITERIA
    """What is judged, as a question."""
    limit: int = 32
    """Most records that are judged; each takes two calls."""
    timeout: float = 60.0
    """Seconds to wait for one answer of the endpoint."""

    @classmethod
    def from_value(cls, value) -> "JudgeSpec":
        """From JSON; None: no judge. Raises UserError."""
        if value in (None, "", {}, "none"):
            return cls()
        if not isinstance(value, dict):
            raise UserError("The judge is not an object.", 'Give {"kind": "model", "model_id": …} or leave it out.')
        judge = cls(**_clean(cls, value, "The judge"))
        if judge.kind not in JUDGES:
            raise UserError(f"The judge's kind is {judge.kind[:40]!r}.", f"It must be one of {', '.join(JUDGES)}.")
        if judge.kind == "model" and not judge.model_id:
            raise UserError("No model was chosen as the judge.", "Choose one, or switch the judge off.")
        if judge.kind == "endpoint" and not (judge.url.strip() and judge.model.strip()):
            raise UserError("The judge's address or its model's name is missing.", "Give both, or switch it off.")
        if not judge.criteria.strip() or len(judge.criteria) > 2000:
            raise UserError(
                "The criterion is empty or longer than 2,000 characters.", "Say in a sentence what is good."
            )
        _range("judge.limit", judge.limit, 1, 100_000)
        _range("judge.timeout", judge.timeout, 0.1, 600)
        return judge


@dataclass(frozen=True)
class Spec:
    """One evaluation. `resolved` fields are filled in by the service."""

    dataset_id: str = ""
    model_ids: tuple[str, ...] = ()
    """One or two models; the second is compared with the first."""
    kind: str = ""
    """One of KINDS; it follows from the data set's task."""
    limit: int = 0
    """Most held-out records; 0: the kind's LIMITS."""
    max_new_tokens: int = 96
    """Longest answer, in tokens."""
    max_length: int = 512
    """Longest record whose loss is taken, in tokens; longer ones are cut as in training. The run's, where one tells."""
    precision: str = "auto"
    """auto: fp32, except for large models on a GPU."""
    seed: int | None = None
    """Of the split and of the order in which records are taken; None: the run's whose model is evaluated."""
    eval_share: float | None = None
    """Share that the split holds out, where the data fixes none; None: the run's."""
    fold: int = 0
    folds: int = 0
    split_version: int = 1
    """How held-out records are drawn (data/split.py): as the run did. An evaluation that does not say so is an old one."""
    run_ids: tuple[str, ...] = ()
    """The runs of a K-fold cross-validation, whose models are evaluated each on its own part."""
    judge: JudgeSpec = field(default_factory=JudgeSpec)

    @classmethod
    def from_dict(cls, values) -> "Spec":
        """A checked spec. Raises UserError naming the key, what was got and what is valid."""
        if not isinstance(values, dict):
            raise UserError("The config is not an object.", 'Give keys and values, such as {"dataset_id": "…"}.')
        values = dict(values)
        judge = JudgeSpec.from_value(values.pop("judge", None))
        spec = replace(cls(**_clean(cls, values, "The config")), judge=judge)
        if not spec.dataset_id:
            raise UserError("The config names no dataset_id.", "Choose the data whose held-out part is asked.")
        if spec.kind and spec.kind not in KINDS:
            raise UserError(f"kind is {spec.kind[:40]!r}.", f"It must be one of {', '.join(KINDS)}.")
        if spec.precision not in PRECISIONS:
            raise UserError(f"precision is {spec.precision[:40]!r}.", f"It must be one of {', '.join(PRECISIONS)}.")
        for key, low, high in _RANGES:
            if getattr(spec, key) is not None:
                _range(key, getattr(spec, key), low, high)
        return spec

    def to_dict(self) -> dict:
        """JSON-able; `from_dict` takes it back."""
        return {**asdict(self), "model_ids": list(self.model_ids), "run_ids": list(self.run_ids)}


_RANGES = (
    ("limit", 0, 100_000),
    ("max_new_tokens", 1, 4096),
    ("max_length", 8, 1_000_000),
    ("seed", 0, 2**31 - 1),
    ("eval_share", 0.001, 0.9),
    ("folds", 0, 20),
    ("fold", 0, 19),
    ("split_version", 1, SPLIT_VERSION),
)


def _range(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{key} is {value:g}.", f"It must be from {low:g} to {high:g}.")


def _clean(cls, values: dict, what: str) -> dict:
    """The values as the fields' types; None stands for the default."""
    known = {item.name: item for item in fields(cls) if item.name != "judge"}
    unknown = sorted(set(map(str, values)) - set(known))
    if unknown:
        raise UserError(f"{what} has no key {unknown[0][:60]!r}.", f"It has: {', '.join(known)}.")
    return {key: _typed(key, value, known[key].type) for key, value in values.items() if value is not None}


def _typed(key: str, value, kind):
    if kind == tuple[str, ...]:
        if isinstance(value, (list, tuple)) and all(isinstance(each, str) and each for each in value):
            return tuple(value)
        raise UserError(f"{key} is {str(value)[:60]!r}.", "Give a list of ids.")
    if kind is str:
        if isinstance(value, str):
            return value
        raise UserError(f"{key} is {str(value)[:60]!r}.", "It must be text.")
    whole = kind in (int, int | None)
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if number and (not whole or value == int(value)):
        return int(value) if whole else float(value)
    raise UserError(f"{key} is {str(value)[:60]!r}.", f"It must be a {'whole ' if whole else ''}number.")
