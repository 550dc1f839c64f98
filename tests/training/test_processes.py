"""Two worker processes over gloo against one at the same global batch. Real processes: slow."""

import subprocess

import pytest
import torch
from safetensors.torch import load_file

from llmdemo import store
from llmdemo.events import read_events
from llmdemo.runs.command import worker_command, worker_environment

pytestmark = pytest.mark.slow


def launch(run_dir, home):
    config = store.read_json(run_dir / "config.json")
    result = subprocess.run(
        worker_command(run_dir, config),
        env=worker_environment(home.root, config),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    folder = sorted((run_dir / "checkpoints").iterdir())[-1]
    return load_file(folder / "weights.safetensors")


@pytest.mark.parametrize(
    "changes", [{"refresh": "svd"}, {"refresh": "power"}, {"method": "adamw"}], ids=lambda c: next(iter(c.values()))
)
def test_two_processes_give_the_weights_of_one_at_the_same_global_batch(make_run, home, changes):
    one = launch(make_run(batch_size=2, gradient_accumulation_steps=2, **changes), home)
    two_dir = make_run(batch_size=2, num_processes=2, **changes)
    two = launch(two_dir, home)
    assert max((one[name] - two[name]).abs().max().item() for name in one) <= 1e-5
    steps = [event["step"] for event in read_events(two_dir / "events.jsonl")[0] if event["type"] == "step"]
    assert steps == list(range(1, 9)), "only the first process writes"
    assert all(torch.isfinite(tensor).all() for tensor in two.values())


@pytest.mark.parametrize("task", ["text", "classify", "preference"])
def test_two_processes_learn_each_task_as_one_does(task_run, home, task):
    # Rank 2: the gradient of a few labels has no more directions, and Adam makes steps of rounding in empty ones.
    changes = {"batch_size": 2, "max_steps": 4, "eval_steps": 0, "refresh": "svd", "rank": 2}
    one_dir = task_run(task, gradient_accumulation_steps=2, **changes)
    two_dir = task_run(task, num_processes=2, **changes)
    one, two = launch(one_dir, home), launch(two_dir, home)
    assert max((one[name] - two[name]).abs().max().item() for name in one) <= 1e-5
    told = [
        [e for e in read_events(each / "events.jsonl")[0] if e["type"] in ("step", "eval")]
        for each in (one_dir, two_dir)
    ]
    figures = {"loss", "perplexity", "accuracy", "f1", "reward_margin", "reward_accuracy", "kl"}
    for ours, theirs in zip(*told, strict=True):
        for name in figures & set(ours):
            assert theirs[name] == pytest.approx(ours[name], abs=1e-4)
