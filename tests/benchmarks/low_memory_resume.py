"""weight_bits 8: a run that is stopped and gone on with in a new process, against one that was never stopped.

    python tests/benchmarks/low_memory_resume.py [--shape 7B] [--out figures.json]
    python tests/benchmarks/low_memory_resume.py --device cpu --shape tiny

The run's own loop, checkpoint and restore, with Llama-7B's shapes and random weights (low_memory_gpu.py makes them), 16 x 256
random tokens a micro-batch, accumulation 4, rank 1024, activations computed again; eight steps, stopped after five. All matrices
get their first subspace within some four steps, where a run spreads 7B's over some 44. Compared bit for bit, by hashes:
what the resumed process has read with what the stopped one had, and the ends of both runs. The run that goes straight
on and the one that is stopped are computed at the same time, so the seconds of a step are no measure of it. Peaks are
those of the driver for each process, read every 0.2 s.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
sys.path.insert(0, str(Path(__file__).parent))

import low_memory_gpu as low
import memory_estimate_check
import torch

from llmdemo.models.load import load_tokenizer
from llmdemo.training import TrainConfig, build_optimizer, refresh_schedule
from llmdemo.training import checkpoint as checkpoints
from llmdemo.training import device as devices
from llmdemo.training.checkpoint import Checkpoint
from llmdemo.training.loop import Loop

STEPS, STOP = 8, 5
PARTS = ("straight", "stopped", "resumed")


class Peak(threading.Thread):
    """The most of the GPU's memory that this process has by the driver's count, context included."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self._over = 0, threading.Event()

    def run(self) -> None:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        while not self._over.wait(0.2):
            own = [p.usedGpuMemory for p in pynvml.nvmlDeviceGetComputeRunningProcesses(handle) if p.pid == os.getpid()]
            self.most = max(self.most, *[used or 0 for used in own], 0)


def config_of(device: torch.device) -> TrainConfig:
    on_gpu = device.type == "cuda"
    return TrainConfig(
        "x", rank=1024 if on_gpu else 16, batch_size=16 if on_gpu else 8, gradient_accumulation_steps=low.PARTS,
        activation_checkpointing=True, max_length=low.LENGTH, max_steps=STEPS, eval_steps=0, best_by="last",
        update_proj_gap=50, **low.IN_8_BITS,
    ).resolved()  # fmt: skip


def run_part(part: str, shape: str, folder: Path, device: torch.device) -> dict:
    """{"begun" and "ended": hashes by name, figures}; one process's share."""
    refresh_schedule.REFRESH_FLOPS = 1e18
    peak = Peak()
    if device.type == "cuda":
        peak.start()
    config, events = config_of(device), []
    torch.manual_seed(config.seed)
    entry = low.entry_of(shape)
    model = low.random_model(entry, device, True)
    data = low.random_data(model.config.vocab_size, config.global_batch * STEPS // 2, 4)
    precision = devices.precision_of(config, device)
    loop = Loop(
        model, load_tokenizer(folder), build_optimizer(model, config), data, config, precision,
        lambda kind, **fields: events.append({"type": kind, "t": time.time(), **fields}),
    )  # fmt: skip
    found: dict = {}
    started = time.perf_counter()
    last = checkpoints.newest(folder / "checkpoints") if part == "resumed" else None
    loop.begin(folder, lambda: False)
    if last:
        found["checkpoint read in, s"] = round(time.perf_counter() - started, 1)
        loop.restore(last)
        del last
        found["read"] = hashes_of(loop.checkpoint())

    def save(checkpoint: Checkpoint) -> None:
        began = time.perf_counter()
        size = checkpoints.save(folder / "checkpoints", folder / "tmp", checkpoint)
        found["checkpoint, GB"] = round(size / 1e9, 2)
        found["checkpoint written in, s"] = round(time.perf_counter() - began, 1)

    whole = loop.run(lambda: part == "stopped" and loop.progress.step >= STOP, save)
    found["ended" if whole else "kept"] = hashes_of(loop.checkpoint())
    found["steps"] = loop.progress.step
    found["matrices with a subspace"] = (
        f"{sum(slot.subspace.ready for slot in loop.optimizer.slots)} of {len(loop.optimizer.slots)}"
    )
    ends = [event["t"] for event in events if event["type"] == "step"]
    found["seconds between steps"] = [round(b - a, 2) for a, b in zip(ends, ends[1:], strict=False)]
    found["losses"] = [event["loss"] for event in events if event["type"] in ("step", "eval")]
    found["notes"] = [event["message"] for event in events if event["type"] == "note"]
    if device.type == "cuda":
        found["peak of tensors, GiB"] = round(torch.cuda.max_memory_allocated() / low.GIB, 2)
        found["most reserved, GiB"] = round(torch.cuda.max_memory_reserved() / low.GIB, 2)
        found["peak by the driver, GiB"] = round(peak.most / low.GIB, 2)
    found["whole, s"] = round(time.perf_counter() - started, 1)
    return found


def hashes_of(checkpoint: Checkpoint) -> dict[str, str]:
    """By group and name, of all its tensors; numbers as one."""

    def one(tensor: torch.Tensor) -> str:
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        return hashlib.sha256(values.numpy()).hexdigest()

    with ThreadPoolExecutor(8) as pool:
        made = {
            f"{group}/{name}": pool.submit(one, tensor)
            for group, tensors in checkpoint.groups.items()
            for name, tensor in tensors.items()
        }
        found = {name: future.result() for name, future in made.items()}
    return found | {"numbers": hashlib.sha256(json.dumps(checkpoint.numbers, sort_keys=True).encode()).hexdigest()}


def launched(part: str, args, folder: str) -> subprocess.Popen:
    command = [
        sys.executable,
        __file__,
        "--device",
        args.device,
        "--shape",
        args.shape,
        "--part",
        part,
        "--folder",
        folder,
    ]
    command += ["--deterministic"] if args.deterministic else []
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen) -> dict:
    out = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f"a part failed: {process.returncode}")
    return json.loads(out.strip().splitlines()[-1])


def compare(what: str, a: dict[str, str], b: dict[str, str]) -> None:
    other = sorted(name for name in {*a, *b} if a.get(name) != b.get(name))
    groups = {
        group: sum(name.startswith(group) for name in other)
        for group in ("weights/", "optimizer/", "random/", "numbers")
    }
    low.note(f"{what}: tensors that differ", f"{len(other)} of {len(a)}")
    if other:
        low.note(f"{what}: which", {**groups, "first": other[:6]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--shape", default="7B")
    parser.add_argument("--deterministic", action="store_true", help="with torch's deterministic algorithms only")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.use_deterministic_algorithms(args.deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    if args.part:
        print(json.dumps(run_part(args.part, args.shape, args.folder, torch.device(args.device))))
        return
    with tempfile.TemporaryDirectory() as name:
        memory_estimate_check.make_tokenizer(Path(name))
        (Path(name) / "config.json").write_text("{}")
        first = [launched(part, args, name) for part in PARTS[:2]]
        parts = dict(zip(PARTS, map(told, first), strict=False))
        parts["resumed"] = told(launched("resumed", args, name))
    for part, found in parts.items():
        for key in [key for key, value in found.items() if key not in ("read", "kept", "ended")]:
            low.note(f"{args.shape}, {part}: {key}", found[key])
    compare("what was read against what was kept", parts["stopped"]["kept"], parts["resumed"]["read"])
    compare("the ends of both runs", parts["straight"]["ended"], parts["resumed"]["ended"])
    if args.out:
        args.out.write_text(json.dumps(low.figures, indent=1))


if __name__ == "__main__":
    main()
