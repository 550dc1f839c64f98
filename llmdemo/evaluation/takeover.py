"""Brings an evaluation of the version before, which kept spec.json and state.json, into today's form of a job."""

import time

from llmdemo.core.sentences import say
from llmdemo.evaluation.folder import EvaluationFolder
from llmdemo.jobs import End, JobFolder, process
from llmdemo.jobs.digest import number, text
from llmdemo.jobs.reader import Reader
from llmdemo.jobs.states import FAILED, FINAL, LOST, OUT_OF_MEMORY, RUNNING, STOPPED, STOPPING, WORKER_ERROR

_RESUME = say("resume_here")


def take_over(job: JobFolder) -> None:
    """Does nothing to a folder of today, and nothing twice. A worker of that version may still be at work: then its last
    word is taken over when it is gone. Raises OSError."""
    folder = EvaluationFolder(job.path)
    about, state = folder.read("spec"), folder.read("state")
    if about:
        spec = about.get("spec") or {}
        ours = {"id": folder.id, "name": spec.get("kind") or folder.id, "created": about.get("created") or time.time()}
        folder.write("config", {"spec": spec, "titles": about.get("titles") or {}, "evaluation": ours})
        (folder.path / "spec.json").unlink()
    if not state:
        return
    known, pid, identity = state.get("state"), state.get("pid"), text(state.get("identity"), 200)
    if pid is not None and known in (RUNNING, STOPPING) and process.is_alive(pid, identity):
        folder.write_process({"attempt": 1, "token": "", "pid": pid, "identity": identity})
        folder.note("launch", attempt=1)
        folder.note("start", pid=int(number(pid) or 0))
        return
    with Reader(folder.events).digest() as digest:
        ended = digest.end is not None
    if not ended and (end := _end(known, text(state.get("message")), text(state.get("hint")))):
        folder.note_end(end)
    for name in ("state", "progress"):
        (folder.path / f"{name}.json").unlink(missing_ok=True)


def _end(state: object, message: str, hint: str) -> End | None:
    """None of one that waits."""
    if state in (RUNNING, STOPPING):
        if state == STOPPING:
            return End(STOPPED, "", say("end_stopped"), _RESUME)
        return End(FAILED, LOST, say("end_lost_evaluation"), _RESUME)
    if not isinstance(state, str) or state not in FINAL:
        return None
    reason = OUT_OF_MEMORY if "memory" in message else WORKER_ERROR
    return End(state, reason if state == FAILED else "", message, hint)
