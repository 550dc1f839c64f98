"""One run's events as the figures that runs are compared by: loss, time spent training, tokens, memory.

Fed with events in order, in any number of pieces. Knows nothing of files and of what the runs are for.
"""

from llmdemo.runs.digest import number, whole
from llmdemo.runs.series import SMOOTHING

MOST_POINTS = 4096
_NO_METRICS = ("type", "t", "step", "records", "loss")


class Reading:
    """The figures of one run so far."""

    def __init__(self) -> None:
        self._phase: str | None = ""
        self._last: float | None = None
        self._seconds = 0.0
        self._tokens: int | None = None
        self._peak = 0
        self._measured: dict = {}
        self._points: list[tuple] = []  # (step, tokens, seconds, loss, average, weight)
        self._evals: list[tuple] = []  # (step, tokens, seconds, loss)
        self._metrics: dict = {}

    def feed(self, events: list[dict]) -> None:
        for event in events:
            self._watch_clock(event)
            take = getattr(self, f"_on_{event['type']}", None)
            if take:
                take(event)

    def _watch_clock(self, event: dict) -> None:
        """Time counts in the training phase only: loading, evaluation, checkpoints and waiting are no part of a method's
        speed."""
        now = number(event.get("t"))
        if now is None:
            return
        if event["type"] in ("launch", "queued"):
            self._phase = ""  # nobody knows when the attempt before it ended
        # what came before a checkpoint event was its writing
        if self._phase == "training" and self._last is not None and event["type"] != "checkpoint":
            self._seconds += max(0.0, now - self._last)
        self._last = now

    def _on_phase(self, event: dict) -> None:
        self._phase = event.get("phase")

    def _on_start(self, event: dict) -> None:
        """A run that resumes from a step does those after it again."""
        step = number(event.get("step")) or 0
        self._points = [point for point in self._points if point[0] <= step]
        self._evals = [point for point in self._evals if point[0] <= step]
        self._tokens = self._points[-1][1] if self._points else self._tokens if step else None
        self._seconds = self._points[-1][2] if self._points else self._seconds if step else 0.0

    def _on_step(self, event: dict) -> None:
        step, loss, tokens = number(event.get("step")), number(event.get("loss")), whole(event.get("tokens"))
        self._peak = max(self._peak, whole(event.get("peak_memory_bytes")) or whole(event.get("memory_bytes")) or 0)
        if step is None or loss is None:
            return
        self._tokens = tokens if tokens is not None else self._tokens
        average, weight = self._points[-1][4:] if self._points else (0.0, 0.0)
        average, weight = SMOOTHING * average + (1 - SMOOTHING) * loss, SMOOTHING * weight + (1 - SMOOTHING)
        self._points.append((int(step), self._tokens or 0, self._seconds, loss, average, weight))
        if len(self._points) > MOST_POINTS:
            self._points = self._points[::2] + self._points[-1:]

    def _on_eval(self, event: dict) -> None:
        step, loss = number(event.get("step")), number(event.get("loss"))
        if step is None or loss is None:
            return
        self._evals.append((int(step), self._tokens or 0, self._seconds, loss))
        found = {key: number(value) for key, value in event.items() if key not in _NO_METRICS}
        self._metrics = {key: value for key, value in found.items() if value is not None}

    def _on_ledger(self, event: dict) -> None:
        measured = event.get("measured")
        if isinstance(measured, dict):
            self._measured = {key: size for key, value in measured.items() if (size := whole(value)) is not None}

    def _on_end(self, event: dict) -> None:
        self._phase = ""

    def figures(self) -> dict:
        """JSON-able; None where nothing was told. Seconds are those of the training phase, bytes are measured ones.

        loss: smoothed over the steps; eval_loss and first_eval_loss: on the held-out records, last and first;
        metrics: what else the last evaluation told; optimizer_bytes: moments and subspaces together.
        """
        last = self._points[-1] if self._points else None
        speed = round(self._tokens / self._seconds, 1) if self._tokens and self._seconds else None
        return {
            "loss": last[4] / last[5] if last else None,
            "eval_loss": self._evals[-1][3] if self._evals else None,
            "first_eval_loss": self._evals[0][3] if self._evals else None,
            "metrics": dict(self._metrics),
            "tokens": self._tokens,
            "seconds": round(self._seconds, 3) if last else None,
            "tokens_per_second": speed,
            "peak_memory_bytes": max(self._peak, self._measured.get("total", 0)) or None,
            "optimizer_bytes": self._measured.get("optimizer"),
        }

    def curves(self, most: int = 200) -> dict:
        """{"train", "eval"}, each {"step", "tokens", "seconds", "value"} with at most about `most` points; train is smoothed."""
        every = max(1, len(self._points) // most)
        kept = self._points[::every] + (self._points[-1:] if (len(self._points) - 1) % every else [])
        return {
            "train": _columns([(*point[:3], point[4] / point[5]) for point in kept]),
            "eval": _columns(self._evals[-most:]),
        }


def _columns(points: list[tuple]) -> dict:
    names = ("step", "tokens", "seconds", "value")
    return {name: [round(point[i], 6) for point in points] for i, name in enumerate(names)}
