"""What the experiments' script and endpoints get: races and searches started, watched, cancelled, taken away."""

import json

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from llmdemo.core.errors import UserError
from llmdemo.data import list_datasets
from llmdemo.ui.experiments_pages import ExperimentsPages
from llmdemo.ui.samples import SAMPLE_ID, add_sample
from llmdemo.ui.train_pages import TrainPages
from tests.ui.conftest import by_name

SMALL = {"dataset_id": SAMPLE_ID, "rank": 8, "max_steps": 2, "max_length": 64, "batch_size": 2}


@pytest.fixture
def pages(services):
    yield by_name(ExperimentsPages(services).functions())
    for each in services.experiments.list():
        services.experiments.cancel(each["group_id"])
    for run in services.runs.list():
        if run["can_stop"]:
            services.runs.stop(run["run_id"])


def test_without_experiments_the_overview_is_empty(pages):
    assert pages.overview({}) == {"groups": [], "group": None}
    assert pages.choices({})["space"]["update_proj_gap"] == ["galore"]


def test_a_race_appears_with_its_rows_and_can_be_cancelled(pages, services):
    group_id = pages.start_race({"config": SMALL, "race": {"methods": ["galore", "lora"]}})["group_id"]
    group = pages.overview({})["group"]
    assert group["group_id"] == group_id and [row["label"] for row in group["rows"]] == ["GaLore", "LoRA"]
    json.dumps(group, allow_nan=False)
    config = services.runs.config(group["rows"][0]["run_id"])
    assert config["rank"] == 8 and config["group"]["id"] == group_id
    assert pages.experiment_table({"group_id": group_id})["text"].startswith("run_id,label,method")
    assert pages.cancel_experiment({"group_id": group_id})["state"] in ("stopping", "cancelled")


def test_a_search_takes_the_forms_settings_as_its_base(pages, services):
    search = {"strategy": "grid", "space": {"learning_rate": [1e-4, 1e-3]}}
    group_id = pages.start_search({"config": SMALL, "search": search})["group_id"]
    group = pages.overview({"group_id": group_id})["group"]
    assert {services.runs.config(row["run_id"])["batch_size"] for row in group["rows"]} == {2}
    assert pages.overview({"group_id": "exp-none"})["group"]["group_id"] == group_id


def test_no_id_is_a_sentence(pages):
    for act in (pages.cancel_experiment, pages.delete_experiment, pages.experiment_table):
        with pytest.raises(UserError, match="group_id"):
            act({})


def test_the_form_knows_each_data_sets_task(services):
    choices = TrainPages(services).choices({})
    assert {each["task"] for each in choices["data_sets"]} == {each.task for each in list_datasets(services.home)}
    assert choices["defaults"]["classify"]["lora"]["class_weights"] == "none"
    assert choices["defaults"]["preference"]["galore"]["beta"] == 0.1
    assert choices["defaults"]["text"]["adamw"]["packing"] is True
    assert choices["models"][0]["writes"] is True


WRONG = {
    "no config": ("/start_race", {"config": {}, "race": {}}, "dataset_id"),
    "one method": ("/start_race", {"config": {"dataset_id": "x"}, "race": {"methods": ["galore"]}}, "two or three"),
    "an empty grid": ("/start_search", {"config": {"dataset_id": "x"}, "search": {"space": {}}}, "data set"),
    "an unknown experiment": ("/experiment_status", {"group_id": "exp-none"}, "no experiment"),
    "a path": ("/cancel_experiment", {"group_id": "../runs"}, "not an id"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.slow
def test_what_is_wrong_at_an_endpoint_is_one_sentence(server, case):
    endpoint, arguments, said = WRONG[case]
    client = Client(server, verbose=False)
    with pytest.raises(AppError) as caught:
        client.predict(api_name=endpoint, **arguments)
    assert said.lower() in str(caught.value).lower() and "Traceback" not in str(caught.value)
    client.close()


def test_an_endpoint_starts_a_race_and_tells_how_it_is(server, services, pages):
    dataset_id = add_sample(services).dataset_id
    client = Client(server, verbose=False)
    config = {**SMALL, "dataset_id": dataset_id}
    group_id = client.predict(config=config, race={"methods": ["adamw", "lora"]}, api_name="/start_race")["group_id"]
    status = client.predict(group_id=group_id, api_name="/experiment_status")
    assert status["kind"] == "race" and len(status["rows"]) == 2
    assert client.predict(api_name="/list_experiments")[0]["group_id"] == group_id
    assert client.predict(group_id=group_id, api_name="/cancel_experiment")["state"] in ("stopping", "cancelled")
    client.close()
