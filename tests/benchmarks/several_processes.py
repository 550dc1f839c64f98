"""What crosses the wire in a step, and how long a step takes: projected gradients against plain DistributedDataParallel.

    python tests/benchmarks/several_processes.py [--processes 2] [--shape 135M|1B] [--rank 128] [--out wire.json]

One process a GPU over NCCL where there are as many GPUs, else processes on the CPU over gloo. Weights are random; both
sides see the same tokens; DDP steps torch's AdamW. Bytes are those that one process gives into all-reduce, counted where
ours sends them, and for DDP in its communication hook. Steps alternate; medians are shown.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

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
    torch.set_default_dtype(torch.bfloat16 if device.type == "cuda" else torch.float32)
    with device:
        model = LlamaForCausalLM(LlamaConfig(vocab_size=32000, tie_word_embeddings=True, **SHAPES[args.shape]))
    torch.set_default_dtype(torch.float32)
    return model.train()


def ours(args, device):
    from llmdemo.training import TrainConfig, build_optimizer
    from llmdemo.training.loss import CausalLoss
    from llmdemo.training.reduce import reduce_gradients

    model = make_model(args, device)
    config = TrainConfig("x", rank=args.rank, update_proj_gap=200, learning_rate=1e-4, num_processes=args.processes)
    optimizer, loss = build_optimizer(model, config), CausalLoss(model)

    def step(ids) -> int:
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
        (loss(batch) / (ids.numel() * args.processes)).backward()
        sent = reduce_gradients(optimizer)
        optimizer.refresh()
        optimizer.clip(1.0)
        optimizer.step()
        return sent

    return step


def ddp(args, device):
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

    model = make_model(args, device)
    wrapped = DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device.type == "cuda" or None)
    sent = []

    def counted(state, bucket):
        sent.append(bucket.buffer().numel() * bucket.buffer().element_size())
        return allreduce_hook(state, bucket)

    wrapped.register_comm_hook(None, counted)

    def step(ids) -> int:
        sent.clear()
        wrapped(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return sum(sent)

    return step


def clocked(step, ids, device) -> tuple[float, int]:
    dist.barrier()
    started = time.perf_counter()
    sent = step(ids)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started, sent


def work(number: int, args) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(args.port)}
    on_gpu = torch.cuda.device_count() >= args.processes
    device = torch.device("cuda", number) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // args.processes))
    dist.init_process_group("nccl" if on_gpu else "gloo", rank=number, world_size=args.processes)
    steps = {"ours": ours(args, device), "DDP AdamW": ddp(args, device)}
    torch.manual_seed(number)
    ids = torch.randint(0, 32000, (args.batch, args.length), device=device)
    found = {name: [] for name in steps}
    for turn in range(-args.warm_up, args.steps):
        for name, step in steps.items():
            measured = clocked(step, ids, device)
            if turn >= 0:
                found[name].append(measured)
    if number == 0:
        show(found, args, "nccl" if on_gpu else "gloo")
    dist.barrier()
    dist.destroy_process_group()


def show(found, args, backend: str) -> None:
    rows = {
        name: {
            "seconds": statistics.median(seconds for seconds, _ in values),
            "megabytes": statistics.median(sent for _, sent in values) / 1e6,
            "largest_megabytes": max(sent for _, sent in values) / 1e6,
        }
        for name, values in found.items()
    }
    print(f"{args.processes} processes over {backend}, {args.shape}, rank {args.rank}, batch {args.batch} each")
    for name, row in rows.items():
        print(
            f"{name:10} {row['seconds']:8.4f} s a step  {row['megabytes']:9.1f} MB a step a process "
            f"(most in one step {row['largest_megabytes']:.1f})"
        )
    first, second = rows["ours"], rows["DDP AdamW"]
    print(f"bytes {first['megabytes'] / second['megabytes']:.3f} x, time {first['seconds'] / second['seconds']:.3f} x")
    if args.out:
        args.out.write_text(json.dumps({"backend": backend, "arguments": vars(args), "rows": rows}, default=str))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shape", choices=SHAPES, default="135M")
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=6, help="steps before: every matrix gets its subspace in them")
    parser.add_argument("--port", type=int, default=29511)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.multiprocessing.spawn(work, (args,), nprocs=args.processes)


if __name__ == "__main__":
    main()
