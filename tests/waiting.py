"""Waiting for what happens in a thread, in a process or on a server: each fails after its time and says what was seen last."""

import socket
import subprocess
import time
import urllib.request

from llmdemo.jobs.states import ACTIVE


def until(condition, seconds: float = 60.0, what: str = "", pause: float = 0.02):
    """The first true value of `condition()`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what or condition}"
        time.sleep(pause)
    return value


def over(service, job_id: str, seconds: float = 60.0, pause: float = 0.02) -> dict:
    """The status of a job once it goes no more."""
    end = time.monotonic() + seconds
    while (status := service.status(job_id))["state"] in ACTIVE:
        assert time.monotonic() < end, status
        time.sleep(pause)
    return status


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def page_of(url: str, process: subprocess.Popen, seconds: float = 60.0, pause: float = 0.1) -> str:
    """The page at `url`, once the app in `process` answers."""

    def page() -> str:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            assert process.poll() is None, "the app has ended"
            return ""

    return until(page, seconds, "the page did not come up", pause)
