"""What runs and data may take of this machine: room in the home folder, time. Knows no processes and no queue."""

import threading
import time
from pathlib import Path

from llmdemo.core.errors import NotNow, UserError
from llmdemo.core.sentences import readable_size, say
from llmdemo.core.store import Home, folder_bytes
from llmdemo.settings import Settings

_FRESH_SECONDS = 30.0
_sizes: dict[Path, tuple[float, int]] = {}
_lock = threading.Lock()


def home_bytes(home: Home, fresh: float = _FRESH_SECONDS) -> int:
    """Size of the home folder in bytes, at most `fresh` seconds old: counting takes a moment in a large one."""
    with _lock:
        when, size = _sizes.get(home.root, (float("-inf"), 0))
        if time.monotonic() - when > fresh:
            size = folder_bytes(home.root)
            _sizes[home.root] = (time.monotonic(), size)
        return size


def check_quota(home: Home, settings: Settings) -> None:
    """Raises NotNow when the home folder has reached the disk quota."""
    if home_bytes(home) < settings.max_home_bytes:
        return
    size = home_bytes(home, fresh=0)  # something may have been deleted just now
    if size >= settings.max_home_bytes:
        raise NotNow("err_home_full", size=readable_size(size), most=readable_size(settings.max_home_bytes))


def reached(home: Home, settings: Settings, seconds: float) -> str:
    """Why a run that has trained for `seconds` must stop now; "" when it may go on."""
    if seconds > settings.max_run_seconds:
        return say("limit_run_seconds", seconds=f"{settings.max_run_seconds:,.0f}")
    try:
        check_quota(home, settings)
    except UserError as error:
        return f"{error.message} {error.hint}"
    return ""
