"""The command line of a run's worker, and how many runs this machine trains at once. Knows nothing of queues or states."""

import os
import sys
from pathlib import Path

from llmdemo.jobs import environment
from llmdemo.jobs.environment import cpu_threads, has_accelerator
from llmdemo.settings import Settings

_WORKER = "llmdemo.training.worker"


def worker_command(run_dir: Path, config: dict) -> list[str]:
    """The argv that trains the run in `run_dir`, through accelerate's launcher; of one process, in that process."""
    count, worker = processes(config), ["-m", _WORKER, str(run_dir)]
    if count > 1 and not has_accelerator():
        # `accelerate launch --cpu` starts several processes through mpirun only; torch's launcher, which it
        # uses for GPUs, needs none.
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), *worker]
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
    options += ["--num_cpu_threads_per_process", _threads(count)]
    if not has_accelerator():
        options.append("--cpu")
    elif count > 1:
        options += ["--multi_gpu", "--main_process_port", "0"]  # 0: a free one, as runs may go side by side
    launcher = "accelerate.commands.launch" if count > 1 else "llmdemo.training.launch"
    return [sys.executable, "-m", launcher, *options, *worker]


def worker_environment(home: Path, config: dict, env=None, devices: list[str] | None = None) -> dict[str, str]:
    """The environment of the worker of a run with these settings; see jobs.environment."""
    return {**variables(config), **environment.worker_environment(home, env, devices, processes(config))}


def variables(config: dict) -> dict[str, str]:
    """What a run's worker has in its environment beside every worker's, unless the app's own says otherwise."""
    found = {}
    if processes(config) == 1:  # torch reads it when it is imported, before the launcher's options are
        found["OMP_NUM_THREADS"] = _threads(1)
    if config.get("weight_bits") == 8:  # who saves memory loses none to gaps between blocks of fixed size
        found["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    return found


def _threads(processes: int) -> str:
    """CPU threads for each process; beside a GPU as many as accelerate's launcher gives."""
    return os.environ.get("OMP_NUM_THREADS") or "1" if has_accelerator() else str(cpu_threads(processes))


def at_once(settings: Settings, there: list[str]) -> int:
    """Runs that may train at the same time: one for each GPU that is there, one on a CPU, unless the settings say another."""
    return settings.runs_at_once or max(1, len(there))


def processes(config: dict) -> int:
    """How many processes the run asks for; the worker judges the settings, here nonsense counts as one."""
    count = config.get("num_processes")
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 < count <= 1024 else 1
