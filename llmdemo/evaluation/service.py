"""Evaluations: what the page and the endpoints may ask. Imports no torch; each evaluation has a process of its own.

One after the other, in the order in which they were started. An evaluation's folder alone is enough to show or resume
it: a worker that is still there after the app was restarted is found again, one that is gone has stopped.
"""

from __future__ import annotations  # the method "list" would hide the type in the signatures

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from llmdemo import data, store
from llmdemo.errors import UserError
from llmdemo.evaluation import heldout
from llmdemo.evaluation.export import write_csv
from llmdemo.evaluation.folder import (
    FAILED,
    GOING,
    QUEUED,
    RUNNING,
    STOPPED,
    STOPPING,
    JobFolder,
    evaluations_folder,
)  # fmt: skip
from llmdemo.evaluation.judge_address import checked_key, parsed_url
from llmdemo.jobs import process
from llmdemo.jobs.lock import LeaderLock
from llmdemo.models import catalog
from llmdemo.runs.command import worker_environment
from llmdemo.settings import Settings
from llmdemo.settings.evaluation import KIND_OF_TASK, LIMITS, Spec
from llmdemo.store import Home, new_id

_BUSY_SECONDS, _IDLE_SECONDS = 0.3, 2.0
_STOP_SECONDS = 8.0
_MOST_QUEUED = 50
_log = logging.getLogger(__name__)


