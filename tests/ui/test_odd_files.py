"""Files of a home folder that hold what this app never writes: their entry says so and can be deleted, all else goes on."""

import json
import os
import random
import shutil
from contextlib import contextmanager, suppress
from functools import partial

import orjson
import pytest

from llmdemo import data, prepare
from llmdemo.core.errors import UserError
from llmdemo.evaluation import heldout
from llmdemo.jobs.folder import JobFolder
from llmdemo.jobs.recovery import recovered_row
from llmdemo.learn import Learn
from llmdemo.models import catalog
from llmdemo.settings.training import TrainConfig
from llmdemo.ui.data_pages import DataPages
from llmdemo.ui.evaluate_pages import EvaluatePages
from llmdemo.ui.experiments_pages import ExperimentsPages
from llmdemo.ui.train_pages import TrainPages

RUN, OTHER, EXPERIMENT, ANSWERS, CLASSES, FOLDS = (
    *("run-20261101-000001-aaaaaa", "run-20261101-000002-bbbbbb", "exp-20261101-000003-cccccc"),
    *("eval-20261101-000004-dddddd", "eval-20261101-000005-eeeeee", "eval-20261101-000006-ffffff"),
)
LARGE = "a number beyond every number"
ODD = [None, True, -1, LARGE, 10**400, "x" * 10**5, "\ud800", [], {}, [[]] * 3, {"a": {}}]
DEEP = "a hundred levels"


def text_of(value) -> str:
    deep = "[" * 100 + "]" * 100
    return json.dumps(value).replace(json.dumps(LARGE), "1e400").replace(json.dumps(DEEP), deep)


def spots(value, depth=0):
    """The paths of all fields, those of lists for the first item only."""
    items = value.items() if isinstance(value, dict) else [(0, value[0])] if isinstance(value, list) and value else []
    for key, each in items:
        yield (key,)
        if depth < 4:
            yield from ((key, *rest) for rest in spots(each, depth + 1))


def spoilt(value, path, odd):
    if not path:
        return odd
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = spoilt(copy[path[0]], path[1:], odd)
    return copy


def end(run_id):
    return [
        {"type": "launch", "t": 1.0, "attempt": 1},
        {"type": "start", "t": 2.0, "step": 0, "total_steps": 2, "task": "classify", "method": "galore", "parameters": 9},
        {"type": "ledger", "t": 2.0, "predicted": {"total": 10, "weights": 5}, "measured": {"total": 9}, "needed": 10},
        {"type": "step", "t": 3.0, "step": 2, "loss": 1.0, "lr": 0.1, "tokens": 20, "tokens_per_second": 20.0},
        {"type": "refresh", "t": 3.0, "step": 2, "layers": [{"name": "q", "energy": 0.5, "overlap": 0.5}]},
        {"type": "sample", "t": 3.0, "step": 2, "prompt": "a", "text": "b", "expected": "c"},
        {"type": "eval", "t": 4.0, "step": 2, "loss": 1.0, "accuracy": 0.5},
        {"type": "published", "t": 5.0, "dtype": "float32", "loss": 1.0, "run_loss": 1.0, "message": "m"},
        {"type": "end", "t": 5.0, "state": "completed", "reason": "", "message": "", "hint": "", "model_id": run_id},
    ]  # fmt: skip


def write(path, *values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(text_of, values)) + "\n" * (path.suffix == ".jsonl"))


def make_run(home, model, info, run_id):
    folder = home.runs / run_id
    config = TrainConfig.from_dict({"dataset_id": info.dataset_id, "max_steps": 2}).to_dict() | {
        "dataset": {"id": info.dataset_id, "name": info.name, "content_hash": info.content_hash},
        "model": {"id": "starter", "title": "Tiny", "path": "/x", "revision": ""},
        "group": {"id": EXPERIMENT, "kind": "race", "label": "GaLore", "member": 0},
        "run": {"id": run_id, "name": "one", "named": True, "created": 1.0},
    }
    write(folder / "config.json", config)
    write(
        folder / "process.json", {"attempt": 1, "token": "t", "pid": 2**22 + 1, "identity": "i", "members": {"5": "j"}}
    )
    write(folder / "events.jsonl", *end(run_id))
    shutil.copytree(model, folder / "model")
    write(folder / "model" / "origin.json", {"source": "run", "title": "Tiny", "task": "chat", "base": "starter"})


