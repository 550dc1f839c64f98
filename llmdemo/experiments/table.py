"""An experiment's rows as a table for other programs. Knows nothing of where the rows come from."""

import csv
import io

FIGURES = (
    "state", "step", "tokens", "seconds", "tokens_per_second", "loss", "first_eval_loss", "eval_loss",
    "peak_memory_bytes", "optimizer_bytes",
)  # fmt: skip


def columns(status: dict) -> list[str]:
    """run_id, label, the round of a halving, the settings that differ, the figures, and what the task measures beside."""
    metrics = dict.fromkeys(key for row in status["rows"] for key in row["metrics"])
    rung = ["rung"] if status["rungs"] else []
    return ["run_id", "label", *rung, *status["varied"], *FIGURES, *(f"eval_{key}" for key in metrics)]


def to_csv(status: dict) -> str:
    """One line a run, in the order in which they were planned; empty where nothing is known."""
    out = io.StringIO()
    names = columns(status)
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in status["rows"]:
        metrics = {f"eval_{key}": value for key, value in row["metrics"].items()}
        writer.writerow({**row, **row["varied"], **metrics})
    return out.getvalue()
