"""The memory ledger: what a run will take, before it starts, by what takes it.

The model is laid out on the meta device (shapes without numbers), the run's own code picks its matrices, and one
forward pass there says which tensors the backward pass will need. Knows nothing of runs and pages.
"""

from dataclasses import asdict, dataclass, replace

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.utils import logging as transformers_logging

from llmdemo.models.catalog import ModelEntry
from llmdemo.models.load import load_outline
from llmdemo.training import device as devices
from llmdemo.training.adamw import CHUNK_VALUES
from llmdemo.training.adapters import add_adapters
from llmdemo.training.config import TrainConfig
from llmdemo.training.loss import CHUNK_BYTES
from llmdemo.training.optimizer import FIRST_SHARE
from llmdemo.training.subspace import Subspace
from llmdemo.training.targets import find_targets

RUNTIME_BYTES = 490 * 2**20
"""A worker on a CPU before it loads a model: Python, torch, transformers, accelerate (measured; a GPU's is not counted)."""
HEAP_BYTES = 430 * 2**20
"""Most that the C library's heap holds in gaps between what is used, on a CPU (measured with ledger_check.py)."""
_HEAP_SHARE, _LORA_HEAP_SHARE = 0.35, 0.75
"""What these gaps add to activations, gradients and what a step needs; adapters leave three short-lived results a layer."""
_SEVERAL_GAPS = 1.7
"""How much wider they are where a step has several micro-batches, each of another length."""
_ATTENTION = "llmdemo_outline"


@dataclass(frozen=True)
class Ledger:
    """Bytes by what takes them. `total` is the predicted peak: not all of them are there at the same moment."""

    runtime: int
    weights: int
    gradients: int
    subspace: int
    moments: int
    activations: int
    logits: int
    total: int

    def to_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Batch:
    """The largest batch of a run: records, tokens of the longest one, trained tokens in all."""

    records: int
    length: int
    trained: int
    shared: int = 0
    """Tokens with which all records begin and that go through the model once (loss.py)."""


@dataclass(frozen=True)
class _Sizes:
    """Numbers of values."""

    low: int = 0
    """Projected gradients."""
    basis: int = 0
    projected: int = 0
    """The matrices that are projected, in all; `largest` of them."""
    largest: int = 0
    rest: int = 0
    """Other weights that are trained, in all; `largest_rest` of them."""
    largest_rest: int = 0


def predict(
    entry: ModelEntry, config: TrainConfig, batch: Batch, device: torch.device, runtime: int = RUNTIME_BYTES
) -> Ledger:
    """What a run of `config` on `entry` takes on `device` with batches like `batch`. Raises UserError as the run would.

    `runtime`: bytes that the worker takes on a CPU before it loads a model.
    """
    config = config.resolved()
    precision = devices.resolve_precision(config.precision, device)
    dtype = devices.weight_dtype(precision)
    model = _outline(entry, dtype, config.task == "classify")
    if config.method == "lora":
        model = add_adapters(model, config)
    size = dtype.itemsize
    weights = sum(p.numel() for p in model.parameters()) * size
    sizes = _sizes(model, config)
    trained, head = sizes.low + sizes.rest, _head_values(model)
    moments = 2 * trained * (1 if config.optim_bits == 8 else size)
    moments += trained // 256 * 8 if config.optim_bits == 8 else 0
    basis = sizes.basis * (1 if config.basis_bits == 8 else size)
    activations, one_layer = _activations(model, config, batch, precision)
    logits = _logits_bytes(model, batch)
    kept = 0 if config.offload_gradients and device.type == "cuda" else sizes.low * size
    several = config.gradient_accumulation_steps > 1
    # The peak is at one of three moments: when the backward pass begins, when it ends, or inside the optimizer's step.
    begin = activations + logits + head * size + (kept + sizes.rest * size if several else 0)
    end = kept + sizes.rest * size + _full_gradients(sizes, config, batch, size)
    end += _embedding_values(model) * size * (1 if head else 0) + one_layer
    step = kept + sizes.rest * size + _step_bytes(sizes, config, head, size, device)
    peak = max(begin, end, step)
    if device.type == "cpu":
        gaps = _SEVERAL_GAPS if several else 1
        lora = config.method == "lora"
        peak += int(_LORA_HEAP_SHARE * peak) if lora else int(gaps * min(HEAP_BYTES, _HEAP_SHARE * peak))
    else:
        runtime = 0
    total = runtime + weights + basis + moments + peak
    return Ledger(runtime, weights, kept + sizes.rest * size, basis, moments, activations, logits, total)


def _full_gradients(sizes: _Sizes, config: TrainConfig, batch: Batch, size: int) -> int:
    """Full gradients of matrices that are due at once, and the fp32 copies of the one that is refreshed."""
    if not sizes.projected:
        return 0
    if not config.stagger:
        together = sizes.projected
    elif config.gradient_accumulation_steps > 1 or config.num_processes > 1 or batch.shared:
        together = max(sizes.largest, int(FIRST_SHARE * sizes.projected))
    else:
        together = sizes.largest
    return together * size + sizes.largest * 8


def _step_bytes(sizes: _Sizes, config: TrainConfig, head: int, size: int, device: torch.device) -> int:
    """Intermediate results of the optimizer's step."""
    if config.optim_bits == 8:
        # Without a GPU's kernels, bitsandbytes makes five fp32 copies of the matrix at hand.
        unpacked = 20 * max(head, sizes.largest_rest) if device.type == "cpu" else 0
        return max(unpacked, sizes.largest * size * 2)
    return min(sizes.low + sizes.rest, max(CHUNK_VALUES, head)) * size * 2


