"""One job elsewhere, in a process of its own: `python -m llmdemo.elsewhere.worker FOLDER`. The token comes on standard input.

Sends what the job needs, begins it, looks how it is, fetches the run and checks it as any run from a stranger. What is
known of the job on the hub is written to hub.json at once, so that a later attempt finds it again; the token is only in
this process's memory, and a secret of the job on the hub.
"""

import json
import os
import secrets
import shutil
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import readable_size, say
from llmdemo.core.store import Home, free_bytes, new_id, object_or_empty, write_json
from llmdemo.elsewhere import parcel
from llmdemo.elsewhere.hub_jobs import CANCELED, COMPLETED, OVER, RUNNING, WAITING, HubJobs, NotReached, Seen
from llmdemo.elsewhere.remote import PREFIX
from llmdemo.elsewhere.service import FETCHED, HUB, RESUME
from llmdemo.jobs import JobFolder
from llmdemo.jobs.digest import number, text
from llmdemo.jobs.worker import Stopped, Worker, perform, run_process
from llmdemo.publish.push import push
from llmdemo.runs import bundle

LOOK_SECONDS = float(os.environ.get("LLMDEMO_LOOK_SECONDS") or 5)
_MOST_FAILING_SECONDS = 3600.0
"""How long the hub may not answer until the watching ends; the job there goes on."""
_LAST_LINES_SECONDS = 10.0
_LOG_TRIES, _LOG_PAUSE_SECONDS = 50, 15.0
_CANCEL_TRIES, CANCEL_PAUSE_SECONDS = 4, 3.0
"""Together less than the half minute after which a job that was asked to stop is ended."""
_NUMBERS = ("step", "total_steps", "loss", "eval_loss", "eta_seconds")


def work(folder: JobFolder, home: Home, token: str) -> int:
    """0 unless a mistake of ours ended it."""

    def go(worker: Worker) -> None:
        try:
            if not token:
                raise UserError("err_elsewhere_no_token", RESUME)
            Attempt(worker, folder, home, HubJobs(token), token).go()
        except (UserError, Stopped):
            raise
        except Exception as error:  # said without its text, which may hold the token; so is the log
            raise UserError("err_elsewhere_failed", RESUME, kind=type(error).__name__) from None

    return perform(Worker(folder), go, RESUME)


