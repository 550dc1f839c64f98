"""A run's events as figures to compare by."""

import pytest

from llmdemo.experiments.reading import Reading


def step(t, number, loss, **more):
    return {"type": "step", "t": t, "step": number, "loss": loss, "tokens": 100 * number, **more}


STORY = [
    {"type": "launch", "t": 0.0},
    {"type": "phase", "t": 1.0, "phase": "loading"},
    {"type": "start", "t": 8.0, "step": 0},
    {"type": "eval", "t": 9.0, "step": 0, "loss": 3.0},
    {"type": "phase", "t": 10.0, "phase": "training"},
    step(12.0, 1, 4.0, memory_bytes=5, peak_memory_bytes=7),
    step(14.0, 2, 2.0, memory_bytes=6, peak_memory_bytes=9),
    {"type": "phase", "t": 14.0, "phase": "evaluating"},
    {"type": "eval", "t": 30.0, "step": 2, "loss": 2.5, "records": 3, "accuracy": 0.75},
    {"type": "ledger", "t": 31.0, "predicted": {}, "measured": {"total": 8, "optimizer": 4}},
    {"type": "end", "t": 32.0, "state": "completed"},
]


def test_only_the_training_phase_counts_as_time():
    reading = Reading()
    reading.feed(STORY)
    figures = reading.figures()
    assert figures["seconds"] == 4.0 and figures["tokens"] == 200 and figures["tokens_per_second"] == 50.0
    assert (figures["first_eval_loss"], figures["eval_loss"]) == (3.0, 2.5)
    assert figures["metrics"] == {"accuracy": 0.75}
    assert figures["peak_memory_bytes"] == 9 and figures["optimizer_bytes"] == 4
    assert figures["loss"] == pytest.approx((0.95 * 4 + 2) / 1.95)


def test_pieces_of_any_size_give_the_same():
    whole, pieces = Reading(), Reading()
    whole.feed(STORY)
    for event in STORY:
        pieces.feed([event])
    assert whole.figures() == pieces.figures() and whole.curves() == pieces.curves()


def test_a_resumed_run_does_its_last_steps_again():
    reading = Reading()
    reading.feed(STORY[:7])
    reading.feed([{"type": "launch", "t": 100.0}, {"type": "start", "t": 110.0, "step": 1}])
    assert reading.figures()["tokens"] == 100
    reading.feed([{"type": "phase", "t": 111.0, "phase": "training"}, step(114.0, 2, 2.0)])
    assert reading.curves()["train"]["step"] == [1, 2]
    assert reading.figures()["seconds"] == 5.0  # the step that was lost counts neither in tokens nor in time


def test_the_writing_of_a_checkpoint_is_no_part_of_a_methods_speed():
    reading = Reading()
    reading.feed([*STORY[:7], {"type": "checkpoint", "t": 34.0, "step": 2}, step(36.0, 3, 2.0)])
    assert reading.figures()["seconds"] == 6.0


def test_what_is_no_figure_changes_nothing():
    reading = Reading()
    reading.feed([
        {"type": "step", "t": "noon", "step": None, "loss": "low"},
        {"type": "eval", "step": 1, "loss": float("nan")},
        {"type": "ledger", "measured": [1]},
        {"type": "mystery"},
    ])  # fmt: skip
    figures = reading.figures()
    assert figures["metrics"] == {} and all(not value for value in figures.values())


def test_a_long_run_is_thinned_and_its_ends_stay():
    reading = Reading()
    reading.feed([{"type": "phase", "t": 0.0, "phase": "training"}])
    reading.feed([step(float(n), n, 1.0) for n in range(1, 10_001)])
    train = reading.curves(200)["train"]
    assert len(train["step"]) <= 402 and train["step"][0] == 1 and train["step"][-1] == 10_000
