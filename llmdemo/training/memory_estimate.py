"""The memory estimate: what a run will take, before it starts, by what takes it.

The model is laid out on the meta device (shapes without numbers), the run's own code picks its matrices, and one
forward pass there says which tensors the backward pass will need. Knows nothing of runs and pages.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from llmdemo.core.errors import UserError
from llmdemo.jobs.environment import GIVEN_BACK_BYTES
from llmdemo.models.catalog import ModelEntry
from llmdemo.models.check import check_folder
from llmdemo.models.load import load_config
from llmdemo.settings.training import HEADED, TrainConfig
from llmdemo.training import device as devices
from llmdemo.training import one_moment, quantised
from llmdemo.training.activation_estimate import formula_bytes, lay_out
from llmdemo.training.activations import Batch, activations_of, logits_bytes
from llmdemo.training.adamw import CHUNK_VALUES, SLICE_VALUES
from llmdemo.training.adapters import add_adapters
from llmdemo.training.factors import factorise
from llmdemo.training.offload import IN_FLIGHT
from llmdemo.training.quantised import SLICE_GPU, block_of
from llmdemo.training.refresh_schedule import FIRST_SHARE
from llmdemo.training.subspace import BLOCK_4_BITS, Subspace
from llmdemo.training.targets import find_targets, output_embeddings

RUNTIME_BYTES = 490 * 2**20
"""A worker on a CPU before it loads a model: Python, torch, transformers, accelerate (measured; a GPU's is not counted)."""
HEAP_BYTES = 430 * 2**20
"""Most that the C library's heap holds in gaps between what is used, on a CPU (measured with memory_estimate_check.py)."""
_HEAP_SHARE, _LORA_HEAP_SHARE = 0.35, 0.75
"""What these gaps add to activations, gradients and what a step needs; adapters leave three short-lived results a layer."""
_SEVERAL_GAPS = 1.7
"""How much wider they are where a step has several micro-batches, each of another length."""
_UNPACKED_VALUES = 4096
"""Values below which bitsandbytes keeps a tensor's moments in 32 bits."""
log = logging.getLogger(__name__)
PARTS = ("runtime", "weights", "gradients", "subspace", "moments", "activations", "logits")


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by what takes them. `total` is the predicted peak: the parts, and `other`, less `apart`."""

    runtime: int
    weights: int
    gradients: int
    subspace: int
    moments: int
    activations: int
    logits: int
    total: int
    rough: bool = False
    """Whether the activations, or all of it, could only be estimated by a formula."""

    @property
    def other(self) -> int:
        """What comes and goes inside a step (a layer's gradients, the optimizer's results, gaps of the heap)."""
        return max(0, self.total - self._sum())

    @property
    def apart(self) -> int:
        """By how much the parts are more than the peak, as activations are gone when the last gradients come."""
        return max(0, self._sum() - self.total)

    def _sum(self) -> int:
        return sum(getattr(self, part) for part in PARTS)

    def to_dict(self) -> dict:
        return {**asdict(self), "other": self.other, "apart": self.apart}


@dataclass(frozen=True)
class _Sizes:
    """Numbers of values."""

    lows: tuple[tuple[int, ...], ...] = ()
    """Shapes of the projected gradients; `others`: of other weights that are trained."""
    others: tuple[tuple[int, ...], ...] = ()
    low: int = 0
    """Projected gradients."""
    basis: int = 0
    vectors: int = 0
    """Vectors of all bases; bytes and scales of these in 4 bits."""
    in_4_bits: int = 0
    scales: int = 0
    projected: int = 0
    """The matrices that are projected, in all; `largest` of them."""
    largest: int = 0
    rest: int = 0
    """Other weights that are trained, in all; `largest_rest` of them."""
    largest_rest: int = 0


@dataclass(frozen=True)
class _Parts:
    """What the model takes, whatever it is trained with."""

    weights: int
    """Bytes, adapters included."""
    size: int
    """Bytes of a value that is trained: adapters stay in fp32 beside weights in bf16."""
    sizes: _Sizes
    head: int
    """Values of the output embedding's gradient, which comes first in the backward pass."""
    copied: int
    """Values that the input embedding's gradient adds at the end where it is tied to the output's: a second copy."""
    activations: int
    """Bytes, and those of one layer."""
    one_layer: int
    state: int
    """Bytes of what goes from one layer to the next."""
    logits: int
    """Bytes."""
    rough: bool


def predict(
    entry: ModelEntry, config: TrainConfig, batch: Batch, device: torch.device, runtime: int = RUNTIME_BYTES
) -> MemoryEstimate:
    """What one process of a run of `config` on `entry` takes on `device` with batches like `batch`. Raises UserError as
    the run would.

    `runtime`: bytes that the worker takes on a CPU before it loads a model.
    """
    config = config.resolved()
    batch = batch.at_once(config)
    precision = devices.precision_of(config, device)
    dtype = devices.weight_dtype(precision)
    try:
        parts = _laid_out(entry, config, batch, dtype, precision, device)
    except UserError:
        raise
    except Exception:  # a model that cannot be laid out may still be trained: a rough figure is better than none
        log.warning("the model of %s cannot be laid out; its memory is guessed", entry.title, exc_info=True)
        parts = _by_formula(entry, config, batch, dtype, precision, device)
    return _summed(parts, config, batch, device, runtime)


def _laid_out(
    entry: ModelEntry, config: TrainConfig, batch: Batch, dtype: torch.dtype, precision: str, device: torch.device
) -> _Parts:
    model = lay_out(entry, dtype, config.task in HEADED)
    if config.method == "lora":
        model = add_adapters(model, config)
    if config.factor_rank:
        factorise(model, config.factor_rank, config.target_modules)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    if config.quantises:
        weights += _quantised_bytes(model, config, device)
    size = max((p.element_size() for p in model.parameters() if p.requires_grad), default=dtype.itemsize)
    activations, one_layer, rough = activations_of(model, config, batch, precision, device)
    head, copied = _head_values(model), _embedding_values(model)
    inputs: Any = model.get_input_embeddings()
    logits = logits_bytes(inputs.weight.shape[0], batch)
    state = batch.records * batch.length * inputs.weight.shape[1] * (4 if precision == "fp32" else 2)
    if config.task == "grpo":  # the trained weights as they were, which KL is measured against (objectives/policy.py)
        weights += sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return _Parts(weights, size, _sizes(model, config), head, copied, activations, one_layer, state, logits, rough)


def _quantised_bytes(model: nn.Module, config: TrainConfig, device: torch.device) -> int:
    """What quantised matrices take more than plain ones: less than nothing."""
    weights = {t.weight for t in find_targets(model, config.target_modules) if type(t.module) is nn.Linear}
    return sum(quantised.bytes_of(tuple(w.shape), device) - w.numel() * w.element_size() for w in weights)


def _by_formula(
    entry: ModelEntry, config: TrainConfig, batch: Batch, dtype: torch.dtype, precision: str, device: torch.device
) -> _Parts:
    """From the number of weights and the config alone: all but the embeddings is taken for square matrices."""
    shape, parameters = load_config(entry), check_folder(entry.path).parameters if entry.path else entry.parameters
    width, vocabulary = max(1, getattr(shape, "hidden_size", 0) or 1), getattr(shape, "vocab_size", 0) or 0
    embedding = min(parameters, width * vocabulary)
    embeddings = min(parameters, embedding * (1 if getattr(shape, "tie_word_embeddings", True) else 2))
    matrices = parameters - embeddings
    low = matrices // width * min(config.rank, width)
    weights, size = parameters * dtype.itemsize, dtype.itemsize
    if config.quantises:
        weights = embeddings * dtype.itemsize + matrices * (1 if device.type == "cuda" else 2)
    sizes = _Sizes((), ((parameters,),), rest=parameters, largest_rest=embedding)
    if config.method == "lora":
        weights, size = weights + 2 * low * 4, 4
        sizes = _Sizes((), ((2 * low,),), rest=2 * low, largest_rest=width * config.rank)
    elif config.method == "galore":
        vectors = matrices // width**2 * min(config.rank, width)
        shapes = ((low,),), ((embeddings,),)
        basis = vectors * width, vectors, vectors * width // 2, vectors * width // BLOCK_4_BITS
        sizes = _Sizes(*shapes, low, *basis, matrices, 4 * width**2, embeddings, embedding)
    kept = formula_bytes(shape, batch.records, batch.length, precision, fused=False)  # on the high side where it is
    layers = max(1, getattr(shape, "num_hidden_layers", 1) or 1)
    head = 0 if config.method == "lora" else embedding
    kept = kept // layers if config.activation_checkpointing else kept
    state, logits = batch.records * batch.length * width * dtype.itemsize, logits_bytes(vocabulary, batch)
    return _Parts(weights, size, sizes, head, 0, kept, kept // layers, state, logits, True)


def _summed(parts: _Parts, config: TrainConfig, batch: Batch, device: torch.device, runtime: int) -> MemoryEstimate:
    """The memory estimate of a resolved config."""
    sizes, size, activations, logits = parts.sizes, parts.size, parts.activations, parts.logits
    moments = _moments_bytes(sizes, config, size)
    basis = {8: sizes.basis + sizes.vectors * size, 4: sizes.in_4_bits + sizes.scales * size}.get(
        config.basis_bits or 32, sizes.basis * size
    )
    offloads = config.offloads and device.type == "cuda"
    kept = 0 if offloads else sizes.low * size
    several = batch.is_one_of_several(config)
    # The peak is at one of three moments: when the backward pass begins, when it ends, or inside the optimizer's step.
    # Captured passes leave their gradients in sums that are there all the time (captured.py), and several processes in
    # the buffers that they send from (reduce.py).
    there = several or config.num_processes > 1 or _captures(config, device)
    head, held = parts.head * size, kept + sizes.rest * size if there else 0
    # On a CPU the head's gradient is added to the sum where it is, and the input embedding's to that (vocabulary.py).
    cpu, lora = device.type == "cpu", config.method == "lora"
    begin = activations + logits + (max(head, held) if cpu else head + held)
    end = kept + sizes.rest * size + _full_gradients(sizes, config, batch, size, device)
    end += (parts.copied * size if parts.head and not cpu else 0) + parts.one_layer
    step = kept + sizes.rest * size + _step_bytes(sizes, config, parts.head, size, device)
    # On their way to the computer's memory, and a dequantised matrix (on a CPU, as it is made, twice).
    passing = 2 * IN_FLIGHT * max(map(math.prod, sizes.lows)) * size if offloads else 0
    passing += sizes.largest * size * (1 if device.type == "cuda" else 2) if config.quantises else 0
    peak = max(begin + passing, end + passing, step)
    if cpu and config.saves_memory and not lora:
        # Pages are given back after each pass and around the step (passes.py, loop.py), so a pass leaves gaps beside what it
        # holds itself in smaller blocks than go back anyway, and the step finds none.
        heaped = kept + passing + (activations if parts.state < GIVEN_BACK_BYTES else 0)
        peak = max(max(begin, end) + passing + min(HEAP_BYTES, heaped), step)
    elif cpu:
        gaps = _SEVERAL_GAPS if several else 1
        peak += int(_LORA_HEAP_SHARE * peak) if lora else int(gaps * min(HEAP_BYTES, _HEAP_SHARE * peak))
    runtime = runtime if cpu else 0
    total = runtime + parts.weights + basis + moments + peak
    return MemoryEstimate(
        runtime, parts.weights, kept + sizes.rest * size, basis, moments, activations, logits, total, rough=parts.rough
    )


def _captures(config: TrainConfig, device: torch.device) -> bool:
    """Whether the run's passes are captured as CUDA graphs, as passes.py and the objectives decide it."""
    launched = config.activation_checkpointing or config.offloads or config.compile or config.packing
    return device.type == "cuda" and config.task in ("chat", "text", "pretrain") and not launched


def _moments_bytes(sizes: _Sizes, config: TrainConfig, size: int) -> int:
    """Bytes of what the optimizer keeps: two moments; in 8 bits with two scales a block of 256 values and two tables of
    what the bits mean. Adafactor: a first moment, a row and a column of the second, and a norm, in fp32 but for those
    of projected gradients, which stay in the weights' type. Beside quantised matrices, as one_moment.py says."""
    counts = [math.prod(shape) for shape in (*sizes.lows, *sizes.others)]
    if config.quantises:
        return sum(map(one_moment.state_bytes, (*sizes.lows, *sizes.others)))
    if config.method == "galore" and config.galore_optimizer == "adafactor":
        kept = [size * _adafactor_values(shape, config) for shape in sizes.lows]
        return sum(kept) + 4 * sum(_adafactor_values(shape, config) for shape in sizes.others) + 4 * len(counts)
    if config.optim_bits == 8:
        packed = [count for count in counts if count >= _UNPACKED_VALUES]
        scales = 8 * sum(-(-count // 256) for count in packed) + (2 * 256 * 4 if packed else 0)
        return 2 * sum(packed) + 8 * (sum(counts) - sum(packed)) + scales
    counters = 0 if config.method == "galore" else 4 * len(counts)
    return 2 * size * sum(counts) + counters


def _adafactor_values(shape: tuple[int, ...], config: TrainConfig) -> int:
    """Values of both moments of a tensor."""
    first = math.prod(shape) if config.beta1 else 0
    if len(shape) < 2:
        return first + math.prod(shape)
    return first + math.prod(shape[:-1]) + math.prod(shape[:-2]) * shape[-1]


def _full_gradients(sizes: _Sizes, config: TrainConfig, batch: Batch, size: int, device: torch.device) -> int:
    """Full gradients of matrices that are due at once, and the fp32 copies of the one that is refreshed."""
    if not sizes.projected:
        return 0
    if config.offloads and device.type == "cuda":  # each goes to the computer's memory: one on its way, one at work
        together = 2 * sizes.largest
    elif not config.stagger:
        together = sizes.projected
    elif batch.is_one_of_several(config) or config.num_processes > 1 or batch.shared:
        together = max(sizes.largest, int(FIRST_SHARE * sizes.projected))
    else:
        together = sizes.largest
    return together * size + sizes.largest * 8


def _step_bytes(sizes: _Sizes, config: TrainConfig, head: int, size: int, device: torch.device) -> int:
    """Intermediate results of the optimizer's step."""
    if config.quantises:
        # The update of a matrix, its projected gradient, and what its slices take in fp32.
        slices = 6 * 4 * (SLICE_GPU if device.type == "cuda" else 0)
        return sizes.largest * size + max(map(math.prod, sizes.lows)) * size + slices
    if config.optim_bits == 8:
        # Without a GPU's kernels, bitsandbytes makes five fp32 copies of the matrix at hand.
        unpacked = 20 * max(head, sizes.largest_rest) if device.type == "cpu" else 0
        return max(unpacked, sizes.largest * size * 2)
    if config.method == "galore" and device.type == "cpu":
        together = max([SLICE_VALUES, *map(math.prod, sizes.lows)])
    else:
        together = max(CHUNK_VALUES, head)
    return min(sizes.low + sizes.rest, together) * size * 2


def report(
    entry: ModelEntry,
    config: TrainConfig,
    batch: Batch,
    device: torch.device,
    taken: int = 0,
    runtime: int = RUNTIME_BYTES,
    here: int | None = None,
    predicting: Callable = predict,
) -> dict:
    """JSON-able: the prediction for one process, what AdamW would take, what all processes that share this memory need,
    what there is, and whether it fits.

    `predicting`: `predict`, or a function that remembers what it said. `taken` is what the asking process holds already and a run may count as its own; `runtime` as for `predict`; `here`:
    the processes of this machine, by default all of the run's.
    """
    found = _report(entry, config, batch, device, taken, runtime, here, predicting)
    if config.precision == "auto" and device.type == "cuda" and not found["fits"]:
        # What a run then turns to (automatic.py).
        pure = replace(config, precision="bf16_pure")
        found = _report(entry, pure, batch, device, taken, runtime, here, predicting)
    return found


def _report(
    entry: ModelEntry,
    config: TrainConfig,
    batch: Batch,
    device: torch.device,
    taken: int,
    runtime: int,
    here: int | None,
    predicting: Callable,
) -> dict:
    # What no byte depends on is left open, so that who remembers predictions knows two alike ones.
    config = replace(config, learning_rate=None, scale=None, schedule=None)
    predicted = predicting(entry, config, batch, device, runtime)
    # Each process has a GPU of its own; on a CPU all share the machine's memory.
    sharing = 1 if device.type == "cuda" else here or config.num_processes
    needed, available = sharing * predicted.total, devices.available_bytes(device) + sharing * taken
    adamw = predicting(entry, replace(config, method="adamw"), batch, device, runtime)
    return {
        "predicted": predicted.to_dict(),
        "adamw_total": adamw.total,
        "needed": needed,
        "available": available,
        "fits": needed <= available,
        "rough": predicted.rough,
    }


def _sizes(model: nn.Module, config: TrainConfig) -> _Sizes:
    low = basis = vectors = in_4_bits = scales = largest = 0
    projected: set[nn.Parameter] = set()
    lows = []
    if config.method == "galore":
        for target in find_targets(model, config.target_modules):
            weight = target.weight
            if weight in projected:
                continue
            projected.add(weight)
            space = Subspace((weight.shape[0], weight.shape[1]), config.rank, config.proj_type)
            rows, columns = space.shape
            lows.append(space.low_shape)
            low += math.prod(space.low_shape)
            basis += space.rank * ((rows if space.side != "right" else 0) + (columns if space.side != "left" else 0))
            vectors += space.rank * (2 if space.side == "full" else 1)
            for height, width in space.basis_shapes:
                in_4_bits += height * -(-width // 2)
                scales += height * (width // block_of(width, BLOCK_4_BITS))
            largest = max(largest, weight.numel())
    others = [tuple(p.shape) for p in model.parameters() if p.requires_grad and p not in projected]
    rest = [math.prod(shape) for shape in others]
    values = sum(weight.numel() for weight in projected)
    bases = basis, vectors, in_4_bits, scales
    return _Sizes(tuple(lows), tuple(others), low, *bases, values, largest, sum(rest), max(rest, default=0))


def _head_values(model: nn.Module) -> int:
    head: Any = output_embeddings(model)
    return head.weight.numel() if head is not None and head.weight.requires_grad else 0


def _embedding_values(model: PreTrainedModel) -> int:
    first: Any = model.get_input_embeddings()
    last: Any = output_embeddings(model)
    tied = first is not None and last is not None and first.weight is last.weight
    return first.weight.numel() if tied and first.weight.requires_grad else 0
