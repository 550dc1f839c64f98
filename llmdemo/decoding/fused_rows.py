"""Rows of different prompts through a plain Llama's fused weights, one forward a step. Knows no strategies.

There is a gap before or after a prompt, so that all rows write their next token's keys and values to the same place. A row
sees its own prompt alone; in fp32 it gets what it would get by itself. On a CUDA GPU a step has fixed shapes and
addresses and is captured once (why: graphs.py).
"""

import logging
import os
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from llmdemo.decoding.fused_llama import FusedLlamaWeights, Part
from llmdemo.decoding.kv_slots import SlotPart
from llmdemo.decoding.thread_budget import ThreadBudget

_log = logging.getLogger(__name__)
_LONGEST = 512
"""Tokens of a prompt that is read after a shared beginning: a mask grows with their square."""


class FusedRows:
    """Goes on after the prompts that prompts.PaddedRows reads: `start`, `extend` with what comes next, `keep` some rows."""

    def __init__(self, weights: FusedLlamaWeights, max_new: int):
        """`max_new`: tokens of each row after its prompt, at most."""
        self.w, self._max_new = weights, max_new
        self._captures = weights.device.type == "cuda"
        self._graph: torch.cuda.CUDAGraph | None = None
        self._steps = 0
        self._threads = ThreadBudget(weights.device)

    def start(self, rows, prompts: list[list[int]], pad_id: int, copies: int = 1) -> torch.Tensor:
        """Logits [b, V] in fp32 after each prompt, `copies` rows of each side by side.

        On a CPU what all prompts begin with is read once, and what follows in each without padding. Else `rows`
        (prompts.PaddedRows), not started yet, reads them: a model's own forward takes many tokens about as fast.
        """
        w, width = self.w, max(map(len, prompts))
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=w.device).repeat_interleave(copies)
        self.rotation = w.rotations(width + self._max_new)  # [positions, D/2]
        self.positions = lengths  # of each row's next token
        self.column = torch.full((1,), width, device=w.device)  # where it is kept
        room = -(-(width + self._max_new) // 64) * 64
        shape = (len(w.layers), len(lengths), w.kv_heads, room, w.head_dim)
        # Zeros, since room that was never written may hold NaN, and 0 · NaN is NaN even under the mask.
        self.keys, self.values = (torch.zeros(shape, dtype=w.dtype, device=w.device) for _ in range(2))
        columns = torch.arange(room, device=w.device)
        if shared := _shared(w, prompts):
            rows.check(prompts)
            with self._threads.limited():
                logits = self._read(prompts, shared, copies)
            unseen = columns >= lengths[:, None]  # [b, room]
        else:
            logits = rows.start(prompts, pad_id)
            for layer, (keys, values) in enumerate(rows.read()):
                # The two halves of a pair of the rotation lie side by side here (fused_llama.py).
                keys = keys.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)
                self.keys[layer, :, :, :width] = _copied(keys, copies)
                self.values[layer, :, :, :width] = _copied(values, copies)
            unseen = (columns < width - lengths[:, None]) | (columns >= width)
        self.mask = torch.zeros((len(lengths), room), dtype=w.dtype, device=w.device).masked_fill_(unseen, -torch.inf)
        return _copied(logits, copies)

    def _read(self, prompts: list[list[int]], shared: int, copies: int) -> torch.Tensor:
        """Logits [prompts, V] after each prompt; all of them begin with the same `shared` tokens."""
        begins = self._part(prompts[0], 0, 0, shared)
        self.w.hidden_states(begins[0], [begins[1]])
        for kept in (self.keys, self.values):
            kept[:, 1:, :, :shared] = kept[:, :1, :, :shared]
        parts = [self._part(prompt, row * copies, shared, len(prompt)) for row, prompt in enumerate(prompts)]
        logits = torch.cat(self.w.batched_logits([[part] for part in parts])).float()
        for kept in (self.keys, self.values):
            each = kept.unflatten(1, (-1, copies))
            each[:, :, 1:] = each[:, :, :1]
        return logits

    def _part(self, prompt: list[int], row: int, first: int, end: int) -> tuple[torch.Tensor, SlotPart]:
        """Tokens `first` to `end` of the prompt of this row, and what reads them; the last one's logits are wanted."""
        w = self.w
        mask = torch.full((end - first, end), -torch.inf, dtype=w.dtype, device=w.device).triu(first + 1)
        place = slice(first, end)
        part = SlotPart(self.keys[:, row], self.values[:, row], self.rotation[place], mask, place, logits=1)
        return torch.tensor(prompt[place], device=w.device), part

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
        rotation = self.rotation.index_select(0, self.positions)
        logits = self.w.logits(self.w.hidden_states(tokens, self._parts(rotation, end))).float()
        self.positions += 1
        self.column += 1
        return logits

    def _parts(self, rotation: torch.Tensor, end: int) -> Sequence[Part]:
        """What one new token a row asks of a forward: a part for each where they are computed row by row, else one for all."""
        if self.w.compiled is not None and len(rotation) <= self.w.compiled.most:
            return [
                SlotPart(
                    self.keys[:, row], self.values[:, row], rotation[own], self.mask[own, :end], slice(end - 1, end)
                )
                for row in range(len(rotation))
                for own in [slice(row, row + 1)]
            ]
        return [_Part(self, len(rotation), rotation, self.mask[:, None, None, :end], self.column)]

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

    @property
    def shrinks(self) -> bool:
        """Whether `keep` is worth its while: it would make a captured step void, and a row costs less."""
        return not self._captures

    def keep(self, rows: torch.Tensor) -> None:
        """Goes on with these rows (indices [n]) only."""
        rows = rows.to(self.w.device)
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.mask, self.positions = self.mask[rows], self.positions[rows]


class _Part:
    """What FusedLlamaWeights.hidden_states asks of one new token a row: its attention, and where keys and values go."""

    def __init__(self, owner: FusedRows, rows: int, rotation: torch.Tensor, mask: torch.Tensor, column: torch.Tensor):
        """rotation [b, D/2]; mask [b, 1, 1, end], added; column [1]."""
        self.rows, self.rotation, self.mask, self.column = rows, rotation, mask, column
        self._owner = owner

    def attend(self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """[b, Hq · D] from q [b, Hq, D], k and v [b, Hkv, D]."""
        w, end = self._owner.w, self.mask.shape[-1]
        keys, values = self._owner.keys[layer], self._owner.values[layer]
        keys[:, :, self.column] = k[:, :, None]
        values[:, :, self.column] = v[:, :, None]
        group = w.heads // w.kv_heads
        q = q.reshape(self.rows, w.kv_heads, group, w.head_dim)  # heads of a group as rows of a product
        mask = self.mask.expand(-1, -1, group, -1)
        mixed = F.scaled_dot_product_attention(q, keys[:, :, :end], values[:, :, :end], attn_mask=mask)
        return mixed.reshape(self.rows, -1)


def _copied(x: torch.Tensor, copies: int) -> torch.Tensor:
    return x if copies == 1 else x.repeat_interleave(copies, 0)


def _shared(w: FusedLlamaWeights, prompts: list[list[int]]) -> int:
    """How many tokens of all prompts are to be read once; 0: the model's own forward reads them."""
    if w.device.type != "cpu" or max(map(len, prompts)) > _LONGEST or len(prompts) < 2 or not w.turns_alike:
        return 0
    same = len(os.path.commonprefix(prompts))
    return min(same, min(map(len, prompts)) - 1)  # one is left of each, for its logits
