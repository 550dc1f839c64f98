"""Evaluations: what the page and the endpoints may ask. Imports no torch; each evaluation is a job with a process of its own.

One after the other, in the order in which they were started; a cross-validation waits for its runs.
"""

from __future__ import annotations  # the method "list" would hide the type in the signatures

from dataclasses import replace
from pathlib import Path
from typing import Literal

from llmdemo import data
from llmdemo.core.errors import NotNow, UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import child
from llmdemo.evaluation import heldout, takeover
from llmdemo.evaluation.endpoint_address import checked_key, parsed_url
from llmdemo.evaluation.export import write_csv
from llmdemo.evaluation.folder import EvaluationFolder
from llmdemo.jobs import JobFolder, Jobs, JobsOfKind, JobStatus, Kind, worker_of
from llmdemo.jobs.states import ALIVE, COMPLETED, FAILED, FINAL, QUEUED, RUNNING, STARTING
from llmdemo.models import catalog
from llmdemo.settings.evaluation import KIND_OF_TASK, LIMITS, Spec
from llmdemo.settings.judge import JudgeSpec

RESUME = say("resume_evaluation")
_STOP_SECONDS = 8.0
WRITTEN = ("answers", "perplexity", "decoding", "benchmark")
"""Kinds of models that write."""


class Evaluations(JobsOfKind):
    """All evaluations of a home folder. Safe to use from any thread.

    `runs` tells when the runs of a cross-validation are over. Methods that take an evaluation_id raise UserError for one
    that does not exist.
    """

    def __init__(self, jobs: Jobs, runs=None):
        self._home, self._runs = jobs.home, runs
        kind = Kind(
            name="evaluation",
            noun=say("noun_evaluation"),
            prefix="eval",
            folder="evaluations",
            command=worker_of("llmdemo.evaluation.worker"),
            take_over=takeover.take_over,
            waits=self._waits,
            disk_need=None,
            grace=_STOP_SECONDS,
            repeats=True,  # one whose judge failed has completed all the same
            resume_hint=RESUME,
        )
        super().__init__(jobs, kind)

    # ---- what can be done

    def start(self, values: dict, key: str = "") -> str:
        """Puts an evaluation in the queue and returns its id. `key` is for the judge's endpoint, and kept nowhere.

        values: the keys of spec.Spec; kind, limit and the split follow from data and models. Raises UserError.
        """
        key = checked_key(key)
        spec = self.checked(values, bool(key))
        config = {"spec": spec.to_dict(), "titles": self._titles(spec)}
        return self.jobs.start(self.kind, config, spec.kind, secret=key)

    def checked(self, values: dict, with_key: bool = False) -> Spec:
        """The spec with everything filled in. Raises UserError for data, models and judges that do not go together."""
        if (
            isinstance(values, dict)
            and not values.get("dataset_id")
            and not values.get("benchmark")
            and isinstance(values.get("model_ids"), list | tuple)
        ):
            own = heldout.own_dataset(self._home, tuple(map(str, values["model_ids"])))
            values = {**values, "dataset_id": own or ""}
        spec = Spec.from_dict(values)
        if spec.benchmark:
            self._check_judge("benchmark", spec.model_ids, spec.judge, with_key)
            return self._checked_without_data(replace(spec, decoding=None), "benchmark")
        if spec.vote_id:
            return self._checked_votes(spec, with_key)
        if spec.decoding and spec.decoding.prompts:
            spec = self._with_checker(spec, with_key)
            return self._checked_without_data(spec, "decoding")
        info = data.get_dataset(self._home, spec.dataset_id)
        kind = KIND_OF_TASK[info.task]
        if spec.run_ids:
            kind = "kfold"
        if spec.decoding:
            if kind != "answers":
                raise UserError("err_eval_not_text", name=info.name)
            kind = "decoding"
        if info.task == "preference" and kind == "answers" and self._are_rewards(spec.model_ids):
            kind = "reward"
        if spec.kind not in ("", kind):
            raise UserError("err_kind_of_data", name=info.name, kind=repr(kind), asked=repr(spec.kind))
        model_ids = spec.model_ids or (("starter",) if kind in WRITTEN else ())
        self._check_models(kind, model_ids, spec)
        if kind == "decoding":
            spec = self._with_checker(spec, with_key, LIMITS[kind])
        else:
            self._check_judge(kind, model_ids, spec.judge, with_key)
        split = heldout.split_of(self._home, model_ids, spec.dataset_id)
        given = {key: value for key, value in values.items() if value is not None and key in split}
        filled = {"kind": kind, "limit": spec.limit or LIMITS[kind], "model_ids": list(model_ids)} | split | given
        whole = Spec.from_dict({**spec.to_dict(), **filled})
        if kind != "kfold":  # whose runs each tell their own part
            heldout.held_out(self._home, whole)
        return whole

    def _checked_votes(self, spec: Spec, with_key: bool) -> Spec:
        """Of a judge on the pairs of a class's vote, which has no split and no right answers."""
        if not child(self._home.votes, spec.vote_id).is_dir():
            raise UserError("err_vote_none")
        if spec.judge.kind == "none":
            raise UserError("err_votes_no_judge")
        self._check_judge("votes", ("-", "-"), spec.judge, with_key)
        seed = heldout.SEED if spec.seed is None else spec.seed
        limit = _least(spec.limit, spec.judge.limit) or LIMITS["votes"]
        judge = replace(spec.judge, reference=False, limit=limit)
        return replace(spec, kind="votes", limit=limit, dataset_id="", model_ids=(), seed=seed, judge=judge)

    def _checked_without_data(self, spec: Spec, kind: Literal["decoding", "benchmark"]) -> Spec:
        """Of an evaluation on own prompts, or on a benchmark's questions, which have no split."""
        model_ids = spec.model_ids or ("starter",)
        self._check_models(kind, model_ids, spec)
        seed = heldout.SEED if spec.seed is None else spec.seed
        limit = spec.limit or (LIMITS[kind] if kind == "benchmark" else 0)
        return replace(spec, kind=kind, model_ids=model_ids, dataset_id="", seed=seed, limit=limit)

    def resume(self, evaluation_id: str, key: str = "") -> dict:
        """Puts one that has ended, or whose judge failed, back in the queue. Returns status.

        Raises UserError for a key that none can be.
        """
        return super().resume(evaluation_id, checked_key(key))

    # ---- what can be seen

    def shown(self, status: JobStatus) -> dict:
        """{evaluation_id, state, reason, message, hint, kind, created, spec, titles, progress, waits_for}: ready for JSON."""
        state, problem = status["state"], None
        try:
            about = self._folder(status["job_id"]).about()
        except UserError as error:  # shown all the same, so that it can be deleted
            about, problem = {"spec": {}, "titles": {}}, error
            state = FAILED if state in FINAL else state
        spec, ended = about["spec"], state in FINAL
        return {
            "evaluation_id": status["job_id"],
            "state": RUNNING if state == STARTING else state,
            "reason": status["reason"],
            "message": problem.message if problem else status["message"] if ended else "",
            "hint": problem.hint if problem else status["hint"],
            "kind": spec.get("kind", ""),
            "created": status["created"],
            "titles": about["titles"],
            "spec": spec,
            "progress": (status["figures"].get("progress") or {}) if state in ALIVE else {},
            "waits_for": sum(each in (QUEUED, *ALIVE) for each in self._run_states(spec)) if state == QUEUED else 0,
        }

    def result(self, evaluation_id: str) -> dict:
        """What came out, {} before there is anything; see run_models and run_classifiers for the keys.

        Raises UserError for one that is damaged.
        """
        return self._known(evaluation_id).result()

    def records(self, evaluation_id: str) -> list[dict]:
        """What came out for each record. Raises UserError where they are damaged."""
        return self._known(evaluation_id).records()

    def result_with_records(self, evaluation_id: str) -> tuple[dict, list[dict]]:
        """Both, which fit together. Raises UserError where they are damaged."""
        folder = self._known(evaluation_id)
        result, records = folder.result(), folder.records()
        if result.get("kind") == "classify":
            folder.require_records(result, records)
        return result, records

    def export(self, evaluation_id: str, folder: Path) -> Path:
        """A .csv in `folder` with all records, whole. Raises UserError where there is none yet, or of another kind."""
        records = self.records(evaluation_id)
        if not records or "loss" not in records[0]:
            raise UserError("err_no_records_to_save")
        path = folder / f"{evaluation_id}.csv"
        write_csv(records, path)
        return path

    # ---- inside

    def _known(self, evaluation_id: str) -> EvaluationFolder:
        """The folder; raises UserError where there is no such evaluation."""
        return self._folder(self.own(evaluation_id))

    def _folder(self, evaluation_id: str) -> EvaluationFolder:
        return EvaluationFolder(self.kind.job_folder(self._home.root, evaluation_id).path)

    def _waits(self, folder: JobFolder) -> str:
        """What a cross-validation waits for; raises UserError when a run of it did not end well."""
        states = self._run_states(EvaluationFolder(folder.path).about()["spec"])
        if waits_for := sum(state in (QUEUED, *ALIVE) for state in states):
            return say("eval_waits_runs", n=waits_for)
        if failed := sum(state != COMPLETED for state in states):
            raise UserError("err_runs_failed", failed=failed)
        return ""

    def _run_states(self, spec: dict) -> list[str]:
        """Of the runs of a cross-validation."""
        return [self._run_state(run_id) for run_id in spec.get("run_ids") or []]

    def _run_state(self, run_id: str) -> str:
        try:
            return self._runs.status(run_id)["state"] if self._runs else COMPLETED
        except NotNow:  # it may be there: the list is being made again
            raise
        except UserError:
            return FAILED

    def _check_models(self, kind: str, model_ids: tuple[str, ...], spec: Spec) -> None:
        if kind == "kfold":
            return
        if not 1 <= len(model_ids) <= 2 or len(set(model_ids)) != len(model_ids):
            raise UserError(
                "err_same_model_twice" if len(model_ids) == 2 else "err_models_given_to_evaluate", n=len(model_ids)
            )
        for model_id in model_ids:
            entry = catalog.resolve(self._home, model_id)
            if kind == "reward":
                continue  # all of them are
            if kind == "classify" and entry.task != "classify":
                raise UserError("err_no_classifier", title=entry.title)
            if kind != "classify" and not entry.writes:
                raise UserError("err_no_writer_of_name", title=entry.title)

    def _are_rewards(self, model_ids: tuple[str, ...]) -> bool:
        """Whether these are reward models, all of them."""
        return bool(model_ids) and all(catalog.resolve(self._home, each).task == "reward" for each in model_ids)

    def _check_judge(self, kind: str, model_ids: tuple[str, ...], judge: JudgeSpec, with_key: bool) -> None:
        """Tells what is wrong with a judge before any model runs for hours."""
        if judge.kind == "none":
            return
        if judge.kind == "endpoint":
            parsed_url(judge.url, with_key)
        elif (entry := catalog.resolve(self._home, judge.model_id)) and judge.kind == "model" and not entry.writes:
            raise UserError("err_judge_no_writer")
        elif judge.kind == "reward" and entry.task != "reward":
            raise UserError("err_no_reward_model_of_name", title=entry.title)
        alone = judge.kind == "reward" or judge.grading == "absolute"
        if kind not in ("answers", "votes") or len(model_ids) < (1 if alone else 2):
            raise UserError("err_nothing_to_judge")

    def _with_checker(self, spec: Spec, with_key: bool, usual: int = 0) -> Spec:
        """An evaluation of strategies with its judge, who grades each answer by itself, and as many records as that may grade;
        refused where nothing asks it. usual: the limit where none is given."""
        if not (spec.decoding and spec.decoding.checker.kind == "judge"):
            self._check_judge("decoding", (), spec.judge, with_key)
            return spec
        if spec.judge.kind not in ("model", "endpoint"):
            raise UserError("err_checker_no_judge")
        judge = replace(spec.judge, grading="absolute")
        self._check_judge("answers", ("-",), judge, with_key)
        return replace(spec, judge=judge, limit=_least(spec.limit or usual, judge.limit))

    def _titles(self, spec: Spec) -> dict:
        """Names that stay readable when the things are gone."""
        models = [catalog.title_of(self._home, model_id) for model_id in spec.model_ids or spec.run_ids]
        if spec.vote_id:
            return {
                "data": say("eval_of_vote"),
                "models": [spec.judge.model or catalog.title_of(self._home, spec.judge.model_id)],
            }
        name = spec.benchmark.name if spec.benchmark else say("eval_own_prompts")
        if spec.dataset_id:
            name = data.get_dataset(self._home, spec.dataset_id).name
        return {"data": str(name), "models": models}


def _least(*limits: int | None) -> int:
    """The smallest limit of those that were given; 0 for none."""
    return min((limit for limit in limits if limit), default=0)
