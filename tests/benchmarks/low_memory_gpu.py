"""Fine-tuning with matrices in 8 bits (weight_bits 8) on one GPU: peak memory, time, and what it does to the held-out loss.

    python tests/benchmarks/low_memory_gpu.py --data instruction-data.json [--out figures.json]
    python tests/benchmarks/low_memory_gpu.py --device cpu --shapes tiny --model FOLDER --data FILE --steps 4 --seeds 7

memory: Llama-7B's and Phi-3-mini's shapes with random weights, made in 8 bits, never whole in more: a step of the run's own
loop, of four micro-batches of 4 x 256 tokens, of 16 x 256, and of 16 x 256 in one pass each, rank 1024, activations computed
again; bytes by PyTorch and by the driver beside those of the memory estimate; seconds, in turns, and beside GaLore in bf16
(8-bit moments, bases in 8 bits, sums off the GPU), where there is bitsandbytes.
loss: the starter model (or --model), 84 steps of 8 records, in three orders, weight_bits 8 against 32 (pure bf16 on a GPU,
as such a run computes; and bf16 over fp32 weights, its default).

All in one call of less than nine minutes on an H200; each figure is printed, and the whole as JSON at the end.
"""

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from llmdemo.core.store import Home
from llmdemo.models import presets, scratch
from llmdemo.models.load import load_causal, load_config, load_tokenizer
from llmdemo.settings import Settings
from llmdemo.training import TrainConfig, build_optimizer, memory_estimate, refresh_schedule
from llmdemo.training import device as devices
from llmdemo.training.batches import RunData, TokenRows
from llmdemo.training.loop import Loop
from llmdemo.training.prepare import prepare_data
from llmdemo.training.quantised import LEVELS, QuantisedLinear, QuantisedMatrix, block_of, quantise
from llmdemo.training.targets import find_targets, put_layer

figures: dict = {}
GIB = 2**30
LENGTH, PARTS, STEPS = 256, 4, 3
IN_8_BITS = {"weight_bits": 8}
IN_BF16 = {"optim_bits": 8, "basis_bits": 8, "offload_gradients": True, "precision": "bf16_pure"}


def note(key: str, value) -> None:
    figures[key] = value
    print(f"{key:70} {value}", flush=True)


def entry_of(shape: str):
    """A model without files."""
    if shape == "3.8B":
        return next(each for each in presets.list_presets() if each.id == "microsoft/Phi-3-mini-4k-instruct").entry()
    return scratch.entry_of("1M" if shape == "tiny" else shape, 32000 if shape == "7B" else 512, 2048)


def random_model(entry, device: torch.device, quantised: bool):
    """Random weights: in bf16 on a GPU; the layers' matrices, if asked for, made in 8 bits."""
    config = load_config(entry)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    if quantised:
        for target in find_targets(model):
            matrix = random_matrix(tuple(target.weight.shape), device)
            nothing = torch.full((), torch.nan, dtype=dtype, device=device).expand(target.weight.shape)
            put_layer(model, target.name, QuantisedLinear(target.module, matrix, nn.Parameter(nothing)))
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if p.is_meta:
                made = torch.empty(p.shape, dtype=dtype, device=device)
                module.register_parameter(name, nn.Parameter(made.normal_(0, 0.02) if p.dim() > 1 else made.fill_(1)))
    # Its frequencies are no weights, and are computed when it is made.
    with device:
        model.model.rotary_emb = type(model.model.rotary_emb)(config)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.train()


