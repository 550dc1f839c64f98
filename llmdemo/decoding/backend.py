"""Selects the forward pass of a model: the fused one where it reproduces the model's logits, else its own. Knows no lanes.

The fused weights of the precision last used are cached as long as the model lives, and rebuilt when its parameters
have changed.
"""

import logging
import weakref
from contextlib import nullcontext

import torch
from torch import nn

from llmdemo.core.errors import UserError
from llmdemo.decoding.fused_llama import FusedLlamaForward, FusedLlamaWeights
from llmdemo.decoding.graphs import StaticForward, kernels_for
from llmdemo.decoding.huge_pages import in_huge_pages
from llmdemo.decoding.past import NOTES, PROVED, ModelForward
from llmdemo.decoding.thread_budget import ThreadBudget

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.float32}
_kept: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_proved: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
"""By the outline that models with other weights were copied from (their `outline`): the forms in which one of them passed."""
_IN_CACHES = 2**25
"""Bytes of weights up to which they need not come from memory."""
_log = logging.getLogger(__name__)


def forward_for(model, precision: str = "auto", waits: bool = False) -> FusedLlamaForward | ModelForward:
    """A fresh forward for one comparison in `precision` (settings.lane.Precision); `waits`: for one whose host has a say
    between two steps, which no captured step can wait for.

    Raises UserError when that precision needs the fused forward and the model cannot have it.
    """
    weights = fused_weights(model, precision)
    if weights is not None:
        captured = weights.device.type == "cuda" and not waits
        return StaticForward(weights, kernels_for(weights)) if captured else FusedLlamaForward(weights)
    own = next(model.parameters()).dtype
    if precision != "auto" and _DTYPES[precision] != own or precision == "int8":
        raise UserError("err_own_precision", own=str(own).removeprefix("torch."), precision=precision)
    return ModelForward(model)


def prepare(model, precision: str = "auto") -> str:
    """Does now what the first comparison would wait for (about a second for 135M weights); says in words what will run.

    Call it after loading a model, in the background. Raises UserError as forward_for does.
    """
    facts = describe(model, precision)
    if not facts["fused"]:
        return f"{type(model).__name__}'s own forward, {facts['form']}"
    how = ", compiled for this processor" if facts["compiled"] else ""
    return f"fused forward, {facts['form']}{how}, logits off by {facts['error']:.1g} of their size"


def describe(model, precision: str = "auto") -> dict:
    """The forward pass in use: {fused: ours, or False for the model's own, compiled: whether by few_rows.c, form: of the weights, error:
    relative distance of our logits from those of the model's own forward as it was loaded, or None, note: what people should know of
    it, or ""}. Makes it ready; raises UserError as forward_for does.
    """
    forward = forward_for(model, precision)
    if isinstance(forward, ModelForward):
        own = next(model.parameters()).dtype
        return {
            "fused": False,
            "compiled": False,
            "form": str(own).removeprefix("torch."),
            "error": None,
            "note": NOTES.get(forward.way, ""),
        }
    weights = forward.w
    form = "int8" if weights.int8 else str(weights.dtype).removeprefix("torch.")
    return {"fused": True, "compiled": weights.compiled is not None, "form": form, "error": weights.error, "note": ""}


def fused_weights(model, precision: str = "auto") -> FusedLlamaWeights | None:
    """The model's fused weights in `precision`, or None where its own forward must be used."""
    key = _key(model, precision)
    kept = _kept.get(model)
    if kept is None or kept[0] != key:
        _kept.pop(model, None)  # one copy of the weights at a time: memory counts for more than switching back
        kept = _kept[model] = key, _make(model, *key[:2])
    return kept[1]


def fresh_weights(model, precision: str = "auto") -> FusedLlamaWeights | None:
    """As `fused_weights`, but not kept: for a model that is in training, whose weights are others by the next time."""
    return _make(model, *_key(model, precision)[:2])


