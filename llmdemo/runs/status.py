"""A run's status as one flat object for endpoints and pages. Knows nothing of how it is found out.

The contract's keys: run_id, state, reason, step, total_steps, best_step, loss, eval_loss, tokens_per_second, eta_seconds,
peak_memory_bytes, model_id. best_step is the best evaluation so far (as best_by says: the lowest held-out loss, or the best
figure; the first of equal ones), and best_eval_loss is its loss. loss and eval_loss are the newest as they were measured;
loss_smoothed is a mean of the last steps'.
Beside them those of jobs.JobStatus, and: phase (loading … saving), phase_done, phase_total,
checkpoint_step, skipped, loss_smoothed, learning_rate, grad_norm, epoch, tokens, seconds (spent up to the last step,
loading and evaluations included), note (what somebody wrote of it), scores (of the last evaluation, by name), ledger, worker (with train_records,
held_out_records and left_out {why: how many}), notes, published (of a
finished model: step, last_step, run_loss and last_loss of these, dtype, rounding, loss of its files, message), size_bytes.
None stands for what is not known.
"""

from collections.abc import Callable

from llmdemo.jobs import JobStatus
from llmdemo.jobs.states import COMPLETED

_FIGURES = (
    *("step", "total_steps", "best_step", "loss", "eval_loss", "tokens_per_second", "eta_seconds"),
    "best_eval_loss",
    *("peak_memory_bytes", "model_id"),
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


def run_status(status: JobStatus, has_model: Callable[[], bool] = lambda: False) -> dict:
    """The status of a run; `has_model()` says whether the folder of an imported one has a model."""
    about = {key: value for key, value in status.items() if key not in ("job_id", "kind", "figures")}
    model_id = status["figures"].get("model_id")
    if status["imported"]:  # the events tell the id that its model has elsewhere; it may have come without it
        model_id = status["job_id"] if has_model() else None
    return (
        {"run_id": status["job_id"], "name": None, "state": None, "reason": None}
        | {key: status["figures"].get(key) for key in _FIGURES}
        | about
        | {"model_id": model_id if status["state"] == COMPLETED else None}
    )
