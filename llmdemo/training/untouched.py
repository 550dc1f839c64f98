"""The held-out figures and the answers of the model as it is before the first step, kept for later runs on the same.

They depend on the model's files, the run's token ids and how these are computed, and on nothing that a run sets for its
steps: of several runs that try settings, the first alone has to compute them. Knows nothing of loops.
"""

import hashlib
import json
import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import torch
import transformers

from llmdemo import __version__
from llmdemo.core import store
from llmdemo.core.store import Home
from llmdemo.settings.training import TrainConfig
from llmdemo.training.objectives import Objective

MOST_KEPT = 200
"""Files that are kept, the last ones used."""
TASKS = ("chat", "text")
"""Whose figures come from the weights and the rows alone: no head drawn by a seed, no reference, no draws."""
_VERSION = 2
"""Of how they are computed: another one computes anew."""
_COUNT = ("task", "precision", "batch_size", "max_length", "loss_on", "packing", "quantises", "target_modules")
"""Settings that the figures depend on beyond the token ids, by a rounding at least."""


class Untouched:
    """Stands before an objective's `evaluate` and `answers` at step 0. path: the file of this model and these rows, None:
    nothing is kept."""

    def __init__(self, path: Path | None = None):
        self._path = path
        self.seconds = 0.0
        """What it took where it was computed."""

    def judged(
        self, objective: Objective, last: bool, asks: bool
    ) -> tuple[dict[str, float], int, Iterator[tuple[str, dict]]]:
        """(figures, of how many items, (event, fields) of the answers and of what else is observed, which are computed as they
        are taken); `asks`: whether they are."""
        kept = self._read()
        if kept:
            figures, records, answers, self.seconds = kept
            return figures, records, _told(answers, objective)
        started = time.monotonic()
        found, records = objective.evaluate(last=last)
        told = _told(self._answered(objective, found, records, started), objective)
        return found, records, told if asks else iter(())

    def _answered(self, objective: Objective, found: dict, records: int, started: float) -> Iterator[dict]:
        answers = []
        for answer in objective.answers():
            answers.append(answer)
            yield answer
        if self._path:
            seconds = time.monotonic() - started
            kept = {"figures": found, "records": records, "answers": answers, "seconds": seconds}
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                store.write_json(self._path, kept)
                prune(self._path.parents[1])
            except (OSError, ValueError):  # a full disk, or a figure that is no number: computed again next time
                with suppress(OSError):
                    self._path.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, float], int, list[dict], float] | None:
        if self._path is None:
            return None
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            figures = {str(name): float(figure) for name, figure in kept["figures"].items()}
            answers = [{key: str(each[key]) for key in ("text", "prompt", "expected")} for each in kept["answers"]]
            self._path.touch()
            return figures, int(kept["records"]), answers, float(kept["seconds"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # damaged: it is computed, and written anew


def _told(answers: Iterable[dict], objective: Objective) -> Iterator[tuple[str, dict]]:
    yield from (("sample", answer) for answer in answers)
    yield from objective.observed()


def prune(folder: Path) -> None:
    """Removes all but the files that were used last; in `folder`, one folder a data set, which is deleted with it."""
    files = sorted(folder.glob("*/*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[MOST_KEPT:]:
        file.unlink(missing_ok=True)


def untouched(home: Home, run_dir: Path, model: Path | None, config: TrainConfig, device: torch.device) -> Untouched:
    """For a run of one process with the rows in `run_dir` on the model in that folder; config: with its precision."""
    if config.task not in TASKS or config.num_processes > 1 or model is None:
        return Untouched()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    found = hashlib.sha256(f"{_VERSION} {__version__} {torch.__version__} {transformers.__version__} {name}\n".encode())
    found.update(json.dumps([getattr(config, key) for key in _COUNT]).encode())
    for file in sorted(file for file in model.iterdir() if file.is_file()):
        stamp = file.stat()
        found.update(f"{file.resolve()} {stamp.st_size} {stamp.st_mtime_ns} {stamp.st_ino}\n".encode())
    for name in ("data.safetensors", "data.json"):
        found.update(hashlib.sha256((run_dir / name).read_bytes()).digest())
    return Untouched(home.untouched / config.dataset_id / f"{found.hexdigest()}.json")
