"""A run's status as one flat object for endpoints and pages. Knows nothing of how it is found out.

The contract's keys: run_id, state, reason, step, total_steps, loss, eval_loss, tokens_per_second, eta_seconds,
peak_memory_bytes, model_id. Beside them: name, created (seconds since the epoch), message, hint, attempt,
imported, phase (loading … saving), phase_done, phase_total, queue_position (1 is next), stop_phase (asking, terminating,
killing), stop_seconds_left, quiet_seconds (since the last word of a live run), checkpoint_step, skipped,
loss_smoothed, learning_rate, grad_norm, epoch, tokens, seconds (spent up to the last step, loading and evaluations
included), scores (of the last evaluation, by name), ledger, worker, notes,
published (of a finished model: dtype, rounding, loss of its files, run_loss, message),
can_stop, can_resume, can_delete, size_bytes.
None stands for what is not known.
"""

import json
import time
from collections.abc import Callable

from llmdemo.runs.digest import Digest
from llmdemo.runs.reader import Reader
from llmdemo.runs.states import ALIVE, COMPLETED, FAILED, QUEUED, STARTING, STOPPED, STOPPING

_FIGURES = (
    *("step", "total_steps", "loss", "eval_loss", "tokens_per_second", "eta_seconds", "peak_memory_bytes", "model_id"),
    *(
        "loss_smoothed",
        "learning_rate",
        "grad_norm",
        "epoch",
        "tokens",
        "seconds",
        "skipped",
        "checkpoint_step",
        "scores",
    ),
    *("phase", "phase_done", "phase_total", "ledger", "worker", "notes", "published"),
)
_MESSAGES = {
    STARTING: "The worker starts: it loads the libraries and the model.",
    STOPPING: "The run was asked to stop; it writes a checkpoint first.",
}


def status_of(
    row: dict,
    reader_of: Callable[[], Reader],
    queue: list[str],
    can_go_on: Callable[[], bool] = lambda: False,
    has_model: Callable[[], bool] = lambda: False,
) -> dict:
    """The status of the run in `row` of the table; `queue`: the ids of the waiting runs, in order.

    `can_go_on()` and `has_model()` say whether the folder of an imported run has a checkpoint, and a model.

    `reader_of()` is called only for a run that may have a process: what others have to show is in the row.
    """
    state, reader = row["state"], None
    if state in ALIVE:
        reader = reader_of()
        with reader.digest() as digest:
            figures = digest.status()
    else:
        figures = json.loads(row["digest"]) if row["digest"] else Digest().status()
    place = queue.index(row["run_id"]) + 1 if row["run_id"] in queue else None
    status = {"run_id": row["run_id"], "name": row["name"], "state": state, "reason": row["reason"]}
    status |= {key: figures.get(key) for key in _FIGURES}
    return status | {
        "message": row["message"] or (_queue_message(place) if state == QUEUED else _MESSAGES.get(state, "")),
        "hint": row["hint"],
        "created": row["created"],
        "attempt": row["attempt"],
        "imported": bool(row["imported"]),
        "queue_position": place,
        "stop_phase": row["stop_phase"] or None,
        "stop_seconds_left": _seconds_left(row),
        "quiet_seconds": round(reader.seconds_quiet(), 1) if reader else None,
        "can_stop": state in (QUEUED, *ALIVE) and state != STOPPING,
        "can_resume": state in (STOPPED, FAILED) and (not row["imported"] or can_go_on()),
        "can_delete": state not in ALIVE,
        "model_id": _model_id(row, figures, has_model) if state == COMPLETED else None,
    }


def _model_id(row: dict, figures: dict, has_model: Callable[[], bool]) -> str | None:
    """Of a run from elsewhere, the events tell the id that its model has there; it may have come without it."""
    if row["imported"]:
        return row["run_id"] if has_model() else None
    return figures.get("model_id")


def _queue_message(place: int | None) -> str:
    return "It is the next one." if place == 1 else f"Waits for its turn: {(place or 1) - 1} before it."


def _seconds_left(row: dict) -> float | None:
    if row["stop_deadline"] is None or not row["stop_phase"]:
        return None
    return round(min(3600.0, max(0.0, row["stop_deadline"] - time.monotonic())), 1)
