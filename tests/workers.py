"""Workers of jobs in this process, in the place of processes of their own."""

import threading
from pathlib import Path

from llmdemo.core.events import read_events
from llmdemo.core.store import write_json
from llmdemo.jobs import JobFolder


def in_this_process(work, home):
    """What starts a worker: `work(folder, home, secret)` in a thread, which has ended when the start returns."""

    def launch(argv, folder, env, log, token, secret):
        thread = threading.Thread(target=work, args=(JobFolder(folder), home, secret), daemon=True)
        thread.start()
        thread.join()
        return 0, ""

    return launch


def waiting_job(folder: Path, kind: str, spec) -> JobFolder:
    """The folder of a job of this kind, with these settings, that has not begun."""
    folder.mkdir(parents=True)
    about = {"id": folder.name, "name": "x", "created": ""}
    write_json(folder / "config.json", {"spec": spec.to_dict(), kind: about})
    return JobFolder(folder)


def last_event(folder: JobFolder) -> dict:
    return read_events(folder.events)[0][-1]
