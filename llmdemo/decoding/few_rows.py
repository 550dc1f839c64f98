"""A plain Llama's layers and single products for a few rows on a CPU: packs the weights for native/few_rows.c and calls it. Knows no lanes."""

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F

from llmdemo.core import compiled
from llmdemo.decoding.kv_slots import SlotPart
from llmdemo.decoding.linears import Linear

_SOURCES = Path(__file__).parent / "native"
PAIRS, HALVES, WHOLE = range(3)
"""The forms of native/products.h."""
ROUND = 32
"""What all inner sizes, and a head's, are multiples of."""
_MANY_ROWS = 32
"""Rows beyond which AMX's units, which torch uses and this does not, are faster than all else."""
_MOST_ROWS = 128
"""Rows of which all layers are computed here: each looks at its nodes by itself, which many do faster together."""
_LOOKED_AT = 4
"""Rows of weights that are looked at first."""
_LINEARS = ("qkv", "out", "gate_up", "down")


class _Layer(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("norm1", "norm2", *_LINEARS)),
        *((f"{name}_bias", ctypes.c_void_p) for name in _LINEARS),
    ]


class _Model(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_long)
            for name in ("layers", "hidden", "heads", "kv_heads", "dim", "inner", "form", "narrow")
        ),
        ("epsilon", ctypes.c_float),
        ("layer", ctypes.POINTER(_Layer)),
    ]


class _Part(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_long) for name in ("rows", "first", "end", "turns", "layer_bytes", "head_bytes")),
        *((name, ctypes.c_void_p) for name in ("keys", "values", "mask", "rotation")),
    ]


def library() -> Any | None:
    """few_rows.c's functions, or None where they cannot be compiled. They take addresses as numbers, None for null."""
    found: Any = compiled.library(_SOURCES / "few_rows.c")
    if found is not None:
        many, at, parts = ctypes.c_long, ctypes.c_void_p, (ctypes.POINTER(_Model), ctypes.POINTER(_Part), ctypes.c_long)
        for name in ("room", "has_pairs", "block", "vector"):
            getattr(found, f"few_rows_{name}").restype = ctypes.c_long
        found.few_rows_room.argtypes = [*parts, many, many]
        found.few_rows_layers.argtypes = [*parts, at, many, at, ctypes.c_int]
        found.few_rows_product.argtypes = [many, at, at, many, many, at, many, many, at, at, at]
    return found


def form_for(dtype: torch.dtype, weights: Sequence[torch.Tensor]) -> int | None:
    """How these weights [out, in] of a model computed in `dtype` are kept here; None: not here."""
    if dtype not in (torch.float32, torch.bfloat16) or any(weight.shape[1] % ROUND for weight in weights):
        return None
    if (found := library()) is None:
        return None
    if dtype == torch.bfloat16:
        return PAIRS if found.few_rows_has_pairs() else HALVES
    if all(_is_bf16(weight[:_LOOKED_AT]) for weight in weights) and all(map(_is_bf16, weights)):
        return HALVES
    return WHOLE


def _is_bf16(weight: torch.Tensor) -> bool:
    return torch.equal(weight.bfloat16().to(weight.dtype), weight)


def has_amx() -> bool:
    """True if this CPU multiplies tiles of bf16."""
    try:
        return bool(torch.cpu._is_amx_tile_supported())
    except (RuntimeError, AttributeError):
        return False


