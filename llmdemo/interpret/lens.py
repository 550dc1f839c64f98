"""The logit lens: what each layer would answer if the model ended there (nostalgebraist 2020; Belrose et al., 2303.08112).

The final norm and the head read the output of every layer. The last layer's row is the model's own answer, by definition.
Knows token ids only.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmdemo.interpret.readout import Readout

_CHUNK = 64
"""Tokens among which the likeliest is looked up before the few chunks that can hold the likeliest of all are sorted."""


@dataclass(frozen=True)
class Lens:
    """Of L layers at W positions, the last of them the one that was asked for."""

    layers: list[list[list[tuple[int, float]]]]
    """[L][W]: the likeliest token ids with their probabilities, the likeliest first."""
    followed: list[tuple[float, int]] | None
    """[L]: probability and rank (0: the likeliest) of the token that was followed, at the last position."""
    decided: int
    """The first layer, from 1, from which on the likeliest token at the last position is the final one."""

    @property
    def answer(self) -> int:
        """The model's likeliest token at the last position."""
        return self.layers[-1][-1][0][0]


@torch.inference_mode()
def lens(model, ids: list[int], window: int = 1, top: int = 5, token: int | None = None) -> Lens:
    """What follows the last `window` of `ids`, by layer, with the `top` likeliest tokens; `token` is followed.

    One forward pass over ids, and the head over L·window states. Raises UserError for a model whose end is unknown.
    """
    rows: list[list[list[tuple[int, float]]]] = []
    followed: list[tuple[float, int]] = []
    for logits in Readout(model, ids, window).logits_by_layer():  # (l, W, V), l layers at a time
        mass = logits.logsumexp(-1, keepdim=True)  # (l, W, 1): all that is needed of a softmax for a few tokens
        values, places = likeliest(logits, top)  # (l, W, top)
        shares = (values - mass).exp()
        rows += [
            [list(zip(*place, strict=True)) for place in zip(*layer, strict=True)]
            for layer in zip(places.tolist(), shares.tolist(), strict=True)
        ]
        if token is not None:
            last = logits[:, -1]  # (l, V)
            own = last[:, token, None]  # (l, 1)
            shares_of, ranks = (own - mass[:, -1]).exp()[:, 0].tolist(), (last > own).sum(-1).tolist()
            followed += zip(shares_of, ranks, strict=True)
    firsts = [row[-1][0][0] for row in rows]
    return Lens(rows, followed if token is not None else None, _decided(firsts))


def likeliest(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(values, ids) of the `count` largest of `logits` (…, V), the largest first: torch.topk's, at the cost of one reading.

    The largest of all stand in the `count` chunks with the largest maxima, so only those are sorted.
    """
    size = logits.shape[-1]
    chunks = size // _CHUNK
    if count >= chunks:
        found = logits.topk(min(count, size), dim=-1)
        return found.values, found.indices
    whole = logits[..., : chunks * _CHUNK].unflatten(-1, (chunks, _CHUNK))  # (…, C, 64)
    best = whole.amax(-1).topk(count, dim=-1).indices  # (…, count)
    chosen = whole.gather(-2, best[..., None].expand(*best.shape, _CHUNK)).flatten(-2)  # (…, count · 64)
    ids = (best[..., None] * _CHUNK + torch.arange(_CHUNK, device=logits.device)).flatten(-2)
    if rest := size - chunks * _CHUNK:  # a vocabulary that no chunks fill
        chosen = torch.cat([chosen, logits[..., -rest:]], -1)
        last = torch.arange(size - rest, size, device=logits.device).expand(*ids.shape[:-1], rest)
        ids = torch.cat([ids, last], -1)
    found = chosen.topk(count, dim=-1)
    return found.values, ids.gather(-1, found.indices)


def _decided(firsts: list[int]) -> int:
    """The first place, from 1, after which `firsts` stays what it ends with."""
    place = len(firsts)
    while place > 1 and firsts[place - 2] == firsts[-1]:
        place -= 1
    return place
