"""The worker on a tiny model, in this process: what it writes, how it ends, and that a resumed run is the same run."""

import errno
import shutil

import pytest
import torch
from safetensors.torch import load_file

from llmdemo.core import store
from llmdemo.core.errors import UserError
from llmdemo.training import TrainConfig, worker
from llmdemo.training import checkpoint as checkpoints
from llmdemo.training.loop import Loop, NonFinite
from llmdemo.training.objectives.base import Objective
from llmdemo.training.objectives.chat import Chat
from tests.training.conftest import events


def last_weights(run_dir):
    folder = sorted((run_dir / "checkpoints").iterdir())[-1]
    return load_file(folder / "weights.safetensors")


def test_a_figure_that_overflowed_is_left_out_and_ends_no_run(make_run, monkeypatch):
    plain = Chat.loss_sum
    monkeypatch.setattr(Chat, "figures", ("good", "odd"))
    monkeypatch.setattr(
        Chat, "loss_sum", lambda self, items: (plain(self, items)[0], {"good": 1.0, "odd": float("inf")})
    )
    run_dir = make_run()
    assert worker.main(run_dir) == 0 and events(run_dir, "end")[-1]["state"] == "completed"
    steps = events(run_dir, "step")
    assert steps and all("good" in step and "odd" not in step for step in steps)


def stop_at(monkeypatch, step):
    """Asks the run to stop before step `step`, as the file would."""
    plain = Loop.run

    def run(self, should_stop, save):
        return plain(self, lambda: self.progress.step == step or should_stop(), save)

    monkeypatch.setattr(Loop, "run", run)


def test_a_run_ends_with_a_model_that_transformers_opens(make_run):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run_dir = make_run(best_by="last")
    assert worker.main(run_dir) == 0
    end = events(run_dir, "end")[-1]
    assert end["state"] == "completed" and end["model_id"] == run_dir.name
    model = AutoModelForCausalLM.from_pretrained(run_dir / "model")
    tokenizer = AutoTokenizer.from_pretrained(run_dir / "model")
    assert tokenizer.chat_template and model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert "held-out loss after" in (run_dir / "model" / "README.md").read_text()
    saved = dict(model.named_parameters())
    for name, tensor in last_weights(run_dir).items():
        torch.testing.assert_close(saved[name].detach(), tensor)


def test_a_run_tells_what_happens(make_run):
    run_dir = make_run()
    worker.main(run_dir)
    steps = events(run_dir, "step")
    assert [event["step"] for event in steps] == list(range(1, 9))
    assert steps[-1]["tokens_per_second"] > 0 and steps[-1]["eta_seconds"] == 0
    assert [event["step"] for event in events(run_dir, "eval")] == [0, 4, 8]
    refreshed = events(run_dir, "refresh")
    layers = [layer for event in refreshed for layer in event["layers"]]
    assert len({layer["name"] for layer in layers}) == 14 and all(0 < layer["energy"] <= 1.001 for layer in layers)
    assert events(run_dir, "ledger")[-1]["measured"]["total"] > 0
    assert {event["step"] for event in events(run_dir, "sample")} == {0, 4, 8}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"refresh": "svd", "stagger": False},
        {"gradient_accumulation_steps": 2, "refresh": "random"},
        {"optim_bits": 8},
        {"weight_bits": 8, "gradient_accumulation_steps": 2},
        {"galore_optimizer": "adafactor"},
        {"method": "adamw"},
        {"method": "lora"},
    ],
    ids=lambda changes: " ".join(f"{key}={value}" for key, value in changes.items()) or "galore",
)
@pytest.mark.slow
def test_a_run_stopped_at_any_step_and_resumed_ends_with_the_same_weights(make_run, monkeypatch, changes):
    if changes:  # what is written at evaluations takes longer than all else, and is the same whatever is trained
        monkeypatch.setattr(Chat, "answers", Objective.answers)
    if "weight_bits" in changes:  # so that micro-batches are computed in parts
        monkeypatch.setattr(TrainConfig, "pass_tokens", 80)
    whole = make_run(**changes)
    assert worker.main(whole) == 0
    for step in (0, 3, 7):
        run_dir = make_run(**changes)
        with monkeypatch.context() as patch:
            stop_at(patch, step)
            assert worker.main(run_dir) == 0
        assert events(run_dir, "end")[-1]["state"] == "stopped"
        assert worker.main(run_dir) == 0
        expected, found = last_weights(whole), last_weights(run_dir)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.slow
