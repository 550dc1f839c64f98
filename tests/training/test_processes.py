"""Two worker processes over gloo against one at the same global batch. Real processes: slow."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel

from llmdemo.core import store
from llmdemo.core.events import read_events
from llmdemo.data.ingest import add_dataset
from llmdemo.runs.command import worker_command, worker_environment
from llmdemo.runs.machines import commands
from llmdemo.training import worker
from tests.training.conftest import run_maker

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


def weights_of(run_dir):
    return load_file(sorted((run_dir / "checkpoints").iterdir())[-1] / "weights.safetensors")


def in_this_process(run_dir):
    """The weights of a run of one process."""
    assert worker.main(run_dir) == 0
    return weights_of(run_dir)


def launch(run_dir, home, *others):
    """The weights of a run by the app's own command. `others` are trained by the same processes before it, so that
    several runs import once what all need."""
    config = store.read_json(run_dir / "config.json")
    command = worker_command(run_dir, config)
    if others:
        at = command.index("llmdemo.training.worker")
        command[at:] = ["tests.training.in_turn", *map(str, others), str(run_dir)]
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=worker_environment(home.root, config),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return weights_of(run_dir)


def distance(one, two) -> float:
    return max((one[name] - two[name]).abs().max().item() for name in one)


def test_two_processes_give_the_weights_of_one_at_the_same_global_batch(make_run, home):
    ways = [{"refresh": "svd"}, {"refresh": "power"}, {"method": "adamw"}]
    two_dirs = [make_run(batch_size=2, num_processes=2, **changes) for changes in ways]
    launch(two_dirs[-1], home, *two_dirs[:-1])
    for changes, two_dir in zip(ways, two_dirs, strict=True):
        one, two = (
            in_this_process(make_run(batch_size=2, gradient_accumulation_steps=2, **changes)),
            weights_of(two_dir),
        )
        assert distance(one, two) <= 1e-5, changes
        steps = [event["step"] for event in read_events(two_dir / "events.jsonl")[0] if event["type"] == "step"]
        assert steps == list(range(1, 9)), "only the first process writes"
        assert all(torch.isfinite(tensor).all() for tensor in two.values())


def test_two_processes_with_dropout_resume_bit_for_bit(home, settings, tiny_tokenizer, tmp_path):
    """Their batches are of unlike lengths, so that their random states part at the first step."""
    torch.manual_seed(0)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tiny_tokenizer), **sizes)).save_pretrained(tmp_path / "gpt2")
    tiny_tokenizer.save_pretrained(tmp_path / "gpt2")
    records = [{"instruction": "Count.", "output": " ".join(map(str, range(n % 13 + 1)))} for n in range(40)]
    (tmp_path / "counts.json").write_text(json.dumps(records))
    dataset = add_dataset(home, settings, tmp_path / "counts.json", "counts")
    run = run_maker(home, dataset.dataset_id, tmp_path / "gpt2")
    same = {"batch_size": 2, "num_processes": 2, "eval_steps": 0, "schedule": "constant", "warmup_steps": 1}
    whole_dir, run_dir = run(max_steps=6, **same), run(max_steps=3, **same)
    launch(run_dir, home, whole_dir)
    whole = weights_of(whole_dir)
    random = load_file(run_dir / "checkpoints" / "step-000003" / "random.safetensors")
    assert not torch.equal(random["cpu"], random["cpu1"])
    shutil.rmtree(run_dir / "model")
    store.write_json(run_dir / "config.json", store.read_json(run_dir / "config.json") | {"max_steps": 6})
    again = launch(run_dir, home)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    starts = [event["step"] for event in read_events(run_dir / "events.jsonl")[0] if event["type"] == "start"]
    assert starts == [0, 3]


CONFIG = """compute_environment: LOCAL_MACHINE
debug: false
distributed_type: MULTI_GPU
downcast_bf16: 'no'
enable_cpu_affinity: false
machine_rank: 1
main_process_ip: 127.0.0.1
main_process_port: {port}
main_training_function: main
mixed_precision: 'no'
num_machines: 2
num_processes: 2
rdzv_backend: static
same_network: true
use_cpu: false
"""
"""As `accelerate config` writes it on the second of two machines."""


def test_two_machines_are_joined_by_the_page_s_command_and_by_accelerate_config(make_run, home, tmp_path):
    """Both are this one, with a process each: the command that the page gives, word for word but for the address, and
    the README's for a config file."""
    changes = {"batch_size": 2, "refresh": "svd"}
    one = in_this_process(make_run(gradient_accumulation_steps=2, **changes))
    run_dir = make_run(num_processes=2, **changes)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "two.yaml").write_text(CONFIG.format(port=port))
    page = commands(run_dir, 2, 1, cpu=True, host="127.0.0.1", port=port)[0]
    readme = (
        f"ACCELERATE_USE_CPU=true accelerate launch --config_file {tmp_path / 'two.yaml'} -m llmdemo.training.worker"
    )
    env = worker_environment(home.root, {}) | {"OMP_NUM_THREADS": "1"}
    machines = []
    for command in (page, f"{readme} {run_dir}"):
        use_cpu, accelerate, *words = shlex.split(command)
        argv = [sys.executable, "-m", "accelerate.commands.launch", *words[1:]]
        assert accelerate == "accelerate" and words[0] == "launch"
        env |= dict([use_cpu.split("=")])
        machines.append(subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL))
    try:
        assert [machine.wait(timeout=300) for machine in machines] == [0, 0]
    finally:
        for machine in machines:
            machine.kill()
    assert distance(one, weights_of(run_dir)) <= 1e-5


