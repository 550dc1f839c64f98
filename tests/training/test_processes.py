"""Two worker processes over gloo against one at the same global batch. Real processes: slow.

Each process imports torch and transformers for eight CPU seconds, so what several tests look at is trained by one launch,
whose processes are forked (tests/forked.py) but for the run of which one is killed and that of two machines.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

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
from llmdemo.settings import Settings
from llmdemo.training import worker
from tests import forked
from tests.conftest import own_model
from tests.training.conftest import run_maker, task_run_maker, write_task_files
from tests.waiting import free_port

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
    with open(run_dir / "log.txt", "ab") as log:
        env = worker_environment(home.root, config)
        launched = forked.start(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        assert launched.wait(300) == 0, (run_dir / "log.txt").read_text()[-4000:]
    finally:
        launched.kill()
    return weights_of(run_dir)


def distance(one, two) -> float:
    return max((one[name] - two[name]).abs().max().item() for name in one)


WAYS = {"svd": {"refresh": "svd"}, "power": {"refresh": "power"}, "adamw": {"method": "adamw"}}
# Rank 2: the gradient of a few labels has no more directions, and Adam makes steps of rounding in empty ones.
OF_A_TASK = {"batch_size": 2, "max_steps": 4, "eval_steps": 0, "refresh": "svd", "rank": 2}
GOES_ON = {"batch_size": 2, "refresh": "svd", "schedule": "constant", "warmup_steps": 1}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return store.Home(tmp_path_factory.mktemp("processes") / "home").prepare()


@pytest.fixture(scope="module")
def task_run(home, tiny_model_folder):
    """As training/conftest.py's; all runs of this module are in one home."""
    files = write_task_files(home.tmp)
    records = [{"instruction": f"Add {n} and {n + 1}.", "output": f"{n} + {n + 1} = {2 * n + 1}"} for n in range(40)]
    files["chat"] = home.tmp / "sums.json"
    files["chat"].write_text(json.dumps(records))
    model = own_model(tiny_model_folder, home)
    return task_run_maker(home, Settings(home=home.root, min_free_bytes=0), model, files)


@pytest.fixture(scope="module")
def make_run(home, task_run):
    """Makes a run folder on the tiny model and forty sums."""
    config = store.read_json(task_run("chat") / "config.json")
    return run_maker(home, config["dataset_id"], Path(config["model_id"]))


@pytest.fixture(scope="module")
def dropout_run(home, tiny_tokenizer):
    """Makes a run folder of a GPT-2 with dropout; its batches are of unlike lengths."""
    torch.manual_seed(0)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256}
    folder = home.tmp / "gpt2"
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tiny_tokenizer), **sizes)).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    own_model(folder, home)
    records = [{"instruction": "Count.", "output": " ".join(map(str, range(n % 13 + 1)))} for n in range(40)]
    (home.tmp / "counts.json").write_text(json.dumps(records))
    dataset = add_dataset(home, Settings(home=home.root, min_free_bytes=0), home.tmp / "counts.json", "counts")
    same = {"batch_size": 2, "num_processes": 2, "eval_steps": 0, "schedule": "constant", "warmup_steps": 1}
    return run_maker(home, dataset.dataset_id, folder, **same)


@pytest.fixture(scope="module")
def trained(home, make_run, task_run, dropout_run):
    """Runs of two processes, trained one after another by one launch."""
    runs = {name: make_run(batch_size=2, num_processes=2, **changes) for name, changes in WAYS.items()}
    runs |= {task: task_run(task, num_processes=2, **OF_A_TASK) for task in ("text", "classify", "preference")}
    runs |= {"dropout": dropout_run(max_steps=6), "dropout, half": dropout_run(max_steps=3)}
    runs["half"] = make_run(num_processes=2, max_steps=3, **GOES_ON)
    launch(runs["half"], home, *[run for name, run in runs.items() if name != "half"])
    return runs


def go_on(run_dir, **changes) -> None:
    """Changes a run's settings, and forgets that it was published."""
    shutil.rmtree(run_dir / "model", ignore_errors=True)
    store.write_json(run_dir / "config.json", store.read_json(run_dir / "config.json") | changes)


def starts(run_dir) -> list[int]:
    return [event["step"] for event in read_events(run_dir / "events.jsonl")[0] if event["type"] == "start"]


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_give_the_weights_of_one_at_the_same_global_batch(way, trained, make_run):
    two_dir = trained[way]
    one = in_this_process(make_run(batch_size=2, gradient_accumulation_steps=2, **WAYS[way]))
    two = weights_of(two_dir)
    assert distance(one, two) <= 1e-5
    steps = [event["step"] for event in read_events(two_dir / "events.jsonl")[0] if event["type"] == "step"]
    assert steps == list(range(1, 9)), "only the first process writes"
    assert all(torch.isfinite(tensor).all() for tensor in two.values())


@pytest.mark.parametrize("task", ["text", "classify", "preference"])
def test_two_processes_learn_each_task_as_one_does(task, trained, task_run):
    figures = {"loss", "perplexity", "accuracy", "f1", "reward_margin", "reward_accuracy", "kl"}
    one_dir, two_dir = task_run(task, gradient_accumulation_steps=2, **OF_A_TASK), trained[task]
    assert distance(in_this_process(one_dir), weights_of(two_dir)) <= 1e-5
    told = [
        [e for e in read_events(each / "events.jsonl")[0] if e["type"] in ("step", "eval")]
        for each in (one_dir, two_dir)
    ]
    for ours, theirs in zip(*told, strict=True):
        for name in figures & set(ours):
            assert theirs[name] == pytest.approx(ours[name], abs=1e-4)


@pytest.fixture(scope="module")
def killed(home, make_run):
    """A run of two processes of which one was killed."""
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
    return run_dir


@pytest.fixture(scope="module")
def resumed(home, trained, killed):
    """The killed run and the first half of the one with dropout, gone on with by one launch of two processes."""
    half = trained["dropout, half"]
    random = load_file(half / "checkpoints" / "step-000003" / "random.safetensors")
    go_on(half, max_steps=6)
    go_on(killed, max_steps=8)
    launch(killed, home, half)
    return SimpleNamespace(killed=killed, half=half, random=random)


def test_a_killed_process_ends_the_run_which_can_be_resumed(resumed):
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(resumed.killed).values())


def test_two_processes_with_dropout_resume_bit_for_bit(resumed, trained):
    """Their batches are of unlike lengths, so that their random states part at the first step."""
    assert not torch.equal(resumed.random["cpu"], resumed.random["cpu1"])
    whole, again = weights_of(trained["dropout"]), weights_of(resumed.half)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert starts(resumed.half) == [0, 3]


def test_a_run_of_two_processes_goes_on_in_one(trained, make_run, home):
    whole = in_this_process(make_run(gradient_accumulation_steps=2, max_steps=6, **GOES_ON))
    run_dir = trained["half"]
    go_on(run_dir, max_steps=6, num_processes=1, gradient_accumulation_steps=2)
    again = launch(run_dir, home)
    assert starts(run_dir) == [0, 3]
    assert distance(whole, again) <= 1e-5


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
    port = free_port()
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
