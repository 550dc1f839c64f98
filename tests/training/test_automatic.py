"""Whether activations are computed again, and that a run stays by it."""

import pytest

from llmdemo.core.errors import UserError
from llmdemo.core.events import read_events
from llmdemo.training import TrainConfig, automatic, memory_estimate, session, worker
from llmdemo.training import device as devices
from llmdemo.training.session import _check_kind


def predictions(kept: int, recomputed: int, available: int):
    def predict(config):
        total = recomputed if config.activation_checkpointing else kept
        return {"predicted": {"total": total}, "fits": total <= available}

    return predict


def decide(run_dir, config, predict) -> bool:
    automatic.decide(run_dir, config, predict)
    return automatic.decided(run_dir, config)


@pytest.mark.parametrize(
    ("kept", "recomputed", "expected"), [(8, 5, False), (12, 5, True), (12, 11, True), (12, 12, False)]
)
def test_activations_are_computed_again_where_that_is_what_fits(tmp_path, kept, recomputed, expected):
    assert decide(tmp_path, TrainConfig("x"), predictions(kept, recomputed, 10)) is expected


def test_a_resumed_run_stays_by_what_was_decided(tmp_path):
    assert decide(tmp_path, TrainConfig("x"), predictions(12, 5, 10))
    assert decide(tmp_path, TrainConfig("x"), predictions(12, 5, 100))


def test_what_is_asked_for_needs_no_prediction(tmp_path):
    assert decide(tmp_path, TrainConfig("x", activation_checkpointing=True), lambda config: 1 / 0)


def test_a_run_that_would_not_fit_says_that_it_recomputes_and_ends_well(make_run, monkeypatch):
    plain = memory_estimate.report

    def tight(entry, config, *rest):
        return plain(entry, config, *rest) | {"fits": config.activation_checkpointing}

    monkeypatch.setattr(memory_estimate, "report", tight)
    run_dir = make_run()
    assert worker.main(run_dir) == 0
    events, _ = read_events(run_dir / "events.jsonl")
    assert automatic.NOTE in [event.get("message") for event in events if event["type"] == "note"]
    assert events[-1]["state"] == "completed"


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED", "MEGATRON_LM", "XLA"])
def test_launches_that_cut_matrices_into_pieces_are_refused_with_the_reason(kind):
    with pytest.raises(UserError, match=f"launched with {kind}.*part of each matrix"):
        _check_kind(kind)


@pytest.mark.parametrize("kind", ["DEEPSPEED", "FSDP", "MEGATRON_LM", "PARALLELISM_CONFIG"])
def test_a_worker_launched_so_says_the_reason_before_it_asks_for_a_package(make_run, monkeypatch, kind):
    """As accelerate's launcher tells it; without DeepSpeed, Accelerator() would only say that it is not installed."""
    monkeypatch.setenv(f"ACCELERATE_USE_{kind}", "true")
    monkeypatch.setattr(session, "_accelerator", lambda options: 1 / 0)
    run_dir = make_run()
    assert worker.main(run_dir) == 1
    end = read_events(run_dir / "events.jsonl")[0][-1]
    assert end["reason"] == "bad_config" and f"launched with {kind}" in end["message"]
    assert "MULTI_GPU" in end["hint"]


@pytest.mark.parametrize("kind", ["NO", "MULTI_CPU", "MULTI_GPU"])
def test_plain_data_parallelism_is_taken(kind):
    _check_kind(kind)


def precisions_that_fit(*fitting):
    """Predictions by which these (precision, whether activations are recomputed) fit."""
    return lambda config: {"fits": (config.precision, config.activation_checkpointing) in fitting}


@pytest.mark.parametrize(
    ("fitting", "expected"),
    [
        ([("bf16", False), ("bf16_pure", False), ("bf16", True), ("bf16_pure", True)], "bf16"),
        ([("bf16_pure", False), ("bf16", True), ("bf16_pure", True)], "bf16_pure"),
        ([("bf16", True), ("bf16_pure", True)], "bf16"),
        ([("bf16_pure", True)], "bf16_pure"),
        ([], "bf16_pure"),
    ],
    ids=["all", "pure with activations", "fp32 weights without", "pure without", "nothing"],
)
def test_auto_takes_the_best_precision_that_fits(tmp_path, fitting, expected):
    automatic.decide_precision(tmp_path, TrainConfig("x"), ("bf16", "bf16_pure"), precisions_that_fit(*fitting))
    assert automatic.decided_precision(tmp_path) == expected


def test_a_resumed_run_computes_in_the_precision_that_it_began_with(tmp_path):
    automatic.decide_precision(tmp_path, TrainConfig("x"), ("fp32",), None)
    automatic.decide_precision(tmp_path, TrainConfig("x"), ("bf16",), None)
    assert automatic.decided_precision(tmp_path) == "fp32"


@pytest.mark.parametrize("kept", ['{"precision": "auto"}', '{"precision": ["fp32"]}', "{}", "[]", "not json"])
def test_a_precision_that_is_none_is_a_sentence(tmp_path, kept):
    (tmp_path / "data-precision.json").write_text(kept)
    with pytest.raises(UserError, match="is damaged"):
        automatic.decided_precision(tmp_path)
    (tmp_path / "data-fit.json").write_text(kept)
    with pytest.raises(UserError, match="is damaged"):
        automatic.decided(tmp_path, TrainConfig("x"))


def test_a_worker_that_is_faster_in_bf16_goes_on_in_bf16_where_it_no_longer_is(make_run, monkeypatch):
    run_dir = make_run()
    monkeypatch.setattr(devices, "bf16_pays", lambda method: True)
    assert worker.main(run_dir) == 0
    monkeypatch.setattr(devices, "bf16_pays", lambda method: False)
    assert worker.main(run_dir) == 0
    starts = [event["precision"] for event in read_events(run_dir / "events.jsonl")[0] if event["type"] == "start"]
    assert starts == ["bf16", "bf16"]
