"""What happens next in an experiment: rounds that begin, models that are pruned, the end. Starts runs; knows no page."""

import logging
from dataclasses import asdict
from pathlib import Path

from llmdemo import prepare
from llmdemo.core.errors import NotNow, UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home
from llmdemo.experiments import halving, leaderboard, plan
from llmdemo.experiments.leaderboard import OVER, Leaderboard
from llmdemo.experiments.sweep import Sweep, TrialKept, load
from llmdemo.jobs import End, JobFolder
from llmdemo.jobs.states import BAD_CONFIG, COMPLETED, FAILED, STOPPED, WORKER_ERROR

log = logging.getLogger(__name__)
_PRUNED = say("note_model_removed")
_MOST_NAME = 100


class Scheduler:
    """Leads the experiments of a home folder. Called by the supervisor of the jobs, so that only one does at a time."""

    def __init__(self, home: Home, runs):
        self._home, self._runs, self._leaderboard = home, runs, Leaderboard(runs)

    def advance(self, folder: JobFolder, stopping: bool) -> End | None:
        """Does what can be done now; how the experiment ended, None while it goes on.

        Raises UserError, OSError, sqlite3.Error: then it is tried again. A damaged one has ended: its runs go on alone.
        """
        try:
            sweep = load(folder)
        except UserError as error:
            if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
                raise  # the disk may give it again
            return End(FAILED, BAD_CONFIG, error.message, error.hint)
        if self._find_started(sweep, folder.path) and not stopping:
            end = self._start_missing(sweep, folder.path)
            if end:
                return end
        rows = self._leaderboard.rows(sweep)
        try:
            self._keep(sweep, rows, folder.path)
        except OSError as error:  # a full disk: all the more must models be pruned, and runs be stopped that shall be
            log.warning("%s: %s", sweep.group_id, error)
        if sweep.keep == "best":
            self._prune(rows)
        if stopping:
            return self._stop(rows)
        if all(row["state"] in OVER for row in rows if row["rung"] == sweep.rung):
            return self._next_round(sweep, rows, folder.path)
        return None

    def start(self, sweep: Sweep) -> None:
        """Starts the trials that have no run yet. Raises UserError; those that have begun go on."""
        for index, trial in enumerate(sweep.trials):
            if not trial["run_id"]:
                about = {"id": sweep.group_id, "kind": sweep.kind, "label": trial["label"], "member": index}
                name = f"{sweep.name}: {trial['label']}"[:_MOST_NAME] if sweep.name else trial["label"]
                values = {**trial["values"], "name": name}
                trial["run_id"] = prepare.start(self._home, self._runs, values, {"group": about})

    def _keep(self, sweep: Sweep, rows: list[dict], folder: Path) -> None:
        """Writes down what the runs reached that are over: they may be deleted."""
        changed = False
        for trial, row in zip(sweep.trials, rows, strict=True):
            if row["state"] in OVER and row["state"] != leaderboard.DELETED:
                found = leaderboard.kept(row)
                if trial.get("kept") != found:
                    trial["kept"], changed = found, True
                assert trial["run_id"] is not None, "a run that is over was started"
                self._leaderboard.forget(trial["run_id"])
        if changed:
            sweep.save(folder)

    def _stop(self, rows: list[dict]) -> End | None:
        going = [row for row in rows if row["run_id"] and row["state"] not in OVER]
        for row in going:
            if row["state"] != "stopping":
                self._runs.stop(row["run_id"])
        return None if going else End(STOPPED)

    def _next_round(self, sweep: Sweep, rows: list[dict], folder: Path) -> End | None:
        done, rung = leaderboard.best(rows), sweep.rung
        last = [row for row in rows if row["rung"] == rung]
        scores = {row["run_id"]: leaderboard.score(row) for row in last if row["state"] == "completed"}
        chosen = halving.survivors(scores, sweep.rungs[rung + 1][0]) if rung + 1 < len(sweep.rungs) else []
        if chosen:
            return self._begin(sweep, [next(t for t in sweep.trials if t["run_id"] == each) for each in chosen], folder)
        if done:
            return End(COMPLETED)
        message = next((row["message"] for row in last if row["message"]), say("experiment_none"))
        return End(FAILED, WORKER_ERROR, message, say("experiment_open_run"))

    def _begin(self, sweep: Sweep, winners: list[TrialKept], folder: Path) -> End | None:
        """The next round of the winners. It is written down before its runs start: a crash in between loses none."""
        rung = sweep.rung + 1
        for winner in winners:
            made = plan.search_trial(sweep.base, winner["varied"], rung, sweep.rungs[rung][1])
            sweep.trials.append(trial_of(made))
        sweep.save(folder)
        return self._start_missing(sweep, folder)

    def _find_started(self, sweep: Sweep, folder: Path) -> bool:
        """Finds trials' runs that were started just before the app ended; whether any trial has none."""
        missing = {index for index, trial in enumerate(sweep.trials) if not trial["run_id"]}
        for run in self._runs.list() if missing else ():
            about = _about(self._runs, run["run_id"])
            if about.get("id") == sweep.group_id and about.get("member") in missing:
                sweep.trials[about["member"]]["run_id"] = run["run_id"]
                missing.remove(about["member"])
                sweep.save(folder)
        return bool(missing)

    def _start_missing(self, sweep: Sweep, folder: Path) -> End | None:
        """Starts what has no run yet; what cannot be now is tried again at the next look, and the page says why."""
        before = asdict(sweep)
        sweep.message = sweep.hint = ""
        try:
            self.start(sweep)
        except NotNow as error:
            sweep.message, sweep.hint = say("experiment_waits", message=error.message), error.hint
        except UserError as error:
            return End(FAILED, WORKER_ERROR, error.message, error.hint)
        finally:
            if asdict(sweep) != before:
                sweep.save(folder)
        return None

    def _prune(self, rows: list[dict]) -> None:
        """Removes the models of those that are not the best so far: twenty models would fill a disk."""
        winner = leaderboard.best(rows)
        for row in rows:
            if winner and row["state"] == "completed" and row["model_id"] and row is not winner:
                try:
                    self._runs.prune(row["run_id"], _PRUNED)
                except UserError as error:
                    log.warning("%s: %s", row["run_id"], error)  # its files stay until somebody deletes the run


def _about(runs, run_id: str) -> dict:
    try:
        about = runs.config(run_id).get("group")
    except NotNow:
        raise
    except UserError:
        return {}  # deleted meanwhile, or damaged
    return about if isinstance(about, dict) else {}


def trial_of(made: plan.Trial) -> TrialKept:
    """A planned trial as a sweep keeps it."""
    return {"label": made.label, "varied": made.varied, "values": made.values, "rung": made.rung, "run_id": None}
