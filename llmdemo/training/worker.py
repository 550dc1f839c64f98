"""`-m llmdemo.training.worker RUN_DIR` under `accelerate launch` or launch.py: trains the run in that folder, and says how it ended.

With --wait in the place of the folder it imports what a run needs, and waits to be told of one (jobs/spare.py).

Reads config.json, appends to events.jsonl, looks for the file `stop` before each step, writes checkpoints/ and at the
end model/. Started again on the same folder, it goes on from the newest whole checkpoint. Exit status 0: completed or
stopped. Knows nothing of the queue that started it.
"""

import logging
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from llmdemo.core import out_of_memory, store
from llmdemo.core.errors import UserError, first_line, is_disk_full
from llmdemo.core.events import EventWriter
from llmdemo.core.imports import uncollected
from llmdemo.core.leaving import leave
from llmdemo.core.sentences import say

RESUME = say("resume_run")


class _Stop:
    """Whether the run is asked to stop: by the file `stop`, or by SIGTERM or SIGINT."""

    def __init__(self, path: Path):
        self._path = path
        self._signalled = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._signalled.set())

    def __call__(self) -> bool:
        return self._signalled.is_set() or self._path.exists()


def main(run_dir: Path) -> int:
    """Trains; returns the exit status."""
    # torchrun gives every process a rank; only the first writes.
    writer = EventWriter(run_dir / "events.jsonl") if int(os.environ.get("RANK", "0")) == 0 else None

    last = {}  # the newest event of each kind: what is known should the run fail

    def report(kind: str, **fields) -> None:
        last[kind] = fields
        if writer:
            writer.write(kind, **fields)

    try:
        ended = _train(run_dir, report)
    except Exception as error:  # the boundary of the process: whatever happened becomes the run's last word
        traceback.print_exc()
        return _report_failure(report, explain(error, last.get("ledger"), _config(run_dir)))
    report("end", **ended)
    return 0


def _config(run_dir: Path) -> dict:
    try:
        config = store.read_json(run_dir / "config.json")
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _report_failure(report, said: dict) -> int:
    try:
        report("end", state="failed", **said)
    except OSError:
        logging.getLogger(__name__).exception("the run's end could not be written")
    return 1


def explain(error: Exception, ledger: dict | None = None, config: dict | None = None) -> dict:
    """reason, message and hint for what ended a run: what it needed, what there was, what to change.

    `ledger`: the run's last memory estimate; `config`: its settings.
    """
    text = first_line(error, 300)
    if isinstance(error, UserError):
        return {"reason": "bad_config", "message": error.message, "hint": error.hint}
    if _is_out_of_memory(error):
        message = say("end_run_memory", needed=out_of_memory.needed(ledger, said=str(error)) or text)
        return {"reason": "out_of_memory", "message": message, "hint": out_of_memory.smaller(ledger, config)}
    if _is_disk_full(error):
        return {
            "reason": "disk_full",
            "message": say("end_disk_full", line=text),
            "hint": say("hint_space_and", resume=RESUME),
        }
    if type(error).__name__ == "Halt":
        return {"reason": "nothing_learned", "message": error.args[0], "hint": getattr(error, "hint", "")}
    if type(error).__name__ == "NonFinite":
        hint = say("hint_non_finite")
        return {"reason": "non_finite", "message": error.args[0] if error.args else text, "hint": hint}
    message = say("end_worker_failed", kind=type(error).__name__, text=text)
    return {"reason": "worker_error", "message": message, "hint": say("hint_log_below")}


def _is_out_of_memory(error: Exception) -> bool:
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def _is_disk_full(error: Exception) -> bool:
    # safetensors wraps the operating system's error into one of its own.
    return is_disk_full(error) or "No space left on device" in str(error) or "os error 28" in str(error)


def _train(run_dir: Path, report) -> dict:
    """Sets up, trains, publishes; returns the fields of the end event."""
    report("phase", phase="importing")
    stop = _Stop(run_dir / "stop")
    with uncollected():  # torch and transformers: seconds, after the first sign of life
        from llmdemo.training import ahead  # noqa: F401
        from llmdemo.training.session import Session

    report("phase", phase="loading")
    home = store.Home(run_dir.parents[1])
    return Session(run_dir, home, report).run(stop)


def _leave(status: int) -> None:
    """Ends a run's only process at once; of several, each in its own way, as others may still talk with it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        leave(status)
    logging.shutdown()
    sys.exit(status)


def _wait() -> int:
    """Waits for a run with everything imported; the exit status."""
    from llmdemo.jobs.spare import wait_for_job

    with uncollected():
        from llmdemo.training import ahead  # noqa: F401

    folder = wait_for_job()
    return 0 if folder is None else main(Path(folder).resolve())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _leave(_wait() if sys.argv[1:] == ["--wait"] else main(Path(sys.argv[1]).resolve()))
