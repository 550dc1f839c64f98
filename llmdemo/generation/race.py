"""'By people', 'made', 'half of each': three runs on as many records, judged on the same held-out part of what people wrote.

Joins data sets, runs and a job that waits for them and compares what they know of the held-out answers (race_worker.py).
Imports no torch.
"""

import contextlib
import math
from typing import Any

import numpy as np

from llmdemo import data, prepare
from llmdemo.core import json_lines
from llmdemo.core.errors import NotNow, UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import new_id, object_or_empty
from llmdemo.data.append import rows_as_dataset
from llmdemo.data.checks import loose_hash, prompt_of
from llmdemo.data.export import messages_row
from llmdemo.data.library import MADE, folder_of
from llmdemo.data.records import Records
from llmdemo.generation.log import RECORDS, read_lines
from llmdemo.jobs import JobFolder, Jobs, JobsOfKind, JobStatus, Kind, worker_of
from llmdemo.jobs.states import ALIVE, COMPLETED, FAILED, QUEUED
from llmdemo.settings.training import rows_of

RESULT = "result.json"
RESUME = say("resume_data_race")
PARTS = ("people", "made", "both")
_SEED, _SHARE = 7, 0.1
_LEAST = 4
"""Records of a part, and held-out records: fewer compare nothing."""