class Attempt:
    """One attempt at a job elsewhere, or at finding it again."""

    def __init__(self, worker: Worker, folder: JobFolder, home: Home, jobs: HubJobs, token: str):
        self._worker, self._folder, self._home, self._jobs, self._token = worker, folder, home, jobs, token
        self._config = folder.config()
        self._hub = object_or_empty(folder.path / HUB)
        self._figures: dict = {}
        self._failing: float | None = None

    def go(self) -> None:
        """Raises UserError for a job that did not come to its end, Stopped where it was cancelled from here."""
        if not self._hub.get("hub_id"):
            self._begin()
        log = threading.Thread(target=self._print_log, daemon=True, name="log")
        log.start()
        seen = self._watch()
        log.join(_LAST_LINES_SECONDS)
        self._fetch(seen)

    # -- begin

    def _begin(self) -> None:
        repo = str(self._hub.get("repo") or f"llmdemo-{self._folder.id}")
        self._know(owner=self._patiently(self._jobs.owner))
        tag = str(self._hub.get("tag") or "")
        # An attempt may have ended right after it had begun a job: that one is found again by its label.
        found = tag and self._patiently(lambda: self._jobs.find(tag, self._hub["owner"]))
        if found:
            return self._know(hub_id=found)
        seconds = int(self._config["hours"] * 3600)
        run_config = self._config["config"]
        run_id = self._folder.id.replace("elsewhere-", "run-", 1)
        files = self._as_files(parcel.files(self._home, run_id, run_config, seconds))

        def progress(sent: int, total: int, name: str) -> None:
            self._worker.progress(stage="sending", sent=sent, total=total, file=name)

        made = self._push(files, repo, progress)
        tag = f"{self._folder.id}-{secrets.token_hex(3)}"  # so that nothing of an earlier job is taken for this one's
        self._know(repo=made["repo"], tag=tag, result=f"output/{tag}.zip", begun=time.time())
        self._worker.check()
        env = {"LLMDEMO_REPO": made["repo"], "LLMDEMO_RESULT": self._hub["result"]}
        flavor = str(self._config["flavor"])
        begun = self._jobs.begin(tag, self._hub["owner"], flavor, parcel.command(), env, seconds)
        self._know(hub_id=begun)

    def _as_files(self, parts: dict[str, Path | bytes]) -> dict[str, Path | bytes]:
        """Contents as files too: push counts how far those are sent, and can break off in them."""
        folder = self._folder.path / "sent"
        folder.mkdir(exist_ok=True)
        for name, content in parts.items():
            if isinstance(content, bytes):
                parts[name] = folder / name.rpartition("/")[2]
                (folder / name.rpartition("/")[2]).write_bytes(content)
        return parts

    def _push(self, files: dict, repo: str, progress: Callable) -> dict:
        message, stop = "What a run elsewhere needs", self._worker.should_stop
        warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")  # it is
        try:
            return push(files, repo, self._token, private=True, message=message, progress=progress, should_stop=stop)
        except UserError as error:
            if getattr(error.message, "key", "") in ("err_push_broke", "err_push_http"):
                raise UserError(error.message, RESUME) from None
            raise

    def _know(self, **more: object) -> None:
        self._hub |= more
        write_json(self._folder.path / HUB, self._hub)

    # -- watch

    def _watch(self) -> Seen:
        """Looks until the job is over; tells how it is. Cancels it where that is asked for, or where it never starts."""
        try:
            while True:
                seen = self._look()
                if seen is not None:
                    self._tell(seen)
                    if seen.stage in OVER:
                        return seen
                    self._check_wait(seen)
                self._pause(LOOK_SECONDS)
                self._worker.check()
        except Stopped:
            self._cancel()
            raise

    def _look(self) -> Seen | None:
        """None while the hub does not answer; UserError when it has not for an hour."""
        try:
            seen = self._jobs.look(self._hub["hub_id"], self._hub["owner"])
        except NotReached as error:
            now = time.monotonic()
            self._failing = self._failing or now
            if now - self._failing > _MOST_FAILING_SECONDS:
                raise UserError(error.message, RESUME) from None
            self._worker.progress(force=True, stage="unreached", **self._figures)
            return None
        self._failing = None
        return seen

    def _tell(self, seen: Seen) -> None:
        stage = {WAITING: "waiting", RUNNING: "running"}.get(seen.stage, "fetching")
        self._worker.progress(force=True, stage=stage, running_seconds=seen.seconds, **self._figures)

    def _check_wait(self, seen: Seen) -> None:
        most = float(self._config["wait_hours"]) * 3600
        if seen.stage == WAITING and time.time() - float(self._hub.get("begun") or time.time()) > most:
            self._cancel()
            raise UserError(
                "err_elsewhere_never_started", hours=self._config["wait_hours"], flavor=self._config["flavor"]
            )

    def _cancel(self) -> None:
        """Ends the job there, which would go on to cost money: where the hub does not answer at once, it is asked again,
        also once a stop was asked for. Another attempt begins another job."""
        for last in (False,) * _CANCEL_TRIES + (True,):
            try:
                self._jobs.cancel(self._hub["hub_id"], self._hub["owner"])
                break
            except NotReached:
                if last:
                    raise
                time.sleep(CANCEL_PAUSE_SECONDS)
        self._know(hub_id="", tag="")
        self._worker.write("note", message=say("elsewhere_cancelled_there"))

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._worker.should_stop():
            time.sleep(min(0.1, seconds))

    def _print_log(self) -> None:
        """Copies the job's output into the log, and keeps the figures that are in it. Where the connection breaks it goes on
        after the lines that it has; whatever keeps it from that, the watch goes on."""
        printed = 0
        for _ in range(_LOG_TRIES):
            try:
                for n, line in enumerate(self._jobs.lines(self._hub["hub_id"], self._hub["owner"])):
                    if n >= printed:
                        printed = n + 1
                        self._take_line(line)
                return
            except Exception as error:
                print(say("elsewhere_log_broke", kind=type(error).__name__), flush=True)
                time.sleep(_LOG_PAUSE_SECONDS)

    def _take_line(self, line: str) -> None:
        if line.startswith(PREFIX):
            self._figures |= figures_of(line)
        else:
            print(line, flush=True)

    def _patiently(self, question: Callable):
        """Asks a few times where the hub does not answer at once."""
        for last in (False, False, True):
            try:
                return question()
            except NotReached:
                if last:
                    raise
                self._pause(1.0)
        return None

    # -- the end

    def _fetch(self, seen: Seen) -> None:
        """The run, checked, below FETCHED; raises UserError, where there is something, after it."""
        size = self._patiently(lambda: self._jobs.size(self._hub["repo"], str(self._hub["result"])))
        if size is None:
            self._know(hub_id="", tag="")  # another attempt begins another job
            raise _end_of(seen, str(self._hub.get("repo")))
        room = free_bytes(self._home.root) - int(self._config.get("min_free_bytes") or 0)
        if 2 * size > room:
            raise UserError("err_bundle_space", size=readable_size(2 * size), room=readable_size(max(0, room)))
        self._worker.progress(force=True, stage="fetching", **self._figures)
        scratch = self._folder.path / "fetched"
        try:
            path = self._patiently(lambda: self._jobs.fetch(self._hub["repo"], str(self._hub["result"]), scratch))
            target = self._folder.path / FETCHED / new_id("run")
            target.parent.mkdir(exist_ok=True)
            bundle.unpack(path, target, self._home, room - size)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _end_of(seen: Seen, repo: str) -> UserError:
    """What a job is told to have ended of that sent nothing back."""
    if seen.stage == CANCELED:
        return UserError("err_elsewhere_cancelled")
    if seen.stage == COMPLETED:
        return UserError("err_elsewhere_no_bundle", repo=repo)
    return UserError("err_elsewhere_job_failed", said=seen.message or seen.stage)


def figures_of(line: str) -> dict:
    """The figures in a line of a job's output that remote.py printed, or that somebody made look like one."""
    try:
        said = json.loads(line[len(PREFIX) :])
    except (ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    found: dict = {key: number(said.get(key)) for key in _NUMBERS if number(said.get(key)) is not None}
    return found | ({"phase": text(said["phase"], 40)} if isinstance(said.get("phase"), str) else {})


if __name__ == "__main__":
    run_process(work, has_secret=True)
