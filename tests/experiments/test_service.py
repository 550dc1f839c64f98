"""Races and searches from start to end, over real queues and a fake worker."""

import json
import shutil

import pytest

from llmdemo import prepare
from llmdemo.core.errors import NotNow, UserError
from llmdemo.experiments import Experiments, scheduler, sweep
from tests.waiting import until


def test_a_race_ends_with_one_row_a_method(bench):
    experiments, runs = bench.open()
    group_id = experiments.start_race(bench.base, {"own": {"adamw": {"learning_rate": 0.01}}})
    status = bench.wait(experiments, group_id, "completed")
    assert [row["label"] for row in status["rows"]] == ["GaLore", "AdamW", "LoRA"]
    assert [row["state"] for row in status["rows"]] == ["completed"] * 3
    galore, adamw, lora = status["rows"]
    assert galore["eval_loss"] == pytest.approx(0.25) and adamw["eval_loss"] == pytest.approx(1.25)
    assert status["best"] == galore["run_id"]
    assert galore["tokens"] == adamw["tokens"] == lora["tokens"] == 400
    assert galore["seconds"] == 8.0 and galore["tokens_per_second"] == 50.0
    assert galore["peak_memory_bytes"] == 3 * 10**8 and galore["optimizer_bytes"] == 12345
    assert galore["curves"]["train"]["step"] == [1, 2, 3, 4] and galore["curves"]["eval"]["value"] == [9.0, 0.25]
    config = runs.config(adamw["run_id"])
    assert config["group"] == {"id": group_id, "kind": "race", "label": "AdamW", "member": 1}
    assert (
        "rank" in config and config["learning_rate"] == 0.01 and config["seed"] == runs.config(lora["run_id"])["seed"]
    )
    assert all(row["model_id"] for row in status["rows"])  # a race keeps all models


def test_a_token_budget_becomes_steps(bench):
    experiments, runs = bench.open()
    group_id = experiments.start_race(bench.base, {"methods": ["galore", "adamw"], "tokens": 5000})
    steps = {runs.config(row["run_id"])["max_steps"] for row in experiments.status(group_id)["rows"]}
    assert len(steps) == 1 and 5 < steps.pop() < 60
    with pytest.raises(UserError, match="token budget"):
        experiments.start_race(bench.base, {"tokens": 0})


def test_a_grid_finds_the_best_and_keeps_only_its_model(bench):
    experiments, runs = bench.open()
    space = {"learning_rate": [1e-4, 1e-3, 1e-2]}
    group_id = experiments.start_search(bench.base, {"strategy": "grid", "space": space})
    status = bench.wait(experiments, group_id, "completed")
    assert status["varied"] == ["learning_rate"] and len(status["rows"]) == 3
    best = next(row for row in status["rows"] if row["run_id"] == status["best"])
    assert best["varied"] == {"learning_rate": 1e-3} and best["model_id"] == best["run_id"]
    assert status["best_values"]["learning_rate"] == 1e-3
    assert status["best_task"] == "chat"
    for row in status["rows"]:
        folder = bench.home.runs / row["run_id"]
        kept = row is best
        assert (folder / "model").exists() == kept and (folder / "checkpoints").exists() == kept
        assert (runs.status(row["run_id"])["model_id"] is not None) == kept
        assert row["eval_loss"] is not None


def test_halving_gives_the_best_more_steps(bench):
    experiments, _ = bench.open(runs_at_once=4)
    asked = {
        "strategy": "halving", "space": {"learning_rate": {"low": 1e-5, "high": 1e-1}}, "runs": 9, "least_steps": 2,
    }  # fmt: skip
    group_id = experiments.start_search({**bench.base, "max_steps": 18}, asked)
    status = bench.wait(experiments, group_id, "completed", seconds=60)
    assert status["rungs"] == [[9, 2], [3, 6], [1, 18]]
    assert [row["rung"] for row in status["rows"]] == [0] * 9 + [1] * 3 + [2]
    first = sorted(status["rows"][:9], key=lambda row: row["eval_loss"])
    assert [row["varied"] for row in status["rows"][9:12]] == [row["varied"] for row in first[:3]]
    assert status["rows"][12]["varied"] == first[0]["varied"] and status["best"] == status["rows"][12]["run_id"]
    assert status["best_values"]["max_steps"] == 18
    assert [row["total_steps"] for row in status["rows"]] == [2] * 9 + [6] * 3 + [18]


