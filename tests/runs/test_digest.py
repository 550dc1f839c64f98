import json
import random
import time

import pytest

from llmdemo.runs.digest import Digest, number, text


def fed(*events) -> Digest:
    digest = Digest()
    for index, (kind, fields) in enumerate(events):
        digest.feed({"type": kind, "t": 1000.0 + index, **fields})
    return digest


def step(number, **fields):
    return "step", {"step": number, "loss": 3.0 / number, "memory_bytes": 100 - number, **fields}


def test_the_newest_figures_are_told_and_the_peak_is_the_largest():
    digest = fed(
        ("start", {"step": 0, "total_steps": 9, "method": "galore", "pid": 7}),
        ("phase", {"phase": "training"}),
        step(1, lr=0.1, eta_seconds=8),
        step(2, lr=0.2, eta_seconds=7, tokens=50, tokens_per_second=25.0),
        ("eval", {"step": 2, "loss": 1.25}),
        ("skip", {"step": 2, "reason": "non_finite"}),
        ("checkpoint", {"step": 2, "bytes": 5}),
    )
    status = digest.status()
    expected = {"step": 2, "total_steps": 9, "loss": 1.5, "eval_loss": 1.25, "learning_rate": 0.2, "phase": "training"}
    expected |= {"peak_memory_bytes": 99, "eta_seconds": 7, "tokens": 50, "skipped": 1, "checkpoint_step": 2}
    assert status | expected == status
    assert status["worker"] == {"method": "galore"}
    assert digest.started and digest.end is None


def test_the_figures_of_every_task_are_kept_and_drawn():
    digest = fed(
        ("start", {"step": 0, "total_steps": 9, "pid": 7}),
        ("eval", {"step": 0, "loss": 1.5, "accuracy": 0.5, "f1_macro": 0.4, "records": 99}),
        step(1, reward_margin=0.1, reward_accuracy=0.5, kl=0.0, eta_seconds=5, epoch=0.1),
        step(2, reward_margin=0.3, reward_accuracy=0.75, kl=0.01),
        ("eval", {"step": 2, "accuracy": 0.75, "f1_macro": 0.7}),
        ("note", {"message": "Examples are packed."}),
        ("note", {"message": "Examples are packed."}),
    )
    curves = digest.curves(100)
    assert curves["reward_margin"]["value"] == [0.1, 0.3] and curves["kl"]["step"] == [1, 2]
    assert curves["eval_accuracy"]["value"] == [0.5, 0.75] and curves["eval_loss"]["step"] == [0]
    assert not {"eval_records", "tokens", "eta_seconds", "epoch"} & curves.keys()
    status = digest.status()
    assert status["scores"] == {"accuracy": 0.75, "f1_macro": 0.7} and status["notes"] == ["Examples are packed."]
    assert digest.worker_pid == 7


def test_made_up_names_fill_no_memory():
    digest = Digest()
    for index in range(200):
        names = {f"x{number}": 1.0 for number in range(index, index + 50)}
        digest.feed({"type": "step", "step": index, "loss": 1.0, "Bad Name": 1.0, "average": 9.0, **names})
        digest.feed({"type": "eval", "step": index, **names})
    curves = digest.curves(10)
    assert len([name for name in curves if not name.startswith("eval_")]) <= 2 + 12
    assert "Bad Name" not in curves and curves["loss_smoothed"]["value"][-1] == pytest.approx(1.0)


def test_an_end_that_makes_no_sense_is_a_worker_error():
    assert fed(("end", {"state": "splendid"})).end.reason == "worker_error"
    assert fed(("end", {"state": "failed", "reason": "who knows"})).end.reason == "worker_error"
    assert fed(("end", {"state": "completed", "reason": "lost"})).end.reason == ""


def test_a_run_that_resumes_forgets_what_it_does_again():
    digest = fed(
        ("start", {"step": 0, "total_steps": 9}),
        *[step(n) for n in range(1, 6)],
        ("eval", {"step": 2, "loss": 2.0}),
        ("eval", {"step": 4, "loss": 1.0}),
        ("sample", {"step": 4, "prompt": "p", "text": "t"}),
        ("refresh", {"step": 4, "layers": [{"name": "a", "energy": 0.5}]}),
        ("end", {"state": "failed", "reason": "lost"}),
        ("queued", {}),
        ("launch", {"attempt": 2}),
        ("start", {"step": 3, "total_steps": 9}),
    )
    assert digest.end is None and digest.attempt == 2
    assert digest.status()["step"] == 3 and digest.status()["loss"] == 1.0 and digest.status()["eval_loss"] == 2.0
    curves = digest.curves(100)
    assert curves["loss"]["step"] == [1, 2, 3] and curves["eval_loss"]["step"] == [2] and "energy" not in curves
    assert digest.samples()[0]["outputs"] == []


