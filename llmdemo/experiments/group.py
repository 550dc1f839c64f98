"""An experiment's own folder: group.json, whole at every moment, and the file `cancelled`. Knows nothing of running.

The folder belongs to whoever leads the runs of the home folder. Anybody may put `cancelled` into it, as the file `stop`
is put into a run's folder: a request that no write of the leader can undo.
"""

import contextlib
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NotRequired

from pydantic import Field, Strict, StrictBool, StrictFloat, StrictInt, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from llmdemo.errors import UserError
from llmdemo.store import Home, child, is_id, new_id, read_json, whole_folder, write_json

RUNNING: Literal["running"] = "running"
COMPLETED: Literal["completed"] = "completed"
CANCELLED: Literal["cancelled"] = "cancelled"
FAILED: Literal["failed"] = "failed"


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
    """The last figures of a member's run, which may be deleted; see board.kept."""

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


class Member(TypedDict):
    """A run of an experiment, planned or begun."""

    label: Name
    varied: Settings
    values: Settings
    rung: Annotated[int, Strict(), Field(ge=0, le=100)]
    run_id: Name | None
    kept: NotRequired[Kept | None]


@dataclass
class Group:
    """What is kept of an experiment."""

    group_id: str
    kind: Literal["race", "search"]
    name: Name
    created: Annotated[float, Strict(), Field(ge=0, le=1e11)]
    base: Settings
    strategy: Name = ""
    keep: Name = "all"
    rungs: list[Annotated[list[Annotated[int, Strict(), Field(ge=1)]], Field(min_length=2, max_length=2)]] = field(
        default_factory=list
    )
    """(runs, steps) of each round of a halving."""
    members: list[Member] = field(default_factory=list)
    state: Literal["running", "completed", "cancelled", "failed"] = RUNNING
    message: Name = ""
    hint: Name = ""

    def of_rung(self, rung: int) -> list[dict]:
        return [member for member in self.members if member["rung"] == rung]

    @property
    def rung(self) -> int:
        """The newest round."""
        return max((member["rung"] for member in self.members), default=0)


class Groups:
    """The experiments of a home folder."""

    def __init__(self, home: Home):
        self._home, self._folder = home, home.experiments
        self._folder.mkdir(parents=True, exist_ok=True)

    def new_id(self) -> str:
        return new_id("exp")

    def add(self, group: Group) -> None:
        """Raises OSError when the disk is full."""
        with whole_folder(self._folder / group.group_id, self._home.tmp) as folder:
            write_json(folder / "group.json", asdict(group))

    def save(self, group: Group) -> None:
        """Nothing comes of it when the experiment was deleted meanwhile."""
        with contextlib.suppress(FileNotFoundError):
            write_json(self._path(group.group_id) / "group.json", asdict(group))

    def load(self, group_id: str) -> Group:
        """Raises UserError when there is none, or it is damaged."""
        path = self._path(group_id)
        try:
            group = _GROUP.validate_python(read_json(path / "group.json"))
        except ValidationError as error:  # a ValueError too, whose text is long
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))[:80]
            raise _damaged(group_id, f"{where}: {first['msg'][:100]}") from error
        except (ValueError, OSError) as error:
            if not path.is_dir():
                raise UserError(
                    f"There is no experiment {group_id!r}.", "Choose one from the list; it may have been deleted."
                ) from None
            raise _damaged(group_id, f"group.json: {type(error).__name__}") from error
        if group.group_id != group_id:
            raise _damaged(group_id, "it calls itself by another id")
        return group

    def shown(self, group_id: str) -> Group:
        """As `load`, but a damaged one as an experiment without runs that says so. Raises UserError when there is none."""
        try:
            return self.load(group_id)
        except UserError as error:
            try:
                created = self._path(group_id).stat().st_mtime
            except OSError:
                raise error from None
            said = {"state": FAILED, "message": error.message, "hint": error.hint}
            return Group(group_id=group_id, kind="search", name=group_id, created=created, base={}, **said)

    def ids(self) -> list[str]:
        """The newest first."""
        found = [path.name for path in self._folder.glob("exp-*") if path.is_dir() and not path.is_symlink()]
        return sorted(filter(is_id, found), reverse=True)

    def cancel(self, group_id: str) -> None:
        (self._path(group_id) / "cancelled").touch()

    def is_cancelled(self, group_id: str) -> bool:
        return (self._path(group_id) / "cancelled").exists()

    def remove(self, group_id: str) -> None:
        """Forgets the experiment; its runs stay."""
        path = self._path(group_id)
        if not path.is_dir():
            raise UserError(f"There is no experiment {group_id!r}.", "It may have been deleted already.")
        grave = self._home.tmp / f"{new_id('deleted')}-{group_id}"
        path.rename(grave)
        shutil.rmtree(grave, ignore_errors=True)

    def _path(self, group_id: str) -> Path:
        return child(self._folder, group_id)


def _damaged(group_id: str, why: str) -> UserError:
    return UserError(f"The experiment {group_id} is damaged ({why}).", "Delete it; its runs stay.")


_GROUP = TypeAdapter(Group)
