"""Rows of different prompts through a plain Llama's fused weights, one forward a step. Knows no strategies.

The prompts are padded on the left, so that all rows write their next token's keys and values to the same place. A row
sees its own prompt alone; in fp32 it gets what it would get by itself. On a CUDA GPU a step has fixed shapes and
addresses and is captured once (why: graphs.py).
"""

import logging

import torch
import torch.nn.functional as F

from llmdemo.decoding.fused_llama import FusedLlamaWeights
from llmdemo.decoding.thread_budget import ThreadBudget

_PREFILL_TOKENS = 4096
"""Tokens, padding included, that are read at a time: what the memory of a forward grows with."""
_log = logging.getLogger(__name__)


class FusedRows:
    """The same interface as prompts.PaddedRows: `start` with prompts, `extend` with what comes next, `keep` some rows."""

    def __init__(self, weights: FusedLlamaWeights, max_new: int):
        """`max_new`: tokens of each row after its prompt, at most."""
        self.w, self._max_new = weights, max_new
        self._captures = weights.device.type == "cuda"
        self._graph: torch.cuda.CUDAGraph | None = None
        self._steps = 0
        self._threads = ThreadBudget(weights.device)

    def start(self, prompts: list[list[int]], pad_id: int) -> torch.Tensor:
        """Logits [b, V] in fp32 after each prompt."""
        w, width = self.w, max(map(len, prompts))
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=w.device)
        ids = torch.tensor([[pad_id] * (width - len(prompt)) + prompt for prompt in prompts], device=w.device)  # [b, t]
        self.rotation = w.rotations(width + self._max_new)  # [positions, D/2]
        self.positions = lengths  # of each row's next token
        self.column = torch.full((1,), width, device=w.device)  # where it is kept
        room = -(-(width + self._max_new) // 64) * 64
        shape = (len(w.layers), len(prompts), w.kv_heads, room, w.head_dim)
        # Zeros, since room that was never written may hold NaN, and 0 · NaN is NaN even under the mask.
        self.keys, self.values = (torch.zeros(shape, dtype=w.dtype, device=w.device) for _ in range(2))
        before = torch.arange(room, device=w.device) < width - lengths[:, None]  # [b, room] padding
        after = torch.arange(room, device=w.device) >= width
        self.mask = torch.zeros((len(prompts), room), dtype=w.dtype, device=w.device)
        self.mask.masked_fill_(before | after, -torch.inf)
        some = max(1, _PREFILL_TOKENS // width)
        parts = range(0, len(prompts), some)
        return torch.cat([self._read(ids[first : first + some], slice(first, first + some)) for first in parts])

    def _read(self, ids: torch.Tensor, rows: slice) -> torch.Tensor:
        """Logits after the prompts [b, t] of these rows."""
        count, width = ids.shape
        padding = width - self.positions[rows, None]  # [b, 1]
        positions = (torch.arange(width, device=ids.device) - padding).clamp_min(0)  # [b, t]
        seen = torch.ones((width, width), dtype=torch.bool, device=ids.device).tril()
        seen = seen & (torch.arange(width, device=ids.device) >= padding)[:, None]  # [b, t, t]
        # What stands before a prompt sees itself, as nothing at all would be NaN.
        seen = (seen | torch.eye(width, dtype=torch.bool, device=ids.device))[:, None]
        part = _Part(self, ids.shape, self.rotation[positions.reshape(-1)], seen, slice(0, width), rows)
        hidden = self.w.hidden_states(ids.reshape(-1), [part])
        return self.w.logits(hidden.view(count, width, -1)[:, -1]).float()

    def extend(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [b, V] in fp32 after `tokens` [b, 1]."""
        if not self._captures:
            with self._threads.limited():
                return self._step(tokens.to(self.w.device).view(-1))
        if self._steps == 0:
            self._tokens = tokens.to(self.w.device).view(-1).clone()
            self._logits = self._step(self._tokens)  # as it is, which warms every kernel up
        else:
            self._tokens.copy_(tokens.view(-1), non_blocking=True)
            if self._steps == 1:
                self._capture()
            if self._graph is None:
                self._logits = self._step(self._tokens)
            else:
                self._graph.replay()
        self._steps += 1
        return self._logits

    def _step(self, tokens: torch.Tensor) -> torch.Tensor:
        self.mask.index_fill_(1, self.column, 0.0)
        end = self.mask.shape[1] if self._captures else int(self.column) + 1
        mask = self.mask[:, None, None, :end]
        rotation = self.rotation.index_select(0, self.positions)
        part = _Part(self, (len(tokens), 1), rotation, mask, self.column, slice(None))
        logits = self.w.logits(self.w.hidden_states(tokens, [part])).float()
        self.positions += 1
        self.column += 1
        return logits

    def _capture(self) -> None:
        """Captures one step without running it; on failure the rest goes on uncaptured."""
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._logits = self._step(self._tokens)
            self._graph = graph
        except (RuntimeError, NotImplementedError) as error:
            _log.warning("This GPU step cannot be captured, so it runs uncaptured: %s", error)
            self._captures = False

    def keep(self, rows: torch.Tensor) -> bool:
        """Goes on with these rows (indices [n]) only; False where a captured step would be void: a row costs less."""
        if self._captures:
            return False
        rows = rows.to(self.w.device)
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.mask, self.positions = self.mask[rows], self.positions[rows]
        return True


class _Part:
    """What FusedLlamaWeights.hidden_states asks of b · t new tokens: their attention, and where keys and values go."""

    def __init__(self, rows: FusedRows, shape, rotation: torch.Tensor, mask: torch.Tensor, columns, part: slice):
        """shape: (b, t); rotation [b · t, D/2]; mask [b, 1, t or 1, end], of bool or added; columns: t of them; part: of
        all rows."""
        self.shape, self.rotation, self.mask, self.columns, self.part = shape, rotation, mask, columns, part
        self.rows = shape[0] * shape[1]
        self._owner = rows

    def attend(self, layer: int, x: torch.Tensor) -> torch.Tensor:
        """[b · t, Hq · D] from x [b · t, (Hq + 2 · Hkv) · D]."""
        w, (count, new), end = self._owner.w, self.shape, self.mask.shape[-1]
        x = x.view(self.rows, -1, w.head_dim)
        turned = _rotate(x[:, : w.heads + w.kv_heads], self.rotation)
        q, k, v = (
            each.view(count, new, -1, w.head_dim).transpose(1, 2)  # [b, heads, t, D]
            for each in (turned[:, : w.heads], turned[:, w.heads :], x[:, w.heads + w.kv_heads :])
        )
        keys, values = self._owner.keys[layer, self.part], self._owner.values[layer, self.part]
        keys[:, :, self.columns], values[:, :, self.columns] = k, v
        keys, values = keys[:, :, :end], values[:, :, :end]
        group = w.heads // w.kv_heads
        if new == 1:  # a group's heads are rows of one product
            q = q.reshape(count, w.kv_heads, group, w.head_dim)
            mixed = F.scaled_dot_product_attention(q, keys, values, attn_mask=self.mask.expand(-1, -1, group, -1))
            return mixed.reshape(count, -1)
        mixed = F.scaled_dot_product_attention(q, keys, values, attn_mask=self.mask, enable_gqa=group > 1)
        return mixed.transpose(1, 2).reshape(self.rows, -1)


def _rotate(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """x [M, H, D] rotated by `rotation` [M, D/2], complex."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))  # [M, H, D/2]
    return torch.view_as_real(pairs * rotation[:, None]).flatten(-2).to(x.dtype)
