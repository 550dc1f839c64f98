"""Runs: what the page and the endpoints may ask of training. A run is a job whose worker is training.worker.

Knows no torch, no gradio and no worker's inside.
"""

from __future__ import annotations  # the method "list" would hide the type in the signatures

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from llmdemo.access.disk_quota import check_quota
from llmdemo.core import out_of_memory
from llmdemo.core.errors import UserError
from llmdemo.core.events import read_events
from llmdemo.core.sentences import say
from llmdemo.core.store import Home, free_bytes, new_id
from llmdemo.jobs import Digest, JobFolder, Jobs, JobsOfKind, JobStatus, Kind
from llmdemo.jobs.environment import gpus
from llmdemo.jobs.folder import MOST_NAME
from llmdemo.jobs.states import COMPLETED
from llmdemo.models.catalog import require_open
from llmdemo.runs import bundle, digest
from llmdemo.runs.command import at_once, processes, variables, worker_command
from llmdemo.runs.folder import RunFolder
from llmdemo.runs.sanitise import settings
from llmdemo.settings.training import METHOD_NAMES

_PRUNED = say("run_pruned_hint")
_NOT_SETTINGS = ("run", "name", "dataset", "dataset_id", "model", "model_id", "versions", "group")
_FIGURES = (
    "step", "total_steps", "best_step", "loss", "eval_loss", "tokens_per_second", "eta_seconds", "best_eval_loss",
    "peak_memory_bytes", "model_id", "loss_smoothed", "learning_rate", "grad_norm", "epoch", "tokens", "seconds", "skipped",
    "checkpoint_step", "scores", "phase", "phase_done", "phase_total", "ledger", "worker", "notes", "published",
)  # fmt: skip


