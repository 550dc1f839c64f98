"""Runs elsewhere: what the page and the endpoints may ask. Each is a job whose process watches a Hugging Face Job."""

import re
import time
from pathlib import Path
from typing import Any

from llmdemo import prepare
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home, object_or_empty, write_json
from llmdemo.data.hub import must_reach
from llmdemo.elsewhere.hub_jobs import Hardware, HubJobs, address
from llmdemo.jobs import Jobs, JobsOfKind, JobStatus, hub_kind
from llmdemo.jobs.states import COMPLETED
from llmdemo.models import presets
from llmdemo.models.catalog import ModelEntry
from llmdemo.runs import Runs

RESUME = say("resume_elsewhere")
HUB, FETCHED = "hub.json", "run"
"""Inside the job's folder: what is known of the job on the hub; the folder of the checked run, named like its id."""
_AT_ONCE = 8
_STOP_SECONDS = 30.0
MOST_HOURS = 72.0
DEFAULT_HOURS = 2.0
_WAIT_HOURS = 6.0
"""How long a job may wait for its hardware; nothing is billed meanwhile."""
_TAKEN = "taken.json"
_PROGRESS = ("stage", "sent", "total", "file", "running_seconds", "step", "total_steps", "loss", "eval_loss",
             "eta_seconds", "phase")  # fmt: skip
_FLAVOR = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Elsewhere(JobsOfKind):
    """All runs elsewhere of a home folder. Safe to use from any thread.

    A token is passed to the process that watches, and as a secret to the job on the hub; it is in no file.
    """

    def __init__(self, jobs: Jobs, runs: Runs):
        self._home, self._runs = jobs.home, runs
        kind = hub_kind(
            "elsewhere", say("noun_elsewhere"), "elsewhere", "llmdemo.elsewhere.worker", _AT_ONCE, _STOP_SECONDS, RESUME
        )
        super().__init__(jobs, kind)

    def hardware(self, token: str) -> list[dict]:
        """What can be rented now, each with its price an hour, the cheapest first. Raises UserError within a second or two."""
        return [each.to_dict() for each in self._offers(_checked_token(token))]

    def only_there(self) -> list[dict]:
        """{"id", "title", "gated"} of the presets that are not on this computer, which a job can fetch."""
        absent = (each for each in presets.list_presets() if _only_there(self._home, {"model_id": each.id}))
        return [{"id": each.id, "title": each.title, "gated": each.gated} for each in absent]

    def start(self, values: dict, flavor: str, token: str, hours: float = DEFAULT_HOURS) -> str:
        """Begins a run with these settings on that hardware, for at most so many hours; returns its job_id.

        Raises UserError: settings, data, model, hardware or hours that cannot be, no network, a token that the hub
        does not know, or that it does not give the model to.
        """
        token, hours = _checked_token(token), _checked_hours(hours)
        machine = self._machine(flavor, token)
        entry = _only_there(self._home, values)
        if entry is not None and presets.preset(entry.id).gated:
            HubJobs(token).require_access(entry.id)
        config, info, entry = prepare.checked(self._home, values, entry, machine.gpus)
        whole = prepare.whole_config(config, info, entry)
        name = config.name or f"{config.method} · {info.name}"[:80]
        whole["run"] = {"name": name, "created": time.time()}
        kept = {
            "config": whole,
            "flavor": machine.name,
            "hardware": machine.to_dict(),
            "hours": hours,
            "wait_hours": _WAIT_HOURS,
            "min_free_bytes": self.jobs.settings.min_free_bytes,
        }
        return self.jobs.start(self.kind, kept, name, secret=token)

    def go_on(self, job_id: str, token: str) -> dict:
        """Finds the job on the hub again, or begins another where that one is over. Returns status. Raises UserError."""
        token = _checked_token(token)
        must_reach()
        return self.resume(job_id, token)

    def shown(self, status: JobStatus) -> dict[str, Any]:
        """{job_id, name, state, message, hint, created, can_stop, can_resume, can_delete, notes, hardware, hours, most_dollars,
        url, repo, run_id, and progress {stage (sending, waiting, running, fetching, unreached), sent, total, file,
        running_seconds, step, total_steps, loss, eval_loss, eta_seconds, phase}}. run_id: of the run in the list, once it
        is back."""
        folder = self.kind.job_folder(self._home.root, status["job_id"]).path
        config, hub = object_or_empty(folder / "config.json"), object_or_empty(folder / HUB)
        hardware = config.get("hardware") or {}
        progress = status["figures"].get("progress") or {}
        hub_id, owner = str(hub.get("hub_id") or ""), str(hub.get("owner") or "")
        keys = ("job_id", "name", "state", "message", "hint", "created", "can_stop", "can_resume", "can_delete")
        return {
            **{key: status[key] for key in keys},  # type: ignore[literal-required]
            "notes": status["figures"].get("notes") or [],
            "hardware": hardware,
            "hours": config.get("hours"),
            "most_dollars": round(float(hardware.get("dollars_per_hour") or 0) * float(config.get("hours") or 0), 2),
            "progress": {key: progress.get(key) for key in _PROGRESS},
            "url": address(owner, hub_id) if hub_id else "",
            "repo": str(hub.get("repo") or ""),
            "run_id": self._taken(folder) if status["state"] == COMPLETED else None,
        }

    def collect(self) -> None:
        """Puts what has come back into the list of runs. Quick: the runs are checked already."""
        for status in self.jobs.all(self.kind):
            if status["state"] == COMPLETED:
                self._taken(self.kind.job_folder(self._home.root, status["job_id"]).path)

    def _taken(self, folder: Path) -> str | None:
        """The id of the run that came back, which is put in the list where it is not yet."""
        known = object_or_empty(folder / _TAKEN).get("run_id")
        if isinstance(known, str):
            return known
        found = next(iter(sorted((folder / FETCHED).glob("run-*"))), None)
        if found is None:
            return None
        try:
            self._runs.take_in(found)
        except FileNotFoundError:
            return found.name  # another thread was quicker
        write_json(folder / _TAKEN, {"run_id": found.name})
        return found.name

    def _offers(self, token: str) -> list[Hardware]:
        must_reach()
        return HubJobs(token).hardware()

    def _machine(self, flavor: str, token: str) -> Hardware:
        if not isinstance(flavor, str) or not _FLAVOR.fullmatch(flavor):
            raise UserError("err_elsewhere_no_flavor", flavor=repr(str(flavor)[:40]), known="")
        offers = self._offers(token)
        found = next((each for each in offers if each.name == flavor), None)
        if found is None:
            known = ", ".join(each.name for each in offers)
            raise UserError("err_elsewhere_no_flavor", flavor=repr(flavor), known=known)
        return found


def _only_there(home: Home, values: dict) -> ModelEntry | None:
    """A preset that is not on this computer: the job fetches it. None for any other model."""
    from llmdemo.models.catalog import hub_folder

    model_id = str(values.get("model_id") or "") if isinstance(values, dict) else ""
    known = next((each for each in presets.list_presets() if each.id == model_id), None)
    return known.entry() if known and not hub_folder(home, model_id).is_dir() else None


def _checked_token(token: object) -> str:
    if not str(token or "").strip():
        raise UserError("err_elsewhere_no_token", say("err_push_no_token_hint"))
    return str(token).strip()


def _checked_hours(hours: object) -> float:
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0.25 <= hours <= MOST_HOURS:
        raise UserError("err_elsewhere_hours", hours=repr(hours)[:40], most=f"{MOST_HOURS:g}")
    return float(hours)
