"""Evaluations as a whole: started, kept, stopped, resumed, with tiny models."""

import os
import sys
import time

import pytest

from llmdemo.core.errors import UserError
from llmdemo.core.store import write_json
from llmdemo.evaluation import Evaluations, answers
from llmdemo.evaluation.folder import EvaluationFolder
from llmdemo.evaluation.worker import work
from llmdemo.jobs import Jobs, process
from llmdemo.jobs.reader import Reader
from tests.conftest import own_model
from tests.waiting import over, until

SMALL = {"max_new_tokens": 6, "limit": 12, "eval_share": 0.3}


def chat_rows(count: int = 60) -> list[dict]:
    return [{"instruction": f"Add {n} and {n + 1} for me.", "output": f"{2 * n + 1}"} for n in range(count)]


@pytest.fixture
def waiting(home, settings):
    """The service with workers that never come: what is started stays in the queue."""
    with Evaluations(Jobs(home, settings, lambda *_: (os.getpid(), process.identity(os.getpid())))) as service:
        yield service


@pytest.mark.slow
def test_two_models_are_compared_record_by_record(evaluations, add, models):
    info = add(chat_rows())
    evaluation_id = evaluations.start({"dataset_id": info.dataset_id, "model_ids": list(models), **SMALL})
    status = over(evaluations, evaluation_id)
    assert status["state"] == "completed", status
    result, records = evaluations.result(evaluation_id), evaluations.records(evaluation_id)
    assert result["records"] == len(records) == 12 and all(len(record["answers"]) == 2 for record in records)
    figures = {figure["key"]: figure for figure in result["figures"]}
    assert list(figures) == [
        "loss", "perplexity", "bits_per_byte", "exact", "normalised", "f1", "rouge_l", "chrf", "tokens", "ended",
    ]  # fmt: skip
    assert figures["loss"]["values"][0] != figures["loss"]["values"][1]
    assert figures["perplexity"]["values"][0] == pytest.approx(2.718281828 ** figures["loss"]["values"][0], rel=1e-6)
    change = figures["loss"]["difference"]
    assert change["low"] <= change["value"] <= change["high"]


def test_records_are_cut_where_the_run_cut_them_or_the_context_ends_and_that_is_told(evaluations, add, models, home):
    info = add([{**row, "output": "one more word " * 30} for row in chat_rows()])
    about = {"dataset": {"content_hash": info.content_hash}, "seed": 7, "eval_share": 0.3}
    write_json(home.runs / models[1] / "config.json", {**about, "max_length": 24})
    given = {"dataset_id": info.dataset_id, "model_ids": list(models), "max_new_tokens": 2, "limit": 3}
    evaluation_id = evaluations.start(given)
    assert over(evaluations, evaluation_id)["spec"]["max_length"] == 24
    assert {"code": "cut", "n": 3, "of": 3, "tokens": 24} in evaluations.result(evaluation_id)["notes"]
    assert "bits_per_byte" not in [figure["key"] for figure in evaluations.result(evaluation_id)["figures"]]
    evaluation_id = evaluations.start({**given, "max_length": 100_000})
    assert over(evaluations, evaluation_id)["state"] == "completed", over(evaluations, evaluation_id)
    notes = {note["code"]: note for note in evaluations.result(evaluation_id)["notes"]}
    assert notes["cut"]["tokens"] < 1000  # the tiny model's context


def test_what_holds_nothing_out_is_refused_before_there_is_a_job(waiting, add, models):
    info = add([{"instruction": "Say hi", "output": f"Hi {n}!"} for n in range(20)])
    with pytest.raises(UserError, match="rows has no records to evaluate on. .* all 20 records ask the same"):
        waiting.start({"dataset_id": info.dataset_id, "model_ids": list(models)})
    assert waiting.list() == []


def test_without_a_data_set_a_models_own_is_taken(waiting, add, models, home):
    info, newer = add(chat_rows()), add(chat_rows(20), "newer")
    own = {"dataset": {"id": info.dataset_id, "content_hash": info.content_hash}, "seed": 3, "split_version": 2}
    write_json(home.runs / models[1] / "config.json", own)
    spec = waiting.checked({"model_ids": list(models)})
    assert (spec.dataset_id, spec.seed, spec.split_version) == (
        info.dataset_id,
        3,
        2,
    ) and newer.dataset_id != info.dataset_id
    with pytest.raises(UserError, match="dataset_id"):
        waiting.checked({"model_ids": ["starter"]})