class Runs(JobsOfKind):
    """All runs of a home folder. Safe to use from any thread, and from several apps on one home folder.

    `command(run_dir, config)` gives the worker's argv; the default goes through accelerate's launcher.
    Methods that take a run_id raise UserError for one that does not exist.
    """

    def __init__(self, jobs: Jobs, command: Callable[[Path, dict], list[str]] | None = None):
        self._problems: dict[str, tuple[tuple[int, int, int], str]] = {}
        super().__init__(jobs, run_kind(jobs.home, command or worker_command))

    def shown(self, status: JobStatus) -> dict:
        """See run_status for the keys."""
        folder = RunFolder(self.jobs.home.runs / status["job_id"])
        known = run_status(status, folder.has_model)
        problem = [said] if (said := self._problem(folder)) else []
        more = {
            "size_bytes": self.jobs.size(status),
            "note": folder.own_note(),
            "shown": folder.is_shown,
            "notes": [*problem, *known["notes"]],
        }
        return known | more

    def is_shown(self, run_id: str) -> bool:
        """Whether guests may watch it; False for one that does not exist."""
        return RunFolder(self.jobs.home.runs / run_id).is_shown

    def _problem(self, folder: RunFolder) -> str:
        """What is wrong with the run's config.json, looked at again when the file has changed; "" for nothing."""
        try:
            found = (folder.path / "config.json").stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            stamp = (0, 0, 0)
        known, problem = self._problems.get(folder.id, (None, ""))
        if known != stamp:
            try:
                settings(folder.config(), folder.id)
                problem = ""
            except UserError as error:
                problem = f"{error.message} {error.hint}"
            self._problems[folder.id] = (stamp, problem)
        return problem

    def start(self, config: dict, name: str | None = None) -> str:
        """Puts a new run at the end of the queue and returns its id.

        `config` is written to the run's config.json as it is, plus the key "run" {id, name, named (by somebody), created}.
        Raises UserError when the queue or the disk is full, or when `config` is no JSON object.
        """
        return self.jobs.start(self.kind, config, name or default_name(config), named=bool(name))

    def annotate(self, run_id: str, note: str) -> None:
        """Keeps what somebody wrote of the run, at most 2,000 characters (else UserError); "" takes it away."""
        self._folder(self.own(run_id)).annotate(note)

    def show(self, run_id: str, on: bool) -> None:
        """Lets guests watch the run (see ui/watch_panel.py), or no longer."""
        self._folder(self.own(run_id)).show(on)

    def differences(self, run_ids: list[str]) -> dict[str, dict]:
        """{setting: {run_id: its value}} of those settings in which these runs differ."""
        return differences({run_id: self.config(run_id) for run_id in run_ids})

    def prune(self, run_id: str, why: str) -> None:
        """Removes the model and the checkpoints of a run that has ended; its figures stay. Raises UserError."""
        self.jobs.prune(self.own(run_id), why, _PRUNED, model_id=None)

    @property
    def at_once(self) -> int:
        """Runs that may train at the same time."""
        return at_once(self.jobs.settings, gpus())

    def config(self, run_id: str) -> dict:
        """The settings that the run was started with; dataset, model, versions and group are objects. UserError for odd ones."""
        return settings(self._folder(run_id).config(), run_id)

    def events(self, run_id: str, offset: int = 0) -> tuple[list[dict], int]:
        """The events after the byte `offset`, and the offset to ask from next."""
        return read_events(self._folder(run_id).events, max(0, int(offset)))

    def series(self, run_id: str, max_points: int = 1000) -> dict[str, dict[str, list]]:
        """{metric: {step: [int], seconds: [float], value: [float]}}, each of at most `max_points`, extremes kept.

        Metrics, where there are figures: loss, loss_smoothed, eval_loss, learning_rate, grad_norm,
        tokens_per_second, memory_bytes, energy, overlap (of the subspace, means over the layers).
        """
        with self._digest(run_id) as known:
            return known.curves(max(4, int(max_points)))

    def samples(self, run_id: str) -> list[dict]:
        """What the model wrote as it learned: [{prompt, expected, outputs: [{step, text}]}]."""
        with self._digest(run_id) as known:
            return known.samples()

    def rounds(self, run_id: str) -> list[dict]:
        """Answers that were drawn to learn from: [{step, prompt, expected, answers: [{text, reward}]}]."""
        with self._digest(run_id) as known:
            return known.rounds()

    def knowledge(self, run_id: str) -> dict:
        """What the model knew before, as it learns: see Knowledge.result; {} where no probe is known."""
        with self._digest(run_id) as known:
            return known.knowledge.result()

    def refreshes(self, run_id: str) -> dict:
        """GaLore's refreshes as a matrix: {layers: [name], steps: [int], energy, overlap: [[float | None]]}."""
        with self._digest(run_id) as known:
            return known.refreshes()

    def history(self, run_id: str) -> list[dict]:
        """Every state the run was in: [{state, reason, t}] in order."""
        return self.jobs.history(self.own(run_id))

    def export_bundle(self, run_id: str, path: Path, with_model: bool = False, with_checkpoint: bool = False) -> Path:
        """Writes the run as a .zip that another installation can open, whole or not at all; returns `path`.

        With its checkpoint it can be resumed there; raises UserError if it has none.
        """
        return bundle.export(self._folder(run_id), Path(path), with_model, with_checkpoint)

    def import_bundle(self, path: Path) -> str:
        """Makes a run from such a .zip and returns its new id; raises UserError for a file that is not one."""
        home, settings, run_id = self.jobs.home, self.jobs.settings, new_id(self.kind.prefix)
        check_quota(home, settings)
        room = free_bytes(home.root) - settings.min_free_bytes
        self.jobs.add_folder(self.kind, run_id, lambda folder: bundle.unpack(Path(path), folder, home, room))
        return run_id

    def take_in(self, folder: Path) -> str:
        """Makes a run of a folder that bundle.unpack made on this file system, named like the run's id; returns the id.

        Raises FileNotFoundError where it is not there (any more), and UserError.
        """
        self.jobs.add_folder(self.kind, folder.name, lambda target: os.replace(folder, target))
        return folder.name

    @contextmanager
    def _digest(self, run_id: str) -> Iterator[digest.Digest]:
        """What the run's events say, up to date, for as long as the block lasts."""
        with self.jobs.digest(self.own(run_id)) as known:
            assert isinstance(known, digest.Digest), "run_kind says so"
            yield known

    def _folder(self, run_id: str) -> RunFolder:
        """Raises UserError where there is no such run."""
        return RunFolder(self.jobs.home.runs / self.own(run_id))


