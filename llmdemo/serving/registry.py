"""Which models are served, under which names: one file in the home folder, so that a restart changes nothing.

Knows no models and no keys: a name, an id, a lane.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmdemo.core import store
from llmdemo.core.errors import UserError

MOST_SERVED = 50
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """One served model."""

    name: str
    """What a request calls it."""
    model_id: str
    lane: dict[str, Any]
    """How it decodes unless a request says otherwise: {"strategy": …, and settings}; {} for a classifier."""
    created: float
    """When it was served under this name, in seconds since 1970."""
    trial: dict[str, Any] | None = None
    """The model on trial beside it, see trials.py: {"model_id", "mode", "share", "since"}."""
    before: str = ""
    """The model that was served under this name until another took its place; what a roll-back brings again."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Registry:
    """The served models in one file, which several apps on a home folder may change. Any thread may call it."""

    def __init__(self, file: Path):
        self._file = file
        self._known: tuple[tuple[int, int, int], dict[str, Served]] | None = None

    def put(self, name: str, model_id: str, lane: dict[str, Any]) -> Served:
        """Serves a model under a name, in place of what was served under it before. Raises UserError."""
        name = checked_name(name)
        with self._changing() as known:
            earlier = known.get(name)
            before = "" if earlier is None else earlier.before if earlier.model_id == model_id else earlier.model_id
            known[name] = Served(name, model_id, lane, round(time.time(), 3), None, before)
            if len(known) > MOST_SERVED:
                raise UserError("err_served_many", most=MOST_SERVED)
            return known[name]

    def remove(self, name: str) -> None:
        """Serves nothing under this name from now on. Raises UserError where nothing was."""
        with self._changing() as known:
            self.one(name)
            del known[name]

    def change(self, name: str, change: Callable[[Served], Served]) -> Served:
        """Puts `change(served)` in the place of what is served under this name. Raises UserError where nothing is, and what
        `change` raises."""
        with self._changing() as known:
            known[name] = change(self.one(name))
            return known[name]

    def all(self) -> dict[str, Served]:
        """The served models by name, the oldest first. A damaged file serves nothing, and the log says so."""
        try:
            seen = self._file.stat()
        except FileNotFoundError:
            return {}
        stamp = seen.st_mtime_ns, seen.st_size, seen.st_ino
        if self._known is None or self._known[0] != stamp:
            self._known = stamp, _read(self._file)
        return dict(self._known[1])

    def one(self, name: str) -> Served:
        """What is served under this name. Raises UserError where nothing is."""
        known = self.all()
        if name not in known:
            raise UserError("err_served_none", name=repr(name[:80]))
        return known[name]

    def model_ids(self) -> set[str]:
        """The ids of all models that are served or on trial."""
        found = self.all().values()
        return {served.model_id for served in found} | {one.trial["model_id"] for one in found if one.trial}

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Served]]:
        """Gives the served models by name, to be changed; they are written at the end, whole, unless something was raised."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with store.locked(self._file.with_suffix(".lock")):
            known = self.all()
            yield known
            store.write_json(self._file, {"served": [served.to_dict() for served in known.values()]})


def checked_name(name: object) -> str:
    """`name`, if a model may be served under it. Raises UserError."""
    if isinstance(name, str) and _NAME.fullmatch(name.strip()):
        return name.strip()
    raise UserError("err_served_name", given=repr(str(name)[:80]))


def _read(file: Path) -> dict[str, Served]:
    try:
        return {values["name"]: Served(**values) for values in store.read_json(file)["served"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.error("nothing is served: %s cannot be read (%s)", file.name, error)
        return {}
