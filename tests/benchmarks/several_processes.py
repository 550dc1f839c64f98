"""A step of several processes, and what crosses the wire in it: projected gradients against plain DistributedDataParallel.

    python tests/benchmarks/several_processes.py [--processes 1 2] [--shape 135M|1B] [--rank 128] [--out wire.json]
                                                 [--profile FOLDER] [--alone | --one-gpu] [--fp32]

One process a GPU over NCCL where there are as many GPUs, else processes on the CPU over gloo. Weights are random, in
bf16 on a GPU; all see the same tokens. "ours" steps as a run does (passes.py, reduce.py: captured on a GPU), "launched"
the same kernel by kernel, DDP steps torch's fused AdamW. Weak: `--batch` rows a process; strong: `--batch` rows
in all. Contenders take turns by blocks of ten steps, in which each matrix that is due is refreshed (update_proj_gap 200);
a step is a tenth of a block without a wait inside; the median block is shown. Bytes are those that one process gives into
all-reduce in a block's cheapest step, counted where ours sends them, and for DDP in its communication hook.

With one GPU: `--alone --processes 1` sends everything to nobody, as DDP alone does: the step of several processes without
the wire. `--one-gpu --fp32` has several processes on the one GPU over gloo: the times mean nothing, but at the end the
weights of ours, of launched ours and of the other processes are compared.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections import deque
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

BLOCK = 10
SHAPES = {
    "tiny": dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2),
    "135M": dict(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3
    ),
    "1B": dict(hidden_size=2048, intermediate_size=5461, num_hidden_layers=24, num_attention_heads=32),
}


def make_model(args, device):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if device.type == "cuda" and not args.fp32 else torch.float32)
    with device:
        model = LlamaForCausalLM(LlamaConfig(vocab_size=32000, tie_word_embeddings=True, **SHAPES[args.shape]))
    torch.set_default_dtype(torch.float32)
    return model.train()


def make_rows(args):
    """The same records in each process, enough for the largest global batch."""
    from llmdemo.training.batches import TokenRows

    ids = np.random.default_rng(0).integers(0, 32000, (args.batch * dist.get_world_size(), args.length))
    return TokenRows.from_lists([(row, row) for row in ids])


class Tokens:
    """What `Passes` asks of an objective, for rows of which every token is learned."""

    figures, passes = (), 1

    def __init__(self, model, rows, device):
        from llmdemo.training.loss import CausalLoss

        self._loss, self._rows, self._device = CausalLoss(model), rows, device

    def normaliser(self, items) -> int:
        return self._rows.trained(items)

    def loss_sum(self, items):
        from llmdemo.training.batches import collate

        return self._loss(collate(self._rows, items, 0, self._device)), {}

    def parts(self, items):
        return [partial(self.loss_sum, items)]

    def fixed(self, items):
        from llmdemo.training.batches import collate_fixed

        return collate_fixed(self._rows, items, 0, unit=16)

    def fixed_loss(self, batch):
        return self._loss.fixed(batch)


class Ours:
    """The step of loop.py without its events."""

    def __init__(self, args, device, captured: bool):
        from llmdemo.training import TrainConfig, build_optimizer
        from llmdemo.training.passes import Passes
        from llmdemo.training.reduce import Reduction, take_first

        model, world = make_model(args, device), dist.get_world_size()
        config = TrainConfig("x", rank=args.rank, update_proj_gap=200, learning_rate=1e-4, num_processes=world)
        self.optimizer = build_optimizer(model, config)
        self.model, several = model, world > 1 or args.alone
        self.reduction = Reduction(self.optimizer, device) if several else None
        if several:
            self.optimizer.share = take_first
        else:
            self.optimizer.refresh_at_once()
        objective = Tokens(model, make_rows(args), device)
        self.notes: list = []
        report = lambda kind, **fields: self.notes.append(fields)  # noqa: E731
        precision = "fp32" if args.fp32 else "bf16_pure"
        self.passes = Passes(model, objective, self.optimizer, config, precision, report, self.reduction)
        self.passes.captures &= captured
        self.under_way: deque = deque()
        self.device = device

    def step(self, rows) -> int:
        loss, _ = self.passes(rows, dist.get_rank(), dist.get_world_size())
        sent = 0
        if self.reduction:
            dist.all_reduce(loss)
            self.reduction.wait()
            sent = self.reduction.bytes
        self.optimizer.refresh()
        if not self.optimizer.runs_ahead:
            self.optimizer.clip(1.0)
            self.optimizer.step()
            return sent
        _, left_out = self.optimizer.step_where_finite(1.0, loss)
        seen = torch.empty(left_out.shape, pin_memory=True)
        seen.copy_(left_out, non_blocking=True)
        self.under_way.append((seen, torch.cuda.current_stream(self.device).record_event()))
        if len(self.under_way) > 2:
            seen, arrived = self.under_way.popleft()
            arrived.synchronize()
            self.optimizer.tell(bool(seen))
        return sent


class Ddp:
    """DistributedDataParallel with torch's AdamW."""

    def __init__(self, args, device):
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

        self.model, self.device, self.sent = make_model(args, device), device, []
        self.wrapped = DistributedDataParallel(
            self.model, device_ids=[device.index] if device.index is not None else None
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=device.type == "cuda" or None)
        self.rows, self.notes = make_rows(args), []

        def counted(state, bucket):
            self.sent.append(bucket.buffer().numel() * bucket.buffer().element_size())
            return allreduce_hook(state, bucket)

        self.wrapped.register_comm_hook(None, counted)

    def step(self, rows) -> int:
        from llmdemo.training.batches import collate

        self.sent.clear()
        batch = collate(self.rows, rows[dist.get_rank() :: dist.get_world_size()], 0, self.device)
        self.wrapped(input_ids=batch["input_ids"], labels=batch["labels"]).loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return sum(self.sent) if dist.get_world_size() > 1 else 0


