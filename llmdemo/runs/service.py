"""Runs: what the page and the endpoints may ask of runs. Knows no torch, no gradio and no worker's inside."""

from __future__ import annotations  # the method "list" would hide the type in the signatures

import json
import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from llmdemo.errors import NotNow, UserError
from llmdemo.events import read_events
from llmdemo.models.catalog import require_open
from llmdemo.public.quota import check_quota
from llmdemo.runs import bundle, logfile
from llmdemo.runs.command import at_once, gpus, worker_command
from llmdemo.runs.folder import RunFolder, bury, make_folder, recovered_row
from llmdemo.runs.foreign import sound
from llmdemo.runs.lock import LeaderLock
from llmdemo.runs.names import checked_name, default_name
from llmdemo.runs.reader import Readers
from llmdemo.runs.recovery import open_table, recover, remake
from llmdemo.runs.refusal import said
from llmdemo.runs.slim import slim
from llmdemo.runs.states import ALIVE, ASKING, FINAL, QUEUED, STOPPED, STOPPING
from llmdemo.runs.status import status_of
from llmdemo.runs.supervisor import Supervisor
from llmdemo.runs.table import Damaged, IllegalTransition
from llmdemo.settings import Settings
from llmdemo.store import Home, child, folder_bytes, free_bytes, new_id

_BUSY_SECONDS = 0.25
_IDLE_SECONDS = 1.0
log = logging.getLogger(__name__)