def report(
    entry: ModelEntry,
    config: TrainConfig,
    batch: Batch,
    device: torch.device,
    taken: int = 0,
    runtime: int = RUNTIME_BYTES,
) -> dict:
    """JSON-able: the prediction, what AdamW would take, what there is, and whether it fits.

    `taken` is what the asking process holds already and a run may count as its own; `runtime` as for `predict`.
    """
    predicted = predict(entry, config, batch, device, runtime)
    available = devices.available_bytes(device) + taken
    adamw = replace(config, method="adamw", learning_rate=None)
    return {
        "predicted": predicted.to_dict(),
        "adamw_total": predicted.total
        if config.method == "adamw"
        else predict(entry, adamw, batch, device, runtime).total,
        "available": available,
        "fits": predicted.total <= available,
    }


def _sizes(model: nn.Module, config: TrainConfig) -> _Sizes:
    low = basis = largest = 0
    projected = set()
    if config.method == "galore":
        for target in find_targets(model, config.target_modules):
            weight = target.module.weight
            if weight in projected:
                continue
            projected.add(weight)
            space = Subspace(tuple(weight.shape), config.rank, config.proj_type)
            rows, columns = space.shape
            low += space.low_shape[0] * space.low_shape[1]
            basis += space.rank * ((rows if space.side != "right" else 0) + (columns if space.side != "left" else 0))
            largest = max(largest, weight.numel())
    rest = [p.numel() for p in model.parameters() if p.requires_grad and p not in projected]
    values = sum(weight.numel() for weight in projected)
    return _Sizes(low, basis, values, largest, sum(rest), max(rest, default=0))


def _head_values(model: nn.Module) -> int:
    """Values of the output embedding's gradient, which comes first in the backward pass."""
    head = model.get_output_embeddings()
    return head.weight.numel() if head is not None and head.weight.requires_grad else 0


def _embedding_values(model: nn.Module) -> int:
    """Values that the input embedding's gradient adds at the end where it is tied to the output's: a second copy."""
    first, last = model.get_input_embeddings(), model.get_output_embeddings()
    tied = first is not None and last is not None and first.weight is last.weight
    return first.weight.numel() if tied and first.weight.requires_grad else 0


def _logits_bytes(model: nn.Module, batch: Batch) -> int:
    """fp32 logits of the labels, their log-probabilities and their gradient."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    one = batch.trained * vocabulary * 4
    return 3 * min(one, CHUNK_BYTES)


def _activations(model: nn.Module, config: TrainConfig, batch: Batch, precision: str) -> tuple[int, int]:
    """(bytes kept for the backward pass, bytes of one layer's). With checkpointing, one state a layer and one layer's all."""
    layers = max(1, getattr(model.config, "num_hidden_layers", 1))
    kept = _saved_bytes(model, batch.records, batch.length - batch.shared, precision)
    if batch.shared:
        kept += _saved_bytes(model, 1, batch.shared, precision) + _shared_states(model, batch, precision)
    if not config.activation_checkpointing:
        return kept, kept // layers
    hidden = getattr(model.config, "hidden_size", 0)
    size = 2 if precision != "fp32" else 4
    return layers * batch.records * batch.length * hidden * size + kept // layers, kept // layers


def _shared_states(model: nn.Module, batch: Batch, precision: str) -> int:
    """Keys and values that each row's attention sees of the beginning that all rows share, and the cache of all."""
    config = model.config
    heads = getattr(config, "num_attention_heads", 1)
    width = getattr(config, "head_dim", None) or getattr(config, "hidden_size", 0) // heads
    few = getattr(config, "num_key_value_heads", None) or heads
    values = batch.records * width * (heads * batch.shared + few * batch.length)
    return 2 * getattr(config, "num_hidden_layers", 1) * values * (2 if precision != "fp32" else 4)


def _saved_bytes(model: nn.Module, records: int, length: int, precision: str) -> int:
    """Bytes of the tensors that a forward pass of the body saves, the weights apart, each storage once."""
    own = {p.untyped_storage()._cdata for p in model.parameters()}
    seen: dict[int, int] = {}
    alive = []  # a storage that was freed could lend its address to the next

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            seen[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    ids = torch.zeros((records, length), dtype=torch.long, device="meta")
    mask = torch.ones((records, 1, length, length), dtype=torch.bool, device="meta")
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    body = getattr(base, base.base_model_prefix)
    with devices.autocast(precision, torch.device("cpu")), torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        body.train()(input_ids=ids, attention_mask=mask, use_cache=False)
    return sum(seen.values())


def _outline(entry: ModelEntry, dtype: torch.dtype, classifies: bool):
    AttentionInterface.register(_ATTENTION, _outline_attention)
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        return load_outline(entry, dtype, _ATTENTION, classifies)
    finally:
        transformers_logging.set_verbosity(verbosity)


def _outline_attention(module, query, key, value, attention_mask, **options):
    """Attention as the fused kernels save it: q, k, v and the result, and no matrix of probabilities."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    return _SavesFour.apply(query, key, value).transpose(1, 2), None


class _SavesFour(torch.autograd.Function):
    """Saves what scaled_dot_product_attention saves; computes nothing, which on the meta device is all there is."""

    @staticmethod
    def forward(ctx, query, key, value):
        result = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, result, query[..., 0].contiguous())
        return result

    @staticmethod
    def backward(ctx, gradient):
        return gradient, gradient, gradient
