"""Long pieces of work, whatever they are: queue, states, process group, events, diagnosis, resume. See README.md.

Knows no torch, no gradio and no kind of work.
"""

from llmdemo.jobs.digest import Digest, End, Event
from llmdemo.jobs.folder import Config, JobFolder
from llmdemo.jobs.kinds import Kind, hub_kind, model_kind, worker_of
from llmdemo.jobs.seen import Mark
from llmdemo.jobs.service import Jobs
from llmdemo.jobs.states import ACTIVE, COMPLETED
from llmdemo.jobs.status import JobStatus
from llmdemo.jobs.view import JobsOfKind

__all__ = [
    "ACTIVE",
    "COMPLETED",
    "Config",
    "Digest",
    "End",
    "Event",
    "JobFolder",
    "JobStatus",
    "Jobs",
    "JobsOfKind",
    "Kind",
    "Mark",
    "hub_kind",
    "model_kind",
    "worker_of",
]
