"""The command line of a run's worker, and how many runs this machine trains at once. Knows nothing of queues or states."""

import sys
from pathlib import Path

from llmdemo.jobs import environment
from llmdemo.jobs.environment import cpu_threads, has_accelerator
from llmdemo.settings import Settings

_WORKER = "llmdemo.training.worker"


def worker_command(run_dir: Path, config: dict) -> list[str]:
    """The argv that trains the run in `run_dir`, through accelerate's launcher."""
    count = processes(config)
    if count > 1 and not has_accelerator():
        # `accelerate launch --cpu` starts several processes through mpirun only; torch's launcher, which it
        # uses for GPUs, needs none.
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        return [sys.executable, "-m", *launcher, "-m", _WORKER, str(run_dir)]
    options = [
        "--num_processes",
        str(count),
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
    ]
    if not has_accelerator():
        options += ["--cpu", "--num_cpu_threads_per_process", str(cpu_threads(count))]
    elif count > 1:
        options += ["--multi_gpu", "--main_process_port", "0"]  # 0: a free one, as runs may go side by side
    return [sys.executable, "-m", "accelerate.commands.launch", *options, "-m", _WORKER, str(run_dir)]


def worker_environment(home: Path, config: dict, env=None, devices: list[str] | None = None) -> dict[str, str]:
    """The environment of the worker of a run with these settings; see jobs.environment."""
    found = environment.worker_environment(home, env, devices, processes(config))
    if config.get("weight_bits") == 8:  # who saves memory loses none to gaps between blocks of fixed size
        found.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    return found


def at_once(settings: Settings, there: list[str]) -> int:
    """Runs that may train at the same time: one for each GPU that is there, one on a CPU, unless the settings say another."""
    return settings.runs_at_once or max(1, len(there))


def processes(config: dict) -> int:
    """How many processes the run asks for; the worker judges the settings, here nonsense counts as one."""
    count = config.get("num_processes")
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 < count <= 1024 else 1
