"""What happens next in an experiment: rounds that begin, models that are let go, the end. Starts runs; knows no page."""

import logging
import sqlite3
from dataclasses import asdict

from llmdemo import prepare
from llmdemo.errors import NotNow, UserError
from llmdemo.experiments import board as boards
from llmdemo.experiments import halving, plan
from llmdemo.experiments.board import OVER, Board
from llmdemo.experiments.group import CANCELLED, COMPLETED, FAILED, RUNNING, Group, Groups, Member
from llmdemo.store import Home

log = logging.getLogger(__name__)
_LET_GO = "Its model was removed: another run of the search is better, and only the best one is kept."
_MOST_NAME = 100


class Conductor:
    """Leads the experiments of a home folder; only one at a time may, as only one app may lead the runs."""

    def __init__(self, home: Home, runs, groups: Groups, board: Board):
        self._home, self._runs, self._groups, self._board = home, runs, groups, board
        self._over: set[str] = set()

    def tick(self) -> bool:
        """Looks at every experiment that is not over; True while there is one."""
        for group_id in [each for each in self._groups.ids() if each not in self._over]:
            try:
                group = self._groups.load(group_id)
            except UserError as error:
                log.warning("%s", error)
                self._over.add(group_id)
                continue
            if self._is_over(group):
                self._over.add(group_id)
        return bool(set(self._groups.ids()) - self._over)

    def _is_over(self, group: Group) -> bool:
        """Advances the experiment first. What goes wrong is tried again, and leaves no other experiment unwatched."""
        if group.state == RUNNING:
            try:
                self._advance(group)
            except (OSError, sqlite3.Error, UserError) as error:
                if not self._runs.closed:
                    log.warning("%s: %s", group.group_id, error)
                return False
        return group.state != RUNNING

    def start(self, group: Group) -> None:
        """Starts the members that have no run yet. Raises UserError; those that have begun go on."""
        for index, member in enumerate(group.members):
            if not member["run_id"]:
                about = {"id": group.group_id, "kind": group.kind, "label": member["label"], "member": index}
                name = f"{group.name}: {member['label']}"[:_MOST_NAME] if group.name else member["label"]
                values = {**member["values"], "name": name}
                member["run_id"] = prepare.start(self._home, self._runs, values, {"group": about})

    def _advance(self, group: Group) -> None:
        cancelled = self._groups.is_cancelled(group.group_id)
        if self._find_started(group) and not cancelled:
            self._start_missing(group)
        rows = self._board.rows(group)
        try:
            self._keep(group, rows)
        except OSError as error:  # a full disk: all the more must models be let go, and runs be stopped that shall be
            log.warning("%s: %s", group.group_id, error)
        if group.keep == "best":
            self._let_go(rows)
        if cancelled:
            self._cancel(group, rows)
        elif all(row["state"] in OVER for row in rows if row["rung"] == group.rung):
            self._next_round(group, rows)

    def _keep(self, group: Group, rows: list[dict]) -> None:
        """Writes down what the runs reached that are over: they may be deleted."""
        changed = False
        for member, row in zip(group.members, rows, strict=True):
            if row["state"] in OVER and row["state"] != boards.DELETED:
                found = boards.kept(row)
                if member.get("kept") != found:
                    member["kept"], changed = found, True
                self._board.forget(member["run_id"])
        if changed:
            self._groups.save(group)

    def _cancel(self, group: Group, rows: list[dict]) -> None:
        going = [row for row in rows if row["run_id"] and row["state"] not in OVER]
        for row in going:
            if row["state"] != "stopping":
                self._runs.stop(row["run_id"])
        if not going:
            group.state, group.message, group.hint = CANCELLED, "", ""
            self._groups.save(group)

    def _next_round(self, group: Group, rows: list[dict]) -> None:
        done, rung = boards.best(rows), group.rung
        last = [row for row in rows if row["rung"] == rung]
        scores = {row["run_id"]: boards.score(row) for row in last if row["state"] == "completed"}
        chosen = halving.survivors(scores, group.rungs[rung + 1][0]) if rung + 1 < len(group.rungs) else []
        if chosen:
            self._begin(group, [next(m for m in group.members if m["run_id"] == run_id) for run_id in chosen])
            return
        group.state = COMPLETED if done else FAILED
        if not done:
            group.message = next((row["message"] for row in last if row["message"]), "No run was completed.")
            group.hint = "Open a run to see what happened to it."
        self._groups.save(group)

    def _begin(self, group: Group, winners: list[Member]) -> None:
        """The next round of the winners. It is written down before its runs start: a crash in between loses none."""
        rung = group.rung + 1
        for winner in winners:
            made = plan.searcher(group.base, winner["varied"], rung, group.rungs[rung][1])
            group.members.append(member_of(made))
        self._groups.save(group)
        self._start_missing(group)

    def _find_started(self, group: Group) -> bool:
        """Finds members' runs that were started just before the app ended; whether any member has none."""
        missing = {index for index, member in enumerate(group.members) if not member["run_id"]}
        for run in self._runs.list() if missing else ():
            about = _about(self._runs, run["run_id"])
            if about.get("id") == group.group_id and about.get("member") in missing:
                group.members[about["member"]]["run_id"] = run["run_id"]
                missing.remove(about["member"])
                self._groups.save(group)
        return bool(missing)

    def _start_missing(self, group: Group) -> None:
        """Starts what has no run yet; what cannot be now is tried again at the next look, and the page says why."""
        before = asdict(group)
        group.message = group.hint = ""
        try:
            self.start(group)
        except NotNow as error:
            group.message, group.hint = f"The next runs wait: {error.message}", error.hint
        except UserError as error:
            group.state, group.message, group.hint = FAILED, error.message, error.hint
        if asdict(group) != before:
            self._groups.save(group)

    def _let_go(self, rows: list[dict]) -> None:
        """Removes the models of those that are not the best so far: twenty models would fill a disk."""
        winner = boards.best(rows)
        for row in rows:
            if winner and row["state"] == "completed" and row["model_id"] and row is not winner:
                try:
                    self._runs.prune(row["run_id"], _LET_GO)
                except UserError as error:
                    log.warning("%s: %s", row["run_id"], error)  # its files stay until somebody deletes the run


def _about(runs, run_id: str) -> dict:
    try:
        about = runs.config(run_id).get("group")
    except UserError:
        return {}  # deleted meanwhile, or damaged
    return about if isinstance(about, dict) else {}


def member_of(made: plan.Member) -> Member:
    """A planned member as a group keeps it."""
    return {"label": made.label, "varied": made.varied, "values": made.values, "rung": made.rung, "run_id": None}