class CompiledLinear(Linear):
    """x (M, in) → (M, out) by few_rows.c, which reads the weights once for a few rows, as fast as they come from memory."""

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        form: int,
        many: Callable[[torch.Tensor], torch.Tensor] | None,
    ):
        """`weight` (out, in) in fp32 or bf16; `form`: form_for's; `many`: the same for many rows, where there is a faster way."""
        found = library()
        assert found is not None
        self.outputs, self.inputs = weight.shape
        self.form, self._library, self.many = form, found, many
        super().__init__(self._packed(weight), bias)
        self.wide_bias = None if bias is None else bias.float().contiguous()

    def _packed(self, weight: torch.Tensor) -> torch.Tensor:
        """[out / block, in / 2 or in, vectors of a block, lanes of a vector] int32: two in bf16 or one in fp32 each (products.h)."""
        block, lanes = self._library.few_rows_block(), self._library.few_rows_vector()
        kept = weight.to(torch.float32 if self.form == WHOLE else torch.bfloat16)
        kept = F.pad(kept, (0, 0, 0, -self.outputs % block)).contiguous().view(torch.int32)
        return kept.view(-1, block // lanes, lanes, kept.shape[1]).permute(0, 3, 1, 2).contiguous()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        rows = len(x)
        if self.many is not None and rows > _MANY_ROWS:
            return self.many(x)
        x, narrow = x.contiguous(), x.dtype == torch.bfloat16
        out = torch.empty(rows, self.outputs, dtype=x.dtype)
        wide = torch.empty(rows, self.outputs, dtype=torch.float32) if narrow else None
        own = torch.empty_like(x, dtype=torch.float32) if narrow != (self.form == PAIRS) else None
        places = [
            None if each is None else each.data_ptr() for each in (self.weight, self.wide_bias, x, out, wide, own)
        ]
        weight, bias, given, *rest = places
        sizes = self.outputs, self.inputs
        self._library.few_rows_product(self.form, weight, bias, *sizes, given, narrow, rows, *rest)
        return out

    def plus(self, base: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return base + self(x)


class CompiledLayers:
    """All layers of a model's fused weights whose linears are CompiledLinear."""

    def __init__(self, w, layers: Sequence[tuple]):
        """`w`: FusedLlamaWeights; `layers`: its own."""
        self._kept = layers  # what the pointers point to
        self._library: Any = library()
        every = (_Layer * len(layers))()
        for to, (norm1, qkv, out, norm2, gate_up, down) in zip(every, layers, strict=True):
            to.norm1, to.norm2 = norm1.data_ptr(), norm2.data_ptr()
            for name, linear in zip(_LINEARS, (qkv, out, gate_up, down), strict=True):
                setattr(to, name, linear.weight.data_ptr())
                if linear.wide_bias is not None:
                    setattr(to, f"{name}_bias", linear.wide_bias.data_ptr())
        qkv, down = layers[0][1], layers[0][5]
        self.most = _MOST_ROWS if qkv.many is None else _MANY_ROWS
        """Rows of all parts together."""
        heads, narrow = (w.heads, w.kv_heads, w.head_dim), w.dtype == torch.bfloat16
        self._model = _Model(len(layers), down.outputs, *heads, down.inputs, qkv.form, narrow, w.eps, every)

    def takes(self, parts: Sequence) -> TypeGuard[Sequence[SlotPart]]:
        """Whether these parts (fused_llama.Part) can be computed here."""
        return sum(part.rows for part in parts) <= self.most and all(
            isinstance(part, SlotPart) and isinstance(part.place, slice) for part in parts
        )

    def __call__(self, hidden: torch.Tensor, parts: Sequence[SlotPart]) -> torch.Tensor:
        """hidden (M, hidden) in fp32 after all layers, of the rows of `parts` one after another; writes to it."""
        given, alive = (_Part * len(parts))(), []
        for to, part in zip(given, parts, strict=True):
            mask, rotation = part.mask.contiguous(), part.rotation.contiguous()
            alive += [mask, rotation]
            size = part.keys.element_size()
            assert isinstance(part.place, slice)
            to.rows, to.first, to.end, to.turns = part.rows, part.place.start, part.end, len(rotation) > 1
            to.layer_bytes, to.head_bytes = size * part.keys.stride(0), size * part.keys.stride(1)
            to.keys, to.values = part.keys.data_ptr(), part.values.data_ptr()
            to.mask, to.rotation = mask.data_ptr(), rotation.data_ptr()
        threads, run = torch.get_num_threads(), (self._model, given, len(parts))
        room = torch.empty(self._library.few_rows_room(*run, len(hidden), threads), dtype=torch.uint8)
        self._library.few_rows_layers(*run, hidden.data_ptr(), len(hidden), room.data_ptr(), threads)
        return hidden
