"""A task of the package lm-eval, where it is installed: models of ours through its own harness. Imports it when it is asked.

Its data comes from the hub, as the task says. Figures are those that benchmark.py has too; others a task has are left out.
"""

from importlib.util import find_spec
from typing import Any

from llmdemo.core.errors import UserError, first_line
from llmdemo.evaluation.folder import content_key
from llmdemo.settings.evaluation import BenchmarkSpec

KNOWN = {
    ("acc", "none"): "acc",
    ("acc_norm", "none"): "acc_norm",
    ("exact_match", "strict-match"): "strict",
    ("exact_match", "flexible-extract"): "flexible",
}
"""(metric, filter) of lm-eval → the figure here."""
_MOST_SHOWN = 2000


def task_spec(task: str) -> BenchmarkSpec:
    """A task by its name, such as "arc_easy". Raises UserError without the package."""
    if find_spec("lm_eval") is None:
        raise UserError("err_no_lm_eval", task=task[:100])
    return BenchmarkSpec(content_key({"lm_eval": task}), task.strip()[:200], "lm_eval", 1)


def samples_of(task: str, model, tokenizer, limit: int) -> list[dict[str, Any]]:
    """lm-eval's logged samples of the first `limit` questions. Raises UserError with what lm-eval said."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    try:
        harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8)
        found = simple_evaluate(model=harness, tasks=[task], limit=limit, log_samples=True, bootstrap_iters=0)
    except Exception as error:  # whatever a task's own code or the hub says
        raise UserError("err_lm_eval_failed", task=task, reason=first_line(error)) from error
    return numbered((found or {}).get("samples", {}))


def numbered(samples: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The samples of all tasks, each question with a doc_id of its own: each task of a group counts its own from 0."""
    questions = dict.fromkeys((task, sample["doc_id"]) for task in sorted(samples) for sample in samples[task])
    numbers = {question: number for number, question in enumerate(questions)}
    return [{**sample, "doc_id": numbers[task, sample["doc_id"]]} for task in samples for sample in samples[task]]


def records_of(sides: list[list[dict[str, Any]]], task: str) -> tuple[list[dict], tuple[str, ...]]:
    """(records as run_benchmark's, the figures that they have) of each model's samples. Raises UserError without a known one."""
    marked = [_by_question(samples) for samples in sides]
    places = sorted(set.intersection(*(set(each) for each in marked))) if marked else []
    keys = tuple(key for key in KNOWN.values() if places and all(key in each[places[0]] for each in marked))
    if not keys:
        raise UserError("err_lm_eval_figures", task=task, known=list(KNOWN.values()))
    records = []
    for place in places:
        lines = [each[place] for each in marked]
        record = {"index": place, "row": place + 1, "prompt": lines[0]["prompt"], "reference": lines[0]["reference"]}
        record["said"] = [line["said"] for line in lines]
        records.append(record | {key: [bool(line[key]) for line in lines] for key in keys})
    return records, keys


def _by_question(samples: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """{question's number: {prompt, reference, said, and each known figure}}; a sample is of one question and filter."""
    found: dict[int, dict[str, Any]] = {}
    for sample in samples:
        line = found.setdefault(sample["doc_id"], {"prompt": _prompt(sample), **_said(sample)})
        for (metric, by), key in KNOWN.items():
            if sample.get("filter", "none") == by and metric in sample:
                line[key] = float(sample[metric]) > 0.5
    return found


def _said(sample: dict[str, Any]) -> dict[str, str]:
    """{said, reference}: the likeliest choice and the right one, or what was written and the right answer."""
    answers, target = sample.get("filtered_resps") or [""], sample.get("target", "")
    asked = sample.get("arguments")
    if isinstance(asked, list) and len(asked) == len(answers) > 1:
        best = max(range(len(answers)), key=lambda at: answers[at][0])
        right = asked[int(target)][1] if str(target).isdigit() and int(target) < len(asked) else target
        return {"said": str(asked[best][1]).strip(), "reference": str(right).strip()}
    written = sample.get("resps") or [[""]]
    return {"said": str(written[0][0])[:_MOST_SHOWN], "reference": str(target)[:_MOST_SHOWN]}


def _prompt(sample: dict[str, Any]) -> str:
    """The context that was asked, from the arguments of the first request, which lm-eval logs in two forms."""
    found: Any = sample.get("arguments") or ""
    while not isinstance(found, str):
        found = next(iter(found.values() if isinstance(found, dict) else found), "")
    return found[-_MOST_SHOWN:]
