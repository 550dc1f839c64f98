"""Says which of two answers is better, or how good one is: by a judge, a reward model or a checker.

Joins what evaluation knows of them with records that were just made. Knows no file and no kind of record.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from llmdemo.core.sentences import say
from llmdemo.core.store import Home
from llmdemo.evaluation.answers import chunks
from llmdemo.evaluation.checkers import checker_of
from llmdemo.evaluation.grading import absolute, read_opinion, relative
from llmdemo.evaluation.judge import JudgeFailed, Pair, verdict
from llmdemo.evaluation.judges import Judge, Load, ready
from llmdemo.evaluation.reward_scores import RewardScorer
from llmdemo.generation.calls import Calls
from llmdemo.generation.writers import Tell
from llmdemo.models import catalog
from llmdemo.settings.evaluation_decoding import CheckerSpec
from llmdemo.settings.generation import GenerationSpec
from llmdemo.settings.judge import JudgeSpec

_MOST_UNCLEAR = 8
"""So many records in a row of which the judge said nothing of use, and it is given up."""
_MOST_FEEDBACK = 2000
Opinion = dict[str, Any]
"""{"winner": 0 | 1 | None, "clear", "agreed", "grades": [1 … 5 of each answer] | None, …what the judge said}."""
Ask = Callable[[Sequence[Pair], Sequence[list[dict]], Sequence[tuple[str, ...]]], list[Opinion | None]]


class Referee:
    """`opinions` of pairs, or of single answers. `failure`: what ended it early; those after it have no opinion."""

    def __init__(self, ask: Ask, failure: Callable[[], BaseException | None] = lambda: None):
        self._ask, self._failed = ask, failure
        self._unclear = 0
        self._gave_up: BaseException | None = None

    @property
    def failure(self) -> BaseException | None:
        return self._gave_up or self._failed()

    def opinions(
        self, pairs: Sequence[Pair], prompts: Sequence[list[dict]], right: Sequence[tuple[str, ...]]
    ) -> list[Opinion | None]:
        """One each, None where it could not be asked. prompts: the turns before the answers; right: the right answers."""
        found = self._ask(pairs, prompts, right) if pairs else []
        for opinion in found:
            if opinion is not None:
                self._unclear = 0 if opinion["clear"] else self._unclear + 1
        if self._unclear >= _MOST_UNCLEAR and self._gave_up is None:
            hint = say("generation_judge_unclear_hint")
            self._gave_up = JudgeFailed(say("generation_judge_unclear", n=self._unclear), hint)
        return found


@contextmanager
def referee_of(home: Home, spec: GenerationSpec, key: str, tell: Tell, load: Load) -> Iterator[Referee | None]:
    """Who the settings name; None where nobody is asked. `load`: gives a local judge, as evaluation.answers.loaded."""
    judge = spec.judge
    if spec.checker is not None:
        yield Referee(_checking(spec.checker))
    elif judge.kind == "none":
        yield None
    elif judge.kind == "reward":
        yield Referee(_rewarding(RewardScorer(catalog.resolve(home, judge.model_id))))
    elif judge.kind == "model":
        with ready(home, judge, "", lambda: False, load) as local:
            yield Referee(_in_turn(local, judge, tell))
    else:
        with ExitStack() as stack:
            lanes = [stack.enter_context(ready(home, judge, key, lambda: False)) for _ in range(spec.parallel)]
            calls = Calls(lanes, tell, lambda lane: lane.close())
            yield Referee(_at_once(calls, judge), lambda: calls.failure)


# ---- ways to ask


def _checking(spec: CheckerSpec) -> Ask:
    check = checker_of(spec)

    def ask(pairs, prompts, right) -> list[Opinion | None]:
        return [
            _by_values([check(text, known) for text in pair.answers], "right")
            for pair, known in zip(pairs, right, strict=True)
        ]

    return ask


def _rewarding(scorer: RewardScorer) -> Ask:
    def ask(pairs, prompts, right) -> list[Opinion | None]:
        turns = [prompt for prompt in prompts for _ in range(2)]
        values = scorer.scores(turns, [text for pair in pairs for text in pair.answers])
        return [_by_values(list(some), "rewards") for some in chunks(values, 2)]

    return ask


def _in_turn(judge: Judge, spec: JudgeSpec, tell: Tell) -> Ask:
    def ask(pairs, prompts, right) -> list[Opinion | None]:
        found: list[Opinion | None] = []
        for some in chunks(list(pairs), judge.pairs_at_once):
            tell(len(found) / len(pairs))
            found += _judged(judge, spec, some)
        return found

    return ask


def _at_once(calls: Calls[Judge], spec: JudgeSpec) -> Ask:
    def ask(pairs, prompts, right) -> list[Opinion | None]:
        return calls.map(lambda lane, pair: _judged(lane, spec, [pair])[0], pairs)

    return ask


# ---- what was said


def _judged(judge: Judge, spec: JudgeSpec, pairs: Sequence[Pair]) -> list[Opinion | None]:
    if spec.grading == "scores":
        return [_scored(orders) for orders in judge.orders(pairs)]
    sides = 2 if spec.grading == "relative" else len(pairs[0].answers)
    told = [replace(spec, reference=spec.reference and bool(pair.reference)) for pair in pairs]
    if spec.grading == "relative":
        questions = [relative(pair, bool(n), each) for pair, each in zip(pairs, told, strict=True) for n in range(2)]
    else:
        questions = [absolute(pair, n, each) for pair, each in zip(pairs, told, strict=True) for n in range(sides)]
    texts = [judge.write(some) for some in chunks(questions, judge.questions_at_once)]
    flat = [text or "" for some in texts for text in some]
    return [_read(some, spec) for some in chunks(flat, sides)]


def _scored(orders: tuple) -> Opinion:
    found = verdict(list(orders))
    return {
        "winner": found["winner"], "clear": found["clear"], "agreed": found["agreed"], "grades": None,
        "orders": [scores and list(scores) for scores in orders], "scores": found["scores"],
    }  # fmt: skip


def _read(texts: list[str], spec: JudgeSpec) -> Opinion:
    """Of the feedback on each answer, or in either order."""
    if spec.grading == "absolute":
        said = [read_opinion(text, "absolute") for text in texts]
        found = _by_values([int(each.result) if each.result else None for each in said], "grades")
    else:
        said = [read_opinion(text, "relative") for text in texts]
        # in the second order, A is the second answer
        better = ["AB".index(each.result) ^ place if each.result else None for place, each in enumerate(said)]
        clear, agreed = None not in better, better[0] == better[1]
        winner = better[0] if clear and agreed else None
        found = {"winner": winner, "clear": clear, "agreed": clear and agreed, "grades": None, "better": better}
    return {**found, "feedback": [each.feedback[:_MOST_FEEDBACK] for each in said]}


def _by_values(values: list, name: str) -> Opinion:
    """The higher value wins; of one answer none does."""
    clear = None not in values
    winner = None
    if clear and len(values) == 2 and values[0] != values[1]:
        winner = int(values[1] > values[0])
    return {"winner": winner, "clear": clear, "agreed": True, "grades": None, name: values}