def run_kind(home: Home, command: Callable[[Path, dict], list[str]]) -> Kind:
    """Training as a kind of job."""

    def check_resume(folder: JobFolder, imported: bool) -> None:
        if not imported:
            return
        if not RunFolder(folder.path).can_go_on():
            raise UserError("err_imported_no_checkpoint")
        # The worker takes any folder of this computer: here it is known which ones are open.
        require_open(home, str(folder.config().get("model_id")))

    return Kind(
        name="run",
        noun=say("noun_run"),
        prefix="run",
        folder="runs",
        command=command,
        environment=variables,
        digest=digest.Digest,
        large=("model", "model-last", "checkpoints", "best"),
        at_once=at_once,
        most_queued=lambda settings: settings.max_queued_runs,
        most_queued_hint=say("hint_cancel_runs"),
        processes=lambda config: processes(config),
        timed=True,
        repeats_hint=say("hint_clone"),
        check_resume=check_resume,
        resume_hint=out_of_memory.RESUME,
        starting=say("run_starting"),
        stopping=say("run_stopping"),
        memory_advice=_memory_advice,
    )


def _memory_advice(known: Digest, config: dict):
    """What the run needed and what to lower, by its own estimate of its memory."""
    figures = known.status()
    ledger, peak = figures.get("ledger"), figures.get("peak_memory_bytes")

    def advice(said: str, there: int | None) -> tuple[str, str]:
        return out_of_memory.needed(ledger, said=said, peak=peak, there=there), out_of_memory.smaller(ledger, config)

    return advice


def default_name(config: dict) -> str:
    """For example "GaLore · receipts", which is the same in every language."""
    config = config if isinstance(config, dict) else {}
    dataset, method = config.get("dataset"), config.get("method") or "run"
    title = dataset.get("name") if isinstance(dataset, dict) else config.get("dataset_id")
    return " · ".join(str(part) for part in (METHOD_NAMES.get(method, method), title) if part)[:MOST_NAME]


def differences(configs: dict[str, dict]) -> dict[str, dict]:
    """{setting: {run_id: its value, None where the run has none}} of all that is not alike in these configs, by run_id.

    "data" and "model" are the names of the data set and of the model that the run started from; two data sets of one
    name are told apart by the beginning of their content's hash.
    """
    known = {run_id: _settings_of(config) for run_id, config in configs.items()}
    keys = dict.fromkeys(key for settings in known.values() for key in settings)
    found = {key: {run_id: settings.get(key) for run_id, settings in known.items()} for key in keys}
    return {key: values for key, values in found.items() if len({repr(value) for value in values.values()}) > 1}


def _object(config: dict, key: str) -> dict:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _settings_of(config: dict) -> dict:
    dataset, model = _object(config, "dataset"), _object(config, "model")
    data = dataset.get("name") or config.get("dataset_id")
    version = str(dataset.get("content_hash") or "")[:8]
    named = {
        "data": f"{data} ({version})" if version else data,
        "model": model.get("title") or config.get("model_id"),
    }
    return named | {key: value for key, value in config.items() if key not in _NOT_SETTINGS}


def run_status(status: JobStatus, has_model: Callable[[], bool] = lambda: False) -> dict:
    """A run's status as one flat object for endpoints and pages; None stands for what is not known.

    The contract's keys: run_id, state, reason, step, total_steps, best_step, loss, eval_loss, tokens_per_second, eta_seconds,
    peak_memory_bytes, model_id. best_step is the best evaluation so far (as best_by says: the lowest held-out loss, or the
    best figure; the first of equal ones), and best_eval_loss is its loss. loss and eval_loss are the newest as they were
    measured; loss_smoothed is a mean of the last steps'.
    Beside them those of jobs.JobStatus, and: phase (loading … saving), phase_done, phase_total, checkpoint_step, skipped,
    loss_smoothed, learning_rate, grad_norm, epoch, tokens, seconds (spent up to the last step, loading and evaluations
    included), note (what somebody wrote of it), scores (of the last evaluation, by name), ledger, worker (with
    train_records, held_out_records and left_out {why: how many}), notes, published (of a finished model: step, last_step,
    run_loss and last_loss of these, dtype, rounding, loss of its files, message), size_bytes.
    `has_model()` says whether the folder of an imported one has a model.
    """
    about = {key: value for key, value in status.items() if key not in ("job_id", "kind", "figures")}
    model_id = status["figures"].get("model_id")
    if status["imported"]:  # the events tell the id that its model has elsewhere; it may have come without it
        model_id = status["job_id"] if has_model() else None
    return (
        {"run_id": status["job_id"], "name": None, "state": None, "reason": None}
        | {key: status["figures"].get(key) for key in _FIGURES}
        | about
        | {"model_id": model_id if status["state"] == COMPLETED else None}
    )
