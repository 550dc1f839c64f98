"""A batch's texts in one row, end to end: the layers of a causal model take all tokens at once, and attention alone looks
at each text by itself.

On a CPU a matrix product of 200 tokens is a third slower than one of 1,000, and a batch of unlike lengths is either
much padding or several such passes. Here texts of like length lie together, padded to the longest of their group, one
group after the other; positions begin again with each text, and attention takes the groups apart as views.

Knows nothing of tasks. It is tried against the model's own way before it is used (`PaddingFree.verify`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

from llmdemo.training.batches import TokenRows, like_lengths
from llmdemo.training.targets import base_of

_NAME = "llmdemo_in_one_row"
_GROUP_TOKENS = 8
"""Tokens of padding that are worth one more call of attention in each layer."""
_AGREES = {True: 2e-3, False: 5e-2}
"""Largest difference of logits, as a share of the largest logit: in fp32, in less."""
_groups: ContextVar[tuple[list[tuple[int, int]], int]] = ContextVar("groups")
"""(texts, tokens of each) of the groups in the row that is being read; the longest text of all rows."""


class PaddingFree:
    """Class logits of a causal classifier, for texts in one row. `works`: whether this model can be read so."""

    def __init__(self, model: nn.Module, longest: int):
        """`longest`: tokens of the longest text that will ever be read."""
        base = base_of(model)
        self._base, self._longest = base, longest
        # The model's own classes: what they take and give is found out by `verify`.
        self._body: Any = getattr(base, getattr(base, "base_model_prefix", "") or "-", None)
        self._head: Any = getattr(base, "score", None)
        # Recomputed activations would be computed after the groups are forgotten.
        recomputed = any(getattr(m, "gradient_checkpointing", False) for m in base.modules())
        self.works = self._body is not None and self._head is not None and not recomputed

    def __call__(self, rows: TokenRows, items, pad: int, device: torch.device) -> Tensor:
        """[items, classes] in fp32, in the order of `items`."""
        items = np.asarray(items)
        parts = groups(rows.lengths[items])
        ids, positions, ends, sizes, start = [], [], [], [], 0
        for part in parts:
            lengths = rows.lengths[items[part]]
            longest = int(lengths.max())
            block = np.full((len(part), longest), pad, np.int64)
            for line, item in zip(block, items[part], strict=True):
                text = rows.row(item)[0]
                line[: len(text)] = text
            ids.append(block.ravel())
            positions.append(np.tile(np.arange(longest), len(part)))
            ends.append(start + np.arange(len(part)) * longest + lengths - 1)
            sizes.append((len(part), longest))
            start += block.size
        row, places = (torch.from_numpy(np.concatenate(each))[None].to(device) for each in (ids, positions))
        with _reading(self._base, sizes, self._longest):
            hidden = self._body(input_ids=row, position_ids=places, use_cache=False).last_hidden_state[0]
        order = np.empty(len(items), np.int64)
        order[np.concatenate(parts)] = np.concatenate(ends)
        return self._head(hidden[torch.from_numpy(order).to(device)]).float()

    @torch.no_grad()
    def verify(self, rows: TokenRows, items, expected: Tensor, pad: int, exact: bool) -> bool:
        """Whether these items' logits are `expected` [items, classes]; where not, `works` becomes False."""
        if self.works:
            try:
                found = self(rows, items, pad, expected.device)
                difference = (found - expected).abs().max().item() / max(expected.abs().max().item(), 1e-6)
                self.works = difference <= _AGREES[exact]
            except (TypeError, ValueError, AttributeError, RuntimeError, IndexError, KeyError):
                self.works = False  # a model whose body or attention works otherwise
        return self.works


def groups(lengths: np.ndarray) -> list[np.ndarray]:
    """Places of `lengths` in the groups that lie together, each padded to its longest."""
    return like_lengths(lengths, _GROUP_TOKENS)


@contextmanager
def _reading(model: Any, sizes: list[tuple[int, int]], longest: int) -> Iterator[None]:
    """Meanwhile the model's attention is `_attention` on groups of these sizes."""
    usual = model.config._attn_implementation
    token = _groups.set((sizes, longest))
    model.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)
        _groups.reset(token)


def _attention(module, query: Tensor, key: Tensor, value: Tensor, attention_mask, scaling=None, dropout=0.0, **more):
    """Causal attention within each text. query [1, heads, t, d], key and value [1, kv heads, t, d] → [1, t, heads, d].

    The padding at a text's end sees the text, and no text sees it.
    """
    if not getattr(module, "is_causal", True) or any(more.get(key) is not None for key in ("softcap", "s_aux")):
        raise ValueError("This attention is of another kind.")
    window, (sizes, longest) = more.get("sliding_window"), _groups.get()
    if window is not None and window < longest:
        raise ValueError("Texts may be longer than the model's window.")
    parts, start = [], 0
    for texts, length in sizes:
        q, k, v = (
            each[0, :, start : start + texts * length].unflatten(1, (texts, length)).transpose(0, 1)
            for each in (query, key, value)
        )  # [texts, heads, length, d]
        found = functional.scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, scale=scaling, is_causal=True, enable_gqa=q.shape[1] != k.shape[1]
        )
        parts.append(found.transpose(1, 2).flatten(0, 1))  # [texts * length, heads, d]
        start += texts * length
    return torch.cat(parts)[None], None


AttentionInterface.register(_NAME, _attention)
