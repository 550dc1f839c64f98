"""The time that a run is said to take: a range, never off by orders after a tiny run."""

import pytest

from llmdemo import pace
from llmdemo.settings.training import TrainConfig


def run_of(speed, step=84, method="galore", parameters=1000, task="chat", **worker):
    worker = {"method": method, "parameters": parameters, "task": task, **worker}
    return {"tokens_per_second": speed, "step": step, "worker": worker}


def test_the_speed_is_the_median_of_the_newest_runs_with_the_method_and_follows_the_models_size():
    runs = [run_of(9.0), run_of(200.0), run_of(210.0), run_of(50.0, method="lora"), *[run_of(1.0)] * 9]
    assert pace.shown_speed(runs[:4], 1000, "galore") == (200.0, 3)
    assert pace.shown_speed(runs[:4], 2000, "galore") == (100.0, 3)
    assert pace.shown_speed(runs[:4], 1000, "lora") == (50.0, 1)
    assert pace.shown_speed(runs[:3], 1000, "adamw") == (200.0, 3), "another method's is better than none"
    texts = run_of(400.0, task="classify")
    assert pace.shown_speed([texts, *runs[:4]], 1000, "galore", "chat")[0] == 200.0
    faster = pace._FASTER["classify"]
    assert faster > 1 and pace.shown_speed([texts], 1000, "galore", "chat")[0] == 400.0 / faster
    assert pace.shown_speed([*runs[:4], texts], 1000, "lora", "classify")[0] == 400.0, "the task says more"


@pytest.mark.parametrize(
    "told",
    [{}, run_of(8.0, step=5), run_of(None), {**run_of(8.0), "worker": None}, {**run_of(8.0), "imported": True},
     run_of(8.0, parameters=100), run_of(8.0, parameters=10_000)],
)  # fmt: skip
def test_a_run_that_tells_nothing_of_the_speed_is_passed_over(told):
    assert pace.shown_speed([told], 1000) is None
    assert pace.shown_speed([told, run_of(100.0)], 1000) == (100.0, 1)


def test_a_tiny_models_run_says_nothing_of_a_large_one(home, tiny_model_folder, monkeypatch):
    todo = pace.Work(1000.0, 84, 4000.0)
    monkeypatch.setattr(pace, "_rough_speed", lambda *_: 300.0)
    told = lambda runs: pace.seconds(home, runs, str(tiny_model_folder), "galore", "chat", todo)  # noqa: E731
    before = told([])
    assert before["rough"] and before == told([run_of(900.0, parameters=10)] * 3)
    assert before["seconds_low"] * 9 == pytest.approx(before["seconds_high"], rel=0.1)


def test_the_range_grows_narrower_as_runs_tell_and_holds_start_steps_and_checks(home, tiny_model_folder):
    from llmdemo.models import catalog

    size = catalog.resolve(home, str(tiny_model_folder)).parameters
    run = run_of(100.0, parameters=size, seconds_to_start=30.0)
    short = pace.Work(100.0, 5, 6000.0)
    one, more = (pace.seconds(home, [run] * n, str(tiny_model_folder), "galore", "chat", short) for n in (1, 4))
    assert one["seconds"] == more["seconds"] == 96  # 30 to start, 6 steps of a second and a little, 60 of checks
    assert (one["seconds_low"], one["seconds_high"]) == (48, 190)
    assert (more["seconds_low"], more["seconds_high"]) == (64, 140) and not more["rough"]


def test_checks_are_of_what_is_held_out_and_a_classifiers_last_one_of_all():
    def work(**changes):
        config = TrainConfig.from_dict({"dataset_id": "x", **changes}).resolved()
        return pace.work(config, 1000, 90.0, 720.0)

    chat = work()
    assert chat.check_tokens == pytest.approx((3 * 32 + 32) * 90 / 3 + 4 * 2 * 48 * 12)
    assert work(eval_share=0.0).check_tokens == 0
    labels = work(task="classify", max_steps=128, eval_steps=64, eval_records=50)
    assert labels.check_tokens == pytest.approx((2 * 50 + 200) * 90 / 3)


def test_a_run_on_drawn_answers_is_predicted_from_what_such_a_run_took(home, tiny_model_folder):
    """Its steps hold the drawing, and the work is told in tokens learned: each must be counted once."""
    from llmdemo.models import catalog

    size = catalog.resolve(home, str(tiny_model_folder)).parameters
    config = TrainConfig.from_dict({"dataset_id": "x", "task": "grpo", "max_steps": 60}).resolved()
    rows, mean = config.global_batch * config.rollouts, 90.0
    step_seconds = 12.0
    run = run_of(rows * mean / step_seconds, parameters=size, task="grpo", seconds_to_start=0.0)
    todo = pace.work(config, 1000, mean, rows * mean)
    told = pace.seconds(home, [run] * 3, str(tiny_model_folder), "galore", "grpo", pace.Work(todo.step_tokens, 60, 0.0))
    assert told["seconds_low"] < 60 * step_seconds < told["seconds_high"]
    again = TrainConfig.from_dict({"dataset_id": "x", "task": "grpo", "max_steps": 60, "redraws": 2}).resolved()
    assert pace.work(again, 1000, mean, rows * mean).step_tokens > todo.step_tokens