def shares_steps(model, precision: str = "auto", plain: bool = False) -> bool:
    """True if several comparisons in `precision` can batch their steps: its fused weights are ready, on a CPU or for those
    that are `plain` (plain.is_plain). Others' steps on a GPU are captured, for each comparison by itself."""
    kept = _kept.get(model)
    if kept is None or kept[0] != _key(model, precision) or kept[1] is None:
        return False
    return kept[1].device.type == "cpu" or plain


def _key(model, precision: str) -> tuple:
    dtype = next(model.parameters()).dtype if precision == "auto" else _DTYPES[precision]
    return dtype, precision == "int8", _fingerprint(model)


def _make(model, dtype: torch.dtype, int8: bool) -> FusedLlamaWeights | None:
    if not plain_llama(model) or not _fits(model, dtype):
        return None
    device = next(model.parameters()).device
    # copies of an outline are made while somebody waits, for a few tokens
    lasting = device.type == "cpu" and not hasattr(model, "outline")
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    threads = ThreadBudget(device)
    with threads.limited(), torch.inference_mode():
        with in_huge_pages() if lasting and size > _IN_CACHES else nullcontext():
            weights = FusedLlamaWeights(model, dtype, int8, threads)
        if int8 and not weights.int8:
            return None
        outline, form = getattr(model, "outline", lambda: None)(), (dtype, int8)
        proved = _proved.setdefault(outline, set()) if outline is not None else set()
        # What steps add to a prompt is the outline's: a copy's own weights are all in its prompt's logits.
        weights.error = error = difference(model, weights, steps=() if form in proved else _STEPS)
    allowed = 0.5 if int8 else 1e-3 if dtype == torch.float32 == next(model.parameters()).dtype else 0.1
    if error <= allowed:
        proved.add(form)
        return weights
    _log.warning("The fused forward differs from the model's own by %.2g: the model's own is used.", error)
    return None


def plain_llama(model) -> bool:
    """True for a model whose layers are those that the fused forward computes: nothing wrapped, packed or windowed."""
    config = model.config
    if type(model).__name__ not in PROVED or config.hidden_act != "silu":
        return False
    windows = getattr(config, "layer_types", None) or ["full_attention"]
    if set(windows) != {"full_attention"} or (type(model).__name__ == "MistralForCausalLM" and config.sliding_window):
        return False
    linears = [model.lm_head]
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        linears += [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
        linears += [mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    devices = {parameter.device for parameter in model.parameters()}
    floating = all(parameter.is_floating_point() for parameter in model.parameters())
    return all(type(linear) is nn.Linear for linear in linears) and floating and len(devices) == 1


_STEPS = ([0, 0, 0], [2, 0, 0])
"""Parents of three rows: they branch off the prompt, then change places."""


def difference(model, weights: FusedLlamaWeights, steps=_STEPS) -> float:
    """The fused logits' relative distance from the model's own, over a short prompt and steps with branching rows."""
    vocabulary = weights.vocabulary
    prompt = [(7 + 97 * i) % vocabulary for i in range(12)]
    pair = ModelForward(model), FusedLlamaForward(weights)
    logits = [forward.prefill(prompt, 3, 2) for forward in pair]
    errors = [_relative(*logits)]
    tokens = torch.tensor([5, 11, 17], device=weights.device) % vocabulary
    for order in steps:
        parents = torch.tensor(order, device=weights.device)
        errors.append(_relative(*(forward.step(tokens, parents) for forward in pair)))
    return float("inf") if any(error != error for error in errors) else max(errors)


def _relative(want: torch.Tensor, got: torch.Tensor) -> float:
    want, got = want.double(), got.double()
    return float((want - got).norm() / want.norm())


def _fits(model, dtype: torch.dtype) -> bool:
    """True if a second copy of the weights leaves a fifth of the free memory."""
    parameters = list(model.parameters())
    wide = 4 if parameters[0].device.type == "cpu" else dtype.itemsize
    needed = sum(parameter.numel() for parameter in parameters) * wide
    device = parameters[0].device
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    elif device.type == "cpu":
        import psutil  # only a CPU asks for it

        free = psutil.virtual_memory().available
    else:
        return False
    return needed < 0.8 * free


def _fingerprint(model) -> int:
    """Changes when a parameter is replaced or written to."""
    return hash(tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in model.parameters()))