def random_matrix(shape: tuple[int, int], device: torch.device) -> QuantisedMatrix:
    high = torch.randint(-127, 128, shape, dtype=torch.int8, device=device)
    low = torch.zeros(shape, dtype=torch.int8, pin_memory=device.type == "cuda")
    units = (shape[0], shape[1] // block_of(shape[1]))
    return QuantisedMatrix(high, low, torch.full(units, 0.04 / LEVELS, device=device))


def forget_peak(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


class InOnePass(TrainConfig):
    """Whose micro-batches go through the model whole, as where matrices are not quantised."""

    pass_tokens = None  # type: ignore[assignment]


def random_data(vocabulary: int, count: int, held_out: int = 0) -> RunData:
    """Records of LENGTH random tokens, which are all learned."""
    random = np.random.default_rng(1)
    rows = [(ids, ids) for ids in random.integers(5, vocabulary, (count + held_out, LENGTH))]
    return RunData(TokenRows.from_lists(rows[held_out:]), TokenRows.from_lists(rows[:held_out]), [], {})


class Memory:
    """Steps of one model by the run's own loop: until every matrix has its subspace, then some that are measured."""

    def __init__(self, shape: str, settings: dict, device: torch.device):
        self.device, self.entry = device, entry_of(shape)
        self.settings = {
            **settings, "rank": 1024 if device.type == "cuda" else 16, "learning_rate": 1e-5, "max_length": LENGTH,
            "gradient_accumulation_steps": PARTS, "activation_checkpointing": True, "warmup_steps": 1,
        }  # fmt: skip
        config = self.config_of(4)
        started = time.perf_counter()
        self.model = random_model(self.entry, device, config.quantises)
        self.optimizer = build_optimizer(self.model, config)
        self.name = f"{shape}, {'8 bits' if config.quantises else 'bf16'}"
        note(f"{self.name}: made in, s", round(time.perf_counter() - started, 1))

    def config_of(self, rows: int, kind: type[TrainConfig] = TrainConfig) -> TrainConfig:
        return kind("x", batch_size=rows, **self.settings).resolved()

    def loop_of(self, rows: int, kind: type[TrainConfig] = TrainConfig) -> Loop:
        config = self.config_of(rows, kind)
        data = random_data(self.model.config.vocab_size, 4 * config.global_batch)
        tokenizer = SimpleNamespace(pad_token_id=0, eos_token_id=None)
        precision = devices.precision_of(config, self.device)
        return Loop(self.model, tokenizer, self.optimizer, data, config, precision, lambda kind, **fields: None)

    def step(self, loop: Loop) -> float:
        started = time.perf_counter()
        loop._step()
        loop._settle()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def measure(self, batches: tuple[int, ...]) -> float:
        """Seconds of a step of the largest batch. The smallest is first, as memory that was taken is not given back."""
        loops = {f"{self.name}, {PARTS} x {rows} x {LENGTH}": self.loop_of(rows) for rows in batches}
        *_, largest = loops
        first, waits = next(iter(loops.values())), 0
        first._verify_loss()
        # All first subspaces within some five steps. What these take together is not measured: a run finds a few a step.
        usual, refresh_schedule.REFRESH_FLOPS = refresh_schedule.REFRESH_FLOPS, 1e18
        while not all(slot.subspace.ready for slot in self.optimizer.slots):
            self.step(first)
            waits += 1
        refresh_schedule.REFRESH_FLOPS = usual
        note(f"{self.name}: steps until every matrix has its subspace", waits)
        forget_peak(self.device)
        if first.config.pass_tokens is not None:
            loops[f"{largest}, in one pass each"] = self.loop_of(batches[-1], InOnePass)
        for what, loop in loops.items():
            for _ in range(STEPS):
                self.step(loop)
            self._tell_memory(what, loop)
        seconds: dict[str, list[float]] = {what: [] for what in loops}
        for _ in range(STEPS):  # in turns
            for what, loop in loops.items():
                seconds[what].append(self.step(loop))
        for what, found in seconds.items():
            note(f"{what}: a step, s", round(statistics.median(found), 3))
        return statistics.median(seconds[largest])

    def _tell_memory(self, what: str, loop: Loop) -> None:
        batch = loop.largest_batch()
        note(f"{what}: tokens of the largest pass", batch.records * batch.length)
        predicted = memory_estimate.predict(self.entry, loop.config, batch, self.device)
        note(f"{what}: predicted, GiB", round(predicted.total / GIB, 2))
        parts = {key: round(value / GIB, 3) for key, value in predicted.to_dict().items() if key != "rough"}
        note(f"{what}: predicted parts, GiB", parts)
        if self.device.type != "cuda":
            note(f"{what}: process's peak, GiB", round(devices.peak_bytes(self.device) / GIB, 3))
            return
        free, there = torch.cuda.mem_get_info()
        peak = torch.cuda.max_memory_allocated()
        note(f"{what}: peak of tensors, GiB", round(peak / GIB, 2))
        note(f"{what}: peak by the driver, context and gaps included, GiB", round((there - free) / GIB, 2))
        note(f"{what}: predicted against the peak of tensors", round(predicted.total / peak - 1, 3))


def memory(shapes: list[str], device: torch.device) -> None:
    for shape in shapes:
        times = {}
        ways = [(IN_8_BITS, (4, 16)), (IN_BF16, (16,))]
        if device.type == "cuda" and not find_spec("bitsandbytes"):  # its moments in 8 bits
            note(f"{shape}, bf16", "left out, as there is no bitsandbytes")
            ways.pop()
        for settings, batches in ways:
            if device.type != "cuda" and settings is IN_BF16:
                settings = {}
            measured = Memory(shape, settings, device)
            times[measured.name] = measured.measure(batches)
            del measured
            forget_peak(device)
        if len(times) == 2:
            ours, theirs = times.values()
            note(f"{shape}: a step in 8 bits against bf16", round(ours / theirs, 2))


def loss(args, device: torch.device) -> None:
    """Held-out loss after the last step, by order of the records."""
    from llmdemo.data.ingest import add_dataset

    folder = args.model or starter()
    tokenizer = load_tokenizer(folder)
    with tempfile.TemporaryDirectory() as temporary:
        home = Home(Path(temporary)).prepare()
        info = add_dataset(home, Settings(home=home.root), args.data, "data")
        config = TrainConfig(info.dataset_id, eval_records=64, max_length=args.max_length).resolved()
        data = replace(prepare_data(home.tmp, home, config, tokenizer), samples=[])
    ways = {"8 bits": {"weight_bits": 8}, "as usual": {}}
    if device.type == "cuda":
        ways["pure bf16"] = {"precision": "bf16_pure"}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for seed in args.seeds:
        for name, settings in ways.items():
            own = {"max_steps": args.steps, "eval_steps": 0, "seed": seed, "rank": args.rank, "batch_size": args.batch}
            found[name].append(
                trained_loss(folder, tokenizer, data, TrainConfig("x", **own, **settings).resolved(), device)
            )
            note(f"held-out loss, order {seed}, {name}", round(found[name][-1], 4))
    means = {name: statistics.mean(losses) for name, losses in found.items()}
    for name, mean in means.items():
        note(f"held-out loss, mean of {len(args.seeds)} orders, {name}", round(mean, 4))
        if name != "8 bits":
            note(f"8 bits against {name}", round(means["8 bits"] / mean - 1, 4))


def trained_loss(folder: Path, tokenizer, data, config: TrainConfig, device: torch.device) -> float:
    precision = devices.precision_of(config, device)
    torch.manual_seed(config.seed)
    place = torch.device("cpu") if config.quantises else device
    model, _ = load_causal(folder, dtype=devices.weight_dtype(precision), device=place)
    if config.quantises:
        model = quantise(model, config.target_modules, device)
    loop = Loop(model, tokenizer, build_optimizer(model, config), data, config, precision, lambda kind, **fields: None)
    loop._verify_loss()
    started = time.perf_counter()
    for _ in range(config.max_steps):
        loop._step()
    loop._settle()
    note(f"a step of the loss's runs, weight_bits {config.weight_bits}, s",
         round((time.perf_counter() - started) / config.max_steps, 3))  # fmt: skip
    return loop.objective.evaluate()[0]["loss"]


def starter() -> Path:
    from llmdemo.models.starter import fetch_starter

    return fetch_starter(Home(Settings.from_env().home).prepare())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", default="memory,loss")
    parser.add_argument("--shapes", default="7B,3.8B")
    parser.add_argument("--data", type=Path, help="for the loss")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--steps", type=int, default=84)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[7, 8, 9])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    device = torch.device(args.device)
    note("device", torch.cuda.get_device_name() if args.device == "cuda" else "CPU")
    note("torch", torch.__version__)
    try:
        if "loss" in args.only:
            loss(args, device)
        forget_peak(device)
        if "memory" in args.only:
            memory(args.shapes.split(","), device)
    finally:  # what was measured before an error, or the time was up, is kept
        print(json.dumps(figures), flush=True)
        if args.out:
            args.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