def test_a_run_that_fails_never_goes_on_and_the_others_do(bench):
    experiments, _ = bench.open()
    asked = {"strategy": "halving", "space": {"learning_rate": [1e-3, 0.9, 0.6]}, "runs": 3, "least_steps": 1}
    status = bench.wait(experiments, experiments.start_search(bench.base, asked), "completed")
    assert sorted(row["state"] for row in status["rows"]) == ["completed", "completed", "failed", "failed"]
    assert status["rows"][-1]["varied"] == {"learning_rate": 1e-3}


def test_when_every_run_fails_the_experiment_says_why(bench):
    experiments, _ = bench.open()
    group_id = experiments.start_search(bench.base, {"strategy": "grid", "space": {"learning_rate": [0.6, 0.9]}})
    status = bench.wait(experiments, group_id, "failed")
    assert status["message"] == "The loss became infinite." and status["best"] is None


def test_cancel_stops_what_goes_and_what_waits(bench):
    experiments, runs = bench.open(runs_at_once=1)
    group_id = experiments.start_race({**bench.base, "seed": 99})
    assert experiments.cancel(group_id)["state"] in ("stopping", "cancelled")
    status = bench.wait(experiments, group_id, "cancelled")
    assert {row["state"] for row in status["rows"]} == {"stopped"}
    assert experiments.cancel(group_id)["state"] == "cancelled"
    experiments.delete(group_id)
    with pytest.raises(UserError, match="no experiment"):
        experiments.status(group_id)
    assert len(runs.list()) == 3


def test_a_cancelled_experiment_can_be_resumed_and_goes_on_with_what_was_stopped(bench):
    experiments, runs = bench.open(runs_at_once=1)
    asked = {"strategy": "grid", "space": {"learning_rate": [1e-3, 1e-2, 1e-1]}}
    group_id = experiments.start_search({**bench.base, "seed": 99}, asked)
    experiments.cancel(group_id)
    rows = bench.wait(experiments, group_id, "cancelled")["rows"]
    for row in rows:
        path = bench.home.runs / row["run_id"] / "config.json"
        path.write_text(path.read_text().replace('"seed": 99', '"seed": 0'))
    assert experiments.resume(group_id)["state"] == "running"
    status = bench.wait(experiments, group_id, "completed")
    assert [row["run_id"] for row in status["rows"]] == [row["run_id"] for row in rows]
    assert [row["state"] for row in status["rows"]] == ["completed"] * 3
    with pytest.raises(UserError, match="completed experiment"):
        experiments.resume(group_id)


def test_a_halving_goes_on_after_the_app_was_closed(bench):
    first = bench.open(runs_at_once=1)
    asked = {
        "strategy": "halving",
        "space": {"learning_rate": {"low": 1e-4, "high": 1e-2}},
        "runs": 3,
        "least_steps": 1,
    }
    group_id = first[0].start_search(bench.base, asked)
    bench.close(first)
    experiments, _ = bench.open()
    status = bench.wait(experiments, group_id, "completed")
    assert [row["rung"] for row in status["rows"]] == [0, 0, 0, 1]


def test_a_round_that_was_written_down_but_not_started_is_started_once(bench):
    """The app ended between the plan of a round and its runs: those that exist are found, the others are made."""
    opened = bench.open()
    asked = {
        "strategy": "halving",
        "space": {"learning_rate": {"low": 1e-4, "high": 1e-2}},
        "runs": 9,
        "least_steps": 1,
    }
    group_id = opened[0].start_search({**bench.base, "max_steps": 9}, asked)
    bench.wait(opened[0], group_id, "completed")
    bench.close(opened)
    folder = bench.home.experiments / group_id
    known = json.loads((folder / "trials.json").read_text())
    lost = known["trials"][10]["run_id"]
    known["trials"] = known["trials"][:12]
    for trial in known["trials"][9:]:
        trial |= {"run_id": None, "kept": None}
    (folder / "trials.json").write_text(json.dumps(known))
    events = (folder / "events.jsonl").read_text().splitlines(keepends=True)
    (folder / "events.jsonl").write_text("".join(line for line in events if '"end"' not in line))
    bench.home.database.unlink()
    experiments, runs = bench.open()
    status = bench.wait(experiments, group_id, "completed")
    assert len(status["rows"]) == 13 and status["rows"][10]["run_id"] == lost
    labels = [runs.config(run["run_id"])["group"]["member"] for run in runs.list()]
    assert sorted(labels) == sorted([*range(13), 12])  # the last round was forgotten, so it is made again