class DataRaces(JobsOfKind):
    """All races of made data against people's. Safe to use from any thread. `generations`: the jobs that made data sets."""

    def __init__(self, jobs: Jobs, runs: Any, generations: JobsOfKind):
        self._home, self._settings, self._runs, self._generations = jobs.home, jobs.settings, runs, generations
        kind = Kind(
            name="data_race",
            noun=say("noun_data_race"),
            prefix="drace",
            folder="data_races",
            command=worker_of("llmdemo.generation.race_worker"),
            waits=self._waits,
            disk_need=None,
            resume_hint=RESUME,
        )
        super().__init__(jobs, kind)

    def start(self, dataset_id: str, people_id: str, number: int = 500, config: dict | None = None) -> dict[str, Any]:
        """Makes the three data sets, queues their runs and what compares them; returns job_id and run_ids.

        dataset_id: the made one; people_id: the one whose held-out part all are judged on; number: records of each, fewer
        where there are not as many. config: as for /start_run, without dataset_id; by default as many steps as see each record
        once. Raises UserError for data that cannot race; then nothing is left behind.
        """
        made, people = (data.open_records(self._home, each) for each in (dataset_id, people_id))
        self._check(made, people, number)
        train, held = data.split(people, _SEED, _SHARE)
        usable = self._usable(made, people, held)
        number = min(number, len(train), len(usable))
        if number < _LEAST or len(held) < _LEAST:
            raise UserError("err_data_race_few", people=len(train), made=len(usable), held=len(held), least=_LEAST)
        draw = np.random.default_rng(_SEED)
        mine, theirs = draw.permutation(usable)[:number], draw.permutation(train)[:number]
        half = number // 2
        chosen = {
            "people": (theirs, mine[:0]),
            "made": (theirs[:0], mine),
            "both": (theirs[: number - half], mine[:half]),
        }
        parts: list[dict] = []
        try:
            for name in PARTS:
                parts.append(self._part(name, people, made, held, *chosen[name]))
            about = {"dataset_id": dataset_id, "people_id": people_id}
            return self._started(parts, people.info.name, config or {}, about)
        except UserError:
            self._take_back(parts)
            raise

    def stop(self, job_id: str) -> dict[str, Any]:
        """Stops its runs too. Returns its status."""
        for run_id in self._run_ids(self.kind.job_folder(self._home.root, self.own(job_id))):
            with contextlib.suppress(UserError):  # it has ended, or is gone
                self._runs.stop(run_id)
        return super().stop(job_id)

    def shown(self, status: JobStatus) -> dict[str, Any]:
        """{job_id, name, state, message, hint, created, spec, progress {done, total}, runs [{run_id, state, step, total_steps}],
        result}: race_worker's, None before there is one."""
        folder = self.path_of(status["job_id"])
        told = self.told(status, ("done", "total"))
        runs = [self._run(str(part.get("run_id"))) for part in told["spec"].get("parts") or []]
        return {**told, "runs": runs, "result": object_or_empty(folder / RESULT) or None}

    # -- inside

    def _check(self, made: Records, people: Records, number: object) -> None:
        if isinstance(number, bool) or not isinstance(number, int) or not _LEAST <= number <= 100_000:
            raise UserError("err_data_race_number", number=str(number)[:40], least=_LEAST)
        if not isinstance(made.info.source.get("generated"), dict):
            raise UserError("err_data_race_not_made", name=made.info.name)
        if (made.info.family or made.info.dataset_id) == (people.info.family or people.info.dataset_id):
            raise UserError("err_data_race_same")
        for records in (made, people):
            if records.task != "chat":
                raise UserError("err_data_race_task", name=records.info.name, task=records.task)

    def _usable(self, made: Records, people: Records, held: np.ndarray) -> np.ndarray:
        """Indices of the made records that say nothing of what is held out: neither ask the same, nor were made of it."""
        spec = made.info.source["generated"]
        rows: set[int] = set()
        if spec.get("kind") == "paraphrases" and self._related(spec, people):
            if spec["dataset_id"] != people.info.dataset_id:
                raise UserError("err_data_race_version")
            rows = self._made_of(made, set(map(int, held)))
        asked = {_asked(people[int(n)]) for n in held}
        found = [n for n, each in enumerate(made) if _asked(each) not in asked and each["row"] not in rows]
        return np.array(found, int)

    def _related(self, spec: dict, people: Records) -> bool:
        """Whether the prompts came from people's data, or another version of it."""
        try:
            source = data.get_dataset(self._home, str(spec["dataset_id"]))
        except UserError:
            raise UserError("err_data_race_source_gone") from None
        return (source.family or source.dataset_id) == (people.info.family or people.info.dataset_id)

    def _made_of(self, made: Records, places: set[int]) -> set[int]:
        """Rows of the made data set that were made of records at these places, by what it keeps of each row, or where that is
        not whole by its job's log. Raises UserError where both are gone."""
        known = list(json_lines.read_lines(folder_of(self._home, made.info.dataset_id) / MADE))
        if len(known) == made.info.rows:
            return {int(line.get("row") or 0) for line in known if line.get("source") in places}
        folder = self._generations.path_of(str(made.info.source["generated"].get("job_id") or "-"))
        if not (folder / RECORDS).is_file():
            raise UserError("err_data_race_source_gone")
        dropped = set(object_or_empty(folder / RESULT).get("left_out") or [])
        kept = [line for line in read_lines(folder / RECORDS) if not line["reason"] and line["number"] not in dropped]
        return {row for row, line in enumerate(kept, 1) if line.get("source") in places}

    def _part(
        self, name: str, people: Records, made: Records, held: np.ndarray, theirs: np.ndarray, mine: np.ndarray
    ) -> dict[str, Any]:
        """A data set of these records, with people's held-out ones as its fixed eval part."""
        chosen = ((people, held, "eval"), (people, theirs, "train"), (made, mine, "train"))
        # None stands for nothing: a column that only the last rows have would not be found
        rows = [
            {"tools": None, "other_answers": None, **messages_row(records[int(n)]), "split": split}
            for records, indices, split in chosen
            for n in indices
        ]
        label = say(f"data_race_{name}", people=len(theirs), made=len(mine))
        title = say("data_race_name", name=people.info.name[:60], label=label)
        source = {"data_race": {"people": people.info.dataset_id, "made": made.info.dataset_id}}
        info = rows_as_dataset(self._home, self._settings, rows, str(title), "chat", source)
        return {"part": name, "people": len(theirs), "made": len(mine), "dataset_id": info.dataset_id, "label": label}

    def _started(self, parts: list[dict], name: str, config: dict, about: dict) -> dict[str, Any]:
        checked = prepare.checked(self._home, {**config, "dataset_id": parts[0]["dataset_id"]})[0]
        steps = math.ceil(sum(parts[0][key] for key in ("people", "made")) / rows_of(checked))
        same = {"max_steps": steps, **config}
        group = {"id": new_id("group"), "kind": "data_race", "label": str(say("data_race_of", name=name))[:100]}
        for part in parts:
            values = {**same, "dataset_id": part["dataset_id"], "name": f"{name[:40]}: {part['label']}"[:100]}
            part["run_id"] = prepare.start(self._home, self._runs, values, extra={"group": group})
        spec = {**about, "parts": parts, "model_id": checked.model_id, "max_length": checked.max_length}
        job_id = self.jobs.start(self.kind, {"spec": spec | {"seed": _SEED}}, name)
        return {"job_id": job_id, "run_ids": [part["run_id"] for part in parts]}

    def _take_back(self, parts: list[dict]) -> None:
        """The runs that were queued before one could not be, and the data that was made for them; one that has begun is
        stopped and stays, with its data."""
        for part in parts:
            with contextlib.suppress(UserError):
                if "run_id" in part:
                    self._runs.stop(part["run_id"])
                    self._runs.delete(part["run_id"])
                data.delete_dataset(self._home, part["dataset_id"])

    def _run_ids(self, folder: JobFolder) -> list[str]:
        parts = object_or_empty(folder.path / "config.json").get("spec", {}).get("parts") or []
        return [str(part.get("run_id")) for part in parts]

    def _run(self, run_id: str) -> dict[str, Any]:
        try:
            status = self._runs.status(run_id)
        except UserError:
            return {"run_id": run_id, "state": "deleted", "step": None, "total_steps": None}
        return {key: status[key] for key in ("run_id", "state", "step", "total_steps")}

    def _waits(self, folder: JobFolder) -> str:
        """What it waits for; raises UserError when a run did not end well."""
        states = []
        for run_id in self._run_ids(folder):
            try:
                states.append(self._runs.status(run_id)["state"])
            except NotNow:  # it may be there: the list is being made again
                raise
            except UserError:
                states.append(FAILED)
        if waits_for := sum(state in (QUEUED, *ALIVE) for state in states):
            return say("eval_waits_runs", n=waits_for)
        if failed := sum(state != COMPLETED for state in states):
            raise UserError("err_runs_failed", failed=failed)
        return ""


def _asked(record: dict) -> int:
    """What a conversation begins with, as a hash. A made one may have a system prompt of its own, and ends where the model's first
    answer does: its whole prompt need not be the one that it was made of."""
    first = next((turn["content"] for turn in record["messages"] if turn["role"] == "user"), prompt_of(record))
    return loose_hash(first)
