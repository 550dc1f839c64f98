"""GaLore on one GPU against fused AdamW and galore_torch: refresh time, step time, peak memory.

    python tests/benchmarks/galore_gpu.py [--out figures.json] [--only refresh,step,offload,memory]

Needs CUDA, galore-torch and bitsandbytes. Weights are random: speed and memory do not depend on their values.
Every peer runs in this process, one after the other, its steps interleaved in rounds; medians are reported.
"""

import argparse
import gc
import json
import statistics
import sys
import time
import traceback
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from llmdemo.training import TrainConfig, build_optimizer
from llmdemo.training.compiled import compile_parts
from llmdemo.training.loss import CausalLoss
from llmdemo.training.subspace import Subspace

DEVICE = "cuda"
SIZE_1B = {"hidden_size": 2048, "intermediate_size": 5461, "num_hidden_layers": 24, "num_attention_heads": 32}
SIZE_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
figures = {}


def note(key, value):
    figures[key] = value
    print(f"{key:58} {value}", flush=True)


def clock(action) -> float:
    torch.cuda.synchronize()
    started = time.perf_counter()
    action()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def make_model(size) -> LlamaForCausalLM:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(DEVICE):
        model = LlamaForCausalLM(LlamaConfig(vocab_size=32000, **size))
    torch.set_default_dtype(torch.float32)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.train()


def free():
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def gradient_like(rows, columns):
    """A matrix with a decaying spectrum and a noise floor, as gradients have."""
    low = torch.randn(rows, 256, device=DEVICE) @ torch.randn(256, columns, device=DEVICE) / 16
    return low + 0.3 * torch.randn(rows, columns, device=DEVICE)


def refresh_7b():
    """All 224 matrices of a 7B model at rank 1024, one at a time; energy against the exact SVD's."""
    totals = {"first": 0.0, "later": 0.0}
    largest = 0.0
    for (rows, columns), count in (((4096, 4096), 128), ((11008, 4096), 96)):
        gradient = gradient_like(rows, columns)
        exact = torch.linalg.svdvals(gradient)[:1024].square().sum() / gradient.square().sum()
        svd = clock(lambda g=gradient: torch.linalg.svd(g, full_matrices=False))
        for kind in ("warm-up", "first", "later"):
            times = []
            for _ in range(5):
                space = Subspace((rows, columns), 1024)
                if kind == "later":
                    space.refresh(gradient.bfloat16(), "power", torch.Generator(DEVICE).manual_seed(0))
                times.append(
                    clock(
                        lambda s=space, g=gradient: s.refresh(
                            g.bfloat16(), "power", torch.Generator(DEVICE).manual_seed(1)
                        )
                    )
                )
            seconds = statistics.median(times)
            if kind != "warm-up":
                totals[kind] += count * seconds
                largest = max(largest, seconds)
                basis = space.right.float()
                energy = (gradient @ basis.T).square().sum() / gradient.square().sum()
                note(f"refresh {kind} {rows}x{columns}, ms", round(seconds * 1e3, 2))
                note(f"refresh {kind} {rows}x{columns}, share of SVD's energy", round((energy / exact).item(), 5))
        note(f"full SVD {rows}x{columns}, ms", round(svd * 1e3, 1))
        totals["svd"] = totals.get("svd", 0.0) + count * svd
    note("7B: all first refreshes, s", round(totals["first"], 2))
    note("7B: all later refreshes, s", round(totals["later"], 2))
    note("7B: all by full SVD, s", round(totals["svd"], 1))
    note("7B: one matrix at most, ms", round(largest * 1e3, 2))


def linears(model):
    chosen = [m.weight for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in n]
    ids = {id(w) for w in chosen}
    return chosen, [p for p in model.parameters() if id(p) not in ids]


def contenders_1b():
    """name -> step function(ids); every contender has a model of its own."""

    def plain(make):
        model = make_model(SIZE_1B)
        optimizer = make(model)

        def step(ids):
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    def theirs(model):
        from galore_torch import GaLoreAdamW

        chosen, rest = linears(model)
        galore = {"params": chosen, "rank": 512, "update_proj_gap": 10**9, "scale": 0.25, "proj_type": "std"}
        return GaLoreAdamW([{"params": rest}, galore], lr=1e-5, no_deprecation_warning=True)

    def ours(compiled=False):
        model = make_model(SIZE_1B)
        if compiled:
            compile_parts(model)
        optimizer = build_optimizer(
            model, TrainConfig("x", rank=512, scale=0.25, update_proj_gap=200, learning_rate=1e-5)
        )
        optimizer.refresh_at_once()
        loss = CausalLoss(model)

        def step(ids):
            batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
            (loss(batch) / ids.numel()).backward()
            optimizer.clip(1.0)
            optimizer.step()

        return step

    return {
        "AdamW fused": lambda: plain(lambda m: torch.optim.AdamW(m.parameters(), lr=1e-5, fused=True)),
        "galore_torch": lambda: plain(theirs),
        "ours": ours,
        "ours, compiled": lambda: ours(compiled=True),
    }