def test_a_deleted_run_keeps_its_row(bench):
    experiments, runs = bench.open()
    group_id = experiments.start_race(bench.base, {"methods": ["galore", "lora"]})
    status = bench.wait(experiments, group_id, "completed")
    runs.delete(status["rows"][0]["run_id"])
    row = experiments.status(group_id)["rows"][0]
    assert row["state"] == "deleted" and row["eval_loss"] == pytest.approx(0.25) and row["model_id"] is None
    assert row["curves"]["train"]["step"] == [1, 2, 3, 4]


def test_the_table_can_be_taken_away_as_csv(bench):
    experiments, _ = bench.open()
    group_id = experiments.start_race(bench.base, {"methods": ["galore", "lora"]})
    bench.wait(experiments, group_id, "completed")
    lines = experiments.csv(group_id).splitlines()
    assert lines[0].startswith("run_id,label,method,state,step,tokens") and lines[0].endswith("eval_accuracy")
    assert len(lines) == 3 and ",galore,completed,4,400," in lines[1]


def test_the_list_is_brief_and_newest_first(bench):
    experiments, _ = bench.open()
    assert experiments.list() == []
    first = experiments.start_race({**bench.base, "seed": 99}, {"name": "one"})
    second = experiments.start_race({**bench.base, "seed": 99}, {"name": "two", "methods": ["galore", "lora"]})
    assert {each["group_id"]: each["runs"] for each in experiments.list()} == {first: 3, second: 2}
    with pytest.raises(UserError, match="still running"):
        experiments.delete(first)


def test_nothing_is_started_unless_everything_may_be(bench):
    experiments, runs = bench.open(max_queued_runs=4)
    wrong = {
        "rank 500 is larger": {"space": {"rank": [8, 500]}},
        "from 1e-09 to 10": {"space": {"learning_rate": [1e-3, 50.0]}},
        "5 runs are too many": {"space": {"scale": [1, 2, 3, 4, 5]}},
    }
    for said, asked in wrong.items():
        with pytest.raises(UserError) as caught:
            experiments.start_search(bench.base, {"strategy": "grid", **asked})
        assert said in f"{caught.value}"
    with pytest.raises(UserError, match="no data set"):
        experiments.start_race({**bench.base, "dataset_id": "data-none"})
    with pytest.raises(UserError, match="not an object"):
        experiments.start_race("everything")
    with pytest.raises(UserError, match="name is too long"):
        experiments.start_race(bench.base, {"name": "x" * 90})
    assert runs.list() == [] and experiments.list() == []