def test_time_spent_waiting_and_a_clock_set_back_do_not_count():
    digest = Digest()
    for kind, when, fields in [
        ("start", 1000, {"step": 0}),
        ("step", 1010, {"step": 1, "loss": 1.0}),
        ("step", 400, {"step": 2, "loss": 1.0}),
        ("step", 405, {"step": 3, "loss": 1.0}),
        ("queued", 5000, {}),
        ("launch", 9000, {}),
        ("start", 9002, {"step": 3}),
        ("step", 9004, {"step": 4, "loss": 1.0}),
    ]:
        digest.feed({"type": kind, "t": when, **fields})
    assert digest.curves(10)["loss"]["seconds"] == [10.0, 10.0, 15.0, 19.0]


def test_samples_stand_side_by_side_by_prompt():
    digest = fed(
        ("sample", {"step": 5, "prompt": "a", "text": "a5", "expected": "A"}),
        ("sample", {"step": 5, "prompt": "b", "text": "b5"}),
        ("sample", {"step": 9, "prompt": "a", "text": "a9"}),
    )
    first, second = digest.samples()
    assert first == {"prompt": "a", "expected": "A", "outputs": [{"step": 5, "text": "a5"}, {"step": 9, "text": "a9"}]}
    assert second["expected"] is None


def test_drawn_answers_are_kept_by_round_and_those_after_a_checkpoint_are_forgotten():
    answers = [{"text": "14", "reward": 1.0}, {"text": "no", "reward": "x"}, "odd"]
    digest = fed(
        *(("answers", {"step": step, "prompt": "7 + 7", "expected": "14", "answers": answers}) for step in (1, 2))
    )
    known = {
        "prompt": "7 + 7",
        "expected": "14",
        "answers": [{"text": "14", "reward": 1.0}, {"text": "no", "reward": None}],
    }
    assert digest.rounds() == [{"step": 1, **known}, {"step": 2, **known}]
    digest.feed({"type": "start", "t": 9, "step": 1})
    assert [each["step"] for each in digest.rounds()] == [1]


def test_refreshes_are_a_matrix_of_layers_and_steps():
    digest = fed(
        (
            "refresh",
            {"step": 1, "layers": [{"name": "a", "energy": 0.5}, {"name": "b", "energy": 0.7, "overlap": 0.1}]},
        ),
        ("refresh", {"step": 9, "layers": [{"name": "a", "energy": 0.6}]}),
    )
    assert digest.refreshes() == {
        "layers": ["a", "b"],
        "steps": [1, 9],
        "energy": [[0.5, 0.6], [0.7, None]],
        "overlap": [[None, None], [0.1, None]],
    }
    assert digest.curves(10)["energy"]["value"] == pytest.approx([0.6, 0.6])


def test_the_peak_is_the_one_that_the_worker_tells_where_it_tells_one():
    assert fed(step(1, memory_bytes=10, peak_memory_bytes=70)).status()["peak_memory_bytes"] == 70


def test_thinned_refreshes_keep_the_newest_figures_of_each_matrix():
    digest = Digest()
    for index in range(300):
        layer = {"name": "ab"[index % 2], "energy": index / 1000}
        digest.feed({"type": "refresh", "step": index, "layers": [layer]})
    newest = [[energy for energy in row if energy is not None][-1] for row in digest.refreshes()["energy"]]
    assert sorted(newest) == [0.298, 0.299] and digest.refreshes()["steps"][-1] == 299


def test_what_is_kept_is_bounded():
    digest = Digest()
    for index in range(10_000):
        digest.feed({"type": "sample", "step": index, "prompt": f"p{index % 100}", "text": "x" * 10_000})
        digest.feed({"type": "refresh", "step": index, "layers": [{"name": "a", "energy": 0.5}]})
        digest.feed({"type": "eval", "step": index, "loss": 1.0})
        digest.feed({"type": "answers", "step": index, "prompt": "p", "answers": [{"text": "x" * 10_000}] * 50})
    assert len(digest.rounds()) <= 64 and len(digest.rounds()[-1]["answers"]) <= 16
    assert len(digest.samples()) == 32
    assert all(len(sample["outputs"]) <= 256 for sample in digest.samples())
    assert len(digest.samples()[0]["outputs"][0]["text"]) == 8192
    assert len(digest.refreshes()["steps"]) <= 256
    assert len(digest.curves(10**6)["eval_loss"]["step"]) <= 4096


