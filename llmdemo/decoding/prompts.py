"""Many prompts through one causal model at once: greedy or drawn answers, and logits after a prompt. Token ids only.

Rows are padded on the left and take part with their own positions, so in fp32 each row gets what it would get alone.
Rows that have ended leave the batch, which makes the rest faster. Plain Llamas go through the fused forward
(fused_rows.py), others through their own.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from llmdemo.decoding.engine import check_tokens, end_tokens
from llmdemo.decoding.fused_llama import FusedLlamaWeights
from llmdemo.decoding.fused_rows import FusedRows
from llmdemo.decoding.past import Past, padded_way_of, way_of


@dataclass(frozen=True)
class Answer:
    """What a model wrote."""

    token_ids: list[int]
    """Without the token that ended it."""
    ended: bool
    """Whether it ended by itself."""


class PaddedRows:
    """A batch on its way through a model: `start` with prompts, `extend` with what comes next, `keep` some rows.

    Where padding would change what a model says, rows of each length go through it apart.
    """

    shrinks = True
    """Whether `keep` is worth its while."""

    def __init__(self, model, context: Callable[[], AbstractContextManager] = nullcontext) -> None:
        """`context`: what the model's own forward runs in, such as autocast."""
        self._model, self._context = model, context
        self._way = padded_way_of(model)
        self._device = next(model.parameters()).device
        self._parts: list[_Part] = []

    def check(self, prompts: list[list[int]]) -> None:
        """Raises UserError where a token is none of the model's."""
        check_tokens(self._model, (token for prompt in prompts for token in prompt))

    def start(self, prompts: list[list[int]], pad_id: int) -> Tensor:
        """Logits [b, V] after each prompt."""
        self.check(prompts)
        self._parts = []
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        groups = (
            [torch.arange(len(prompts))] if self._way else [(lengths == n).nonzero()[:, 0] for n in lengths.unique()]
        )
        found = []
        for rows in groups:
            width = int(lengths[rows].max())
            ids = torch.tensor([[pad_id] * (width - len(prompts[row])) + prompts[row] for row in rows])  # [b, t]
            mask = (torch.arange(width) >= (width - lengths[rows])[:, None]).long()
            self._parts.append(_Part(rows, Past(self._model, self._way or way_of(self._model)), mask.to(self._device)))
            with self._context():
                found.append(self._parts[-1].past.read(ids.to(self._device), self._parts[-1].mask))
        return self._joined(found)

    def extend(self, tokens: Tensor) -> Tensor:
        """Logits [b, V] after `tokens` [b, k] more, the same number for each row."""
        found = []
        for part in self._parts:
            new = tokens[part.rows].to(self._device)
            part.mask = torch.cat([part.mask, torch.ones_like(new)], dim=1)
            with self._context():
                found.append(part.past.read(new, part.mask))
        return self._joined(found)

    def read(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(keys, values) [b, kv heads, t, d] of each layer, of a model whose rows go through it together."""
        (part,) = self._parts
        return part.past.layers()

    def repeat(self, copies: int) -> None:
        """Each row becomes `copies` rows that go on apart, side by side."""
        if copies == 1:
            return
        for part in self._parts:
            order = torch.arange(len(part.rows)).repeat_interleave(copies).to(self._device)
            part.past.take(order)
            part.mask = part.mask[order]
            part.rows = (part.rows[:, None] * copies + torch.arange(copies)).flatten()

    def keep(self, rows: Tensor) -> None:
        """Goes on with these rows (indices [n], ascending) only."""
        for part in self._parts:
            staying = torch.isin(part.rows, rows)
            if not staying.all():
                chosen = staying.nonzero()[:, 0].to(self._device)
                part.past.take(chosen)
                part.mask = part.mask[chosen]
            part.rows = torch.searchsorted(rows, part.rows[staying])
        self._parts = [part for part in self._parts if len(part.rows)]

    def _joined(self, found: list[Tensor]) -> Tensor:
        """The parts' logits in the order of the rows."""
        order = torch.cat([part.rows for part in self._parts]).argsort()
        return torch.cat(found)[order.to(self._device)].float()


@dataclass
class _Part:
    """Rows that go through the model together: which of the batch they are [n], and their mask [n, tokens so far]."""

    rows: Tensor
    past: Past
    mask: Tensor


Choose = Callable[[Tensor, list[int]], Tensor]
"""(logits [b, V], the place of the answer that each row is) → the next token [b] of each row, on any device."""


def _likeliest(logits: Tensor, places: list[int]) -> Tensor:
    return logits.argmax(-1)


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
    """The likeliest token each time; equals `generate(do_sample=False)` row by row. Arguments as `written`."""
    more = {"end_ids": end_ids, "weights": weights, "context": context}
    return written(model, prompts, max_new_tokens, pad_id, _likeliest, tell, **more)  # type: ignore[arg-type]


@torch.inference_mode()
def written(
    model,
    prompts: list[list[int]],
    max_new_tokens: int,
    pad_id: int,
    choose: Choose,
    tell: Callable[[float], None] = lambda share: None,
    *,
    end_ids: list[int] | None = None,
    weights: FusedLlamaWeights | None = None,
    context: Callable[[], AbstractContextManager] = nullcontext,
    copies: int = 1,
) -> list[Answer]:
    """What `choose` takes each time until `end_ids` (None: the model's own end tokens).

    `weights`: the model's, fused; None: its own forward is used. `context`: what that runs in, such as autocast.
    `copies`: answers to each prompt, which is read once: answers i·copies to (i + 1)·copies − 1 are those of prompt i, and
    `choose` is told the answers' places.
    `tell(share)` is called at each step with about how much is done, 0 to 1; what it raises ends the work.
    """
    if not prompts:
        return []
    ends = torch.tensor((end_tokens(model) if end_ids is None else end_ids) or [-1])
    texts: list[list[int]] = [[] for _ in range(len(prompts) * copies)]
    ended = [False] * len(texts)
    alive = torch.arange(len(texts))  # which answer each row of the batch belongs to
    padded = PaddedRows(model, context)
    rows: PaddedRows | FusedRows
    if weights is None:
        rows, logits = padded, padded.start(prompts, pad_id).repeat_interleave(copies, 0)
        padded.repeat(copies)
    else:
        rows = fused = FusedRows(weights, max_new_tokens)
        logits = fused.start(padded, prompts, pad_id, copies)
    for step in range(max_new_tokens):
        tell(max(step / max_new_tokens, sum(ended) / len(ended)))
        tokens = choose(logits, alive.tolist()).cpu()  # [b]
        over = (tokens[:, None] == ends).any(1)
        for row, (token, end) in enumerate(zip(tokens.tolist(), over.tolist(), strict=True)):
            place = int(alive[row])
            if ended[place]:
                continue
            ended[place] = end
            if not end:
                texts[place].append(token)
        if all(ended) or step + 1 == max_new_tokens:
            break
        going = torch.tensor([row for row in range(len(alive)) if not ended[int(alive[row])]])
        if len(going) < len(alive) and rows.shrinks:
            rows.keep(going)
            tokens, alive = tokens[going], alive[going]
        logits = rows.extend(tokens[:, None])
    return [Answer(ids, end) for ids, end in zip(texts, ended, strict=True)]