def test_runs_that_began_are_taken_back_when_one_cannot(bench, monkeypatch):
    experiments, runs = bench.open(runs_at_once=1)
    start, calls = runs.start, []

    def start_two(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise UserError("The run cannot be kept (no space).", "Free some space.")
        return start(*args, **options)

    monkeypatch.setattr(runs, "start", start_two)
    with pytest.raises(UserError, match="no space"):
        experiments.start_race({**bench.base, "seed": 99})
    # The first may have had its process already; it is stopped, and stays in the list.
    assert [run["state"] for run in runs.list()] in ([], ["stopping"], ["stopped"]) and experiments.list() == []


def test_a_damaged_experiment_harms_no_other(bench):
    broken = bench.home.experiments / "exp-20200101-000000-abcdef"
    broken.mkdir(parents=True)
    (broken / "group.json").write_text("{")
    experiments, _ = bench.open()
    group_id = experiments.start_race(bench.base, {"methods": ["galore", "lora"]})
    bench.wait(experiments, group_id, "completed")
    assert {each["group_id"] for each in experiments.list()} == {group_id, broken.name}
    shown = experiments.status(broken.name)
    assert shown["state"] == "failed" and "is damaged" in shown["message"] and "Delete it" in shown["hint"]
    assert shown["rows"] == [] and experiments.csv(broken.name).startswith("run_id")
    experiments.delete(broken.name)
    assert not broken.exists()


def test_one_whose_folder_vanishes_ends_and_can_be_deleted(bench):
    experiments, runs = bench.open(runs_at_once=1)
    group_id = experiments.start_race({**bench.base, "seed": 99})
    shutil.rmtree(bench.home.experiments / group_id)
    until(lambda: runs.jobs.status(group_id)["state"] == "failed")
    experiments.delete(group_id)
    assert experiments.list() == []


def test_an_experiment_that_is_damaged_while_it_goes_ends_and_can_be_deleted(bench):
    experiments, runs = bench.open()
    group_id = experiments.start_race({**bench.base, "seed": 99}, {"methods": ["galore", "lora"]})
    (bench.home.experiments / group_id / "trials.json").write_text('{"trials": [5]}')
    bench.wait(experiments, group_id, "failed")
    until(lambda: experiments.jobs.status(group_id)["state"] == "failed")
    experiments.delete(group_id)
    assert experiments.list() == [] and len(runs.list()) == 2


@pytest.mark.parametrize("group_id", ["exp-none", "../runs", "", None])
def test_an_unknown_id_is_a_sentence(bench, group_id):
    experiments: Experiments = bench.open()[0]
    for act in (experiments.status, experiments.cancel, experiments.delete, experiments.csv):
        with pytest.raises(UserError):
            act(group_id)


HALVING = {"strategy": "halving", "space": {"learning_rate": [1e-4, 1e-3, 1e-2]}, "runs": 3, "least_steps": 1}


@pytest.fixture
def queue(monkeypatch):
    """{"full"}: whether runs of a search's later rounds are refused."""
    said = {"full": True}

    def start(home, runs, values, *more, _start=prepare.start):
        if said["full"] and values["max_steps"] != HALVING["least_steps"]:
            raise NotNow("4 runs are waiting already.", "Cancel some, or wait.")
        return _start(home, runs, values, *more)

    monkeypatch.setattr(scheduler.prepare, "start", start)
    return said


def waiting(experiments, group_id: str) -> dict:
    return until(lambda: (status := experiments.status(group_id))["message"] and status)


def test_a_round_that_finds_the_queue_full_waits_and_says_so(bench, queue):
    experiments, _ = bench.open()
    group_id = experiments.start_search(bench.base, HALVING)
    status = waiting(experiments, group_id)
    assert status["state"] == "running" and "4 runs are waiting already" in status["message"]
    assert status["best_values"]["max_steps"] == bench.base["max_steps"], "a short round's steps are no setting to use"
    queue["full"] = False
    status = bench.wait(experiments, group_id, "completed")
    assert [row["rung"] for row in status["rows"]] == [0, 0, 0, 1] and status["message"] == ""


def test_what_waits_for_the_queue_can_be_cancelled(bench, queue):
    experiments, runs = bench.open()
    group_id = experiments.start_search(bench.base, HALVING)
    waiting(experiments, group_id)
    experiments.cancel(group_id)
    assert bench.wait(experiments, group_id, "cancelled")["message"] == ""
    assert len(runs.list()) == 3


def test_a_full_disk_keeps_neither_models_nor_runs_that_shall_go(bench, monkeypatch):
    experiments, runs = bench.open(runs_at_once=1)
    group_id = experiments.start_search(bench.base, {"strategy": "grid", "space": {"learning_rate": [1e-4, 1e-3]}})
    full = {"now": True}

    def write(*given, _write=sweep.write_json):
        if full["now"]:
            raise OSError(28, "No space left on device")
        _write(*given)

    monkeypatch.setattr(sweep, "write_json", write)
    until(lambda: all(run["state"] == "completed" for run in runs.list()))
    until(lambda: sum(run["model_id"] is not None for run in runs.list()) == 1)
    full["now"] = False
    assert bench.wait(experiments, group_id, "completed")["best"]


def test_the_best_settings_say_method_and_model_for_themselves(bench):
    experiments, _ = bench.open()
    group_id = experiments.start_search(bench.base, {"strategy": "grid", "space": {"learning_rate": [1e-4, 1e-3]}})
    values = bench.wait(experiments, group_id, "completed")["best_values"]
    assert (values["method"], values["model_id"]) == ("galore", "starter")