def wait_for(device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    dist.barrier()


def block(contender, rows, device) -> tuple[float, int]:
    """(seconds a step, the fewest bytes of a step)."""
    wait_for(device)
    started = time.perf_counter()
    sent = [contender.step(rows) for _ in range(BLOCK)]
    wait_for(device)
    return (time.perf_counter() - started) / BLOCK, min(sent)


def profiled(contender, rows, device, number: int) -> str:
    """Where a few steps' time goes on the first process: the kernels and calls that take longest, and how long the GPU
    has nothing to do."""
    from torch.profiler import ProfilerActivity, profile

    steps = 3
    wait_for(device)
    if number:
        for _ in range(steps):
            contender.step(rows)
        wait_for(device)
        return ""
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    started = time.perf_counter()
    with profile(activities=kinds) as found:
        for _ in range(steps):
            contender.step(rows)
        wait_for(device)
    text = f"{steps} steps under the profiler took {time.perf_counter() - started:.4f} s\n"
    events = found.key_averages()
    if device.type == "cuda":
        from torch.autograd import DeviceType

        kernels = [event.time_range for event in found.events() if event.device_type == DeviceType.CUDA]
        busy, end = 0.0, 0.0
        for span in sorted(kernels, key=lambda span: span.start):
            busy += max(0.0, span.end - max(span.start, end))
            end = max(end, span.end)
        whole = end - min((span.start for span in kernels), default=0.0)
        text += f"the GPU was busy for {busy / 1e6:.4f} s of {whole / 1e6:.4f} s, {len(kernels)} kernels\n"
        text += events.table(sort_by="self_device_time_total", row_limit=25, max_name_column_width=80)
    return text + events.table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=80)


