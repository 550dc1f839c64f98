"""Making data sets with a model: what the page and the endpoints may ask. Imports no torch; each is a job of its own."""

import json
from typing import Any

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import object_or_empty
from llmdemo.evaluation.endpoint_address import checked_key, parsed_url
from llmdemo.generation.kinds import KINDS
from llmdemo.generation.log import RECORDS, read_lines
from llmdemo.jobs import Jobs, JobsOfKind, JobStatus, model_kind
from llmdemo.jobs.states import FINAL
from llmdemo.models import catalog
from llmdemo.settings.generation import GenerationSpec

RESULT = "result.json"
RESUME = say("resume_generation")
_MOST_RECORDS = 200
_PROGRESS = ("kept", "made", "cut", "total", "reasons", "last", "eta_seconds")


class Generations(JobsOfKind):
    """All data sets of a home folder that models made or are making. Safe to use from any thread."""

    def __init__(self, jobs: Jobs):
        self._home = jobs.home
        super().__init__(
            jobs, model_kind("generation", "making of data", "gen", "generations", "llmdemo.generation.worker", RESUME)
        )

    def start(self, values: dict, key: str = "", judge_key: str = "") -> str:
        """Puts it in the queue and returns its job_id. values: the keys of GenerationSpec. Raises UserError.

        key, judge_key: of the endpoints that write and judge; kept nowhere.
        """
        secret = _secret(key, judge_key)
        spec = self.checked(values, bool(key.strip()), bool(judge_key.strip()))
        title = spec.model.strip() if spec.url.strip() else catalog.resolve(self._home, spec.model_id).title
        config = {"spec": spec.to_dict(), "model_title": title}
        return self.jobs.start(self.kind, config, spec.name or title, secret=secret)

    def resume(self, job_id: str, key: str = "", judge_key: str = "") -> dict[str, Any]:
        """Lets one that has ended go on; endpoints' keys have to be given again. Returns its status."""
        return super().resume(job_id, _secret(key, judge_key))

    def checked(self, values: dict, with_key: bool = False, with_judge_key: bool = False) -> GenerationSpec:
        """Raises UserError for settings, models and data that do not go together."""
        spec = GenerationSpec.from_dict(values)
        if spec.url.strip():
            parsed_url(spec.url, with_key)
        else:
            self._require_writer(spec.model_id)
        if spec.kind == "pairs" and spec.second_model_id:
            self._require_writer(spec.second_model_id)
        kind = KINDS[spec.kind]
        if kind.reads and spec.dataset_id:
            info = data.get_dataset(self._home, spec.dataset_id)
            if info.task not in kind.reads:
                raise UserError("err_generation_no_prompts", name=info.name, task=info.task, tasks=list(kind.reads))
        self._check_judge(spec, with_judge_key)
        return spec

    def _require_writer(self, model_id: str) -> None:
        entry = catalog.resolve(self._home, model_id)
        if not entry.writes:
            raise UserError("err_generation_writes", model=entry.title)

    def _check_judge(self, spec: GenerationSpec, with_key: bool) -> None:
        """Tells what is wrong with a judge before any model writes for hours."""
        judge = spec.judge
        if judge.kind == "endpoint":
            parsed_url(judge.url, with_key)
        elif judge.kind == "model" and not catalog.resolve(self._home, judge.model_id).writes:
            raise UserError("err_judge_no_writer")
        elif judge.kind == "reward" and (entry := catalog.resolve(self._home, judge.model_id)).task != "reward":
            raise UserError("err_no_reward_model_of_name", title=entry.title)

    def shown(self, status: JobStatus) -> dict[str, Any]:
        """{job_id, name, state, message, hint, spec, progress {kept, made, cut, total, reasons, last, eta_seconds}, dataset_id,
        seconds_each: of a record that is kept, None before its end}.

        Of one that has ended kept and reasons are those of the data set that was made.
        """
        result = object_or_empty(self.path_of(status["job_id"]) / RESULT)
        told = self.told(status, _PROGRESS)
        if status["state"] in FINAL:
            told["progress"] |= {key: result[key] for key in ("kept", "made", "cut", "reasons") if key in result}
        each = result.get("seconds_each")
        return {**told, "dataset_id": str(result.get("dataset_id") or ""), "seconds_each": each}

    def records(self, job_id: str, reason: str | None = None, offset: int = 0, limit: int = 20) -> dict[str, Any]:
        """{"total", "records"}: what was made, in order: number, source, messages, answers, reason, perplexity, judged and, of
        each text that was drawn, model, temperature and seed.

        reason: those left out for it, "" those that were kept; None: all.
        """
        folder = self.path_of(self.own(job_id))
        dropped = object_or_empty(folder / RESULT).get("left_out") or []
        found = []
        for line in read_lines(folder / RECORDS):
            line = {key: value for key, value in line.items() if key not in ("type", "t")}
            if line["number"] in dropped and not line["reason"]:
                line["reason"] = "perplexity_share"
            if reason is None or line["reason"] == reason:
                found.append(line)
        offset, limit = max(0, int(offset)), min(_MOST_RECORDS, max(1, int(limit)))
        return {"total": len(found), "records": found[offset : offset + limit]}


def _secret(key: str, judge_key: str) -> str:
    """What the worker is told beside its settings; "" where there is no key. Raises EndpointFailed for one that none can be."""
    keys = {"maker": checked_key(key), "judge": checked_key(judge_key)}
    return json.dumps(keys) if any(keys.values()) else ""
