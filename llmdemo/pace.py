"""How long a run will take here: told as a range, from what runs on this machine have shown, else from a short measurement.

A run is more than its steps: it starts, tries its longest batch once, and checks itself by held-out records before, on
the way and at the end. Imports torch only to measure; knows no widget and no queue.
"""

import statistics
from dataclasses import dataclass

from llmdemo.core.store import Home
from llmdemo.models import catalog
from llmdemo.settings.training import HEADED, TrainConfig, rows_of

_TELLING_STEPS, _TELLING_RUNS = 10, 5
_LIKE_SIZE = 3.0
"""How many times as large a model may be whose speed says something: of a tiny one, most of a step is no arithmetic."""
_FASTER = {"classify": 1.5}
"""Than other tasks: a classifier has no logits of a vocabulary, and learns from few of the texts that it reads."""
_DRAWN = 2.0
"""What a token of a run on drawn answers costs, of one that is only learned: most of them are written by the model first,
and all are read by the starting model. Such a run's steps hold all that."""
_FLAT = 0.5
"""Share of the prompts whose answers are drawn again, where that is asked for: at the begin most, later few."""
_WITHIN = {0: 3.0, 1: 2.0}
_WITHIN_MORE = 1.5
"""The range by how many runs tell: that many times less or more. One run may have had the machine to itself, or not."""
_START_SECONDS = 20.0
_STEP_SECONDS = 0.03
"""What a step takes beside its tokens, however small the model."""
READ_SHARE = 1 / 3
"""What a token that is only read costs, of one that is learned (a forward pass of forward and backward)."""
_WRITTEN_TOKENS = 12
"""What a token that a sample is written with costs, in tokens learned: they come one after the other."""
_LOCK_STEP = 0.1
"""What such a token costs where many answers are written at once, of one that is written alone."""
WRITTEN_TOGETHER = _WRITTEN_TOKENS * _LOCK_STEP
"""What a token costs that is written in a batch of many texts, in tokens learned."""
_SAMPLES, _SAMPLE_TOKENS = 2, 48  # training.objectives.base, which imports torch
_MOST_JUDGED = 5000  # training.objectives.classify


@dataclass(frozen=True)
class Work:
    """What a run has to do, in tokens."""

    step_tokens: float
    steps: int
    check_tokens: float
    """Tokens learned that would take as long as all its held-out checks."""

    @property
    def tokens(self) -> float:
        """Of the whole; the longest batch is tried before the first step."""
        return (self.steps + 1) * self.step_tokens + self.check_tokens


def work(config: TrainConfig, kept: int, mean_tokens: float, step_tokens: float, asked: float = 0.0) -> Work:
    """The work of a run on `kept` records of so many tokens. asked: what else each evaluation takes, in tokens learned."""
    held = round(kept * config.eval_share)
    way = min(config.eval_records, held)
    last = min(held, _MOST_JUDGED) if config.task == "classify" else way
    checks = 1 + (config.max_steps - 1) // config.eval_steps if config.eval_steps else 1
    if config.task == "grpo":
        return _of_rollouts(config, mean_tokens, checks * way + last)
    # kto judges an answer and one to another prompt
    rows = 2 if config.task == "kto" else rows_of(config) // config.batch_size
    read = (checks * way + last) * rows * mean_tokens * READ_SHARE
    written = 0 if config.task in HEADED else (checks + 1) * _SAMPLES * _SAMPLE_TOKENS * _WRITTEN_TOKENS
    return Work(step_tokens, config.max_steps, read + written * bool(held) + (checks + 1) * asked)


def _of_rollouts(config: TrainConfig, mean_tokens: float, judged: int) -> Work:
    """Of a run whose answers are drawn: read by the starting model and learned, and each token written in lock step."""
    answer = min(config.max_new_tokens, mean_tokens)  # as long as the right ones are
    rows = config.global_batch * config.rollouts
    written = rows * answer * WRITTEN_TOGETHER * (1 + _FLAT * config.redraws)
    learned = rows * mean_tokens * (1 + READ_SHARE) + written
    return Work(learned, config.max_steps, judged * answer * WRITTEN_TOGETHER)