def work(number: int, args, processes: int) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(args.port + processes)}
    on_gpu = args.one_gpu or torch.cuda.device_count() >= processes
    device = torch.device("cuda", 0 if args.one_gpu else number) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    backend = "nccl" if on_gpu and not args.one_gpu else "gloo"
    dist.init_process_group(backend, rank=number, world_size=processes)
    contenders = {"ours": Ours(args, device, True), "DDP AdamW": Ddp(args, device)}
    if on_gpu:
        contenders["launched"] = Ours(args, device, False)
    batches = {"weak": np.arange(args.batch * processes), "strong": np.arange(args.batch)}
    if processes == 1:
        del batches["strong"]
    found: dict[tuple[str, str], list] = {(name, kind): [] for kind in batches for name in contenders}
    for turn in range(-1, args.blocks):
        for kind, rows in batches.items():
            for name, contender in contenders.items():
                measured = block(contender, rows, device)
                if turn >= 0:
                    found[name, kind].append(measured)
    texts = {}
    if args.profile and processes == max(args.processes):
        texts = {name: profiled(each, batches["weak"], device, number) for name, each in contenders.items()}
    if number == 0:
        show(found, args, processes, backend)
        for name, text in texts.items():
            path = args.profile / f"{args.shape}-{processes}-{name.replace(' ', '-')}.txt"
            path.write_text(text)
        for name, contender in contenders.items():
            print(*(f"{name}: {note}" for note in contender.notes), sep="\n", end="", flush=True)
    compare(contenders, number)
    dist.barrier()
    dist.destroy_process_group()


@torch.no_grad()
def compare(contenders, number: int) -> None:
    """Prints how far the weights of ours are from those of the first process, and of ours launched kernel by kernel."""
    apart = 0.0
    for p in contenders["ours"].model.parameters():
        first = p.clone()
        dist.broadcast(first, 0)
        apart = max(apart, (p - first).abs().max().item())
    told = f"process {number}: weights of ours from the first process's at most {apart:.2g}"
    if "launched" in contenders:
        pairs = zip(contenders["ours"].model.parameters(), contenders["launched"].model.parameters(), strict=True)
        told += f", from launched ours at most {max((a - b).abs().max().item() for a, b in pairs):.2g}"
        captures = contenders["ours"].passes
        told += f", captured: {captures.captures and len(captures._captured or ())} shapes"
    print(told, flush=True)


def show(found, args, processes: int, backend: str) -> None:
    rows = []
    for (name, kind), values in found.items():
        seconds, sent = statistics.median(each for each, _ in values), min(each for _, each in values)
        total = args.batch * (processes if kind == "weak" else 1) * args.length
        rows.append({"processes": processes, "kind": kind, "contender": name, "seconds": seconds, "bytes": sent,
                     "tokens_per_second": total / seconds, "all": [each for each, _ in values]})  # fmt: skip
    for row in rows:
        base = next(r for r in rows if r["contender"] == "DDP AdamW" and r["kind"] == row["kind"])
        print(
            f"{args.shape} rank {args.rank} {backend} {processes} {row['kind']:6} {row['contender']:10} "
            f"{row['seconds']:8.4f} s a step {row['seconds'] / base['seconds']:6.2f} x DDP {row['bytes'] / 1e6:9.1f} MB "
            f"{row['tokens_per_second']:10.0f} tokens/s",
            flush=True,
        )
    if args.out:
        kept = json.loads(args.out.read_text()) if args.out.exists() else []
        head = {"backend": backend, "shape": args.shape, "rank": args.rank, "batch": args.batch, "length": args.length}
        args.out.write_text(json.dumps(kept + [head | row for row in rows], indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shape", choices=SHAPES, default="135M")
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument(
        "--blocks", type=int, default=5, help="measured blocks of ten steps, after one without the clock"
    )
    parser.add_argument("--port", type=int, default=29511)
    parser.add_argument("--alone", action="store_true", help="one process sends as several do, to nobody")
    parser.add_argument("--one-gpu", action="store_true", help="all processes on the first GPU, over gloo")
    parser.add_argument("--fp32", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--profile", type=Path, help="a folder for the profiles of a block")
    args = parser.parse_args()
    for processes in args.processes:
        torch.multiprocessing.spawn(work, (args, processes), nprocs=processes)


if __name__ == "__main__":
    main()
