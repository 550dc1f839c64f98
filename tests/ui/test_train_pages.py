"""What the train panel's scripts get: choices, starts, the runs as they go."""

import zipfile
from dataclasses import replace

import pytest

from llmdemo.core.errors import UserError
from llmdemo.settings.training import TrainConfig
from llmdemo.ui.samples import SAMPLE_ID
from llmdemo.ui.services import Services
from llmdemo.ui.train_pages import TrainPages
from tests.ui.conftest import by_name


@pytest.fixture
def pages(services):
    made = TrainPages(services)
    return by_name([*made.of_form(), *made.of_runs()])


def test_the_choices_hold_a_default_for_every_setting(pages):
    choices = pages.choices({})
    assert choices["methods"] == ["galore", "adamw", "lora"]
    assert list(choices["defaults"]) == ["chat", "text", "classify", "preference", "pretrain", "grpo", "reward", "kto"]
    for task, by_method in choices["defaults"].items():
        assert list(by_method) == choices["methods"], task
        for defaults in by_method.values():
            assert defaults["learning_rate"] > 0 and defaults["max_steps"] >= 1 and "dataset_id" not in defaults
    assert choices["models"][0]["id"] == "starter"
    for key, by_value in choices["defaults_by_loss"].items():
        for value, defaults in by_value.items():
            task = "grpo" if key == "policy_loss" else "preference"
            config = TrainConfig.from_dict({"dataset_id": "d", "task": task, key: value}).to_dict()
            assert {name: config[name] for name in defaults} == defaults


def test_without_runs_the_overview_is_empty(pages):
    assert pages.overview({}) == {"runs": [], "run_id": None, "run": None}


def test_start_adds_the_sample_when_nothing_else_is_there(pages, services):
    run_id = pages.start_run({"config": {"dataset_id": SAMPLE_ID, "rank": 8, "max_steps": 2, "max_length": 64}})[
        "run_id"
    ]
    assert [each["dataset_id"] for each in pages.choices({})["data_sets"]] == [
        services.runs.config(run_id)["dataset"]["id"]
    ]
    overview = pages.overview({})
    assert overview["run_id"] == run_id and overview["run"]["figures"]
    assert overview["run"]["title"]["model"]
    seen = overview["run"]["seen"]
    again = pages.overview({"run_id": run_id, "seen": seen})["run"]
    assert again["figures"] is False or again["seen"] != seen
    services.runs.stop(run_id)


def test_a_wrong_setting_names_the_key(pages):
    with pytest.raises(UserError, match="rank"):
        pages.start_run({"config": {"dataset_id": SAMPLE_ID, "rank": -1}})


def test_a_model_folder_without_weights_or_with_pickles_only_is_refused(pages, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError):
        pages.add_model({"model_id": str(tmp_path)})
    (tmp_path / "pytorch_model.bin").write_bytes(b"not opened")
    with pytest.raises(UserError, match="pickle"):
        pages.add_model({"model_id": str(tmp_path)})
    with pytest.raises(UserError):
        pages.add_model({"model_id": ""})


def test_the_memory_is_predicted_before_the_start(pages):
    predicted = pages.predict({"dataset_id": SAMPLE_ID, "rank": 8, "max_length": 64})
    assert predicted["ledger"]["predicted"]["total"] > 0 and predicted["ledger"]["available"] > 0
    adamw = pages.predict({"dataset_id": SAMPLE_ID, "method": "adamw", "max_length": 64})
    assert adamw["ledger"]["predicted"]["subspace"] == 0


def test_a_finished_runs_bundle_opens_again(pages, services, tmp_path):
    run_id = pages.start_run({"config": {"dataset_id": SAMPLE_ID, "rank": 8, "max_steps": 2, "max_length": 64}})[
        "run_id"
    ]
    services.runs.stop(run_id)
    path = services.runs.export_bundle(run_id, tmp_path / "run.zip")
    opened = services.runs.import_bundle(path)
    assert pages.overview({"run_id": opened})["run"]["config"]["rank"] == 8


def test_a_bundle_on_this_computer_is_opened_where_it_lies(pages, services, tmp_path):
    run_id = pages.start_run({"config": {"dataset_id": SAMPLE_ID, "rank": 8, "max_steps": 2, "max_length": 64}})[
        "run_id"
    ]
    services.runs.stop(run_id)
    path = services.runs.export_bundle(run_id, tmp_path / "run.zip")
    opened = pages.open_bundle({"path": f" {path} "})["run_id"]
    assert services.runs.status(opened)["imported"]
    for bad in ("", "run.zip", str(tmp_path), str(tmp_path / "none.zip"), "/dev/zero"):
        with pytest.raises(UserError):
            pages.open_bundle({"path": bad})