@pytest.mark.slow
def test_a_record_that_a_models_template_refuses_costs_itself_and_is_told(evaluations, add, models, home):
    rows = [
        {"messages": [{"role": "user", "content": f"Add {n} and {n * n}."}, {"role": "assistant", "content": f"{n}"}]}
        for n in range(40)
    ]
    for row in rows[::2]:
        row["messages"].insert(0, {"role": "system", "content": "Be brief."})
    template = home.models / "starter" / "chat_template.jinja"
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system turns') }}{% endif %}"
    template.write_text(refuses + template.read_text())
    own_model(template.parent, home)
    info = add(rows)
    evaluation_id = evaluations.start({"dataset_id": info.dataset_id, "model_ids": list(models), **SMALL})
    assert over(evaluations, evaluation_id)["state"] == "completed"
    result, records = evaluations.result(evaluation_id), evaluations.records(evaluation_id)
    refused = [record for record in records if record["row"] % 2 == 1]
    assert refused and all(record["refused"] and record["loss"][0] is None for record in refused)
    assert {"code": "refused", "n": len(refused), "of": len(records)} in result["notes"]
    loss = next(figure for figure in result["figures"] if figure["key"] == "loss")
    assert loss["n"] == len(records) - len(refused)


def test_what_a_model_said_is_not_asked_again(evaluations, add, models, monkeypatch):
    info = add(chat_rows())
    first = evaluations.start({"dataset_id": info.dataset_id, "model_ids": ["starter"], **SMALL})
    assert over(evaluations, first)["state"] == "completed"
    asked, real = [], answers.greedy
    monkeypatch.setattr(
        answers,
        "greedy",
        lambda model, prompts, *rest, **more: asked.extend(prompts) or real(model, prompts, *rest, **more),
    )
    again = evaluations.start({"dataset_id": info.dataset_id, "model_ids": list(models), **SMALL, "limit": 14})
    assert over(evaluations, again)["state"] == "completed"
    assert len(asked) == 2 + 14  # two more of the starter's, all of the other's
    before, after = evaluations.records(first), evaluations.records(again)
    assert [record["answers"][0] for record in after[:12]] == [record["answers"][0] for record in before]


def test_raw_text_gives_perplexities_only(evaluations, add, models):
    info = add([{"text": f"The quick brown fox number {n} jumps over {n * n} lazy dogs."} for n in range(40)])
    evaluation_id = evaluations.start(
        {"dataset_id": info.dataset_id, "model_ids": list(models), "limit": 8, "eval_share": 0.4}
    )
    assert over(evaluations, evaluation_id)["state"] == "completed"
    keys = [figure["key"] for figure in evaluations.result(evaluation_id)["figures"]]
    assert keys == ["loss", "perplexity", "bits_per_byte"]


def test_a_stop_keeps_what_was_done_and_resume_goes_on_from_there(waiting, add, models, home, monkeypatch):
    info = add(chat_rows())
    monkeypatch.setattr(answers, "BATCH", 4)
    asked, real = [], answers.greedy

    def stop_in_the_second_model(model, prompts, new, pad, tell, **more):
        asked.append(len(prompts))
        if len(asked) == 5:
            folder.stop.touch()
            time.sleep(0.15)  # the job looks at the disk ten times a second
        return real(model, prompts, new, pad, tell, **more)

    monkeypatch.setattr(answers, "greedy", stop_in_the_second_model)
    evaluation_id = waiting.start({"dataset_id": info.dataset_id, "model_ids": list(models), **SMALL})
    folder = EvaluationFolder(home.root / "evaluations" / evaluation_id)
    assert work(folder, home) == 0
    assert _end_of(folder).state == "stopped"
    assert folder.read("result")["records"] == len(folder.records()) == 4  # asked of both models
    folder.stop.unlink()
    asked.clear()
    monkeypatch.setattr(answers, "greedy", real)
    assert work(folder, home) == 0
    assert _end_of(folder).state == "completed" and folder.read("result")["records"] == 12


def _end_of(folder):
    with Reader(folder.events).digest() as digest:
        return digest.end


def test_a_waiting_one_is_taken_out_of_the_queue_and_put_back(waiting, add, models):
    info = add(chat_rows())
    config = {"dataset_id": info.dataset_id, "model_ids": ["starter"]}
    first, second = waiting.start(config), waiting.start({**config, "limit": 5})
    states = {each["evaluation_id"]: each["state"] for each in waiting.list()}
    assert set(states) == {first, second}
    one = next(name for name, state in _until_one_runs(waiting).items() if state == "queued")
    assert waiting.stop(one)["state"] == "stopped"
    assert waiting.resume(one)["state"] == "queued"
    waiting.stop(one)
    waiting.delete(one)
    with pytest.raises(UserError, match="no evaluation"):
        waiting.status(one)


def _until_one_runs(service) -> dict:
    def states() -> dict | None:
        found = {each["evaluation_id"]: each["state"] for each in service.list()}
        return found if "running" in found.values() else None

    return until(states)


