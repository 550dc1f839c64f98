"""The settings of an evaluation, checked before anything starts. Imports no torch.

Knows nothing of how models answer. A judge's key is no part of it: it is never written anywhere.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.settings.evaluation_decoding import DecodingSpec
from llmdemo.settings.judge import JudgeSpec
from llmdemo.settings.schema import check, show
from llmdemo.settings.training import SPLIT_VERSION

MOST_QUESTIONS = 20_000
"""Of a benchmark's file."""
Shape = Literal["hellaswag", "arc", "gsm8k", "lm_eval"]
"""Of a standard benchmark; lm_eval: a task of that package, by its name."""
NEW_TOKENS = 256
"""Longest answer to a benchmark's question that is written; lm-eval's max_gen_toks."""


@dataclass(frozen=True)
class BenchmarkSpec:
    """Which standard benchmark is asked: questions that are kept in the home folder, as evaluation/benchmark_files.py read them."""

    key: Annotated[str, Field(pattern="^[0-9a-f]{24}$")]
    """Of their content."""
    name: Annotated[str, Field(max_length=200)]
    """Of their file, for people."""
    shape: Shape
    count: Annotated[int, Field(ge=1, le=MOST_QUESTIONS)]

    @property
    def writes(self) -> bool:
        """Whether the answer is written, rather than chosen by its likelihood."""
        return self.shape == "gsm8k"

    @classmethod
    def from_value(cls, value: Any) -> "BenchmarkSpec | None":
        """From JSON; None: no benchmark. Raises UserError."""
        if value is None:
            return None
        known = {"key", "name", "shape", "count"}
        if not isinstance(value, dict) or set(value) != known:
            raise UserError("err_benchmark_spec", value=show(value))
        return cls(**check(cls, value, "The benchmark"))


Kind = Literal["answers", "perplexity", "classify", "kfold", "decoding", "benchmark", "votes", "reward"]
KIND_OF_TASK = {"chat": "answers", "preference": "answers", "text": "perplexity", "classify": "classify"}
LIMITS = {
    "answers": 32,
    "perplexity": 64,
    "classify": 2000,
    "kfold": 2000,
    "decoding": 104,
    "benchmark": 200,
    "votes": 64,
    "reward": 500,
}
"""Most held-out records that are evaluated unless told otherwise: about two minutes on two cores with the starter model."""


@dataclass(frozen=True)
class Spec:
    """One evaluation. `resolved` fields are filled in by the service."""

    dataset_id: str = ""
    """The data whose held-out part is asked."""
    model_ids: tuple[str, ...] = ()
    """One or two models; the second is compared with the first."""
    kind: Kind | Literal[""] = ""
    """It follows from the data set's task."""
    limit: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Most held-out records; 0: the kind's LIMITS."""
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 96
    """Longest answer, in tokens."""
    max_length: Annotated[int, Field(ge=8, le=1_000_000)] = 512
    """Longest record whose loss is taken, in tokens; longer ones are cut as in training. The run's, where one tells."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: fp32, except for large models on a GPU."""
    seed: Annotated[int | None, Field(ge=0, le=2**31 - 1)] = None
    """Of the split and of the order in which records are taken; None: the run's whose model is evaluated."""
    eval_share: Annotated[float | None, Field(ge=0.001, le=0.9)] = None
    """Share that the split holds out, where the data fixes none; None: the run's."""
    fold: Annotated[int, Field(ge=0, le=19)] = 0
    """The part that is evaluated, from 0, where the run's split is one of K-fold cross-validation."""
    folds: Annotated[int, Field(ge=0, le=20)] = 0
    """Parts of the cross-validation; 0: none."""
    split_version: Annotated[int, Field(ge=1, le=SPLIT_VERSION)] = 1
    """How held-out records are drawn (data/split.py): as the run did. An evaluation that does not say so is an old one."""
    run_ids: tuple[str, ...] = ()
    """The runs of a K-fold cross-validation, whose models are evaluated each on its own part."""
    vote_id: str = ""
    """A class's vote whose pairs of answers the judge grades too, so that both can be compared."""
    judge: JudgeSpec = field(default_factory=JudgeSpec)
    decoding: DecodingSpec | None = None
    """Of an evaluation of decoding strategies; None: another kind."""
    benchmark: BenchmarkSpec | None = None
    """Of an evaluation on a standard benchmark's questions; None: another kind."""

    @property
    def split_seed(self) -> int:
        """The seed of a spec that the service has filled in."""
        assert self.seed is not None, "the service fills it in before a worker starts"
        return self.seed

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Spec":
        """A checked spec. Raises UserError naming the key, what was got and what is valid."""
        if not isinstance(values, dict):
            raise UserError("err_config_no_object")
        values = dict(values)
        judge = JudgeSpec.from_value(values.pop("judge", None))
        decoding = DecodingSpec.from_value(values.pop("decoding", None))
        benchmark = BenchmarkSpec.from_value(values.pop("benchmark", None))
        checked = cls(**check(cls, values, say("what_config")))
        spec = replace(checked, judge=judge, decoding=decoding, benchmark=benchmark)
        if not (spec.dataset_id or spec.vote_id or benchmark) and not (decoding and decoding.prompts):
            raise UserError("err_eval_no_dataset")
        return spec

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` takes it back."""
        return {**asdict(self), "model_ids": list(self.model_ids), "run_ids": list(self.run_ids)}