def make_experiment(home):
    kept = {
        "state": "completed", "reason": "", "message": "", "attempt": 1, "step": 2, "total_steps": 2, "eta_seconds": None,
        "queue_position": None, "model_id": RUN, "loss": 1.0, "eval_loss": 1.0, "first_eval_loss": 2.0,
        "metrics": {"accuracy": 0.5}, "tokens": 20, "seconds": 1.0, "tokens_per_second": 20.0, "peak_memory_bytes": 9,
        "optimizer_bytes": 5,
        "curves": {name: {"step": [1], "tokens": [1], "seconds": [1.0], "value": [1.0]} for name in ("train", "eval")},
    }  # fmt: skip
    values = {"dataset_id": "d", "method": "galore", "max_steps": 2}
    members = [
        {"label": "GaLore", "varied": {"method": "galore"}, "values": values, "rung": 0, "run_id": run, "kept": kept}
        for run in (RUN, "run-deleted")
    ]
    sweep = {"kind": "search", "base": values, "strategy": "grid", "keep": "all", "rungs": [[2, 2]]}
    about = {"id": EXPERIMENT, "name": "a search", "named": False, "created": 1.0}
    folder = home.experiments / EXPERIMENT
    write(folder / "config.json", {"sweep": sweep, "experiment": about})
    write(folder / "trials.json", {"trials": members, "message": "", "hint": ""})
    write(
        folder / "events.jsonl",
        *({**event, "model_id": None} for event in end("") if event["type"] in ("launch", "end")),
    )


def make_evaluation(home, evaluation_id, kind, result, *records, **spec):
    about = {"id": evaluation_id, "name": kind, "named": False, "created": 1.0}
    spec = {
        "dataset_id": "d",
        "model_ids": ["starter"],
        "kind": kind,
        "limit": 4,
        "run_ids": [],
        "judge": {"kind": "none"},
    } | spec
    folder = home.root / "evaluations" / evaluation_id
    write(folder / "config.json", {"spec": spec, "titles": {"data": "sums", "models": ["Tiny"]}, "evaluation": about})
    common = {"kind": kind, "data": {"name": "sums", "content_hash": "h"}, "records": len(records), "seed": 7}
    write(folder / "result.json", common | {"notes": [{"code": "small", "n": 1}]} | result)
    write(folder / "records.jsonl", *records) if records else None
    write(
        folder / "events.jsonl",
        *({**event, "model_id": None} for event in end("") if event["type"] in ("launch", "end")),
    )


def make_evaluations(home):
    model = {"id": "starter", "title": "Tiny", "identity": "i", "parameters": 9}
    figure = {"key": "loss", "values": [1.0], "n": 1, "higher": False, "difference": None, "better": None}
    answer = {
        "index": 3, "row": 4, "prompt": "a?", "instruction": "a?", "reference": "b", "checkable": True, "answers": ["c"],
        "loss": [1.0], "sum": [2.0], "labels": [2], "bytes": 1, "cut": [False], "whole": True, "exact": [False],
        "normalised": [None], "rouge_l": [0.5], "chrf": [1.5], "tokens": [2], "ended": [True], "long": [False],
        "refused": False, "verdict": {"winner": 0, "clear": True, "scores": [1, 2]},
    }  # fmt: skip
    compared = {"models": [model], "figures": [figure], "judge": {"tally": {}, "error": None}}
    make_evaluation(home, ANSWERS, "answers", compared, answer)
    record = {"index": 0, "row": 1, "text": "t", "label": "a", "predicted": ["b"], "probability": [0.5]}
    classifier = model | {"mistakes": [0], "curves": {"0": {"base": 0.5}}, "scores": {"0": [0.5]}, "accuracy": 0.5}
    classified = {"labels": ["a", "b"], "models": [classifier], "baselines": [{"name": "bayes", "accuracy": 0.5}]}
    make_evaluation(home, CLASSES, "classify", classified, record)
    folds = {
        "labels": ["a", "b"],
        "folds": [{"fold": 0, "n": 1, "model": {"f1": 0.5}}],
        "spread": {"model": {"f1": {"n": 1}}},
    }
    make_evaluation(home, FOLDS, "kfold", folds, run_ids=[RUN])