class Runs:
    """All runs of a home folder. Safe to use from any thread, and from several apps on one home folder.

    One of the apps watches over the runs (`leads`); when it ends, however it ends, another one goes on.
    `remade`: the list of runs was damaged, and was made again of the run folders since this app started.
    `command(run_dir, config)` gives the worker's argv; the default goes through accelerate's launcher.
    Methods that take a run_id raise UserError for one that does not exist.
    """

    def __init__(self, home: Home, settings: Settings, command: Callable[[Path, dict], list[str]] | None = None):
        self._home, self._settings = home, settings
        self._lock = LeaderLock(home.root / "runs.lock")
        try:
            self._lock.acquire()
            self._table, self.remade = open_table(home, repair=self._lock.held)
            recover(home, self._table, leads=self.leads)
        except (OSError, sqlite3.Error) as error:
            self._lock.release()
            raise UserError(
                f"The list of runs in {home.root} cannot be opened ({error}).",
                "Check that the folder can be written and has free space, that no other program keeps its runs.sqlite "
                "locked, or set LLMDEMO_HOME to another one.",
            ) from error
        self._readers = Readers()
        self._sizes: dict[str, tuple[float, str, int]] = {}
        self._supervisor = Supervisor(home, settings, self._table, self._readers, command or worker_command)
        self._closed, self._wake = threading.Event(), threading.Event()
        self._wake.set()
        self._thread = threading.Thread(target=self._watch, name="runs", daemon=True)
        self._thread.start()

    @property
    def leads(self) -> bool:
        """Whether this app is the one that watches over the runs of the home folder."""
        return self._lock.held

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        """Stops watching. The runs go on."""
        self._closed.set()
        self._wake.set()
        self._thread.join()
        self._table.close()
        self._lock.release()

    def __enter__(self) -> Runs:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    # -- what can be done

    def start(self, config: dict, name: str | None = None) -> str:
        """Puts a new run at the end of the queue and returns its id.

        `config` is written to the run's config.json as it is, plus the key "run" {id, name, named (by somebody), created}.
        Raises UserError when the queue or the disk is full, or when `config` is no JSON object.
        """
        return self._add(config, name or default_name(config), named=bool(name))

    def stop(self, run_id: str) -> dict:
        """Asks the run to stop, or takes it out of the queue; harmless when pressed again. Returns status."""
        row = self._row(run_id)
        with said("stopped"):
            if row["state"] == QUEUED and self._cancel(run_id):
                return self.status(run_id)
            try:
                deadline = time.monotonic() + self._settings.stop_grace_seconds
                self._table.move(run_id, STOPPING, stop_phase=ASKING, stop_deadline=deadline)
                self._folder(run_id).stop.touch()
            except IllegalTransition:
                pass  # it stops already, or has ended
            except OSError as error:
                log.warning("run %s: %s", run_id, error)  # the supervisor tries again, and has other means
        self._wake.set()
        return self.status(run_id)

    def cancel(self, run_id: str) -> dict:
        """Takes a waiting run out of the queue; raises UserError if it does not wait. Returns status."""
        self._row(run_id)
        with said("taken out of the queue"):
            waited = self._cancel(run_id)
        if not waited:
            raise UserError("The run does not wait in the queue.", "Use Stop for a run that has begun.")
        return self.status(run_id)

    def resume(self, run_id: str) -> dict:
        """Puts a stopped or failed run at the end of the queue; it goes on from its newest whole checkpoint.

        Returns status. Raises UserError for a run in another state, for an imported one without a checkpoint or from a
        model folder that is not open, or without space.
        """
        row, folder = self._row(run_id), self._folder(run_id)
        if row["state"] in (QUEUED, *ALIVE):
            return self.status(run_id)  # pressed twice
        if row["imported"] and not folder.can_go_on():
            raise UserError(
                "This run was made elsewhere, and its bundle has no checkpoint.",
                "Download it there again with its checkpoint, or start a new run with its settings.",
            )
        if row["imported"]:  # the worker takes any folder of this computer: here it is known which ones are open
            require_open(self._home, str(self.config(run_id).get("model_id")))
        self._check_room()
        try:
            with said("resumed"), self._table.transaction():
                self._table.move(run_id, QUEUED)
                folder.stop.unlink(missing_ok=True)
                folder.note("queued")
        except IllegalTransition as error:
            raise UserError(
                "A completed run cannot be resumed.", "Clone it to train again with the same settings."
            ) from error
        self._wake.set()
        return self.status(run_id)

    def delete(self, run_id: str) -> None:
        """Removes the run and its files; raises UserError while it has a process."""
        self._row(run_id)
        grave = None
        try:
            with said("deleted"), self._table.transaction():
                self._table.remove(run_id)
                grave = bury(self._home, run_id)
        except IllegalTransition as error:
            raise UserError("The run is still going.", "Stop it first, then delete it.") from error
        except BaseException:
            if grave is not None:  # the table still has the run
                grave.rename(self._home.runs / run_id)
            raise
        self._readers.drop(self._home.runs / run_id)
        self._sizes.pop(run_id, None)
        if grave is not None:
            shutil.rmtree(grave, ignore_errors=True)

    def slim(self, run_id: str, why: str) -> None:
        """Removes the model and the checkpoints of a run that has ended; its figures stay. Raises UserError."""
        self._row(run_id)
        with said("made smaller"):
            slim(self._home, self._table, self._folder(run_id), why)
        self._sizes.pop(run_id, None)

    def reorder(self, run_id: str, place: int) -> None:
        """Moves a waiting run to `place` in the queue, 1 being the next one; raises UserError if it does not wait."""
        self._row(run_id)
        try:
            with said("moved"):
                self._table.reorder(run_id, int(place) - 1)
        except IllegalTransition as error:
            raise UserError("The run does not wait in the queue.", "Only waiting runs can be reordered.") from error

    def rename(self, run_id: str, name: str) -> None:
        """Gives the run another name, of 1 to 100 characters (else UserError)."""
        self._row(run_id)
        name = checked_name(name)
        with said("renamed"):
            self._folder(run_id).rename(name)
            self._table.set(run_id, name=name)

    # -- what can be seen

    @property
    def at_once(self) -> int:
        """Runs that may train at the same time."""
        return at_once(self._settings, gpus())

    def status(self, run_id: str) -> dict:
        """How the run is: see llmdemo/runs/status.py for the keys. Always ready for JSON."""
        return self._status(self._row(run_id), [row["run_id"] for row in self._table.queue()])

    def list(self) -> list[dict]:
        """The status of every run, the newest first."""
        queue = [row["run_id"] for row in self._table.queue()]
        return [self._status(row, queue) for row in self._table.all()]

    def config(self, run_id: str) -> dict:
        """The settings that the run was started with. Of those, dataset, model, versions and group are objects."""
        self._row(run_id)
        return {key: value for key, value in sound(self._folder(run_id).config()).items() if key != "run"}

    def events(self, run_id: str, offset: int = 0) -> tuple[list[dict], int]:
        """The events after the byte `offset`, and the offset to ask from next."""
        self._row(run_id)
        return read_events(self._folder(run_id).events, max(0, int(offset)))

    def series(self, run_id: str, max_points: int = 1000) -> dict[str, dict[str, list]]:
        """{metric: {step: [int], seconds: [float], value: [float]}}, each of at most `max_points`, extremes kept.

        Metrics, where there are figures: loss, loss_smoothed, eval_loss, learning_rate, grad_norm,
        tokens_per_second, memory_bytes, energy, overlap (of the subspace, means over the layers).
        """
        self._row(run_id)
        with self._readers.of(self._home.runs / run_id).digest() as digest:
            return digest.curves(max(4, int(max_points)))

    def compare(self, run_ids: list[str], metric: str = "loss_smoothed", max_points: int = 500) -> list[dict]:
        """One curve a run for one plot: [{run_id, name, state, step, seconds, value}]; empty lists without figures."""
        empty = {"step": [], "seconds": [], "value": []}
        rows = [self._row(run_id) for run_id in run_ids]
        return [
            {"run_id": row["run_id"], "name": row["name"], "state": row["state"]}
            | self.series(row["run_id"], max_points).get(metric, empty)
            for row in rows
        ]

    def samples(self, run_id: str) -> list[dict]:
        """What the model wrote as it learned: [{prompt, expected, outputs: [{step, text}]}]."""
        self._row(run_id)
        with self._readers.of(self._home.runs / run_id).digest() as digest:
            return digest.samples()

    def refreshes(self, run_id: str) -> dict:
        """GaLore's refreshes as a matrix: {layers: [name], steps: [int], energy, overlap: [[float | None]]}."""
        self._row(run_id)
        with self._readers.of(self._home.runs / run_id).digest() as digest:
            return digest.refreshes()

    def log_tail(self, run_id: str, lines: int = 200) -> str:
        """The last lines of what the run's processes printed."""
        self._row(run_id)
        return logfile.tail(self._folder(run_id).log, int(lines))

    def history(self, run_id: str) -> list[dict]:
        """Every state the run was in: [{state, reason, t}] in order."""
        self._row(run_id)
        return self._table.transitions(run_id)

    def export_bundle(self, run_id: str, path: Path, with_model: bool = False, with_checkpoint: bool = False) -> Path:
        """Writes the run as a .zip that another installation can open, whole or not at all; returns `path`.

        With its checkpoint it can be resumed there; raises UserError if it has none.
        """
        self._row(run_id)
        return bundle.export(self._folder(run_id), Path(path), with_model, with_checkpoint)

    def import_bundle(self, path: Path) -> str:
        """Makes a run from such a .zip and returns its new id; raises UserError for a file that is not one."""
        check_quota(self._home, self._settings)
        run_id = new_id("run")
        folder = self._folder(run_id)
        room = free_bytes(self._home.root) - self._settings.min_free_bytes
        bundle.unpack(Path(path), folder.path, self._home.tmp, room)
        with said("opened"), self._or_no_folder(run_id):
            row = recovered_row(folder)
            with self._table.transaction():
                if self._table.get(run_id) is None:  # an app that opens just now may have found the folder first
                    self._table.add(**row)
        return run_id

    # -- inside

    def _add(self, config: dict, name: str, named: bool) -> str:
        self._check_room()
        run_id, created = new_id("run"), time.time()
        if not isinstance(config, dict):
            raise UserError("The settings of a run must be an object.", "Give at least its dataset_id.")
        whole = {**config, "run": {"id": run_id, "name": checked_name(name), "named": named, "created": created}}
        try:
            json.dumps(whole, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise UserError(
                f"The settings cannot be kept as JSON ({error}).", "Use plain finite numbers, text and lists."
            ) from error
        with said("kept"), self._or_no_folder(run_id), self._table.transaction():
            if len(self._table.queue()) >= self._settings.max_queued_runs:
                raise NotNow(
                    f"{self._settings.max_queued_runs} runs wait already.",
                    "Cancel some, or wait; LLMDEMO_MAX_QUEUED_RUNS sets the limit.",
                )
            self._table.add(run_id, whole["run"]["name"], created, QUEUED)
            make_folder(self._home, run_id, whole)
        self._wake.set()
        return run_id

    @contextmanager
    def _or_no_folder(self, run_id: str) -> Iterator[None]:
        """Without its row, a new run's folder goes too: it would be found, and queued, at the next start of the app."""
        try:
            yield
        except BaseException:
            if (grave := bury(self._home, run_id)) is not None:
                shutil.rmtree(grave, ignore_errors=True)
            raise

    def _check_room(self) -> None:
        check_quota(self._home, self._settings)
        free, needed = free_bytes(self._home.root), self._settings.min_free_bytes
        if free < needed:
            raise NotNow(
                f"Only {free / 2**20:,.0f} MiB are free in the home folder; a run needs {needed / 2**20:,.0f} MiB.",
                "Delete runs or models that are not needed, or lower LLMDEMO_MIN_FREE_BYTES.",
            )

    def _cancel(self, run_id: str) -> bool:
        end = {"message": "Taken out of the queue.", "hint": "Resume puts it back."}
        try:
            with self._table.transaction():
                self._table.move(run_id, STOPPED, only_from=(QUEUED,), **end)
                self._folder(run_id).note("end", state=STOPPED, reason="", **end)
        except IllegalTransition:
            return False
        except OSError as error:
            log.warning("run %s: %s", run_id, error)
            self._table.move(run_id, STOPPED, only_from=(QUEUED,), **end)
        return True

    def _row(self, run_id: str) -> dict:
        child(self._home.runs, run_id)
        row = self._table.get(run_id)
        if row is None:
            raise UserError(f"There is no run {run_id!r}.", "Take one from the list of runs; it may have been deleted.")
        return row

    def _folder(self, run_id: str) -> RunFolder:
        return RunFolder(child(self._home.runs, run_id))

    def _status(self, row: dict, queue: list[str]) -> dict:
        folder = RunFolder(self._home.runs / row["run_id"])
        known = status_of(row, lambda: self._readers.of(folder.path), queue, folder.can_go_on, folder.has_model)
        return known | {"size_bytes": self._size(row)}

    def _size(self, row: dict) -> int:
        """Bytes on disk; counted again when the state changed, and every 10 s while the run goes."""
        key, now = f"{row['state']} {row['attempt']}", time.monotonic()
        when, known_key, size = self._sizes.get(row["run_id"], (0.0, "", 0))
        if known_key != key or (row["state"] not in FINAL and now - when > 10):
            size = folder_bytes(self._home.runs / row["run_id"])
            self._sizes[row["run_id"]] = (now, key, size)
        return size

    # -- the thread that watches

    def _watch(self) -> None:
        seen, busy = None, True
        while not self._closed.is_set():
            woken = self._wake.wait(_BUSY_SECONDS if busy else _IDLE_SECONDS)
            self._wake.clear()
            try:
                if self._table.damaged and self._lock.held:
                    remake(self._home, self._table)
                    self.remade = True
                changed, seen = seen != (now := self._table.version()), now
                if not self._lock.held and self._lock.acquire():
                    recover(self._home, self._table, leads=True)  # whoever led before is gone
                    changed = True
                if self._lock.held and (changed or woken or busy) and not self._closed.is_set():
                    busy = self._supervisor.tick()
            except Damaged as error:
                log.warning("%s", error)  # it is made again at the next turn, by the app that leads
                busy = True
            except Exception:  # whatever it is, the runs must not go unwatched because of it
                log.exception("watching over the runs")
                busy = True
