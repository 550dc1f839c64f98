"""Many prompts through one causal model at once: greedy answers, and logits after a prompt. Token ids only.

Rows are padded on the left and take part with their own positions, so in fp32 each row gets what it would get alone.
Rows that have ended leave the batch, which makes the rest faster. Plain Llamas go through the fused forward
(fused_rows.py), others through their own.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from llmdemo.decoding.engine import end_tokens
from llmdemo.decoding.fused_llama import FusedLlamaWeights
from llmdemo.decoding.fused_rows import FusedRows


@dataclass(frozen=True)
class Answer:
    """What a model wrote."""

    token_ids: list[int]
    """Without the token that ended it."""
    ended: bool
    """Whether it ended by itself."""


class PaddedRows:
    """A batch on its way through a model: `start` with prompts, `extend` with what comes next, `keep` some rows."""

    def __init__(self, model, context: Callable[[], AbstractContextManager] = nullcontext):
        """`context`: what the model's own forward runs in, such as autocast."""
        self._model, self._context = model, context
        self._takes = inspect.signature(model.forward).parameters
        self._device = next(model.parameters()).device
        self._cache = self._mask = None

    def start(self, prompts: list[list[int]], pad_id: int) -> Tensor:
        """Logits [b, V] after each prompt."""
        width = max(map(len, prompts))
        ids = torch.tensor([[pad_id] * (width - len(prompt)) + prompt for prompt in prompts])  # [b, t]
        self._mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        return self._forward(ids, self._mask)[:, -1]

    def extend(self, tokens: Tensor) -> Tensor:
        """Logits [b, V] after `tokens` [b, k] more, the same number for each row."""
        return self._forward(tokens, torch.ones(tokens.shape, dtype=torch.int64))[:, -1]

    def read(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(keys, values) [b, kv heads, t, d] of each layer."""
        return ((layer.keys, layer.values) for layer in self._cache.layers)

    def keep(self, rows: Tensor) -> bool:
        """Goes on with these rows (indices [n]) only; False where the model's cache cannot."""
        if not hasattr(self._cache, "batch_select_indices"):
            return False
        self._cache.batch_select_indices(rows.to(self._device))
        self._mask = self._mask[rows]
        return True

    def _forward(self, ids: Tensor, new: Tensor) -> Tensor:
        first = self._cache is None
        self._mask = new if first else torch.cat([self._mask, new], dim=1)
        positions = (self._mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        extra = {"position_ids": positions.to(self._device)} if "position_ids" in self._takes else {}
        if "logits_to_keep" in self._takes:
            extra["logits_to_keep"] = 1
        with self._context():
            out = self._model(
                input_ids=ids.to(self._device),
                attention_mask=self._mask.to(self._device),
                past_key_values=self._cache,
                use_cache=True,
                **extra,
            )
        self._cache = out.past_key_values
        return out.logits.float()


@torch.inference_mode()
def greedy(
    model,
    prompts: list[list[int]],
    max_new_tokens: int,
    pad_id: int,
    tell: Callable[[float], None] = lambda share: None,
    *,
    end_ids: list[int] | None = None,
    weights: FusedLlamaWeights | None = None,
    context: Callable[[], AbstractContextManager] = nullcontext,
) -> list[Answer]:
    """The likeliest token each time until `end_ids` (None: the model's own end tokens); equals
    `generate(do_sample=False)` row by row.

    `weights`: the model's, fused; None: its own forward is used. `context`: what that runs in, such as autocast.
    `tell(share)` is called at each step with about how much is done, 0 to 1; what it raises ends the work.
    """
    if not prompts:
        return []
    ends = torch.tensor((end_tokens(model) if end_ids is None else end_ids) or [-1])
    written: list[list[int]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    alive = torch.arange(len(prompts))  # which prompt each row of the batch belongs to
    rows: PaddedRows | FusedRows = PaddedRows(model, context)
    if weights is None:
        logits = rows.start(prompts, pad_id)
    else:
        first, rows = rows, FusedRows(weights, max_new_tokens)
        logits = rows.start(first, prompts, pad_id)
    for step in range(max_new_tokens):
        tell(max(step / max_new_tokens, sum(ended) / len(ended)))
        tokens = logits.argmax(-1).cpu()  # [b]
        over = (tokens[:, None] == ends).any(1)
        for row, (token, end) in enumerate(zip(tokens.tolist(), over.tolist(), strict=True)):
            place = int(alive[row])
            if ended[place]:
                continue
            ended[place] = end
            if not end:
                written[place].append(token)
        if all(ended) or step + 1 == max_new_tokens:
            break
        going = torch.tensor([row for row in range(len(alive)) if not ended[int(alive[row])]])
        if len(going) < len(alive) and rows.keep(going):
            tokens, alive = tokens[going], alive[going]
        logits = rows.extend(tokens[:, None])
    return [Answer(ids, end) for ids, end in zip(written, ended, strict=True)]
