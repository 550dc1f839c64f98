"""What a run's events say, so far: figures and curves, samples, refreshes. Knows nothing of files, processes or pages."""

import re
from collections import OrderedDict
from math import nan
from typing import Any

import numpy as np

from llmdemo.jobs import digest as general
from llmdemo.jobs.digest import number, plain, text, whole
from llmdemo.runs.knowledge import Knowledge
from llmdemo.runs.series import METRICS, MOST_EXTRA, Series, curve

_MOST_EVALS = 4096
_MOST_PROMPTS = 32
_MOST_SAMPLES = 256  # of one prompt
_MOST_ROUNDS, _MOST_ANSWERS = 64, 16
_MOST_REFRESHES = 256
_MOST_LAYERS = 2048
_MOST_CELLS = 2**17
"""Of the matrix of refreshes, which the page draws: 224 layers of a model of 7 billion, 256 times, are 57,000."""
_MOST_LEDGER = 8192
_FIGURES = [  # (name in a step event, name everywhere else)
    *((name, name) for name in ("loss", "grad_norm", "tokens_per_second", "memory_bytes", "eta_seconds", "epoch")),
    ("lr", "learning_rate"),
]
_STEP_KEYS = {"type", "t", "step", "tokens", "peak_memory_bytes", *(key for key, _ in _FIGURES)}
_EVAL_KEYS = {"type", "t", "step", "records"}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_NOT_OF_THE_WORKER = ("type", "t", "step", "total_steps", "pid", "create_time")


