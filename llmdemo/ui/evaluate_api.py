"""The named endpoints of evaluations, for scripts. JSON in, JSON out; knows no widget. Registered by api.py."""

from collections.abc import Callable
from dataclasses import asdict

import gradio as gr

from llmdemo.core.errors import UserError
from llmdemo.evaluation import benchmark_files, run_lm_eval
from llmdemo.evaluation.folds import start_folds
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services
from llmdemo.ui.uploads import uploaded


def endpoints(services: Services) -> list[Callable]:
    """The functions, each named as its endpoint."""
    evaluations = services.evaluations

    @for_owners
    def evaluate(config: dict, judge_key: str = "") -> dict:
        """Evaluates one or two models on the held-out part of a data set, in the background; returns evaluation_id.

        Keys of config: dataset_id, model_ids (one or two; the second is compared with the first), limit, max_new_tokens,
        max_length, precision (auto, fp32, bf16), seed, eval_share, judge {kind (none, model, endpoint, reward), model_id,
        url, model, grading (scores, absolute, relative), form (prometheus, phudge), criteria, rubric (five texts),
        reference, max_new_tokens, limit, timeout}; vote_id instead of dataset_id: the judge beside a class's votes. Every key
        has a default; dataset_id's is the model's own run's. judge_key is sent to the judge's endpoint and kept nowhere.
        """
        return {"evaluation_id": evaluations.start(config, judge_key)}

    @for_owners
    def cross_validate(config: dict, folds: int = 5) -> dict:
        """Queues K training runs of a classifier, each holding out another part, and their evaluation.

        config: the keys of /start_run. Returns evaluation_id; /evaluation_status tells when all is done.
        """
        return {"evaluation_id": start_folds(services.home, services.runs, evaluations, config, int(folds))}

    @for_owners
    def evaluation_status(evaluation_id: str) -> dict:
        """How an evaluation is: state, message, hint, progress (with eta_seconds), and its result once there is one."""
        status = evaluations.status(evaluation_id)
        return status | {"result": evaluations.result(evaluation_id)}

    @for_owners
    def evaluation_records(evaluation_id: str) -> list[dict]:
        """What came out for each record of an evaluation: answers, losses, matches, verdicts or labels."""
        return evaluations.records(evaluation_id)

    @for_owners
    def list_evaluations() -> list[dict]:
        """All evaluations, the newest first, each with its evaluation_id first."""
        return evaluations.list()

    @for_owners
    def stop_evaluation(evaluation_id: str) -> dict:
        """Asks an evaluation to stop; what is done is kept. Returns its status."""
        return evaluations.stop(evaluation_id)

    @for_owners
    def resume_evaluation(evaluation_id: str, judge_key: str = "") -> dict:
        """Lets a stopped or failed evaluation go on; nothing is done twice. Returns its status."""
        return evaluations.resume(evaluation_id, judge_key)

    @for_owners
    def delete_evaluation(evaluation_id: str) -> dict:
        """Deletes an evaluation and its records for good; returns its evaluation_id."""
        evaluations.delete(evaluation_id)
        return {"evaluation_id": evaluation_id}

    return [evaluate, _decoding(services), _benchmark(services), cross_validate, evaluation_status, evaluation_records, list_evaluations, stop_evaluation,
            resume_evaluation, delete_evaluation, _classify(services)]  # fmt: skip


def _decoding(services: Services) -> Callable:
    @for_owners
    def evaluate_decoding(
        dataset_id: str = "",
        model_ids: list | None = None,
        lanes: list | None = None,
        checker: dict | str | None = None,
        prompts: list | None = None,
        settings: dict | None = None,
        limit: int = 0,
        pass_at: list | None = None,
        search: dict | None = None,
        judge: dict | None = None,
        judge_key: str = "",
    ) -> dict:
        """Compares decoding strategies on held-out records, or on prompts, in the background; returns evaluation_id.

        dataset_id: whose held-out part is asked; or prompts: texts, or objects {prompt, answer}. model_ids: one or two, by
        default the starter. lanes and settings: as in /compare, where a lane of best_of_n, self_consistency or mbr draws
        num_return_sequences answers; by default greedy, sample, beam and best_of_n with 96 new tokens. checker: what makes
        an answer right, one of normalised (the default, as in /evaluate), exact, number, contains, regex, json,
        json_schema, expression, judge, or an object {kind, pattern, text, schema, grade}; judge: who grades for checker
        "judge", as in /evaluate (with its limit no more records are asked), and judge_key its endpoint's, kept nowhere. limit: most records, by default 104. pass_at: the k of pass@k.
        search: {strategy, values: {setting: [values]}}, such as {"strategy": "top_p", "values": {"temperature": [0.5, 1],
        "top_p": [0.8, 0.95]}}: every combination is a lane too, half of the records chooses the best, the other half tells
        what it is worth (search.told in the result).
        /evaluation_status gives the result: table {model, lane, score, low, high (95 %), difference to the first lane,
        forwards, tokens, seconds, pass_at, dominated}; /evaluation_records the answers.
        """
        decoding = {"lanes": lanes, "checker": checker, "prompts": prompts, "settings": settings, "pass_at": pass_at}
        decoding["search"] = search
        config = {"dataset_id": dataset_id, "model_ids": model_ids or ["starter"], "limit": limit, "decoding": decoding}
        return {"evaluation_id": services.evaluations.start({**config, "judge": judge}, judge_key)}

    return evaluate_decoding


def _benchmark(services: Services) -> Callable:
    @for_owners
    def evaluate_benchmark(
        file: gr.FileData | None = None,
        source: str = "",
        split: str = "",
        task: str = "",
        model_ids: list | None = None,
        limit: int = 0,
    ) -> dict:
        """Evaluates one or two models on a standard benchmark's questions, in the background; returns evaluation_id.

        file: HellaSwag-, ARC- or GSM8K-shaped rows (JSON Lines, JSON, CSV, Parquet); or source: a folder of this machine,
        or a data set of the hub such as "allenai/ai2_arc:ARC-Easy", with its split, by default test, or validation where test
        is not there or has no answers; or task: a task of the package lm-eval by its name, where that is installed. Files are counted as lm-eval's tasks hellaswag,
        arc_easy and gsm8k do without examples: acc and acc_norm by likelihood, exact match of what is written; a question that is longer than a model's
        context loses its beginning, as there, and notes tell of how many. limit: most
        questions, by default 200 drawn by the seed; of lm-eval the first of each of its tasks. /evaluation_status gives figures {key, values, intervals (95 %),
        difference of the second model to the first}; /evaluation_records what was said to each question.
        """
        home, settings = services.home, services.settings
        if sum((file is not None, bool(source), bool(task))) != 1:
            raise UserError("err_benchmark_source")
        if file is not None:
            path, given = uploaded(file)
            spec = benchmark_files.add_file(home, settings, path, given)
        elif task:
            spec = run_lm_eval.task_spec(task)
        else:
            spec = benchmark_files.add_source(home, settings, source, split)
        config = {"model_ids": model_ids or ["starter"], "limit": limit, "benchmark": asdict(spec)}
        return {"evaluation_id": services.evaluations.start(config)}

    return evaluate_benchmark


def _classify(services: Services) -> Callable:
    @for_owners
    def classify(model_id: str, text: str) -> dict:
        """The classes of one text by a finished classifier: label, probabilities, and each token's contribution."""
        return services.classifiers.get().explain(model_id, text)

    return classify