class Evaluations:
    """All evaluations of a home folder. Safe to use from any thread.

    `launch(folder, key) -> (pid, identity)` starts a worker; tests replace it. `runs` tells when the runs of a
    cross-validation are over. Methods that take an evaluation_id raise UserError for one that does not exist.
    """

    def __init__(self, home: Home, settings: Settings, runs=None, launch: Callable | None = None):
        self._home, self._settings, self._runs = home, settings, runs
        self._launch = launch or (lambda folder, key: _launch(home, folder, key))
        self._keys: dict[str, str] = {}  # of judges, as long as their evaluation waits
        self._asked: dict[str, float] = {}  # when each was asked to stop
        self._started: set[int] = set()  # pids of workers that nobody has waited for
        self._lock = threading.RLock()
        self._leader = LeaderLock(home.root / "evaluations.lock")
        self._closed, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="evaluations", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops watching. A worker goes on."""
        self._closed.set()
        self._wake.set()
        self._thread.join()
        self._leader.release()

    # ---- what can be done

    def start(self, values: dict, key: str = "") -> str:
        """Puts an evaluation in the queue and returns its id. `key` is for the judge's endpoint, and kept nowhere.

        values: the keys of spec.Spec; kind, limit and the split follow from data and models. Raises UserError.
        """
        key = checked_key(key)
        spec = self.checked(values, bool(key))
        if sum(each["state"] in GOING for each in self.list()) >= _MOST_QUEUED:
            raise UserError(f"{_MOST_QUEUED} evaluations wait already.", "Stop some, or wait.")
        evaluation_id = new_id("eval")
        if key:
            self._keys[evaluation_id] = key  # before the watching thread can see the evaluation
        try:
            with store.whole_folder(evaluations_folder(self._home) / evaluation_id, self._home.tmp) as path:
                folder = JobFolder(path)
                folder.write("spec", {"spec": spec.to_dict(), "created": time.time(), "titles": self._titles(spec)})
                folder.set_state(QUEUED)
        except BaseException:
            self._keys.pop(evaluation_id, None)
            raise
        self._wake.set()
        return evaluation_id

    def checked(self, values: dict, with_key: bool = False) -> Spec:
        """The spec with everything filled in. Raises UserError for data, models and judges that do not go together."""
        if (
            isinstance(values, dict)
            and not values.get("dataset_id")
            and isinstance(values.get("model_ids"), list | tuple)
        ):
            own = heldout.own_dataset(self._home, tuple(map(str, values["model_ids"])))
            values = {**values, "dataset_id": own or ""}
        spec = Spec.from_dict(values)
        info = data.get_dataset(self._home, spec.dataset_id)
        kind = KIND_OF_TASK[info.task]
        if spec.run_ids:
            kind = "kfold"
        if spec.kind not in ("", kind):
            raise UserError(f"{info.name} is for {kind!r}, not for {spec.kind!r}.", "Leave kind out.")
        model_ids = spec.model_ids or (("starter",) if kind in ("answers", "perplexity") else ())
        self._check_models(kind, model_ids, spec)
        if spec.judge.kind == "endpoint":  # so that no model runs for hours before a slip of the pen is told
            parsed_url(spec.judge.url, with_key)
        split = heldout.split_of(self._home, model_ids, spec.dataset_id)
        given = {key: value for key, value in values.items() if value is not None and key in split}
        filled = {"kind": kind, "limit": spec.limit or LIMITS[kind], "model_ids": list(model_ids)} | split | given
        whole = Spec.from_dict({**spec.to_dict(), **filled})
        if kind != "kfold":  # whose runs each tell their own part
            heldout.held_out(self._home, whole)
        return whole

    def stop(self, evaluation_id: str) -> dict:
        """Asks it to stop, or takes it out of the queue; harmless when pressed again. Returns status."""
        folder = JobFolder.of(self._home, evaluation_id)
        with self._lock:
            state = folder.read("state")
            if state.get("state") == QUEUED:
                folder.set_state(STOPPED, "Taken out of the queue.", "Resume puts it back.")
            elif state.get("state") in (RUNNING, STOPPING):
                folder.stop.touch()
                self._say_stopping(folder)
        self._wake.set()
        return self.status(evaluation_id)

    def _say_stopping(self, folder: JobFolder) -> None:
        """Unless the worker, which is another process, has had its last word since the state was read."""
        state = folder.read("state")
        if state.get("state") == RUNNING:
            folder.write("state", {**state, "state": STOPPING})

    def resume(self, evaluation_id: str, key: str = "") -> dict:
        """Puts a stopped or failed evaluation, or one whose judge failed, back in the queue. Returns status.

        Raises UserError for a key that none can be.
        """
        folder, key = JobFolder.of(self._home, evaluation_id), checked_key(key)
        with self._lock:
            if key:
                self._keys[evaluation_id] = key
            if folder.read("state").get("state") not in GOING:
                folder.stop.unlink(missing_ok=True)
                folder.write("progress", {})
                folder.set_state(QUEUED)
        self._wake.set()
        return self.status(evaluation_id)

    def delete(self, evaluation_id: str) -> None:
        """Removes it; answers that other evaluations may use stay. Raises UserError while it goes."""
        folder = JobFolder.of(self._home, evaluation_id)
        with self._lock:
            if folder.read("state").get("state") in (RUNNING, STOPPING):
                raise UserError("The evaluation is still going.", "Stop it first, then delete it.")
            grave = self._home.tmp / f"{new_id('deleted')}-{evaluation_id}"
            folder.path.rename(grave)
        self._keys.pop(evaluation_id, None)
        shutil.rmtree(grave, ignore_errors=True)

    # ---- what can be seen

    def status(self, evaluation_id: str) -> dict:
        """{evaluation_id, state, message, hint, kind, created, spec, titles, progress, waits_for}: ready for JSON."""
        return self._status(JobFolder.of(self._home, evaluation_id))

    def list(self) -> list[dict]:
        """The status of every evaluation, the newest first."""
        return [self._status(folder) for folder in self._folders()]

    def result(self, evaluation_id: str) -> dict:
        """What came out, {} before there is anything; see run_models and run_classifiers for the keys."""
        return JobFolder.of(self._home, evaluation_id).read("result")

    def records(self, evaluation_id: str) -> list[dict]:
        """What came out for each record."""
        return JobFolder.of(self._home, evaluation_id).records()

    def export(self, evaluation_id: str, folder: Path) -> Path:
        """A .csv in `folder` with all records, whole. Raises UserError where there is none yet, or of another kind."""
        records = self.records(evaluation_id)
        if not records or "loss" not in records[0]:
            raise UserError("There are no records to save yet.", "Wait until the models have been asked.")
        path = folder / f"{evaluation_id}.csv"
        write_csv(records, path)
        return path

    # ---- inside

    def _check_models(self, kind: str, model_ids: tuple[str, ...], spec: Spec) -> None:
        if kind == "kfold":
            return
        if not 1 <= len(model_ids) <= 2 or len(set(model_ids)) != len(model_ids):
            raise UserError(
                f"{len(model_ids)} models were given{' twice' if len(model_ids) == 2 else ''}.",
                "Give one model, or two different ones to compare.",
            )
        for model_id in model_ids:
            entry = catalog.resolve(self._home, model_id)
            if kind == "classify" and entry.task != "classify":
                raise UserError(f"{entry.title} does not classify.", "Choose a model that was tuned to classify.")
            if kind != "classify" and not entry.writes:
                raise UserError(f"{entry.title} does not write texts.", "Choose a causal model, or data with labels.")
        if spec.judge.kind == "model" and not catalog.resolve(self._home, spec.judge.model_id).writes:
            raise UserError("The judge does not write texts.", "Choose a causal model as the judge.")
        if spec.judge.kind != "none" and (kind != "answers" or len(model_ids) < 2):
            raise UserError("There is nothing to judge.", "A judge compares the answers of two models.")

    def _titles(self, spec: Spec) -> dict:
        """Names that stay readable when the things are gone."""
        models = []
        for model_id in spec.model_ids or spec.run_ids:
            try:
                models.append(catalog.resolve(self._home, model_id).title)
            except UserError:
                models.append(model_id)
        return {"data": data.get_dataset(self._home, spec.dataset_id).name, "models": models}

    def _folders(self) -> list[JobFolder]:
        paths = sorted(evaluations_folder(self._home).glob("eval-*/spec.json"), reverse=True)
        return [JobFolder(path.parent) for path in paths]

    def _status(self, folder: JobFolder) -> dict:
        about, state = folder.read("spec"), folder.read("state")
        spec = about.get("spec") or {}
        known = state.get("state") or STOPPED
        return {
            "evaluation_id": folder.id,
            "state": known,
            "message": state.get("message", ""),
            "hint": state.get("hint", ""),
            "kind": spec.get("kind", ""),
            "created": about.get("created"),
            "titles": about.get("titles") or {},
            "spec": spec,
            "progress": folder.read("progress") if known in GOING else {},
            "waits_for": self._waits_for(spec) if known == QUEUED else 0,
        }

    def _waits_for(self, spec: dict) -> int:
        """How many runs of a cross-validation are not over yet."""
        states = [self._run_state(run_id) for run_id in spec.get("run_ids") or []]
        return sum(state in ("queued", "starting", "running", "stopping") for state in states)

    def _run_state(self, run_id: str) -> str:
        try:
            return self._runs.status(run_id)["state"] if self._runs else "completed"
        except UserError:
            return "failed"

    # ---- the thread that watches

    def _watch(self) -> None:
        busy = True
        while not self._closed.is_set():
            try:
                busy = (self._leader.held or self._leader.acquire()) and self._tick()
            except Exception:  # whatever it is, evaluations must not go unwatched because of it
                _log.exception("watching over the evaluations")
            self._wake.wait(_BUSY_SECONDS if busy else _IDLE_SECONDS)
            self._wake.clear()

    def _tick(self) -> bool:
        """Looks after the worker, and starts the next; whether there is anything to look after."""
        with self._lock:
            folders = [(folder, folder.read("state")) for folder in self._folders()]
            going = [pair for pair in folders if pair[1].get("state") in (RUNNING, STOPPING)]
            watched = any([self._look(folder, state) for folder, state in going])
            self._reap({state.get("pid") for _, state in going})
            if watched:
                return True
            waiting = [folder for folder, state in reversed(folders) if state.get("state") == QUEUED]
            return any(self._begin(folder) for folder in waiting)

    def _look(self, folder: JobFolder, state: dict) -> bool:
        """Whether the worker is still there; ends one that does not stop, and notes one that is gone."""
        pid, known = state.get("pid"), state.get("identity", "")
        if process.is_alive(pid, known):
            if state["state"] == STOPPING:
                since = time.monotonic() - self._asked.setdefault(folder.id, time.monotonic())
                if since > _STOP_SECONDS:
                    process.send({pid: known}, signal.SIGKILL if since > 2 * _STOP_SECONDS else signal.SIGTERM)
            return True
        self._asked.pop(folder.id, None)
        status = process.exit_status(pid) if pid else None
        process.forget(pid)
        self._started.discard(pid)
        now = folder.read("state")
        if now.get("state") in (RUNNING, STOPPING):  # it had no last word
            _note_end(folder, now["state"], status)
        folder.stop.unlink(missing_ok=True)
        return False

    def _reap(self, watched: set[int]) -> None:
        """Waits for workers that had their last word: else the system would keep each as a zombie."""
        for pid in self._started - watched:
            if process.exit_status(pid) is not None:
                process.forget(pid)
                self._started.discard(pid)

    def _begin(self, folder: JobFolder) -> bool:
        spec = folder.read("spec").get("spec") or {}
        if self._waits_for(spec):
            return False
        failed = [run_id for run_id in spec.get("run_ids") or [] if self._run_state(run_id) != "completed"]
        if failed:
            folder.set_state(FAILED, f"{len(failed)} of the runs did not end well.", "Resume them in Train, then this.")
            return False
        try:
            pid, identity = self._launch(folder, self._keys.pop(folder.id, ""))
        except OSError as error:
            folder.set_state(FAILED, f"No process could be started ({error.strerror or error}).", "Try again.")
            return False
        self._started.add(pid)
        now = folder.read("state")
        if now.get("state") == QUEUED:  # a worker of a test may have ended already
            folder.set_state(RUNNING, pid=pid, identity=identity)
        return True


def _note_end(folder: JobFolder, state: str, status: int | None) -> None:
    if state == STOPPING:
        folder.set_state(STOPPED, "Stopped.", "Resume goes on from here; what was done is kept.")
    elif status == -signal.SIGKILL:
        folder.set_state(
            FAILED, "The process was killed; perhaps the memory was full.", "Choose a smaller model; resume goes on."
        )
    else:
        folder.set_state(STOPPED, "The process ended before it was done.", "Resume goes on from here.")


def _launch(home: Home, folder: JobFolder, key: str) -> tuple[int, str]:
    """Starts the worker in a session of its own; (pid, identity). The key goes through a pipe, not the environment."""
    handle = os.open(folder.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "llmdemo.evaluation.worker", str(folder.path)],
            cwd=folder.path,
            env=worker_environment(home.root, {}),
            stdin=subprocess.PIPE,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
        )
    finally:
        os.close(handle)
    process.adopt(child)
    try:
        child.stdin.write(json.dumps({"key": key}).encode() + b"\n")
        child.stdin.close()
    except OSError:
        _log.warning("evaluation %s ended at once", folder.id)
    return child.pid, process.identity(child.pid)
