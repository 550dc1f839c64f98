"""The environment of a worker and the GPUs of this machine. Knows nothing of queues, states or kinds of jobs."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from llmdemo.core.secrets import without_secrets
from llmdemo.core.spaces import on_zero_gpu

PROJECT = Path(__file__).resolve().parents[2]
GIVEN_BACK_BYTES = 4 * 2**20
"""Freed memory from this size on goes back to the system. glibc would keep blocks of up to 32 MiB, in a heap with holes:
a run on a CPU then takes 6 % more (tests/benchmarks/memory_estimate_check.py). From 1 MiB on it would be 12 % less, and a quarter slower."""


def worker_environment(
    home: Path, env: Mapping[str, str] | None = None, devices: list[str] | None = None, processes: int = 1
) -> dict[str, str]:
    """The environment `env` (os.environ by default) with what a worker needs to find us from any folder.

    `devices`: the GPUs that it may use; none given: all. `processes`: how many of them share the CPU.
    """
    env = without_secrets(env)
    if devices:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    paths = [str(PROJECT), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    env |= {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONSAFEPATH": "1",  # the job's folder, where it starts, is no place for modules
        "PYTHONUNBUFFERED": "1",  # the last words of a dying worker belong in the log
        "LLMDEMO_HOME": str(home),
    }
    if on_zero_gpu():
        env["CUDA_VISIBLE_DEVICES"] = ""  # what can be seen there may not be used
    if not has_accelerator():
        env["ACCELERATE_USE_CPU"] = "true"
        env.setdefault("MALLOC_MMAP_THRESHOLD_", str(GIVEN_BACK_BYTES))
        if processes > 1:
            env.setdefault("OMP_NUM_THREADS", str(cpu_threads(processes)))  # torch's launcher would say 1
    return env


def cpu_threads(processes: int) -> int:
    """CPU threads for each process: what the environment says, else the cores are shared out evenly."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return max(1, (psutil.cpu_count(logical=False) or os.cpu_count() or 1) // processes)


def gpus(env: Mapping[str, str] | None = None, nodes: Path = Path("/dev")) -> list[str]:
    """The ids of the NVIDIA GPUs that this app may use, as CUDA_VISIBLE_DEVICES takes them; [] without any."""
    visible = (os.environ if env is None else env).get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [part.strip() for part in visible.split(",") if part.strip() and part.strip() != "-1"]
    return sorted((node.name[6:] for node in nodes.glob("nvidia[0-9]*") if node.name[6:].isdigit()), key=int)


def free_gpus(wanted: int, there: list[str], taken: list[str], share: bool) -> list[str] | None:
    """Which GPUs a job of `wanted` processes gets: [] where there is nothing to choose, None: wait for one.

    `taken` holds the GPUs of the jobs that go, one entry a job. With `share`, the least used ones are given.
    """
    if len(there) < 2 or wanted < 1:
        return []
    wanted = min(wanted, len(there))
    free = [gpu for gpu in there if gpu not in taken]
    if len(free) >= wanted:
        return free[:wanted]
    return sorted(there, key=taken.count)[:wanted] if share else None


def has_accelerator() -> bool:
    """Whether this machine has a device that torch may train on, found without importing torch.

    On ZeroGPU there is none: a GPU is lent to the app's own calls only.
    """
    if on_zero_gpu():
        return False
    if sys.platform == "darwin":
        return os.uname().machine == "arm64"
    nodes = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
    return any(os.path.exists(node) for node in nodes) or shutil.which("nvidia-smi") is not None
