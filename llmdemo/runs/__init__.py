"""A run's life on this machine: the queue, the states, the worker's process, and what can be seen of it.

Knows no torch and no gradio. `Runs` is all that others need.
"""

from llmdemo.runs.service import Runs
from llmdemo.runs.states import (
    ALIVE,
    COMPLETED,
    FAILED,
    FINAL,
    QUEUED,
    REASONS,
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
)

__all__ = [
    "ALIVE",
    "COMPLETED",
    "FAILED",
    "FINAL",
    "QUEUED",
    "REASONS",
    "RUNNING",
    "STARTING",
    "STOPPED",
    "STOPPING",
    "Runs",
]