def step_1b(names=(), rounds=30):
    ids = torch.randint(0, 32000, (16, 256), device=DEVICE)
    steps, times, peaks = {}, {}, {}
    for name, make in contenders_1b().items():
        if names and name not in names:
            continue
        free()
        before = torch.cuda.memory_allocated()
        steps[name] = make()
        note(f"1B {name}: first step, s", round(clock(lambda s=steps[name]: s(ids)), 3))
        # Ours spreads its first refreshes over several steps: past them begins the steady state.
        spread = [clock(lambda s=steps[name]: s(ids)) for _ in range(20)]
        note(f"1B {name}: slowest of the next 20 steps, s", round(max(spread), 3))
        peaks[name] = (torch.cuda.max_memory_allocated() - before) / 2**30
        times[name] = []
    for number in range(-3, rounds):  # three rounds for the allocator to find its places
        for name, step in steps.items():
            seconds = clock(lambda s=step: s(ids))
            if number >= 0:
                times[name].append(seconds)
    adamw = statistics.median(times["AdamW fused"])
    for name, values in times.items():
        note(f"1B {name}: median step, s", round(statistics.median(values), 4))
        note(f"1B {name}: mean step, refreshes included, s", round(statistics.mean(values), 4))
        note(f"1B {name}: slowest step, s", round(max(values), 4))
        note(f"1B {name}: peak, GiB", round(peaks[name], 2))
        note(
            f"1B {name}: mean step against AdamW's",
            round(statistics.mean(values) / statistics.mean(times["AdamW fused"]), 3),
        )
    assert adamw > 0


MEMORY_7B = {
    "as it is": {},
    "bases in 8 bits": {"basis_bits": 8},
    "bases in 8 bits, sums in the computer's memory": {"basis_bits": 8, "offload_gradients": True},
    "the same, batch 8 and accumulation 8": {"basis_bits": 8, "offload_gradients": True, "batch_size": 8},
}
"""What is asked of the optimizer beyond rank 1024 and 8-bit moments; 64 records of 256 tokens a step in each."""


def memory_7b(variants):
    for number, (name, options) in enumerate(MEMORY_7B.items()):
        if number not in variants:
            continue
        free()
        options = {"batch_size": 16, **options}
        Memory7b(name, options).measure()


class Memory7b:
    """One variant: steps until every matrix has its subspace, then the peak and the time of steady ones."""

    def __init__(self, name: str, options: dict):
        self.name = name
        self.batch, self.parts = options["batch_size"], 64 // options["batch_size"]
        self.model = make_model(SIZE_7B)
        config = TrainConfig(
            "x",
            rank=1024,
            scale=0.25,
            optim_bits=8,
            learning_rate=1e-5,
            gradient_accumulation_steps=self.parts,
            **options,
        )
        self.optimizer = build_optimizer(self.model, config)
        self.loss = CausalLoss(self.model)

    def passes(self, count: int) -> None:
        ids = torch.randint(0, 32000, (self.batch, 256), device=DEVICE)
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
        for _ in range(count):
            (self.loss(batch) / (count * ids.numel())).backward()

    def step(self) -> float:
        """One whole step; returns the seconds that its refreshes took."""
        self.passes(self.parts)
        seconds = clock(self.optimizer.refresh)
        self.optimizer.clip(1.0)
        self.optimizer.step()
        return seconds

    def measure(self) -> None:
        torch.cuda.reset_peak_memory_stats()
        self.step()
        waits = 1
        while not all(slot.subspace.ready for slot in self.optimizer.slots):
            self.passes(1)
            self.optimizer.step()
            waits += 1
        note(f"7B {self.name}: steps until every matrix has its subspace", waits)
        note(f"7B {self.name}: peak until then, GiB", round(torch.cuda.max_memory_allocated() / 2**30, 2))
        torch.cuda.reset_peak_memory_stats()
        refreshes, steps = [], []
        for _ in range(4):
            steps.append(clock(lambda: refreshes.append(self.step())))
        note(f"7B {self.name}: step of 64 x 256 tokens, s", round(statistics.median(steps), 3))
        note(f"7B {self.name}: refreshes in one step, ms", round(max(refreshes) * 1e3, 1))
        note(f"7B {self.name}: steady peak, GiB", round(torch.cuda.max_memory_allocated() / 2**30, 2))
        note(f"7B {self.name}: reserved, GiB", round(torch.cuda.memory_reserved() / 2**30, 2))


def offload():
    """Sums in the computer's memory give the weights that sums on the GPU give, bit for bit."""
    size = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 6, "num_attention_heads": 8}
    ids = torch.randint(0, 32000, (4, 64), device=DEVICE, generator=torch.Generator(DEVICE).manual_seed(1))
    weights = []
    for kept_there in (False, True):
        model = make_model(size)
        config = TrainConfig("x", rank=128, update_proj_gap=3, learning_rate=1e-3, offload_gradients=kept_there)
        optimizer = build_optimizer(model, config)
        loss = CausalLoss(model)
        for _ in range(8):
            for part in ids.split(1):
                batch = {"input_ids": part, "attention_mask": torch.ones_like(part), "labels": part}
                (loss(batch) / ids.numel()).backward()
            optimizer.refresh()
            optimizer.clip(0.01)
            optimizer.step()
        weights.append([p.detach().clone() for p in model.parameters()])
    note("offloaded sums: weights bit for bit the same", all(map(torch.equal, *weights)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="write the figures there as JSON")
    parser.add_argument("--only", default="refresh,step,offload,memory")
    parser.add_argument("--peers", nargs="*", default=[], help="only these of the 1B step's contenders")
    parser.add_argument("--variants", nargs="*", type=int, default=range(4), help="only these of the 7B variants")
    args = parser.parse_args()
    note("gpu", torch.cuda.get_device_name())
    note("torch", torch.__version__)
    sections = {
        "refresh": refresh_7b,
        "step": lambda: step_1b(args.peers),
        "offload": offload,
        "memory": lambda: memory_7b(args.variants),
    }
    for name, section in sections.items():
        if name not in args.only.split(","):
            continue
        try:
            section()
        except Exception as error:  # one section that fails must not cost the others' figures
            traceback.print_exc()
            note(f"{name} failed", repr(error)[:300])
        free()
    if args.out:
        Path(args.out).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