class Digest(general.Digest):
    """The state of affairs after the events given to `feed`."""

    TYPES = general.Digest.TYPES | {"ledger", "step", "eval", "sample", "refresh", "skip", "checkpoint"}
    TYPES |= {"best", "published", "answers", "asked", "known"}

    def __init__(self) -> None:
        super().__init__()
        self.series = Series()
        self.figures: dict[str, Any] = {"step": 0, "total_steps": None, "peak_memory_bytes": None, "skipped": 0}
        self.figures |= {"best_step": None, "best_eval_loss": None}
        self.ledger: dict | None = None
        self.worker: dict = {}
        self._told_best = False
        self._drawn: tuple[int, dict] | None = None  # (max_points, the curves), until the next event
        self._seconds = 0.0
        self._last_time: float | None = None
        self._evals: list[tuple[float, float, dict[str, float]]] = []
        self._samples: OrderedDict[str, dict] = OrderedDict()
        self._rounds: list[dict] = []
        self.knowledge = Knowledge()
        self._refreshes: list[tuple[float, float, dict]] = []
        self._layers: set[str] = set()  # names of those in the refreshes

    def feed(self, event: dict) -> None:
        self._drawn = None
        self._watch_clock(event)
        super().feed(event)

    def _watch_clock(self, event: dict) -> None:
        """Time spent is the sum of the steps forward: a clock that is set back takes nothing away."""
        now = number(event.get("t"))
        if now is not None:
            if self._last_time is not None and event["type"] not in ("launch", "queued"):
                self._seconds += max(0.0, now - self._last_time)
            self._last_time = now

    # -- what each type of event means

    def _wait(self) -> None:
        super()._wait()
        self.figures["tokens_per_second"] = None

    def _on_start(self, event: dict) -> None:
        super()._on_start(event)
        step = number(event.get("step")) or 0
        self.worker = {key: plain(value) for key, value in event.items() if key not in _NOT_OF_THE_WORKER}
        self.figures |= {"step": int(step), "total_steps": whole(event.get("total_steps"))}
        self._forget_after(step)

    def _forget_after(self, step: float) -> None:
        self.series.cut_after(step)
        self._evals = [each for each in self._evals if each[0] <= step]
        self._refreshes = [each for each in self._refreshes if each[0] <= step]
        self._rounds = [each for each in self._rounds if each["step"] <= step]
        self.knowledge.cut_after(step)
        for sample in self._samples.values():
            sample["outputs"] = [each for each in sample["outputs"] if each["step"] <= step]
        scores = self._evals[-1][2] if self._evals else {}
        self.figures |= {"loss": self.series.last("loss"), "eval_loss": scores.get("loss"), "scores": scores}
        self.figures |= {"best_step": None, "best_eval_loss": None}
        for earlier, _, figures in self._evals:
            self._note_best(earlier, figures)

    def _on_ledger(self, event: dict) -> None:
        known = {key: plain(value) for key, value in event.items() if key not in ("type", "t")}
        self.ledger = known if len(str(known)) <= _MOST_LEDGER else None

    def _on_step(self, event: dict) -> None:
        step = number(event.get("step"))
        if step is None:
            return
        row = {name: number(event.get(key)) for key, name in _FIGURES}
        drawn = {name: row[name] for name in METRICS} | extras(event, _STEP_KEYS)
        self.series.add(step, self._seconds, drawn)
        figures = self.figures
        peak = number(event.get("peak_memory_bytes")) or row["memory_bytes"]
        if peak is not None and peak > (figures["peak_memory_bytes"] or 0):
            figures["peak_memory_bytes"] = int(peak)
        figures.update(row)
        figures["step"], figures["tokens"] = int(step), whole(event.get("tokens"))
        figures["seconds"] = round(self._seconds, 1)

    def _on_eval(self, event: dict) -> None:
        step, scores = number(event.get("step")), extras(event, _EVAL_KEYS)
        if step is None or not scores:
            return
        self._evals.append((step, self._seconds, scores))
        self.figures |= {"eval_loss": scores.get("loss"), "scores": scores}
        if not self._told_best:
            self._note_best(step, scores)
        if len(self._evals) > _MOST_EVALS:
            self._evals = self._evals[::2]

    def _on_best(self, event: dict) -> None:
        """The worker knows by which figure the evaluations compare, and on which records; runs before that told nothing."""
        self._told_best = True
        self.figures |= {"best_step": whole(event.get("step")), "best_eval_loss": number(event.get("loss"))}

    def _note_best(self, step: float, scores: dict[str, float]) -> None:
        """Keeps the step with the lowest held-out loss, the first of equal ones; what is no number has no loss here."""
        loss, best = scores.get("loss"), self.figures["best_eval_loss"]
        if loss is not None and (best is None or loss < best):
            self.figures |= {"best_step": int(step), "best_eval_loss": loss}

    def _on_sample(self, event: dict) -> None:
        prompt, output = text(event.get("prompt")), text(event.get("text"))
        if prompt not in self._samples and len(self._samples) >= _MOST_PROMPTS:
            return
        sample = self._samples.setdefault(prompt, {"prompt": prompt, "expected": None, "outputs": []})
        if event.get("expected") is not None:
            sample["expected"] = text(event["expected"])
        if temperature := number(event.get("temperature")):
            sample["temperature"] = temperature
        sample["outputs"].append({"step": whole(event.get("step")) or 0, "text": output})
        if len(sample["outputs"]) > _MOST_SAMPLES:
            sample["outputs"] = sample["outputs"][::2]

    def _on_answers(self, event: dict) -> None:
        """A round of drawn answers: of one prompt of it, what was answered, and what reward each got."""
        given = event.get("answers")
        if not isinstance(given, list):
            return
        answers = [
            {"text": text(each.get("text")), "reward": number(each.get("reward"))}
            for each in given[:_MOST_ANSWERS]
            if isinstance(each, dict)
        ]
        about = {key: text(event.get(key)) for key in ("prompt", "expected")}
        again = {key: count for key in ("again", "prompts") if (count := whole(event.get(key))) is not None}
        self._rounds.append({"step": whole(event.get("step")) or 0, **about, "answers": answers, **again})
        if len(self._rounds) > _MOST_ROUNDS:
            self._rounds = self._rounds[::2]

    def _on_asked(self, event: dict) -> None:
        self.knowledge.ask(event)

    def _on_known(self, event: dict) -> None:
        self.knowledge.add(event, self._seconds)

    def _on_refresh(self, event: dict) -> None:
        step, layers = number(event.get("step")), event.get("layers")
        if step is None or not isinstance(layers, list):
            return
        known = {}
        for layer in layers[:_MOST_LAYERS]:
            if isinstance(layer, dict) and layer.get("name"):
                name = text(layer["name"], 200)
                if name in self._layers or len(self._layers) < _MOST_LAYERS:
                    self._layers.add(name)
                    known[name] = (number(layer.get("energy")), number(layer.get("overlap")))
        self._refreshes.append((step, self._seconds, known))
        most = max(1, min(_MOST_REFRESHES, _MOST_CELLS // max(1, len(self._layers))))
        while len(self._refreshes) > most:
            self._refreshes = _halved(self._refreshes)

    def _on_skip(self, event: dict) -> None:
        self.figures["skipped"] += 1

    def _on_checkpoint(self, event: dict) -> None:
        self.figures["checkpoint_step"] = whole(event.get("step"))

    def _on_published(self, event: dict) -> None:
        """Which step's weights were written, in which type, and the held-out losses that this was decided by."""
        told = {key: text(event.get(key), 500) for key in ("dtype", "rounding", "message")}
        losses = {key: number(event.get(key)) for key in ("loss", "run_loss", "last_loss")}
        steps = {key: whole(event.get(key)) for key in ("step", "last_step")}
        self.figures["published"] = {**told, **losses, **steps}

    def _on_end(self, event: dict) -> None:
        super()._on_end(event)
        self.figures["model_id"] = text(event.get("model_id"), 200) or None

    # -- what is asked

    def status(self) -> dict:
        """The newest figures, ready for JSON."""
        known = {"ledger": self.ledger, "worker": self.worker, "loss_smoothed": self.series.smoothed()}
        return {**super().status(), **known}

    def curves(self, max_points: int) -> dict[str, dict[str, list]]:
        """Series.curves, with each score of the evaluations as eval_<name> (eval_loss, eval_accuracy, …), and energy and
        overlap of the subspace as means over the layers.

        Do not change what is returned: the next one who asks is given the same.
        """
        if self._drawn is None or self._drawn[0] != max_points:
            self._drawn = (max_points, self._draw(max_points))
        return self._drawn[1]

    def _draw(self, max_points: int) -> dict[str, dict[str, list]]:
        curves = self.series.curves(max_points)
        for name in sorted({name for _, _, scores in self._evals for name in scores}):
            points = [(step, seconds, scores.get(name, nan)) for step, seconds, scores in self._evals]
            curves[f"eval_{name}"] = _curve(points, max_points)
        for index, name in enumerate(("energy", "overlap")):
            means = [(step, seconds, _mean(layers, index)) for step, seconds, layers in self._refreshes]
            curves[name] = _curve(means, max_points)
        return {name: each for name, each in curves.items() if each["step"]}

    def samples(self) -> list[dict]:
        """[{prompt, expected, outputs: [{step, text}]}] in the order in which the prompts came first."""
        return [{**sample, "outputs": list(sample["outputs"])} for sample in self._samples.values()]

    def rounds(self) -> list[dict]:
        """[{step, prompt, expected, answers: [{text, reward}], again?, prompts?}]: drawn answers, of at most _MOST_ROUNDS rounds."""
        return list(self._rounds)

    def refreshes(self) -> dict:
        """{layers: [name], steps: [int], energy, overlap: [[float | None, a step] a layer]}: rows of a heat map."""
        names = list(dict.fromkeys(name for _, _, layers in self._refreshes for name in layers))
        rows = [
            [[layers.get(name, (None, None))[i] for _, _, layers in self._refreshes] for name in names] for i in (0, 1)
        ]
        return {
            "layers": names,
            "steps": [int(each[0]) for each in self._refreshes],
            "energy": rows[0],
            "overlap": rows[1],
        }


def _halved(refreshes: list[tuple[float, float, dict]]) -> list[tuple[float, float, dict]]:
    """Two refreshes as one, at the later one's step: each holds other matrices, and none may lose its newest figures."""
    pairs = zip(refreshes[::2], refreshes[1::2], strict=False)
    joined = [(step, seconds, earlier | later) for (_, _, earlier), (step, seconds, later) in pairs]
    return joined + refreshes[2 * len(joined) :]


def extras(event: dict, known: set[str]) -> dict[str, float]:
    """The figures of an event beside the `known` keys, by name: what the tasks measure is theirs to choose."""
    found = {key: number(value) for key, value in event.items() if key not in known and _NAME.fullmatch(key)}
    return dict([(key, value) for key, value in found.items() if value is not None][:MOST_EXTRA])


def _mean(layers: dict, index: int) -> float:
    values = [pair[index] for pair in layers.values() if pair[index] is not None]
    return sum(values) / len(values) if values else nan


def _curve(points: list[tuple[float, float, float]], max_points: int) -> dict[str, list]:
    step, seconds, value = np.array(points, dtype=float).reshape(-1, 3).T
    return curve(step, seconds, value, max_points)
