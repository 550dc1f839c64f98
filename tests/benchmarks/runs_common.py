"""What the benchmarks of runs share: the worker without a model, waiting, looking at what is left."""

import hashlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmdemo.core.store import Home
from llmdemo.jobs import Jobs, process
from llmdemo.jobs.states import FINAL
from llmdemo.runs import Runs
from llmdemo.runs.folder import RunFolder
from llmdemo.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
FAKE = PROJECT / "tests" / "runs" / "fake_worker.py"
FAKE_CONFIG = {"steps": 40, "step_seconds": 0.01, "checkpoint_every": 3, "checkpoint_seconds": 0.01, "launcher": True}


def fake_command(run_dir: Path, config: dict) -> list[str]:
    return [sys.executable, "-S", str(FAKE), *(["launch"] if config.get("launcher") else []), str(run_dir)]


def fake_weights(steps: int) -> str:
    weights = "seed"
    for step in range(1, steps + 1):
        weights = hashlib.sha256(f"{weights} {step}".encode()).hexdigest()
    return weights


def open_runs(root: Path, command, **settings) -> Runs:
    values = {"min_free_bytes": 0, "stop_grace_seconds": 5.0, "term_grace_seconds": 2.0} | settings
    return Runs(Jobs(Home(root), Settings(home=root, **values)), command)


def wait_until(condition, seconds: float):
    """The first true value of `condition()`, or None after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    return None


def wait_final(app, run_id: str, seconds: float = 60.0) -> dict:
    wait_until(lambda: app.status(run_id)["state"] in FINAL, seconds)
    return app.status(run_id)


def fingerprint(folder: Path) -> str:
    """A hash over the weights of the finished model; the fake worker's stand in its config.json."""
    config = folder / "model" / "config.json"
    fake = "weights" in json.loads(config.read_text())
    files = [config] if fake else sorted((folder / "model").glob("*.safetensors"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def family(folder: Path) -> dict[int, str]:
    known = RunFolder(folder).process()
    return process.group(known.get("pid"), known.get("identity", ""), known.get("token", ""), known.get("members"))


def whole_checkpoints(folder: Path) -> bool:
    """Whether everything that calls itself a checkpoint can be read."""
    for path in (folder / "checkpoints").glob("step-*"):
        for file in path.rglob("*"):
            try:
                if file.suffix == ".json":
                    json.loads(file.read_text())
                elif file.suffix == ".safetensors":
                    from safetensors import safe_open

                    with safe_open(file, "np") as tensors:
                        list(tensors.keys())
            except (ValueError, OSError):
                return False
    return True


@contextmanager
def scratch_home() -> Iterator[Path]:
    """A home folder for a while; of its runs no process is left, also when the benchmark is interrupted."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        Home(root).prepare()
        try:
            yield root
        finally:
            for folder in (root / "runs").glob("run-*"):
                process.send(family(folder), signal.SIGKILL)
