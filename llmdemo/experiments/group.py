"""An experiment's own folder: group.json, whole at every moment, and the file `cancelled`. Knows nothing of running.

The folder belongs to whoever leads the runs of the home folder. Anybody may put `cancelled` into it, as the file `stop`
is put into a run's folder: a request that no write of the leader can undo.
"""

import contextlib
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from llmdemo.errors import UserError
from llmdemo.store import Home, child, new_id, read_json, whole_folder, write_json

RUNNING, COMPLETED, CANCELLED, FAILED = "running", "completed", "cancelled", "failed"


@dataclass
class Group:
    """What is kept of an experiment. `members` are dicts: label, varied, values, rung, run_id, kept (last figures)."""

    group_id: str
    kind: str
    name: str
    created: float
    base: dict
    strategy: str = ""
    keep: str = "all"
    rungs: list = field(default_factory=list)
    members: list = field(default_factory=list)
    state: str = RUNNING
    message: str = ""
    hint: str = ""

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
        try:
            return Group(**read_json(self._path(group_id) / "group.json"))
        except FileNotFoundError:
            raise UserError(
                f"There is no experiment {group_id!r}.", "Choose one from the list; it may have been deleted."
            ) from None
        except (ValueError, TypeError, OSError, RecursionError) as error:
            raise UserError(f"The experiment {group_id} is damaged.", "Delete it; its runs stay.") from error

    def ids(self) -> list[str]:
        """The newest first."""
        found = [path.name for path in self._folder.glob("exp-*") if not path.is_symlink()]
        return sorted(found, reverse=True)

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
