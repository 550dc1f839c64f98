"""Experiments: what the page and the endpoints may ask of races and searches. Knows no torch, no gradio, no worker's inside.

An experiment is a job without a process: its scheduler works where the jobs are watched over.
"""

from __future__ import annotations  # the method "list" would hide the type in the signatures

import contextlib
import csv
import io
import threading
import time
from dataclasses import asdict

from llmdemo import prepare
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import new_id
from llmdemo.experiments import leaderboard, plan
from llmdemo.experiments.leaderboard import OVER, Leaderboard
from llmdemo.experiments.plan import Plan
from llmdemo.experiments.scheduler import Scheduler, trial_of
from llmdemo.experiments.sweep import Sweep, load, take_over
from llmdemo.jobs import Jobs, JobsOfKind, JobStatus, Kind
from llmdemo.jobs.states import BAD_CONFIG, FAILED, FINAL, QUEUED, STARTING, STOPPED, STOPPING
from llmdemo.models.check import read_config
from llmdemo.settings.training import TrainConfig

_EVERY_SECONDS = 1.0
_MOST = 1000
_WIDTHS = ("hidden_size", "n_embd", "d_model")
_SHOWN = {QUEUED: "running", STARTING: "running", STOPPED: "cancelled"}
_TABLE_FIGURES = (
    "state", "step", "tokens", "seconds", "tokens_per_second", "loss", "first_eval_loss", "eval_loss",
    "peak_memory_bytes", "optimizer_bytes",
)  # fmt: skip


