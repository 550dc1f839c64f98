"""Whether a queued job may begin now: what it waits for, GPUs of its own, room on the disk. Knows nothing of processes."""

import time
from collections.abc import Mapping

from llmdemo.access.disk_quota import reached
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import readable_size, say
from llmdemo.core.store import Home, free_bytes
from llmdemo.jobs.environment import free_gpus, gpus
from llmdemo.jobs.kinds import Kind
from llmdemo.jobs.table import Job, Table
from llmdemo.settings import Settings

LIMITS_SECONDS = 5.0
"""How often the disk quota is looked at."""


class Turns:
    """Notes in the table what a job waits for. Called by the supervisor alone."""

    def __init__(self, home: Home, settings: Settings, table: Table):
        self._home, self._settings, self._table = home, settings, table
        self._quota, self._next_quota = "", 0.0

    def waits(self, kind: Kind, job: Job) -> bool:
        """Whether it waits for more than its turn: those behind it may go first. Raises UserError if it never can begin."""
        why = kind.waits(kind.job_folder(self._home.root, job.job_id))
        if why:
            self._say(job, why)
        return bool(why)

    def devices(self, job: Job, kinds: Mapping[str, Kind]) -> list[str] | None:
        """The GPUs for this job ([]: those that there are); None while it has to wait for others to end."""
        kind, there = kinds[job.kind], gpus()
        if len(self._table.alive(kind.name)) >= kind.at_once(self._settings, there):
            return None
        try:
            wanted = kind.processes(kind.job_folder(self._home.root, job.job_id).config())
        except UserError:
            wanted = 0  # the launch says what is wrong with it
        taken: list[str] = []
        for each in self._table.alive(*kinds) if wanted else ():
            known = kinds[each.kind].job_folder(self._home.root, each.job_id).process()
            taken += [str(gpu) for gpu in known.get("devices") or []]
        return free_gpus(wanted, there, taken, share=self._settings.runs_at_once > 0)

    def has_space(self, kind: Kind, job: Job) -> bool:
        """Whether there is room for it on the disk."""
        if not kind.disk_need:
            return True
        free, needed = free_bytes(self._home.root), kind.disk_need(self._settings)
        message = (
            "" if free >= needed else say("job_waits_disk", free=readable_size(free), needed=readable_size(needed))
        )
        message = message or self._over_quota()
        self._say(job, message, say("job_waits_disk_hint"))
        return not message

    def _say(self, job: Job, message: str, hint: str = "") -> None:
        if message != job.message:
            self._table.set(job.job_id, message=message, hint=hint if message else "")

    def _over_quota(self) -> str:
        """What a waiting job waits for, if the home folder is full; looked at now and then, as counting takes a moment."""
        now = time.monotonic()
        if now >= self._next_quota:
            self._next_quota = now + LIMITS_SECONDS
            full = reached(self._home, self._settings, 0.0)
            self._quota = say("job_waits_room", full=full) if full else ""
        return self._quota
