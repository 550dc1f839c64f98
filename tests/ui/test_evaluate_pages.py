"""The evaluate panel's functions and endpoints over a tiny model, as its scripts and other scripts call them."""

import json

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from llmdemo.core.errors import UserError
from llmdemo.evaluation import Evaluations
from llmdemo.evaluation.worker import work
from llmdemo.ui import evaluate_api
from llmdemo.ui.endpoints import of_endpoints
from llmdemo.ui.evaluate_pages import EvaluatePages
from tests.ui.conftest import by_name
from tests.waiting import over, until
from tests.workers import in_this_process

ENDPOINTS = {"/evaluate", "/evaluation_status", "/evaluation_records", "/list_evaluations", "/stop_evaluation",
             "/resume_evaluation", "/cross_validate", "/classify"}  # fmt: skip


@pytest.fixture(scope="module")
def client(services, server):
    """A client of a server whose evaluations run in this process."""

    services.runs.jobs._supervisor._start_process = in_this_process(work, services.home)
    client = Client(server, verbose=False)
    yield client
    client.close()


@pytest.fixture(scope="module")
def dataset_id(client, tmp_path_factory):
    rows = [{"instruction": f"Add {n} and {n + 1}.", "input": "", "output": f"{2 * n + 1}"} for n in range(40)]
    path = tmp_path_factory.mktemp("upload") / "sums.json"
    path.write_text(json.dumps(rows))
    return client.predict(file=handle_file(path), name="sums", api_name="/add_dataset")["dataset_id"]


@pytest.fixture(scope="module")
def done(client, dataset_id):
    """The status of an evaluation that is over."""
    config = {"dataset_id": dataset_id, "limit": 4, "max_new_tokens": 4, "eval_share": 0.2}
    evaluation_id = client.predict(config=config, judge_key="", api_name="/evaluate")["evaluation_id"]

    def status() -> dict | None:
        found = client.predict(evaluation_id, api_name="/evaluation_status")
        return None if found["state"] in ("queued", "running") else found

    return until(status, pause=0.05)


def test_every_endpoint_is_named_typed_and_documented(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert endpoints.keys() >= ENDPOINTS
    assert all(endpoints[name]["description"] for name in ENDPOINTS)


@pytest.mark.slow
def test_an_evaluation_is_started_followed_and_read_by_a_script(client, done):
    assert done["state"] == "completed" and done["result"]["records"] == 4
    records = client.predict(done["evaluation_id"], api_name="/evaluation_records")
    assert len(records) == 4 and records[0]["answers"]
    listed = client.predict(api_name="/list_evaluations")
    assert next(iter(listed[0])) == "evaluation_id"


WRONG = {
    "unknown evaluation": ("/evaluation_status", {"evaluation_id": "eval-none"}, "no evaluation"),
    "an id that is a path": ("/evaluation_records", {"evaluation_id": "../../etc"}, "id"),
    "no config": ("/evaluate", {"config": "all", "judge_key": ""}, "object"),
    "an unknown data set": ("/evaluate", {"config": {"dataset_id": "data-none"}, "judge_key": ""}, "data set"),
    "a model that does not classify": ("/classify", {"model_id": "starter", "text": "x"}, "classify"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_sentence(client, case):
    endpoint, arguments, said = WRONG[case]
    with pytest.raises(AppError) as caught:
        client.predict(api_name=endpoint, **arguments)
    assert said in str(caught.value) and "the app made a mistake" not in str(caught.value)


def test_the_page_gets_a_result_once_and_a_record_whole(services, done):
    pages = EvaluatePages(services)
    first = pages.overview({"evaluation_id": done["evaluation_id"]})["evaluation"]
    assert first["fresh"] and first["result"]["kind"] == "answers" and len(first["records"]) == 4
    assert "spec" not in first["status"] and first["status"]["titles"]["data"] == "sums"
    again = pages.overview({"evaluation_id": done["evaluation_id"], "seen": first["seen"]})["evaluation"]
    assert not again["fresh"] and "result" not in again
    record = pages.record({"evaluation_id": done["evaluation_id"], "index": first["records"][0]["index"]})
    assert record["reference"].isdigit() and record["prompt"].startswith("Add")


def test_the_page_gets_the_records_that_differ_whatever_it_shows_of_them(services, done, monkeypatch, tmp_path):
    same, long = ["a", "a"], ["a" * 500 + "b", "a" * 500 + "c"]
    records = services.evaluations.records(done["evaluation_id"])
    both = [{key: value * 2 if isinstance(value, list) else value for key, value in each.items()} for each in records]
    two = [{**record, "answers": same if n % 2 else long} for n, record in enumerate(both)]
    result = services.evaluations.result(done["evaluation_id"])
    monkeypatch.setattr(services.evaluations, "records", lambda _: two * 1000)
    monkeypatch.setattr(services.evaluations, "result_with_records", lambda _: (result, two * 1000))
    pages = EvaluatePages(services)
    every = pages.overview({"evaluation_id": done["evaluation_id"]})["evaluation"]
    assert (len(every["records"]), every["of"]) == (2000, 4000)
    assert [record["differs"] for record in every["records"][:2]] == [True, False]
    assert len(every["records"][0]["answers"][0]) < 200
    asked = {"evaluation_id": done["evaluation_id"], "seen": every["seen"], "differ": True}
    differing = pages.overview(asked)["evaluation"]
    assert differing["of"] == 2000 and all(record["differs"] for record in differing["records"])
    saved = pages.table({"evaluation_id": done["evaluation_id"]}, tmp_path).read_text(encoding="utf-8-sig")
    assert saved.count("\n") == 4001 and long[1] in saved


def test_choices_say_what_each_model_can_do_and_each_data_set_is_for(services, dataset_id):
    choices = EvaluatePages(services).choices({})
    assert choices["data_sets"][0]["kind"] == "answers"
    assert choices["models"][0] == {
        "id": "starter",
        "title": "SmolLM2-135M-Instruct",
        "ready": True,
        "task": "chat",
        "writes": True,
        "dataset_id": None,
        "steps": [],
    }


def test_a_damaged_run_takes_only_itself_from_the_choices(services, monkeypatch):
    def status(name):
        return {"run_id": name, "name": name, "state": "completed", "imported": False, "worker": {"task": "classify"}}

    def config(run_id):
        if run_id == "run-torn":
            raise UserError("Its config.json cannot be read.")
        return {"max_steps": 9, "folds": 5 if run_id == "run-fold" else 0}

    monkeypatch.setattr(services.runs, "list", lambda: [status(name) for name in ("run-torn", "run-fold", "run-good")])
    monkeypatch.setattr(services.runs, "config", config)
    found = EvaluatePages(services).choices({})["classifiers"]
    assert found == [{"run_id": "run-good", "name": "run-good", "max_steps": 9}]


def test_the_panel_starts_stops_and_deletes(services, dataset_id):
    assert isinstance(services.evaluations, Evaluations)
    panel = by_name(of_endpoints(evaluate_api.endpoints(services)))
    config = {"dataset_id": dataset_id, "limit": 3, "max_new_tokens": 2}
    evaluation_id = panel.evaluate({"config": config, "judge_key": "secret"})["evaluation_id"]
    over(services.evaluations, evaluation_id)
    assert panel.stop_evaluation({"evaluation_id": evaluation_id})["state"] == "completed"
    panel.delete_evaluation({"evaluation_id": evaluation_id})
    assert evaluation_id not in [each["evaluation_id"] for each in services.evaluations.list()]