class Experiments(JobsOfKind):
    """All experiments of a home folder. Safe to use from any thread. Methods with a group_id raise UserError for a wrong one."""

    def __init__(self, jobs: Jobs, runs):
        self._home, self._settings, self._runs = jobs.home, jobs.settings, runs
        self._leaderboard, self._scheduler = Leaderboard(runs), Scheduler(jobs.home, runs)
        self._lock = threading.RLock()
        kind = Kind(
            name="experiment",
            noun=say("noun_experiment"),
            prefix="exp",
            folder="experiments",
            advance=self._scheduler.advance,
            every=_EVERY_SECONDS,
            take_over=take_over,
            at_once=lambda settings, gpus: _MOST,
            most_queued=lambda settings: _MOST,
            disk_need=None,
            resume_hint=say("resume_experiment"),
        )
        super().__init__(jobs, kind)

    # -- what can be done

    def start_race(self, config: object, race: dict | None = None) -> str:
        """Puts two or three methods in the queue, on the same records and seed for the same steps; returns the group_id.

        `config` is a run's; `race`: methods, own {method: {setting: value}}, tokens (a budget, instead of max_steps), name.
        Nothing is started unless every run may be. Raises UserError.
        """
        base, asked = _base(config), race or {}
        made = plan.race(base, asked)
        if asked.get("tokens") is not None:
            made = plan.race({**base, "max_steps": self._steps_for(asked["tokens"], base)}, asked)
        return self._start(made, asked.get("name"))

    def start_search(self, config: object, search: dict | None = None) -> str:
        """Puts the runs of a search in the queue; returns the group_id.

        `search`: strategy (grid, random, halving), space {setting: [values] or {low, high}}, runs, seed, eta, least_steps,
        keep (best, all), name. Nothing is started unless every run of the first round may be. Raises UserError.
        """
        base, asked = _base(config), search or {}
        steps = prepare.checked(self._home, base)[0].max_steps
        made = plan.search(base, asked, steps)
        return self._start(made, asked.get("name"))

    def cancel(self, group_id: str) -> dict:
        """Stops what goes, takes what waits out of the queue, starts nothing more; harmless when pressed again."""
        return self.stop(group_id)

    def resume(self, group_id: str, secret: str = "") -> dict:
        """Goes on with a cancelled or failed experiment: its runs of the newest round that were stopped or failed, then
        what comes after them. Raises UserError for another one."""
        sweep = self._sweep(group_id)
        state = self.jobs.status(group_id)["state"]
        for trial in sweep.trials if state in (STOPPED, FAILED) else ():
            if trial["run_id"] and trial["rung"] == sweep.rung:
                with contextlib.suppress(UserError):  # it has completed, or was deleted
                    self._runs.resume(trial["run_id"])
        return super().resume(group_id)

    # -- what can be seen

    def list(self) -> list[dict]:
        """In brief, the newest first: group_id, kind, strategy, name, state, created, runs. A damaged one has failed."""
        found = []
        for status in self.jobs.all(self.kind):
            sweep, problem = self._or_problem(status)
            about = {key: getattr(sweep, key) for key in ("group_id", "kind", "strategy", "name")}
            state = FAILED if problem else _SHOWN.get(status["state"], status["state"])
            found.append(about | {"state": state, "created": sweep.created, "runs": len(sweep.trials)})
        return found

    def shown(self, status: JobStatus) -> dict:
        """The experiment and its rows: group_id, kind, strategy, state (running, stopping, completed, cancelled, failed),
        message, hint, rows (Leaderboard.rows), best (a run_id), best_task, varied (the settings that differ), rungs,
        seconds_left, base. A damaged one has failed, without rows, and says so."""
        sweep, problem = self._or_problem(status)
        with self._lock:
            rows = self._leaderboard.rows(sweep)
        winner, over = leaderboard.best(rows), status["state"] in FINAL
        told = asdict(sweep) if problem or not over else status
        values = {key: value for key, value in asdict(sweep).items() if key != "trials"}
        return values | {
            "state": FAILED if problem else _SHOWN.get(status["state"], status["state"]),
            "message": told["message"],
            "hint": told["hint"],
            "rows": rows,
            "best": winner and winner["run_id"],
            "best_values": winner and self._values(sweep, winner["run_id"]),
            "best_task": winner and self._task(winner["run_id"]),
            "varied": list(dict.fromkeys(key for row in rows for key in row["varied"])),
            "done": sum(row["state"] in OVER for row in rows),
            "seconds_left": None
            if over or status["state"] == STOPPING
            else leaderboard.seconds_left(rows, sweep.rungs, self._runs.at_once),
        }

    def _or_problem(self, status: JobStatus) -> tuple[Sweep, bool]:
        """(the experiment, False); (one without trials that says what is wrong, True) for a damaged one."""
        try:
            return load(self.kind.job_folder(self._home.root, status["job_id"])), False
        except UserError as error:
            said = (
                (status["message"], status["hint"]) if status["reason"] == BAD_CONFIG else (error.message, error.hint)
            )
            return Sweep(
                group_id=status["job_id"],
                kind="search",
                name=status["name"],
                created=status["created"],
                base={},
                message=said[0],
                hint=said[1],
            ), True

    def _values(self, sweep: Sweep, run_id: str) -> dict | None:
        """The settings of a trial, as the form takes them; a search's best run is meant for the whole number of steps.
        None where they are no settings of today."""
        trial = next(trial for trial in sweep.trials if trial["run_id"] == run_id)
        values = {**sweep.base, **trial["varied"]} if sweep.kind == "search" else trial["values"]
        try:
            config = TrainConfig.from_dict(values)
        except UserError:
            return None
        return {**values, "method": config.method, "model_id": config.model_id}

    def _task(self, run_id: str) -> str | None:
        """None of a run that was deleted just now."""
        try:
            return self._runs.config(run_id).get("task")
        except UserError:
            return None

    def csv(self, group_id: str) -> str:
        """The table as CSV."""
        return to_csv(self.status(group_id))

    # -- inside

    def _sweep(self, group_id: str) -> Sweep:
        """Raises UserError when there is none, or it is damaged."""
        return load(self.kind.job_folder(self._home.root, self.own(group_id)))

    def _start(self, made: Plan, name) -> str:
        if name is not None and (not isinstance(name, str) or len(name) > 60):
            raise UserError("err_experiment_name")
        title = self._check(made)
        sweep = Sweep(
            group_id=new_id(self.kind.prefix),
            kind=made.kind,
            name=" ".join((name or title).split())[:60],
            created=time.time(),
            base=made.base,
            strategy=made.strategy,
            keep=made.keep,
            rungs=[list(rung) for rung in made.rungs],
            trials=[trial_of(trial) for trial in made.trials],
        )
        try:
            self._scheduler.start(sweep)
            return self.jobs.start(self.kind, sweep.config(), sweep.name, fill=sweep.save, job_id=sweep.group_id)
        except UserError:
            self._take_back(sweep)
            raise

    def _check(self, made: Plan) -> str:
        """The data set's name. Raises UserError unless every run of the first round could start now."""
        for trial in made.trials:
            config, info, entry = prepare.checked(self._home, trial.values)
            _check_rank(config, entry)
        waiting = sum(run["state"] == "queued" for run in self._runs.list())
        most = self._settings.max_queued_runs
        if waiting + len(made.trials) > most:
            raise UserError("err_many_runs", n=len(made.trials), waiting=waiting, most=most)
        return info.name

    def _take_back(self, sweep: Sweep) -> None:
        """The runs that had started before one could not."""
        for trial in sweep.trials:
            if trial["run_id"]:
                with contextlib.suppress(UserError):
                    self._runs.stop(trial["run_id"])
                    self._runs.delete(trial["run_id"])

    def _steps_for(self, tokens, base: dict) -> int:
        """Steps that see about `tokens` tokens."""
        if isinstance(tokens, bool) or not isinstance(tokens, (int, float)) or not 1 <= tokens < 2**53:
            raise UserError("err_token_budget", tokens=repr(str(tokens)[:40]))
        config, info, _ = prepare.checked(self._home, base)
        if not info.tokens:
            raise UserError("err_tokens_not_counted")
        return max(1, round(tokens / prepare.step_tokens(config, info)))


def _base(config: object) -> dict:
    if not isinstance(config, dict):
        raise UserError("err_config_no_object")
    return {key: value for key, value in config.items() if value is not None and key != "name"}


def _check_rank(config, entry) -> None:
    """Raises UserError where GaLore's rank is above the width of the model: the worker would refuse it later."""
    values = read_config(entry.path) if entry.path else {}
    width = next((values[key] for key in _WIDTHS if isinstance(values.get(key), int)), None)
    if config.method == "galore" and width and config.rank > width:
        raise UserError("err_rank_too_large_search", rank=config.rank, width=width)


def _columns(status: dict) -> list[str]:
    """run_id, label, the round of a halving, the settings that differ, the figures, and what the task measures beside."""
    metrics = dict.fromkeys(key for row in status["rows"] for key in row["metrics"])
    rung = ["rung"] if status["rungs"] else []
    return ["run_id", "label", *rung, *status["varied"], *_TABLE_FIGURES, *(f"eval_{key}" for key in metrics)]


def to_csv(status: dict) -> str:
    """One line a run, in the order in which they were planned; empty where nothing is known."""
    out = io.StringIO()
    names = _columns(status)
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in status["rows"]:
        metrics = {f"eval_{key}": value for key, value in row["metrics"].items()}
        writer.writerow({**row, **row["varied"], **metrics})
    return out.getvalue()
