"""An experiment's folder: a job's, with trials.json, whole at every moment. Knows nothing of running.

config.json holds what was asked for, trials.json what has come of it. Earlier versions kept both in group.json.
"""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from llmdemo.errors import UserError
from llmdemo.jobs import End, JobFolder
from llmdemo.jobs.folder import part_of
from llmdemo.jobs.reader import Reader
from llmdemo.jobs.states import COMPLETED, FAILED, STOPPED, WORKER_ERROR
from llmdemo.store import read_json, write_json

_ASKED = ("kind", "base", "strategy", "keep", "rungs")
_OLD_ENDS = {"completed": COMPLETED, "cancelled": STOPPED}


@dataclass
class Sweep:
    """What is kept of an experiment. `trials` are dicts: label, varied, values, rung, run_id, kept (last figures)."""

    group_id: str
    kind: str
    name: str
    created: float
    base: dict
    strategy: str = ""
    keep: str = "all"
    rungs: list = field(default_factory=list)
    trials: list = field(default_factory=list)
    message: str = ""
    hint: str = ""
    """What the next runs wait for."""

    @property
    def rung(self) -> int:
        """The newest round."""
        return max((trial["rung"] for trial in self.trials), default=0)

    def config(self) -> dict:
        """What is written when it starts."""
        return {"sweep": {key: getattr(self, key) for key in _ASKED}}

    def save(self, folder: Path) -> None:
        """Writes down how far it is; nothing comes of it when the experiment was deleted meanwhile. Raises OSError."""
        known = {"trials": self.trials, "message": self.message, "hint": self.hint}
        with contextlib.suppress(FileNotFoundError):
            write_json(folder / "trials.json", known)


def load(folder: JobFolder) -> Sweep:
    """Raises UserError when it is damaged."""
    try:
        config, known = folder.config(), read_json(folder.path / "trials.json")
        about = part_of(config, "experiment")
        return Sweep(folder.id, name=about["name"], created=about["created"], **config["sweep"], **known)
    except (ValueError, TypeError, KeyError, OSError, RecursionError, UserError) as error:
        raise UserError(f"The experiment {folder.id} is damaged.", "Delete it; its runs stay.") from error


def take_over(folder: JobFolder) -> None:
    """Brings a group.json of an earlier version into today's form; does nothing where there is none. Raises UserError."""
    try:
        old = read_json(folder.path / "group.json")
    except FileNotFoundError:
        return
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"The experiment {folder.id} is damaged.", "Delete it; its runs stay.") from error
    try:
        asked = {key: old[key] for key in _ASKED}
        known = {"trials": list(old["members"]), "message": "", "hint": ""}
        about = {"id": folder.id, "name": old["name"], "created": old["created"]}
        state, message, hint = old["state"], old["message"], old["hint"]
    except (KeyError, TypeError) as error:
        raise UserError(f"The experiment {folder.id} is damaged.", "Delete it; its runs stay.") from error
    write_json(folder.path / "trials.json", known)
    with Reader(folder.events).digest() as digest:
        launched = digest.launched or digest.started or digest.end
    if not launched and state == "running":
        folder.note("launch", attempt=1)
        folder.note("start")
    elif not launched:
        end = _OLD_ENDS.get(state, FAILED)
        folder.note_end(End(end, WORKER_ERROR if end == FAILED else "", message, hint))
    if (cancelled := folder.path / "cancelled").exists():
        if state == "running":
            folder.stop.touch()
        cancelled.unlink()
    write_json(folder.path / "config.json", {"sweep": asked, "experiment": about})
    (folder.path / "group.json").unlink()