@pytest.fixture(scope="module")
def odd_home(tmp_path_factory, tiny_model_folder, tiny_tokenizer):
    """Services over a home folder with one of everything, and the data set's id."""
    from llmdemo.core.store import Home
    from llmdemo.settings import Settings
    from llmdemo.ui.services import make_services

    home = Home(tmp_path_factory.mktemp("odd") / "home").prepare()
    settings = Settings(home=home.root, min_free_bytes=0)
    shutil.copytree(tiny_model_folder, home.models / "starter")
    path = tmp_path_factory.mktemp("upload") / "sums.json"
    path.write_text(json.dumps([{"instruction": f"Add {n} and 1.", "output": f"{n + 1}"} for n in range(12)]))
    info = data.add_dataset(home, settings, path, "sums", tokenizer=tiny_tokenizer)
    for run_id in (RUN, OTHER):
        make_run(home, tiny_model_folder, info, run_id)
    make_experiment(home)
    make_evaluations(home)
    write(home.models / "added.json", [str(tiny_model_folder)])
    made = make_services(settings)
    yield made, info.dataset_id
    made.close()


@contextmanager
def replaced(path, content: str):
    """The file has this content inside the block."""
    kept = path.with_name(f"kept-{path.name}.part")
    path.rename(kept)
    path.write_text(content, encoding="utf-8", errors="surrogatepass")
    os.utime(path, (1, random.random() * 1e9))
    try:
        yield
    finally:
        kept.replace(path)  # another file than the odd one: a log that has only grown is not read again


def everything(services, dataset_id):
    """All that lists, tells or shows: (what it is called, the function)."""
    runs, experiments, evaluations, home = services.runs, services.experiments, services.evaluations, services.home
    train, evaluate = TrainPages(services), EvaluatePages(services)
    race, sets = ExperimentsPages(services), DataPages(services)
    named = {"dataset_id": dataset_id}
    calls = [
        runs.list, lambda: train.choices({}), lambda: evaluate.choices({}), lambda: race.overview({}), experiments.list,
        lambda: sets.data_sets({}), lambda: data.list_datasets(home), evaluations.list,
        lambda: [entry.to_dict() for entry in catalog.list_models(home)], lambda: experiments.status(EXPERIMENT),
        lambda: sets.report(named), lambda: sets.stats(named), lambda: sets.problems(named), lambda: sets.record(named),
        lambda: sets.listing(named),
        lambda: experiments.csv(EXPERIMENT), lambda: train.compare({"run_ids": [RUN, OTHER]}),
        lambda: evaluations._waits(JobFolder(home.root / "evaluations" / FOLDS)),
        lambda: heldout.split_of(home, (RUN,), dataset_id), lambda: services.pushes.licence(RUN),
        lambda: prepare.checked(home, {key: value for key, value in runs.config(RUN).items() if key in prepare.SETTINGS}),
        lambda: Learn(home, runs)._finished(data.get_dataset(home, dataset_id), catalog.resolve(home, "starter"), "chat"),
        lambda: services.pushes._facts(RUN, runs.status(RUN)).config,
    ]  # fmt: skip
    for run_id in (RUN, OTHER):
        calls += [lambda run_id=run_id: train.overview({"run_id": run_id}), lambda run_id=run_id: runs.config(run_id)]
        calls += [lambda run_id=run_id: runs.status(run_id), lambda run_id=run_id: runs.history(run_id)]
    for each in (ANSWERS, CLASSES, FOLDS):
        asked = {"evaluation_id": each}
        calls += [lambda asked=asked: evaluate.overview(asked), lambda each=each: evaluations.status(each)]
        calls += [
            lambda asked=asked: evaluate.overview({**asked, "differ": True}),
            lambda each=each: evaluations.result(each),
        ]
        calls += [
            lambda asked=asked: evaluate.record({**asked, "index": 3}),
            lambda each=each: evaluations.records(each),
        ]
        calls += [lambda each=each: str(evaluations.export(each, services.home.tmp))]
    return calls


LISTS = 10  # the first of them, which no damaged entry may take away


def must_stand(services, dataset_id, where, changed):
    for number, call in enumerate(everything(services, dataset_id)):
        try:
            answer = call()
            json.dumps(answer, allow_nan=False, default=str)
            orjson.dumps(answer, default=str)  # as Gradio does it
        except UserError as error:
            assert len(str(error)) < 1000 and number >= LISTS, (where, number, error)
        except Exception as error:
            raise AssertionError(f"{where}, call {number}") from error
    for kind in (services.runs.kind, services.evaluations.kind, services.experiments.kind):
        for path in (services.home.root / kind.folder).glob(f"{kind.prefix}-*"):
            if changed.is_relative_to(path):
                with suppress(UserError):
                    recovered_row(kind, JobFolder(path))


