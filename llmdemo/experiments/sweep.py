"""An experiment's folder: a job's, with trials.json, whole at every moment. Knows nothing of running.

config.json holds what was asked for, trials.json what has come of it. Earlier versions kept both in group.json.
"""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NotRequired

from pydantic import Field, Strict, StrictBool, StrictFloat, StrictInt, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from llmdemo.core.errors import UserError
from llmdemo.core.store import read_json, write_json
from llmdemo.jobs import End, JobFolder
from llmdemo.jobs.folder import part_of
from llmdemo.jobs.reader import Reader
from llmdemo.jobs.states import COMPLETED, FAILED, STOPPED, WORKER_ERROR

_ASKED = ("kind", "base", "strategy", "keep", "rungs")
_OLD_ENDS = {"completed": COMPLETED, "cancelled": STOPPED}


Name = Annotated[str, Field(max_length=1000)]
Plain = StrictBool | StrictInt | StrictFloat | Name | None
Settings = Annotated[dict[str, Plain | list[Plain]], Field(max_length=200)]
Number = Annotated[float, Strict(), Field(ge=-(2.0**53), le=2.0**53)]
Figure = Number | None
Whole = Annotated[int, Strict(), Field(ge=0, le=2**53)] | None


class Points(TypedDict):
    """A curve: columns of equal length."""

    step: list[Number]
    tokens: list[Number]
    seconds: list[Number]
    value: list[Number]


class Kept(TypedDict):
    """The last figures of a trial's run, which may be deleted; see leaderboard.kept."""

    state: Name
    reason: NotRequired[Name | None]
    message: NotRequired[str | None]
    attempt: Whole
    step: Whole
    total_steps: Whole
    eta_seconds: Figure
    queue_position: Whole
    model_id: Name | None
    loss: Figure
    eval_loss: Figure
    first_eval_loss: Figure
    metrics: dict[Name, Figure]
    tokens: Whole
    seconds: Figure
    tokens_per_second: Figure
    peak_memory_bytes: Whole
    optimizer_bytes: Whole
    curves: dict[Literal["train", "eval"], Points] | None


class TrialKept(TypedDict):
    """A trial as trials.json has it: its run, planned or begun."""

    label: Name
    varied: Settings
    values: Settings
    rung: Annotated[int, Strict(), Field(ge=0, le=100)]
    run_id: Name | None
    kept: NotRequired[Kept | None]


Round = Annotated[list[Annotated[int, Strict(), Field(ge=1)]], Field(min_length=2, max_length=2)]


@dataclass
class Sweep:
    """What is kept of an experiment."""

    group_id: Name
    kind: Literal["race", "search"]
    name: Name
    created: Annotated[float, Strict(), Field(ge=0, le=1e11)]
    base: Settings
    strategy: Name = ""
    keep: Name = "all"
    rungs: list[Round] = field(default_factory=list)
    """(runs, steps) of each round of a halving."""
    trials: list[TrialKept] = field(default_factory=list)
    message: Name = ""
    hint: Name = ""
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
        said = {"group_id": folder.id, "name": about.get("name"), "created": about.get("created")}
        return _SWEEP.validate_python({**known, **config["sweep"], **said})
    except ValidationError as error:  # a ValueError too, whose text is long
        first = error.errors(include_url=False, include_input=False)[0]
        raise _damaged(folder, f"{'.'.join(map(str, first['loc']))[:80]}: {first['msg'][:100]}") from error
    except (ValueError, TypeError, KeyError, OSError, UserError) as error:
        raise _damaged(folder, type(error).__name__) from error


def _damaged(folder: JobFolder, why: str) -> UserError:
    return UserError("err_experiment_damaged", experiment=folder.id, why=why)


_SWEEP = TypeAdapter(Sweep)


def take_over(folder: JobFolder) -> None:
    """Brings a group.json of an earlier version into today's form; does nothing where there is none. Raises UserError."""
    try:
        old = read_json(folder.path / "group.json")
    except FileNotFoundError:
        return
    except (ValueError, OSError) as error:
        raise _damaged(folder, type(error).__name__) from error
    try:
        asked = {key: old[key] for key in _ASKED}
        known = {"trials": list(old["members"]), "message": "", "hint": ""}
        about = {"id": folder.id, "name": old["name"], "created": old["created"]}
        state, message, hint = old["state"], old["message"], old["hint"]
    except (KeyError, TypeError) as error:
        raise _damaged(folder, type(error).__name__) from error
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
