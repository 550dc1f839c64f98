"""A model without its weights, and the bytes that a forward pass keeps for the backward pass.

Shapes without numbers, on the meta device or as fake tensors. Architectures differ in the masks that they take and in
where they look for their attention: several ways are tried, and where none works, a formula gives a rough figure. Knows
nothing of optimizers.
"""

import contextlib
import copy
import logging
import threading
from collections.abc import Iterator

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AttentionInterface, PreTrainedModel
from transformers.utils import logging as transformers_logging

from llmdemo.models.catalog import ModelEntry
from llmdemo.models.load import load_outline
from llmdemo.training import device as devices
from llmdemo.training.targets import base_of

_ATTENTION = "llmdemo_outline"
_SILENCED = threading.Lock()  # the library's verbosity is one for all threads
log = logging.getLogger(__name__)
# What torch logs of an architecture that cannot be asked this way is no news: another way is tried.
logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)


def lay_out(entry: ModelEntry, dtype: torch.dtype, classifies: bool) -> PreTrainedModel:
    """The model of `entry` on the meta device, with the attention that it would be trained with.

    Raises UserError for a folder that may not be loaded, and what transformers raises for a model that cannot be laid
    out without numbers.
    """
    AttentionInterface.register(_ATTENTION, _fused_attention)
    with _SILENCED:
        verbosity = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity_error()
        try:
            return load_outline(entry, dtype, classifies=classifies)
        finally:
            transformers_logging.set_verbosity(verbosity)


_FEW = 3
"""Layers of which a model is laid out where all are alike: what one more adds, every other adds too."""


def saved_bytes(model: nn.Module, records: int, length: int, precision: str, device: torch.device) -> tuple[int, bool]:
    """(bytes of the tensors that a forward pass of the body saves, the weights apart, each storage once; whether that
    is only a rough estimate, by `formula_bytes`)."""
    place = _alike_layers(model)
    if place is not None:
        parent, name = place
        layers = getattr(parent, name)
        found = []
        try:
            for count in (_FEW - 1, _FEW):
                setattr(parent, name, nn.ModuleList(list(layers)[:count]))
                found.append(_saved_or_rough(model, records, length, precision, device))
        finally:
            setattr(parent, name, layers)
        (fewer, _), (few, rough) = found
        if few > fewer and not any(was_rough for _, was_rough in found):
            return few + (few - fewer) * (len(layers) - _FEW), rough
    return _saved_or_rough(model, records, length, precision, device)


def _alike_layers(model: nn.Module) -> tuple[nn.Module, str] | None:
    """Where the model keeps its layers, as (module, attribute), if they are more than a few and all of one kind."""
    count = getattr(model.config, "num_hidden_layers", None)
    kinds = set(getattr(model.config, "layer_types", None) or [""])
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == count and count > _FEW and len(kinds) == 1:
                shapes = {tuple((n, type(m).__name__) for n, m in layer.named_modules()) for layer in child}
                sizes = {tuple((n, p.shape) for n, p in layer.named_parameters()) for layer in child}
                return (module, name) if len(shapes) == len(sizes) == 1 else None
    return None


def _saved_or_rough(
    model: nn.Module, records: int, length: int, precision: str, device: torch.device
) -> tuple[int, bool]:
    for attention, whole_mask in _ways(model.config, device):
        try:
            with _attention(model.config, attention):
                return _saved_bytes(model, records, length, precision, whole_mask), False
        except Exception as error:  # an architecture may raise anything here: it is only not known how to ask it
            log.debug("%s with %s attention: %s", type(model).__name__, attention, error)
    return formula_bytes(model.config, records, length, precision, _is_fused(model.config, device)), True


def _ways(config, device: torch.device) -> Iterator[tuple[str, bool]]:
    """(attention, whether the mask is the whole [b, 1, t, t] one), the truest first.

    Only models with fused attention get ours; the others keep matrices of probabilities, and so does PyTorch's own on a
    CPU where attention has dropout.
    """
    if _is_fused(config, device):
        yield _ATTENTION, True
        yield _ATTENTION, False
        yield config._attn_implementation, False
    yield "eager", False
    yield "eager", True


def _is_fused(config, device: torch.device) -> bool:
    dropout = any(getattr(config, name, 0) for name in ("attention_dropout", "attn_pdrop"))
    return config._attn_implementation != "eager" and not (device.type == "cpu" and dropout)


@contextlib.contextmanager
def _attention(config, name: str):
    kept = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = kept


def formula_bytes(config, records: int, length: int, precision: str, fused: bool) -> int:
    """A rough figure for `saved_bytes` from the config alone.

    A layer keeps some 12 hidden states a token (norms' inputs, queries, keys, values, the sums), 4 of the MLP's width, and
    unless its attention is fused two matrices of probabilities a head: after Korthikanti et al., arXiv 2205.05198, section 4.1, dropout left out.
    """
    hidden, layers = (
        _number(config, "hidden_size", "n_embd", "d_model"),
        _number(config, "num_hidden_layers", "n_layer"),
    )
    heads = _number(config, "num_attention_heads", "n_head")
    width = _number(config, "intermediate_size", "ffn_dim", "n_inner") or 4 * hidden
    probabilities = 0 if fused else 2 * heads * length
    values = layers * records * length * (12 * hidden + 4 * width + probabilities)
    return values * (2 if precision != "fp32" else 4)


def _number(config, *names: str) -> int:
    found = (getattr(config, name, None) for name in names)
    return next((value for value in found if isinstance(value, int)), 0)


def _saved_bytes(model: nn.Module, records: int, length: int, precision: str, whole_mask: bool) -> int:
    if precision != "bf16":
        return _saved_by(model, records, length, "meta", contextlib.nullcontext(), whole_mask)
    # Autocast passes tensors of the meta device by; fake ones, which have no numbers either, say that they are on a CPU.
    cpu, own = torch.device("cpu"), copy.deepcopy(model)
    with FakeTensorMode(allow_non_fake_inputs=True):
        own.to_empty(device=cpu)
        return _saved_by(own, records, length, cpu, devices.autocast(precision, cpu), whole_mask)


def _saved_by(model: nn.Module, records: int, length: int, device, autocast, whole_mask: bool) -> int:
    own = {t.untyped_storage()._cdata for tensors in (model.parameters(), model.buffers()) for t in tensors}
    seen: dict[int, int] = {}
    alive = []  # a storage that was freed could lend its address to the next

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            seen[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    ids = torch.zeros((records, length), dtype=torch.long, device=device)
    shape = (records, 1, length, length) if whole_mask else (records, length)
    mask = torch.ones(shape, dtype=torch.bool if whole_mask else torch.long, device=device)
    base = base_of(model)
    body = getattr(base, str(base.base_model_prefix))
    with autocast, torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        body.train()(input_ids=ids, attention_mask=mask, use_cache=False)
    return sum(seen.values())


def _fused_attention(module, query, key, value, attention_mask, **options):
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