def files(services):
    home = services.home
    found = [path for path in home.root.rglob("*.json*") if path.is_file() and "starter" not in path.parts]
    weights = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json")
    kept = [path for path in found if path.name not in weights and path.parent.name != "kept"]
    return sorted(path for path in kept if "model" not in path.parts or path.name == "origin.json")


def cases(services):
    """Of each file, line, field and odd value: (path, spot, odd, a function that gives the file's content)."""
    for path in files(services):
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        for number, line in enumerate(lines):
            value = json.loads(line)
            for spot in [(), *spots(value)]:
                for odd in [*ODD, DEEP]:
                    yield path, spot, odd, partial(with_odd, lines, number, value, spot, odd)


def with_odd(lines, number, value, spot, odd) -> str:
    return "\n".join([*lines[:number], text_of(spoilt(value, spot, odd)), *lines[number + 1 :]]) + "\n"


def test_the_home_of_these_tests_is_whole(odd_home):
    services, dataset_id = odd_home
    shown = ExperimentsPages(services).overview({})["group"]
    assert shown["state"] == "completed" and shown["best"] == RUN and not shown["message"]
    assert [run["notes"] for run in services.runs.list()] == [[], []]
    assert all(services.evaluations.result(each)["kind"] for each in (ANSWERS, CLASSES, FOLDS))
    for number, call in enumerate(everything(services, dataset_id)):
        try:
            call()
        except UserError as error:
            assert "no records to save" in str(error) or "There is no such record" in str(error), (number, error)


CASES, SEED = int(os.environ.get("LLMDEMO_FUZZ", 150)), int(os.environ.get("LLMDEMO_FUZZ_SEED", 0))
"""How many of the odd files are tried, and which: `LLMDEMO_FUZZ=1500 pytest tests/ui/test_odd_files.py -k no_odd`."""


@pytest.mark.timeout(max(120, CASES))
@pytest.mark.slow
def test_no_odd_field_of_any_file_is_a_mistake_of_the_app(odd_home):
    services, dataset_id = odd_home
    every = list(cases(services))
    assert len(every) > 3000
    for path, spot, odd, content in random.Random(SEED).sample(every, min(CASES, len(every))):
        with replaced(path, content()):
            must_stand(services, dataset_id, f"{path.parent.name}/{path.name} {spot} {str(odd)[:20]}", path)


def test_what_is_damaged_says_so_in_its_place_and_can_be_deleted(odd_home):
    services, _ = odd_home
    runs, experiments, evaluations, home = services.runs, services.experiments, services.evaluations, services.home
    config = json.loads((home.runs / OTHER / "config.json").read_text())
    write(home.runs / OTHER / "config.json", config | {"dataset": 5})
    assert f"config.json of {OTHER} has 'dataset': 5" in runs.status(OTHER)["notes"][0]
    assert runs.status(RUN)["notes"] == []
    assert TrainPages(services).overview({"run_id": OTHER})["run"]["series"]["loss"]["value"] == [1.0]
    write(home.root / "evaluations" / ANSWERS / "config.json", {"spec": [1]})
    write(home.root / "evaluations" / CLASSES / "result.json", {"kind": "classify"})
    answers = EvaluatePages(services).overview({"evaluation_id": ANSWERS})["evaluation"]["status"]
    classes = EvaluatePages(services).overview({"evaluation_id": CLASSES})["evaluation"]["status"]
    assert answers["state"] == classes["state"] == "failed"
    assert f"config.json of the evaluation {ANSWERS} is damaged" in answers["message"]
    assert f"result.json of the evaluation {CLASSES} is damaged" in classes["message"] and "Delete" in classes["hint"]
    write(home.experiments / EXPERIMENT / "trials.json", {"trials": 3})
    group = ExperimentsPages(services).overview({"group_id": EXPERIMENT})
    assert group["groups"][0]["state"] == "failed" and "is damaged" in group["group"]["message"]
    runs.delete(OTHER)
    evaluations.delete(ANSWERS)
    evaluations.delete(CLASSES)
    experiments.delete(EXPERIMENT)
    assert [run["run_id"] for run in runs.list()] == [RUN] and experiments.list() == []
    assert [each["evaluation_id"] for each in evaluations.list()] == [FOLDS]
