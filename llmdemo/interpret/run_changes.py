"""What a run's training changed, in parts of a few seconds, so that a page can show it as it is computed. Knows no page."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home, child
from llmdemo.interpret.weight_changes import Change, Changes
from llmdemo.models import catalog
from llmdemo.models.files import read_object

_REMEMBERED = 8
"""Runs."""


class RunChanges:
    """One for the app. One part is computed at a time; what was computed is remembered."""

    def __init__(self, home: Home):
        self._home = home
        self._known: OrderedDict[tuple, dict[int, dict]] = OrderedDict()
        self._lock = threading.Lock()

    def part(self, run_id: str, start: int = 0, seconds: float = 3) -> dict:
        """The matrices of the run's model from the `start`th on, as many as `seconds` allow, and one at least.

        {"total", "start", "matrices": [Change.to_dict()], "next" (None after the last)}. Raises UserError for a run without
        a model, or without the model that it started from.
        """
        folder = self._home.runs / child(self._home.runs, run_id).name / "model"
        if not folder.is_dir():
            raise UserError("err_no_weights_of_run")
        changes = Changes(self._base_of(folder), folder, _checkpoint_of(folder.parent))
        total = len(changes.names)
        if type(start) is not int or not 0 <= start < total:
            raise UserError("err_interpret_number", name="start", value=repr(str(start)[:40]), least=0, most=total - 1)
        end = time.monotonic() + seconds
        with self._lock:
            known = self._remembered(folder)
            found: list[dict] = []
            measured: Iterator[Change] | None = None
            place = start
            while place < total and (not found or place in known or time.monotonic() < end):
                if place not in known:
                    measured = measured or changes.measured(place)
                    known[place] = next(measured).to_dict()
                else:
                    measured = None
                found.append(known[place])
                place += 1
        return {"total": total, "start": start, "matrices": found, "next": place if place < total else None}

    def _base_of(self, folder: Path) -> Path:
        origin = read_object(folder / "origin.json", 2**20) if (folder / "origin.json").is_file() else {}
        own = folder.parent / "base"  # of a model that was made from nothing
        if own.is_dir():
            return own
        base = catalog.resolve(self._home, str(origin.get("base") or ""))
        if base.path is None:
            raise UserError("err_model_not_here_2", title=base.title)
        return base.path

    def _remembered(self, folder: Path) -> dict[int, dict]:
        """What is known of the model as it lies there now."""
        key = (str(folder), max(file.stat().st_mtime_ns for file in folder.iterdir()))
        known = self._known.setdefault(key, {})
        self._known.move_to_end(key)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known


def _checkpoint_of(run: Path) -> Path | None:
    """The newest checkpoint, whose optimizer tells the subspaces; None where it is gone."""
    found = sorted((run / "checkpoints").glob("step-*"))
    return found[-1] if found and (found[-1] / "optimizer.safetensors").is_file() else None