def test_where_others_come_a_bundle_is_opened_only_where_model_folders_are(services, tmp_path):
    for place in ("allowed", "elsewhere"):
        (tmp_path / place).mkdir()
        with zipfile.ZipFile(tmp_path / place / "run.zip", "w") as bundle:
            bundle.writestr("config.json", "{}")
    (tmp_path / "allowed" / "link.zip").symlink_to(tmp_path / "elsewhere" / "run.zip")
    home = replace(services.home, model_roots=(services.home.root, tmp_path / "allowed"))
    pages = TrainPages(Services(**{**services.__dict__, "home": home}))
    assert pages.open_bundle({"path": str(tmp_path / "allowed" / "run.zip")})["run_id"]
    for outside in ("elsewhere/run.zip", "elsewhere/none.zip", "allowed/../elsewhere/run.zip", "allowed/link.zip"):
        with pytest.raises(UserError, match="cannot be opened") as caught:
            pages.open_bundle({"path": str(tmp_path / outside)})
        assert "LLMDEMO_MODEL_ROOTS" in caught.value.hint
    for bad in ("~nobody-of-this-name/run.zip", str(tmp_path / "allowed" / ("x" * 300)), "a\0b"):
        with pytest.raises(UserError, match="not a file"):
            pages.open_bundle({"path": bad})


@pytest.mark.parametrize(
    "config",
    [
        '{"dataset": "x", "model": [1], "versions": 5, "group": "x"}',
        '{"log_with": [1]}',
        '{"dataset": {"id": [1], "name": {"a": 1}, "content_hash": 5}, "model": {"title": [1], "id": {}}}',
        "{",
    ],
)
def test_one_run_with_an_odd_config_does_not_take_the_panel_away(pages, services, tmp_path, config):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as bundle:
        bundle.writestr("config.json", "{}")
    odd = pages.open_bundle({"path": str(tmp_path / "a.zip")})["run_id"]
    (services.home.runs / odd / "config.json").write_text(config)
    overview = pages.overview({"run_id": odd})
    assert overview["run_id"] == odd and overview["run"]["figures"]
    assert all(isinstance(value, str) for value in overview["run"]["title"].values())
    with pytest.raises(UserError, match="which is not a valid setting|cannot be read|is damaged|not JSON"):
        services.pushes.licence(odd)
    services.runs.delete(odd)


def test_an_imported_run_starts_anew_on_the_same_data_and_says_when_it_is_not_here(pages, services, tmp_path):
    run_id = pages.start_run({"config": {"dataset_id": SAMPLE_ID, "rank": 8, "max_steps": 2, "max_length": 64}})[
        "run_id"
    ]
    services.runs.stop(run_id)
    opened = services.runs.import_bundle(services.runs.export_bundle(run_id, tmp_path / "run.zip"))
    again = pages.clone_run({"run_id": opened})["run_id"]
    assert services.runs.config(again)["rank"] == 8 and not services.runs.status(again)["imported"]
    services.runs.stop(again)
    folder = services.home.runs / opened / "config.json"
    folder.write_text(folder.read_text().replace('"content_hash": "', '"content_hash": "other'))
    with pytest.raises(UserError, match="is not here"):
        pages.clone_run({"run_id": opened})


def test_runs_are_compared_with_all_their_figures(pages, services):
    ids = [run["run_id"] for run in services.runs.list()][:2]
    compared = pages.compare({"run_ids": ids})["runs"]
    assert [run["run_id"] for run in compared] == ids and all("series" in run for run in compared)
    assert all(run["created"] > 0 for run in compared), "what tells runs of one name apart"


def test_the_tracker_of_a_run_is_told_with_its_command(pages, services):
    assert "tensorboard --logdir" in TrainPages(services)._tracker("run-1", {"log_with": "tensorboard"})
    assert (
        "trackio show" in TrainPages(services)._tracker("run-1", {"log_with": "trackio"})
        and TrainPages(services)._tracker("run-1", {}) == ""
    )
    with pytest.raises(UserError, match="not installed"):
        pages.start_run({"config": {"dataset_id": SAMPLE_ID, "log_with": "trackio"}})