def seconds(home: Home, runs: list[dict], model_id: str, method: str | None, task: str, todo: Work) -> dict:
    """{"seconds", "seconds_low", "seconds_high", "rough"} for this work; `runs`: statuses, newest first.

    `rough`: no run with a model of about this size has shown the speed yet; the run itself measures it. Raises UserError.
    """
    return seconds_of_size(runs, catalog.resolve(home, model_id).parameters, method, task, todo)


def seconds_of_size(runs: list[dict], parameters: int, method: str | None, task: str, todo: Work) -> dict:
    """As `seconds`, for any model of so many weights, here or not."""
    speed, count = _speed(runs, parameters, method, task)
    starts = [(run.get("worker") or {}).get("seconds_to_start") for run in runs if not run.get("imported")]
    told = [float(each) for each in starts if isinstance(each, int | float)][:_TELLING_RUNS]
    start = statistics.median(told) if told else _START_SECONDS
    return as_range(start + (todo.steps + 1) * _STEP_SECONDS + todo.tokens / speed, count)


def as_range(whole: float, count: int) -> dict:
    """{"seconds", "seconds_low", "seconds_high", "rough"} for a time that `count` earlier pieces of work here let expect."""
    within = _WITHIN.get(count, _WITHIN_MORE)
    return {
        "seconds": _rounded(whole),
        "seconds_low": _rounded(whole / within),
        "seconds_high": _rounded(whole * within),
        "rough": not count,
    }


def _rounded(value: float) -> int:
    """To two digits: nobody knows more."""
    digits = 10 ** max(0, len(str(int(value))) - 2)
    return max(1, round(value / digits) * digits)


def shown_speed(
    runs: list[dict], parameters: int, method: str | None = None, task: str | None = None
) -> tuple[float, int] | None:
    """(tokens a second in the steps of a model with so many weights, how many runs here have shown it); None if none has.

    `runs`: statuses, newest first. The median of the newest few, of those that are most alike, in task and method, else
    in one of them: a run that ended after a few steps tells nothing yet, one that shared the machine with others should
    not count alone, and one of a model of another size says little of this one.
    """
    known = [run for run in runs if run.get("tokens_per_second") and (run.get("step") or 0) >= _TELLING_STEPS]
    known = [run for run in known if not run.get("imported") and _of_like_size(run, parameters)]

    def alike(run: dict) -> int:
        return 2 * (run["worker"].get("task") == task) + (run["worker"].get("method") == method)

    best = max(map(alike, known), default=0)
    like = [run for run in known if alike(run) == best][:_TELLING_RUNS]
    speeds = [
        run["tokens_per_second"]
        * (_DRAWN if run["worker"].get("task") == "grpo" else 1.0)
        / _FASTER.get(run["worker"].get("task"), 1.0)
        * run["worker"]["parameters"]
        for run in like
    ]
    return (
        (_FASTER.get(task or "", 1.0) * statistics.median(speeds) / max(1, parameters), len(like)) if speeds else None
    )


def _of_like_size(run: dict, parameters: int) -> bool:
    own = (run.get("worker") or {}).get("parameters") or 0
    return own > 0 and max(own, parameters) <= _LIKE_SIZE * min(own, parameters)


def likely_speed(home: Home, runs: list[dict], model_id: str) -> tuple[float, int]:
    """(tokens a second that this machine trains the model with on chats, how many runs show it: 0 is a guess).

    Raises UserError.
    """
    return _speed(runs, catalog.resolve(home, model_id).parameters, None, "chat")


def _speed(runs: list[dict], parameters: int, method: str | None, task: str) -> tuple[float, int]:
    shown = shown_speed(runs, parameters, method, task)
    return shown or (_FASTER.get(task, 1.0) * _rough_speed(parameters), 0)


def _rough_speed(parameters: int) -> float:
    import torch

    from llmdemo.training import device as devices
    from llmdemo.training.speed import tokens_per_second

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = devices.resolve_precision("auto", device)
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    return tokens_per_second(parameters, device, dtype)
