"""A judge that is ready to be asked, wherever it runs: scores of two answers in both orders, or feedback.

Joins judge_local and endpoint, and knows no job: who asks batch by batch decides what is kept and when it is enough.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.evaluation.answers import loaded, precision_of
from llmdemo.evaluation.endpoint import Endpoint
from llmdemo.evaluation.grading import Question
from llmdemo.evaluation.judge import Pair, messages, parse
from llmdemo.evaluation.judge_local import LocalJudge, LocalWriter
from llmdemo.models import catalog
from llmdemo.settings.evaluation import Spec
from llmdemo.settings.judge import JudgeSpec

Scores = tuple[float, float] | None
Load = Callable[..., AbstractContextManager[tuple[Any, Any]]]
_LOCAL_PAIRS, _LOCAL_QUESTIONS = 4, 8


class Judge(Protocol):
    """What both kinds can be asked. Raises EndpointFailed, JudgeFailed."""

    pairs_at_once: int
    questions_at_once: int

    def orders(self, pairs: Sequence[Pair]) -> list[tuple[Scores, Scores]]:
        """(first answer, second answer) as scored in either order of each pair; None where nothing clear was said."""

    def write(self, questions: Sequence[Question]) -> list[str | None]:
        """The feedback on each; None where it does not fit into the judge's context."""

    def close(self) -> None:
        """Ends a call that is on its way, from another thread; nothing can be asked any more."""


@contextmanager
def ready(
    home: Home, spec: JudgeSpec, key: str, should_stop: Callable[[], bool], load: Load = loaded
) -> Iterator[Judge]:
    """The judge of kind "model" or "endpoint" that `spec` names. `load`: gives a model's memory back when it is left."""
    if spec.kind == "endpoint":
        endpoint = Endpoint(spec.url, spec.model, key, spec.timeout, should_stop)
        judge = _EndpointJudge(endpoint, spec)
        try:
            yield judge
        finally:
            judge.close()
    else:
        entry = catalog.resolve(home, spec.model_id)
        with load(entry, precision_of(Spec(dataset_id="-"), entry)) as (model, tokenizer):
            yield _ModelJudge(model, tokenizer, entry.context or 1_000_000, spec)


def title_of(home: Home, spec: JudgeSpec) -> str:
    """What people call the judge: the endpoint's model, or a local model's title; its id where it is gone."""
    if spec.kind == "endpoint":
        return spec.model
    try:
        return catalog.resolve(home, spec.model_id).title
    except UserError:
        return spec.model_id


class _ModelJudge:
    pairs_at_once, questions_at_once = _LOCAL_PAIRS, _LOCAL_QUESTIONS

    def __init__(self, model, tokenizer, context: int, spec: JudgeSpec):
        self._about, self._spec = (model, tokenizer, context), spec
        self._scorer: LocalJudge | None = None
        self._writer: LocalWriter | None = None

    def orders(self, pairs: Sequence[Pair]) -> list[tuple[Scores, Scores]]:
        self._scorer = self._scorer or LocalJudge(*self._about)
        plain, swapped = (
            self._scorer.scores([messages(pair, self._spec.criteria, turned) for pair in pairs])
            for turned in (False, True)
        )
        return [(one, _turned(other)) for one, other in zip(plain, swapped, strict=True)]

    def write(self, questions: Sequence[Question]) -> list[str | None]:
        self._writer = self._writer or LocalWriter(*self._about, self._spec.max_new_tokens)
        return self._writer.write(questions)

    def close(self) -> None:
        return


class _EndpointJudge:
    pairs_at_once = questions_at_once = 1

    def __init__(self, endpoint: Endpoint, spec: JudgeSpec):
        self._endpoint, self._spec = endpoint, spec

    def orders(self, pairs: Sequence[Pair]) -> list[tuple[Scores, Scores]]:
        return [(self._scores(pair, False), _turned(self._scores(pair, True))) for pair in pairs]

    def close(self) -> None:
        self._endpoint.close()

    def _scores(self, pair: Pair, swapped: bool) -> Scores:
        return parse(self._endpoint.complete(messages(pair, self._spec.criteria, swapped)))

    def write(self, questions: Sequence[Question]) -> list[str | None]:
        return [self._endpoint.complete(each.messages, self._spec.max_new_tokens) for each in questions]


def _turned(scores: Scores) -> Scores:
    """Of the order in which A was the second answer."""
    return (scores[1], scores[0]) if scores else None
