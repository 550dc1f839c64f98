"""The logit lens: what each layer would answer if the model ended there (nostalgebraist 2020; Belrose et al., 2303.08112).

The final norm and the head read the output of every layer. The last layer's row is the model's own answer, by definition.
Knows token ids only.
"""

from dataclasses import dataclass

import torch

from llmdemo.interpret.readout import Readout


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
    rows, followed = [], []
    for logs in Readout(model, ids, window).log_probabilities():  # (W, V)
        best = logs.topk(min(top, logs.shape[-1]), dim=-1)
        rows.append(
            [
                [(token_id, p) for token_id, p in zip(one_ids, one_p, strict=True)]
                for one_ids, one_p in zip(best.indices.tolist(), best.values.exp().tolist(), strict=True)
            ]
        )
        if token is not None:
            last = logs[-1]
            followed.append((float(last[token].exp()), int((last > last[token]).sum())))
    firsts = [row[-1][0][0] for row in rows]
    return Lens(rows, followed if token is not None else None, _decided(firsts))


def _decided(firsts: list[int]) -> int:
    """The first place, from 1, after which `firsts` stays what it ends with."""
    place = len(firsts)
    while place > 1 and firsts[place - 2] == firsts[-1]:
        place -= 1
    return place