def test_a_run_of_two_processes_goes_on_in_one(make_run, home):
    same = {"batch_size": 2, "refresh": "svd", "schedule": "constant", "warmup_steps": 1}
    whole = in_this_process(make_run(gradient_accumulation_steps=2, max_steps=6, **same))
    run_dir = make_run(num_processes=2, max_steps=3, **same)
    launch(run_dir, home)
    shutil.rmtree(run_dir / "model")
    one = {"max_steps": 6, "num_processes": 1, "gradient_accumulation_steps": 2}
    store.write_json(run_dir / "config.json", store.read_json(run_dir / "config.json") | one)
    again = launch(run_dir, home)
    assert [e["step"] for e in read_events(run_dir / "events.jsonl")[0] if e["type"] == "start"] == [0, 3]
    assert distance(whole, again) <= 1e-5


def test_a_killed_process_ends_the_run_which_can_be_resumed(make_run, home):
    run_dir = make_run(batch_size=2, num_processes=2, max_steps=2000, eval_steps=0)
    config = store.read_json(run_dir / "config.json")
    launcher = subprocess.Popen(
        worker_command(run_dir, config),
        env=worker_environment(home.root, config),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        events = run_dir / "events.jsonl"
        while not (events.exists() and any(e["type"] == "step" for e in read_events(events)[0])):
            assert launcher.poll() is None
            time.sleep(0.05)
        family = psutil.Process(launcher.pid).children(recursive=True)
        next(p for p in family if p.environ().get("RANK") == "1").kill()
        assert launcher.wait(timeout=100) != 0
        gone, left = psutil.wait_procs(family, timeout=10)
        assert not left
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(launcher.pid, signal.SIGKILL)
    store.write_json(run_dir / "config.json", config | {"max_steps": 8})
    assert all(torch.isfinite(tensor).all() for tensor in launch(run_dir, home).values())


def test_two_processes_learn_each_task_as_one_does(task_run, home):
    # Rank 2: the gradient of a few labels has no more directions, and Adam makes steps of rounding in empty ones.
    changes = {"batch_size": 2, "max_steps": 4, "eval_steps": 0, "refresh": "svd", "rank": 2}
    tasks = ("text", "classify", "preference")
    two_dirs = [task_run(task, num_processes=2, **changes) for task in tasks]
    launch(two_dirs[-1], home, *two_dirs[:-1])
    figures = {"loss", "perplexity", "accuracy", "f1", "reward_margin", "reward_accuracy", "kl"}
    for task, two_dir in zip(tasks, two_dirs, strict=True):
        one_dir = task_run(task, gradient_accumulation_steps=2, **changes)
        assert distance(in_this_process(one_dir), weights_of(two_dir)) <= 1e-5, task
        told = [
            [e for e in read_events(each / "events.jsonl")[0] if e["type"] in ("step", "eval")]
            for each in (one_dir, two_dir)
        ]
        for ours, theirs in zip(*told, strict=True):
            for name in figures & set(ours):
                assert theirs[name] == pytest.approx(ours[name], abs=1e-4)
