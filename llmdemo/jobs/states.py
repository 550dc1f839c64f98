"""The states of a job and the ways between them. Knows nothing of processes, files or databases.

    queued → starting → running → (stopping →) completed | stopped | failed(reason)

A stopped or failed job may be queued again (Resume), a completed one where its kind says so. Whatever is not listed
here cannot happen.
"""

QUEUED, STARTING, RUNNING, STOPPING = "queued", "starting", "running", "stopping"
COMPLETED, STOPPED, FAILED = "completed", "stopped", "failed"

ALIVE = (STARTING, RUNNING, STOPPING)
"""States in which a process of the job may exist."""
ACTIVE = (QUEUED, *ALIVE)
"""States of a job that is not over."""
FINAL = (COMPLETED, STOPPED, FAILED)
"""States in which none does, and none will until somebody resumes the job."""

LEGAL: dict[str | None, tuple[str, ...]] = {
    None: (QUEUED, *ALIVE, *FINAL),  # made, or found again in its folder
    QUEUED: (STARTING, STOPPED, FAILED),
    STARTING: (RUNNING, STOPPING, *FINAL),
    RUNNING: (STOPPING, *FINAL),
    STOPPING: FINAL,
    COMPLETED: (QUEUED,),
    STOPPED: (QUEUED,),
    FAILED: (QUEUED,),
}

BAD_CONFIG, OUT_OF_MEMORY, DISK_FULL = "bad_config", "out_of_memory", "disk_full"
LOST, NON_FINITE, WORKER_ERROR = "lost", "non_finite", "worker_error"
NOTHING_LEARNED = "nothing_learned"
REASONS = (BAD_CONFIG, OUT_OF_MEMORY, DISK_FULL, LOST, NON_FINITE, NOTHING_LEARNED, WORKER_ERROR)
"""Why a job failed."""

ASKING, TERMINATING, KILLING = "asking", "terminating", "killing"
STOP_PHASES = (ASKING, TERMINATING, KILLING)
"""How far a stop has gone: the stop file is there; SIGTERM was sent; SIGKILL was sent."""


def is_legal(before: str | None, after: str) -> bool:
    return after in LEGAL.get(before, ())