def test_nonsense_in_any_field_changes_nothing_and_breaks_nothing():
    rng = random.Random(0)
    nonsense = [
        None,
        True,
        "x",
        "1",
        [],
        [[]],
        {},
        -1,
        1e300,
        float("inf"),
        float("nan"),
        2**200,
        {"name": 3},
        [3, None],
    ]
    kinds = ["start", "phase", "ledger", "step", "eval", "sample", "refresh", "skip", "checkpoint", "end", "launch"]
    keys = [
        "t",
        "step",
        "loss",
        "lr",
        "tokens",
        "prompt",
        "text",
        "layers",
        "state",
        "reason",
        "attempt",
        "total_steps",
    ]
    digest = Digest()
    for _ in range(3000):
        digest.feed(
            {"type": rng.choice([*kinds, "__init__", "feed", "", "on end"]), **{k: rng.choice(nonsense) for k in keys}}
        )
    for value in (digest.status(), digest.curves(50), digest.samples(), digest.refreshes(), digest.end):
        json.dumps(value, allow_nan=False)


def test_a_number_is_a_finite_number_and_a_text_has_an_end():
    assert [number(v) for v in (1, 2.5, True, "3", None, float("nan"), 10**400)] == [
        1.0,
        2.5,
        None,
        None,
        None,
        None,
        None,
    ]
    assert text("x" * 100, 10) == "x" * 9 + "…" and text(None) == "" and text(5) == "5"


def test_the_type_of_a_finished_models_weights_is_part_of_the_status():
    digest = Digest()
    said = {
        "dtype": "float32",
        "rounding": "",
        "loss": None,
        "run_loss": 1.5,
        "step": 4,
        "last_step": 8,
        "last_loss": 2.0,
    }
    digest.feed({"type": "published", "t": 1.0, **said})
    assert digest.status()["published"] == {
        "dtype": "float32",
        "rounding": "",
        "message": "",
        "loss": None,
        "run_loss": 1.5,
        "last_loss": 2.0,
        "step": 4,
        "last_step": 8,
    }


def test_the_best_step_is_the_first_with_the_lowest_held_out_loss_and_is_forgotten_with_the_steps_after_a_resume():
    digest = Digest()

    def best():
        return digest.status()["best_step"], digest.status()["best_eval_loss"]

    assert best() == (None, None)
    for step, loss in ((0, 3.0), (4, 1.5), (8, float("nan")), (12, 1.5), (16, 1.25), (20, 2.0)):
        digest.feed({"type": "eval", "t": float(step), "step": step, "loss": loss, "accuracy": 0.5})
    assert best() == (16, 1.25)
    digest.feed({"type": "start", "t": 30.0, "step": 12, "total_steps": 20})
    assert best() == (4, 1.5), "the run goes on from step 12: what came after it is not there any more"
    digest.feed({"type": "eval", "t": 31.0, "step": 20, "loss": 1.5})
    assert best() == (4, 1.5)


def test_the_worker_knows_better_which_step_is_the_best():
    """It compares by the figure that was chosen, and on the same records."""
    digest = Digest()
    for step, loss in ((0, 3.0), (4, 2.0), (8, 1.0)):
        digest.feed({"type": "eval", "t": float(step), "step": step, "loss": loss})
        if step < 8:
            digest.feed({"type": "best", "t": float(step), "step": step, "loss": loss})
    known = digest.status()
    assert (known["best_step"], known["best_eval_loss"]) == (4, 2.0)
    digest.feed({"type": "best", "t": 9.0, "step": None})
    assert digest.status()["best_step"] is None, "its weights were lost"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("fresh", [False, True])
def test_a_bundle_of_refreshes_of_thousands_of_layers_is_bounded(fresh):
    digest = Digest()
    for index in range(256):
        names = [f"{index if fresh else 0}.{number}" for number in range(2048)]
        digest.feed({"type": "refresh", "step": index, "layers": [{"name": name, "energy": 0.5} for name in names]})
    began = time.monotonic()
    drawn = digest.refreshes()
    assert time.monotonic() - began < 2
    assert len(drawn["layers"]) == 2048 and len(drawn["layers"]) * len(drawn["steps"]) <= 2**17
    assert drawn["steps"][-1] == 255
