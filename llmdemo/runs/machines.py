"""A run on several machines, as text for their shells: its folder in a home that all of them share, and accelerate's command for each."""

import json
import shlex
from pathlib import Path

from llmdemo.core.errors import UserError

_WORKER = "llmdemo.training.worker"
MOST_MACHINES, MOST_PROCESSES = 64, 1024
_PORT = 29500


def checked_machines(machines: object, processes: object) -> tuple[int, int]:
    """How many machines, and processes on each. Raises UserError."""
    for value, most in ((machines, MOST_MACHINES), (processes, MOST_PROCESSES)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise UserError("err_machines", value=repr(value)[:40], most=most)
    if int(str(machines)) * int(str(processes)) > MOST_PROCESSES:
        raise UserError("err_machines", value=repr(processes)[:40], most=MOST_PROCESSES // int(str(machines)))
    return int(str(machines)), int(str(processes))


def commands(
    folder: Path, machines: int, processes: int, cpu: bool, host: str = "HOST", port: int = _PORT
) -> list[str]:
    """The command of each machine, to be run in the app's folder there.

    `processes`: on each machine, one a GPU. `cpu`: these have none. `host`: the first machine, as the others reach it.
    MULTI_GPU is torch's own launcher, which needs no mpirun without GPUs either.
    """
    shared = [
        *("accelerate", "launch", "--multi_gpu", "--num_machines", str(machines)),
        *("--num_processes", str(machines * processes), "--mixed_precision", "no", "--dynamo_backend", "no"),
        *("--rdzv_backend", "static", "--main_process_ip", host, "--main_process_port", str(port)),
    ]
    worker = ["-m", _WORKER, str(folder)]
    before = "ACCELERATE_USE_CPU=true " if cpu else ""
    return [before + shlex.join([*shared, "--machine_rank", str(rank), *worker]) for rank in range(machines)]


def script(folder: Path, config: dict, machines: int, processes: int, cpu: bool) -> str:
    """All of it, with what is done where as comments: the folder with config.json once, then a command on each machine."""
    settings = json.dumps({**config, "num_processes": machines * processes}, ensure_ascii=False, indent=1)
    path = shlex.quote(str(folder))
    lines = [
        "# Once, in a home folder that all machines reach under the same path:",
        f"mkdir -p {path}",
        f"cat > {path}/config.json <<'END'",
        settings,
        "END",
    ]
    for rank, command in enumerate(commands(folder, machines, processes, cpu)):
        where = "HOST is its address." if rank == 0 else "HOST is the address of machine 1."
        lines += ["", f"# On machine {rank + 1} of {machines}, in the app's folder. {where}", command]
    return "\n".join(lines) + "\n"
