"""Every task with every method: a run that is stopped and resumed is the run that was not."""

import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_samples")]
CASES = [(task, method) for task in ("text", "classify", "preference") for method in ("galore", "adamw", "lora")]


@pytest.mark.parametrize(
    ("task", "method"),
    [
        *CASES,
        ("chat", "galore"),
        *((task, method) for task in ("reward", "kto") for method in ("galore", "adamw", "lora")),
    ],
)
def test_a_stopped_and_resumed_run_ends_with_the_same_weights(task_run, ran, task, method):
    changes = {"method": method, "gradient_accumulation_steps": 2, "batch_size": 2, "max_steps": 5, "eval_steps": 0}
    if task == "chat":
        changes |= {"packing": True, "max_length": 128}
    whole = ran(task_run(task, **changes))
    assert whole.status == 0, whole.end
    run_dir = task_run(task, **changes)
    assert ran(run_dir, stop=2).end["state"] == "stopped"
    resumed = ran(run_dir)
    assert resumed.end["state"] == "completed"
    expected, found = whole.weights(), resumed.weights()
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize(("method", "loss"), [("galore", "grpo"), ("adamw", "rejection"), ("lora", "dapo")])
def test_a_run_on_drawn_answers_goes_on_in_the_middle_of_a_round_bit_for_bit(task_run, ran, method, loss):
    changes = {
        "method": method, "policy_loss": loss, "reward": "contains", "reward_text": "e", "rollouts": 4, "max_new_tokens": 12,
        "rollout_steps": 3, "gradient_accumulation_steps": 2, "batch_size": 2, "max_steps": 5, "eval_steps": 0, "kl_limit": 0.0,
    }  # fmt: skip
    whole = ran(task_run("grpo", **changes))
    assert whole.status == 0, whole.end
    run_dir = task_run("grpo", **changes)
    assert ran(run_dir, stop=2).end["state"] == "stopped"
    resumed = ran(run_dir)
    assert resumed.end["state"] == "completed", resumed.end
    assert [event["step"] for event in resumed.events("answers")] == [1, 4], "the round was not drawn again"
    expected, found = whole.weights(), resumed.weights()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
