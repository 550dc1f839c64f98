"""Experiments: what the page and the endpoints may ask of races and searches. Knows no torch, no gradio, no worker's inside."""

from __future__ import annotations  # the method "list" would hide the type in the signatures

import contextlib
import logging
import sqlite3
import threading
import time
from dataclasses import asdict

from llmdemo import prepare
from llmdemo.errors import UserError
from llmdemo.experiments import board as boards
from llmdemo.experiments import plan, table
from llmdemo.experiments.board import OVER, Board
from llmdemo.experiments.conductor import Conductor, member_of
from llmdemo.experiments.group import RUNNING, Group, Groups
from llmdemo.experiments.plan import Plan
from llmdemo.models.check import read_config
from llmdemo.settings import Settings
from llmdemo.settings.training import TrainConfig
from llmdemo.store import Home

log = logging.getLogger(__name__)
_BUSY_SECONDS = 1.0
_IDLE_SECONDS = 5.0
_WIDTHS = ("hidden_size", "n_embd", "d_model")


class Experiments:
    """All experiments of a home folder. Safe to use from any thread. Methods with a group_id raise UserError for a wrong one."""

    def __init__(self, home: Home, settings: Settings, runs):
        self._home, self._settings, self._runs = home, settings, runs
        self._groups, self._board = Groups(home), Board(runs)
        self._conductor = Conductor(home, runs, self._groups, Board(runs))
        self._lock = threading.RLock()
        self._closed, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="experiments", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops watching; the runs go on."""
        self._closed.set()
        self._wake.set()
        self._thread.join()

    # -- what can be done

    def start_race(self, config: dict, race: dict | None = None) -> str:
        """Puts two or three methods in the queue, on the same records and seed for the same steps; returns the group_id.

        `config` is a run's; `race`: methods, own {method: {setting: value}}, tokens (a budget, instead of max_steps), name.
        Nothing is started unless every run may be. Raises UserError.
        """
        base, asked = _base(config), race or {}
        made = plan.race(base, asked)
        if asked.get("tokens") is not None:
            made = plan.race({**base, "max_steps": self._steps_for(asked["tokens"], base)}, asked)
        return self._start(made, asked.get("name"))

    def start_search(self, config: dict, search: dict | None = None) -> str:
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
        if self._groups.load(group_id).state == RUNNING:
            self._groups.cancel(group_id)
            self._wake.set()
        return self.status(group_id)

    def delete(self, group_id: str) -> None:
        """Forgets an experiment that is over; its runs stay."""
        if self._goes(group_id):
            raise UserError("The experiment is still going.", "Cancel it first.")
        self._groups.remove(group_id)

    # -- what can be seen

    def list(self) -> list[dict]:
        """In brief, the newest first: group_id, kind, strategy, name, state, created, runs."""
        found = []
        for group_id in self._groups.ids():
            try:
                group = self._groups.shown(group_id)
            except UserError:
                continue  # deleted just now
            keys = ("group_id", "kind", "strategy", "name", "state", "created")
            found.append({key: getattr(group, key) for key in keys} | {"runs": len(group.members)})
        # Two may have begun in the same second, which is all that their ids tell.
        return sorted(found, key=lambda each: each["created"], reverse=True)

    def status(self, group_id: str) -> dict:
        """The experiment and its rows: group_id, kind, strategy, state (running, stopping, completed, cancelled, failed),
        message, hint, rows (Board.rows), best (a run_id), best_task, varied (the settings that differ), rungs, seconds_left, base.
        A damaged one has failed, without rows, and says so."""
        group = self._groups.shown(group_id)
        with self._lock:
            rows = self._board.rows(group)
        winner = boards.best(rows)
        cancelling = group.state == RUNNING and self._groups.is_cancelled(group_id)
        values = {key: value for key, value in asdict(group).items() if key != "members"}
        return values | {
            "state": "stopping" if cancelling else group.state,
            "rows": rows,
            "best": winner and winner["run_id"],
            "best_values": winner and self._values(group, winner["run_id"]),
            "best_task": winner and self._task(winner["run_id"]),
            "varied": list(dict.fromkeys(key for row in rows for key in row["varied"])),
            "done": sum(row["state"] in OVER for row in rows),
            "seconds_left": boards.seconds_left(rows, group.rungs, self._runs.at_once)
            if group.state == RUNNING
            else None,
        }

    def _values(self, group: Group, run_id: str) -> dict | None:
        """The settings of a member, as the form takes them; a search's best run is meant for the whole number of steps.
        None where they are no settings of today."""
        member = next(member for member in group.members if member["run_id"] == run_id)
        values = {**group.base, **member["varied"]} if group.kind == "search" else member["values"]
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
        return table.to_csv(self.status(group_id))

    # -- inside

    def _goes(self, group_id: str) -> bool:
        try:
            return self._groups.load(group_id).state == RUNNING
        except UserError:
            return False  # damaged: nobody leads it any more

    def _start(self, made: Plan, name) -> str:
        if name is not None and (not isinstance(name, str) or len(name) > 60):
            raise UserError("The experiment's name is too long.", "Give at most 60 characters.")
        title = self._check(made)
        group = Group(
            group_id=self._groups.new_id(),
            kind=made.kind,
            name=" ".join((name or title).split())[:60],
            created=time.time(),
            base=made.base,
            strategy=made.strategy,
            keep=made.keep,
            rungs=[list(rung) for rung in made.rungs],
            members=[member_of(member) for member in made.members],
        )
        try:
            self._conductor.start(group)
            self._groups.add(group)
        except (UserError, OSError) as error:
            self._take_back(group)
            if isinstance(error, UserError):
                raise
            raise UserError(f"The experiment cannot be kept ({error.strerror}).", "Free some space.") from error
        self._wake.set()
        return group.group_id

    def _check(self, made: Plan) -> str:
        """The data set's name. Raises UserError unless every run of the first round could start now."""
        for member in made.members:
            config, info, entry = prepare.checked(self._home, member.values)
            _check_rank(config, entry)
        waiting = sum(run["state"] == "queued" for run in self._runs.list())
        most = self._settings.max_queued_runs
        if waiting + len(made.members) > most:
            raise UserError(
                f"{len(made.members)} runs are too many: {waiting} wait already, and at most {most} may.",
                "Try fewer settings, or cancel waiting runs; LLMDEMO_MAX_QUEUED_RUNS sets the limit.",
            )
        return info.name

    def _take_back(self, group: Group) -> None:
        """The runs that had started before one could not."""
        for member in group.members:
            if member["run_id"]:
                with contextlib.suppress(UserError):
                    self._runs.stop(member["run_id"])
                    self._runs.delete(member["run_id"])

    def _steps_for(self, tokens, base: dict) -> int:
        """Steps that see about `tokens` tokens."""
        if isinstance(tokens, bool) or not isinstance(tokens, (int, float)) or not 1 <= tokens < 2**53:
            raise UserError(f"The token budget is {str(tokens)[:40]!r}.", "It must be a number above 0.")
        config, info, _ = prepare.checked(self._home, base)
        if not info.tokens:
            raise UserError("The data set's tokens have not been counted yet.", "Open it in Data, or give max_steps.")
        return max(1, round(tokens / prepare.step_tokens(config, info)))

    def _watch(self) -> None:
        busy = True
        while not self._closed.is_set():
            self._wake.wait(_BUSY_SECONDS if busy else _IDLE_SECONDS)
            self._wake.clear()
            if self._closed.is_set() or self._runs.closed:
                return
            try:
                busy = self._conductor.tick() if self._runs.leads else True
            except (OSError, sqlite3.Error, UserError) as error:
                if not self._runs.closed:
                    log.warning("watching over the experiments: %s", error)
            except Exception:  # whatever it is, the other experiments must not go unwatched because of it
                if not self._runs.closed:
                    log.exception("watching over the experiments")


def _base(config) -> dict:
    if not isinstance(config, dict):
        raise UserError("The config is not an object.", 'Give keys and values, such as {"dataset_id": "…"}.')
    return {key: value for key, value in config.items() if value is not None and key != "name"}


def _check_rank(config, entry) -> None:
    """Raises UserError where GaLore's rank is above the width of the model: the worker would refuse it later."""
    values = read_config(entry.path) if entry.path else {}
    width = next((values[key] for key in _WIDTHS if isinstance(values.get(key), int)), None)
    if config.method == "galore" and width and config.rank > width:
        raise UserError(
            f"rank {config.rank} is larger than every matrix of this model (the largest allows {width}).",
            f"Choose ranks of at most {width}.",
        )
