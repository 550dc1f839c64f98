"""A run's folder: a job's, with data.json, checkpoints/ and model/. Knows nothing of the queue or of signals."""

from dataclasses import dataclass
from pathlib import Path

from llmdemo.jobs import JobFolder


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
