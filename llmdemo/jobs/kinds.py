"""What a kind of job declares. All that the rest of jobs/ knows of what a job does stands here."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llmdemo.core.sentences import say
from llmdemo.jobs.digest import Digest, End
from llmdemo.jobs.folder import Config, JobFolder
from llmdemo.settings import Settings

Advice = Callable[[str, int | None], tuple[str, str]]
"""(what a library said, bytes of the machine) → what was needed, what to make smaller: sentences on lacking memory."""


_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Kind:
    """One kind of job. Either `command` gives its worker's process, or `advance` does its work here, bit by bit."""

    name: str
    """In the table, and the key in config.json that holds {id, name, named, created}."""
    noun: str
    """As sentences call it: "The {noun} is still going."."""
    prefix: str
    """Of its ids and folders: "run" makes run-20261124-031500-a1b2c3."""
    folder: str
    """Where its jobs lie, below the home folder."""
    command: Callable[[Path, Config], list[str]] | None = None
    """The worker's argv for a job's folder and its config."""
    environment: Callable[[Config], dict[str, str]] = field(default=lambda config: {})
    """Variables of its worker, beside those of every worker, for a job's config; what the app's own environment says counts more."""
    advance: Callable[[JobFolder, bool], End | None] | None = None
    """Does what can be done now, quickly; `True`: it was asked to stop. Returns how it ended, None while it goes on.
    What it raises is tried again."""

    every: float = 0.0
    """Seconds between two calls of `advance`, at least."""

    digest: type[Digest] = Digest
    """What reads its events."""
    large: tuple[str, ...] = ()
    """Folders that `prune` removes: what it makes that others may publish, and what only a resume needs."""
    take_over: Callable[[JobFolder], None] = field(default=lambda folder: None)
    """Brings a folder that an earlier version of the app made into today's form; called again after its process is gone."""

    at_once: Callable[[Settings, list[str]], int] = field(default=lambda settings, gpus: 1)
    """How many may go at the same time, given the GPUs that there are."""
    most_queued: Callable[[Settings], int] = field(default=lambda settings: 50)
    most_queued_hint: str = say("hint_cancel_some")
    processes: Callable[[Config], int] = field(default=lambda config: 0)
    """Processes with a GPU of their own each; 0: it takes no GPU from others."""
    waits: Callable[[JobFolder], str] = field(default=lambda folder: "")
    """What a queued job waits for besides its turn; "" for nothing. UserError: it cannot begin at all."""
    disk_need: Callable[[Settings], int] | None = field(default=lambda settings: settings.min_free_bytes)
    """Free bytes without which none starts; None: it writes next to nothing, so that no quota holds it either."""
    timed: bool = False
    """Whether it may not go longer than the settings' max_run_seconds."""

    grace: float = math.inf
    """Seconds until one that was asked to stop is told by force; the settings' stop_grace_seconds where that is less."""
    repeats: bool = False
    """Whether a completed one may be resumed."""
    repeats_hint: str = say("hint_start_another")
    check_resume: Callable[[JobFolder, bool], None] = field(default=lambda folder, imported: None)
    """Raises UserError for a stopped or failed job that cannot go on; `True`: it came from another installation."""
    resume_hint: str = say("resume_tries_again")
    """What a resume means, in a sentence."""
    starting: str = say("job_starting")
    stopping: str = say("job_stopping")
    memory_advice: Callable[[Digest, Config], Advice] | None = None
    """What to say of a job whose memory ran out."""

    def job_folder(self, root: Path, job_id: str) -> JobFolder:
        return JobFolder(root / self.folder / job_id)

    def owns(self, name: object) -> bool:
        """Whether an id, or a folder's name, is of this kind."""
        return isinstance(name, str) and name.startswith(f"{self.prefix}-")


def worker_of(module: str) -> Callable[[Path, Config], list[str]]:
    """A kind's `command` that runs `python -m module FOLDER`."""
    return lambda folder, config: [sys.executable, "-m", module, str(folder)]


def model_kind(name: str, noun: str, prefix: str, folder: str, module: str, resume_hint: str) -> Kind:
    """A kind whose worker asks a model and keeps all that it found so far: to stop takes it seconds, and no checkpoint."""
    command = worker_of(module)
    return Kind(name, noun, prefix, folder, command, grace=_STOP_SECONDS, resume_hint=resume_hint)


def hub_kind(name: str, noun: str, folder: str, module: str, at_once: int, grace: float, resume_hint: str) -> Kind:
    """A kind whose worker only talks with the hub: several go at once, next to nothing is written, no GPU is taken."""
    return Kind(
        name=name,
        noun=noun,
        prefix=name,
        folder=folder,
        command=worker_of(module),
        at_once=lambda settings, gpus: at_once,
        disk_need=None,
        grace=grace,
        resume_hint=resume_hint,
    )
