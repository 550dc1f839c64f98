"""A run's folder: a job's, with data.json, note.txt, shown, checkpoints/ and model/. Knows nothing of the queue or of signals."""

from dataclasses import dataclass
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.store import write_atomic
from llmdemo.jobs import JobFolder

MOST_NOTE = 2000
"""Characters of a note."""


@dataclass(frozen=True)
class RunFolder(JobFolder):
    def newest_checkpoint(self) -> Path | None:
        """The folder of the newest checkpoint; the worker makes them whole or not at all."""
        found = sorted((self.path / "checkpoints").glob("step-*"))
        return found[-1] if found else None

    def can_go_on(self) -> bool:
        """Whether there is all here that a resumed worker needs, wherever the run began: a checkpoint and its records."""
        return self.newest_checkpoint() is not None and (self.path / "data.json").is_file()

    def has_model(self) -> bool:
        return (self.path / "model").is_dir()

    @property
    def is_shown(self) -> bool:
        """Whether guests may watch it."""
        return (self.path / "shown").is_file()

    def show(self, on: bool) -> None:
        """Lets guests watch the run, or no longer."""
        if on:
            write_atomic(self.path / "shown", b"")
        else:
            (self.path / "shown").unlink(missing_ok=True)

    def own_note(self) -> str:
        """What somebody wrote of the run; "" where nobody did."""
        try:
            return (self.path / "note.txt").read_text(encoding="utf-8")[:MOST_NOTE]
        except (OSError, ValueError):
            return ""

    def annotate(self, note: str) -> None:
        """Keeps what somebody writes of the run; "" takes it away. Raises UserError for a note that is too long."""
        note = note.replace("\0", "").strip()
        if len(note) > MOST_NOTE:
            raise UserError("err_note_too_long", n=len(note), most=MOST_NOTE)
        if note:
            write_atomic(self.path / "note.txt", note.encode("utf-8", "replace"))
        else:
            (self.path / "note.txt").unlink(missing_ok=True)
