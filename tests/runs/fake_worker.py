"""A worker without a model, for tests of what is around it: it obeys the contract, or breaks it on demand.

Run as `python fake_worker.py [launch] RUN_DIR`; with "launch" it starts itself as a child and waits for it, as
accelerate's launcher does. Its "weights" are a chain of hashes over the steps, so that a run which was killed
and resumed ends with the same ones as a run which was not. config.json may hold: steps, step_seconds,
checkpoint_every, checkpoint_seconds, data, clock_back_at (a step), and "misbehave": a list of words (see `misbehave_at_start` and `train`).
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


class Events:
    clock_back = 0
    """Seconds that the clock was set back."""

    def __init__(self, path: Path):
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        size = os.fstat(self.file).st_size
        if size and os.pread(self.file, 1, size - 1) != b"\n":
            os.write(self.file, b"\n")

    def write(self, kind, **fields):
        when = round(time.time() - self.clock_back, 3)
        os.write(self.file, json.dumps({"type": kind, "t": when, **fields}).encode() + b"\n")


def main() -> int:
    if sys.argv[1] == "launch":
        command = [sys.executable, *sys.argv[:1], *sys.argv[2:]]
        child = subprocess.Popen(command)
        child.wait()
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, command)
        return 0
    folder = Path(sys.argv[1])
    config = json.loads((folder / "config.json").read_text())
    words = set(config.get("misbehave", []))
    events = Events(folder / "events.jsonl")
    events.clock_back = 86_400 if config.get("clock_back_at") == 0 else 0
    code = misbehave_at_start(folder, words, events)
    return train(folder, config, words, events) if code is None else code


def misbehave_at_start(folder: Path, words: set, events: Events) -> int | None:
    if "ignore_sigterm" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "hang_in_start" in words:
        time.sleep(600)
    if "crash_in_start" in words:
        raise ImportError("No module named 'sorcery'")
    if "fork" in words:  # a child in the same group that ignores what is asked of it
        sleeper(["import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
    if "escape" in words:  # a grandchild in a session of its own, without a parent
        sleeper(["import os,time; os.setsid(); os.fork() and os._exit(0); time.sleep(600)"])
    if "escape_bare" in words:  # the same after five seconds, and without our environment
        env = {"PATH": os.environ["PATH"]}
        sleeper(["import os,time; os.setsid(); time.sleep(600)"], env=env)
    if "bad_config" in words:
        events.write("end", state="failed", reason="bad_config", message="The rank is 0.", hint="Choose 1 or more.")
        return 1
    return None


def sleeper(code: list[str], env=None) -> None:
    subprocess.Popen([sys.executable, "-c", *code], env=env)


def newest_checkpoint(folder: Path) -> tuple[int, str]:
    for path in sorted((folder / "checkpoints").glob("step-*"), reverse=True):
        state = json.loads((path / "state.json").read_text())  # whole by construction: a half one is a failure
        return state["step"], state["weights"]
    return 0, "seed"


def save(folder: Path, step: int, weights: str, seconds: float) -> None:
    target = folder / "checkpoints" / f"step-{step:06d}"
    if target.exists():
        return
    partial = folder / "checkpoints" / f".partial-{os.getpid()}-{step}"
    partial.mkdir(parents=True)
    with open(partial / "state.json", "w") as file:
        text = json.dumps({"step": step, "weights": weights, "ballast": "x" * 4000})
        file.write(text[:100])
        file.flush()
        time.sleep(seconds)
        file.write(text[100:])
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, target)


def train(folder: Path, config: dict, words: set, events: Events) -> int:
    (folder / "stop").unlink(missing_ok=True) if "eager" in words else None
    if config.get("data"):  # what a real worker keeps of its records
        (folder / "data.json").write_text("{}")
    steps, pause, every = config.get("steps", 5), config.get("step_seconds", 0.01), config.get("checkpoint_every", 5)
    checkpoint_seconds = config.get("checkpoint_seconds", 0)
    step, weights = newest_checkpoint(folder)
    events.write("start", pid=os.getpid(), step=step, total_steps=steps, method="galore", device="cpu")
    events.write("phase", phase="training")
    started = time.monotonic()
    while step < steps:
        if (folder / "stop").exists() and "ignore_stop" not in words:
            save(folder, step, weights, checkpoint_seconds)
            events.write("checkpoint", step=step, bytes=4000)
            events.write("end", state="stopped", reason="", message="Stopped as asked.", hint="")
            return 0
        step += 1
        weights = hashlib.sha256(f"{weights} {step}".encode()).hexdigest()
        time.sleep(pause)
        misbehave_in_step(words, step, folder)
        events.clock_back = 86_400 if step >= config.get("clock_back_at", steps + 1) else 0
        seconds = max(1e-6, time.monotonic() - started)
        events.write(
            "step",
            step=step,
            loss=3.0 / step**0.5,
            lr=1e-3,
            grad_norm=1.0,
            tokens=100 * step,
            tokens_per_second=round(100 / max(pause, 1e-3), 1),
            memory_bytes=10**8 + step,
            eta_seconds=round((steps - step) * seconds / step, 3),
            epoch=step / steps,
        )
        if step % every == 0:
            save(folder, step, weights, checkpoint_seconds)
            events.write("checkpoint", step=step, bytes=4000)
            events.write("eval", step=step, loss=3.5 / step**0.5)
            events.write("sample", step=step, prompt="Say hello", text=f"hello {step}", expected="hello")
            layers = [{"name": "layers.0.q", "energy": 0.9, "overlap": 0.5}, {"name": "layers.0.k", "energy": 0.7}]
            events.write("refresh", step=step, layers=layers)
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "config.json").write_text(json.dumps({"weights": weights}))
    (folder / "model" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    events.write("end", state="completed", reason="", message="", hint="", model_id=folder.name)
    if "linger" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    return 0


def misbehave_in_step(words: set, step: int, folder: Path) -> None:
    if step != 2:
        return
    if "crash" in words:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)")
    if "exit_silently" in words:
        os._exit(0)
    if "kill_self" in words:
        os.kill(os.getpid(), signal.SIGKILL)
    if "no_memory" in words:
        raise MemoryError("Unable to allocate 9.00 GiB")
    if "no_space" in words:
        raise OSError(28, "No space left on device")
    if "flood" in words:  # about 50 MB/s, until told to stop
        chunk, deadline = b"x" * 99 + b"\n", time.monotonic() + 60
        while time.monotonic() < deadline and not (folder / "stop").exists():
            begun = time.monotonic()
            os.write(1, chunk * 25_000)  # 2.5 MB
            time.sleep(max(0.0, 0.05 - (time.monotonic() - begun)))


if __name__ == "__main__":
    sys.exit(main())