def test_a_worker_that_is_gone_without_a_word_is_lost_and_can_be_resumed(home, settings, add, models):
    info = add(chat_rows())
    with Evaluations(Jobs(home, settings, lambda *_: (2**22 - 3, "no such process"))) as service:
        evaluation_id = service.start({"dataset_id": info.dataset_id})
        status = over(service, evaluation_id)
    assert (status["state"], status["reason"]) == ("failed", "lost") and "Resume" in status["hint"]


def test_a_worker_that_has_ended_is_no_zombie(home, settings, add, models):
    started = []

    def launch(argv, folder, *more):
        started.append(process.launch([sys.executable, "-c", ""], folder, *more))
        EvaluationFolder(folder).note("end", state="completed")  # the worker's last word comes before its end
        return started[0]

    with Evaluations(Jobs(home, settings, launch)) as service:
        evaluation_id = service.start({"dataset_id": add(chat_rows(10)).dataset_id})
        over(service, evaluation_id)
    assert service.jobs.closed and started[0][0] not in process._children  # whoever waited for it has forgotten it
    assert not process.identity(started[0][0])


def test_a_judges_key_is_in_no_file(home, settings, add, models):
    given = []
    service = Evaluations(Jobs(home, settings, lambda *passed: given.append(passed[-1]) or (0, "")))
    judge = {"kind": "endpoint", "url": "http://localhost:1/v1", "model": "m"}
    service.start({"dataset_id": add(chat_rows()).dataset_id, "model_ids": list(models), "judge": judge}, "sk-secret")
    until(lambda: given)
    service.close()
    assert given == ["sk-secret"] and not service.jobs._supervisor.secrets
    assert not any(b"sk-secret" in path.read_bytes() for path in home.root.rglob("*") if path.is_file())


def wrong(models):
    return {
        "no data": ({}, "dataset_id"),
        "unknown data": ({"dataset_id": "data-none"}, "no data set"),
        "an unknown key": ({"dataset_id": "x", "rank": 1}, "rank"),
        "a missing model": ({"model_ids": ["run-none"]}, "no finished model"),
        "three models": ({"model_ids": ["a", "b", "c"]}, "3 models"),
        "the same twice": ({"model_ids": ["starter", "starter"]}, "twice"),
        "a limit below zero": ({"limit": -1}, "limit"),
        "a text as number": ({"limit": "many"}, "limit"),
        "a judge without a pair": (
            {"model_ids": ["starter"], "judge": {"kind": "model", "model_id": "starter"}},
            "judge",
        ),
        "a judge's address with a slip": (
            {"model_ids": list(models), "judge": {"kind": "endpoint", "url": "http://[localhost/v1", "model": "m"}},
            "not an endpoint's address",
        ),
        "another kind": ({"kind": "classify"}, "not for"),
    }


@pytest.mark.parametrize("case", wrong(()))
def test_what_cannot_be_evaluated_is_one_sentence(case, waiting, add, models):
    values, told = wrong(models)[case]
    base = {} if "data" in case or "key" in case else {"dataset_id": add(chat_rows(10)).dataset_id}
    with pytest.raises(UserError, match=told):
        waiting.start({**base, **values})


def test_a_key_that_no_header_can_hold_is_refused_before_anything_runs(waiting, add, models):
    config = {"dataset_id": add(chat_rows(10)).dataset_id}
    with pytest.raises(UserError, match="key"):
        waiting.start(config, "sk-é")
    assert waiting.list() == []
    evaluation_id = waiting.start(config)
    with pytest.raises(UserError, match="key"):
        waiting.resume(evaluation_id, "sk-é")


@pytest.mark.slow
def test_a_classifier_does_not_answer_and_a_causal_model_does_not_classify(waiting, add, models, tiny_classifier):
    labels = add([{"text": f"text number {n}", "label": "ab"[n % 2]} for n in range(20)], "labels")
    with pytest.raises(UserError, match="does not classify"):
        waiting.start({"dataset_id": labels.dataset_id, "model_ids": ["starter"]})
    with pytest.raises(UserError, match="does not generate text"):
        waiting.start({"dataset_id": add(chat_rows(10)).dataset_id, "model_ids": [tiny_classifier]})


@pytest.mark.slow
def test_a_real_worker_goes_on_without_the_app_that_started_it(home, settings, add, models, real_starts):
    info = add(chat_rows())
    service = Evaluations(Jobs(home, settings))
    evaluation_id = service.start({"dataset_id": info.dataset_id, "model_ids": list(models), **SMALL})
    _until_one_runs(service)
    service.close()
    again = Evaluations(Jobs(home, settings))
    status = over(again, evaluation_id, 120, pause=0.1)
    assert status["state"] == "completed", (status, again.log_tail(evaluation_id))
    again.close()