def test_a_resume_without_the_moments_would_be_seen(make_run, monkeypatch):
    """Mutation: optimizer state lost, as in transformers' layer-wise GaLore."""
    from llmdemo.training.optimizer import Optimizer

    whole, run_dir = make_run(), make_run()
    worker.main(whole)
    stop_at(monkeypatch, 4)
    worker.main(run_dir)
    monkeypatch.undo()
    monkeypatch.setattr(
        Optimizer, "load_state", lambda self, tensors, numbers: setattr(self, "steps", numbers["steps"])
    )
    worker.main(run_dir)
    expected, found = last_weights(whole), last_weights(run_dir)
    assert not all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_resumed_run_does_not_need_its_data_set(make_run, monkeypatch, home):
    run_dir = make_run()
    stop_at(monkeypatch, 2)
    worker.main(run_dir)
    monkeypatch.undo()
    shutil.rmtree(home.datasets)
    assert worker.main(run_dir) == 0 and events(run_dir, "end")[-1]["state"] == "completed"


def test_the_stop_file_ends_the_run_with_a_checkpoint(make_run):
    run_dir = make_run()
    (run_dir / "stop").touch()
    assert worker.main(run_dir) == 0
    assert events(run_dir, "end")[-1]["state"] == "stopped"
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["step-000000"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rank": 1000}, "larger than every matrix"),
        ({"target_modules": ["nothing"]}, "q_proj"),
        ({"model_id": "/nowhere"}, "not a folder"),
        ({"dataset_id": "data-1"}, "data-1"),
        ({"task": "text"}, "task"),
        ({"update_proj_gap": 0}, "update_proj_gap is 0"),
        ({"num_processes": 2}, "launched with 1"),
    ],
)
def test_what_cannot_work_is_a_sentence_before_the_first_step(make_run, changes, words):
    run_dir = make_run(**changes)
    assert worker.main(run_dir) == 1
    end = events(run_dir, "end")[-1]
    assert end["state"] == "failed" and end["reason"] == "bad_config"
    assert words in f"{end['message']} {end['hint']}"
    assert not events(run_dir, "step")


@pytest.mark.slow
def test_gradients_that_stay_nan_end_the_run(make_run, monkeypatch):
    run_dir = make_run(max_steps=40, checkpoint_seconds=1e9)
    plain = Loop._gradients

    def poisoned(self, rows):
        loss = plain(self, rows)
        if self.progress.step >= 3:
            for gradient in self.optimizer.gradients():
                gradient.fill_(float("nan"))
        return loss

    monkeypatch.setattr(Loop, "_gradients", poisoned)
    assert worker.main(run_dir) == 1
    end = events(run_dir, "end")[-1]
    assert end["reason"] == "non_finite"
    assert [event["step"] for event in events(run_dir, "skip")] == list(range(4, 14))
    kept = checkpoints.newest(run_dir / "checkpoints")
    assert kept.step == 13 and kept.numbers["progress"]["skipped"] == 10
    # Mended, it goes on from what was learned before.
    monkeypatch.setattr(Loop, "_gradients", plain)
    assert worker.main(run_dir) == 0
    assert [event["step"] for event in events(run_dir, "step")] == [1, 2, 3, *range(14, 41)]


def test_weights_that_are_not_finite_are_not_kept(make_run, monkeypatch):
    run_dir = make_run(max_steps=40, checkpoint_seconds=1e9)
    plain = Loop._step

    def broken(self):
        if self.progress.step == 3:
            next(self.model.parameters()).data.fill_(float("nan"))
        plain(self)

    monkeypatch.setattr(Loop, "_step", broken)
    assert worker.main(run_dir) == 1
    assert events(run_dir, "end")[-1]["reason"] == "non_finite"
    assert checkpoints.newest(run_dir / "checkpoints") is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UserError("a", "b"), "bad_config"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk_full"),
        (NonFinite("x"), "non_finite"),
        (ZeroDivisionError("x"), "worker_error"),
    ],
)
def test_every_end_has_a_reason_and_something_to_do(error, reason):
    said = worker.explain(error)
    assert said["reason"] == reason and said["message"] and said["hint"]


def test_a_run_without_memory_tells_what_it_needs_what_was_free_and_what_to_lower(make_run, monkeypatch):
    run_dir = make_run()

    def no_memory(self, rows):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 2147483648 bytes.")

    monkeypatch.setattr(Loop, "_gradients", no_memory)
    assert worker.main(run_dir) == 1
    end = events(run_dir, "end")[-1]
    assert end["reason"] == "out_of_memory" and "needs about" in end["message"] and "2.00 GiB more" in end["message"]
    assert "were free when it began" in end["message"] and "(now " in end["hint"]


def test_a_full_disk_fails_the_run_and_keeps_the_checkpoint_before(make_run, monkeypatch):
    run_dir = make_run(checkpoint_seconds=1e9)
    stop_at(monkeypatch, 2)
    worker.main(run_dir)
    monkeypatch.undo()
    monkeypatch.setattr(store, "free_bytes", lambda folder: 0)
    stop_at(monkeypatch, 5)
    assert worker.main(run_dir) == 1
    assert events(run_dir, "end")[-1]["reason"] == "disk_full"
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["step-000002"]
