"""Which tokens of a prompt an answer's token is owed to: gradient × input, integrated gradients, attention rollout.

The first two attribute log p(token | prompt): what a small change of each token's embedding would change. Rollout follows
attention, which says where a model looks and not what that does. Knows token ids only.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from llmdemo.core.errors import UserError
from llmdemo.interpret.readout import only_last

_PARTS, _ENOUGH, _MOST_PARTS = 12, 32, 128
"""Parts of the way from the baseline: at first, up to which all of them are to be close, and at most, where the sum is still
not (each is a forward and a backward pass)."""
_MISSING, _GAP = 0.03, 0.05
"""Shares of the whole difference: by which the parts together may miss theirs, whichever way, before they are halved no
further; and by which their sum may miss it, where they are more than enough."""
_AT_ONCE = 1024
"""Tokens that are put through the model at once, with what the backward pass needs of them."""


@dataclass(frozen=True)
class Attribution:
    """`scores` [T]: of each token of the prompt."""

    scores: list[float]
    total: float | None = None
    """Integrated gradients: log p with the prompt less log p with the baseline, which the scores add up to."""
    gap: float | None = None
    """By how much their sum misses `total`, as a share of it."""
    parts: int = 1
    """Points at which gradients were taken."""


def gradient_x_input(model, ids: list[int], token: int, baseline: int) -> Attribution:
    """e · ∂ log p(token) / ∂e for each token's embedding e (Shrikumar et al., 1605.01713)."""
    embedded = _embedded(model, ids)
    gradient, _ = _gradients(model, embedded[None], token)
    return Attribution((gradient[0] * embedded).sum(-1).tolist())


def integrated_gradients(model, ids: list[int], token: int, baseline: int) -> Attribution:
    """(e − e′) · the mean gradient on the straight way from e′ to e (Sundararajan et al., 1703.01365).

    e′: the embedding of the token `baseline` at every position but the first, which models use as an anchor for their
    attention. The way is cut into parts, each with the gradient at its middle; as log p is known at both ends of a part,
    those that miss the difference between them most are halved (deep models bend sharply in few places).
    """
    target = _embedded(model, ids)
    start = _embedded(model, [ids[0], *[baseline] * (len(ids) - 1)])
    change = target - start  # (T, d)
    ends = _log_p(model, torch.stack([start, target]), token).tolist()
    total = ends[1] - ends[0]

    def measured(parts: list[_Part]) -> list[_Part]:
        """`parts` with the scores and log p of their middles."""
        for several in _split(parts, max(1, _AT_ONCE // len(ids))):
            middles = torch.tensor([part.middle for part in several], dtype=target.dtype, device=target.device)
            gradients, logs = _gradients(model, start + middles[:, None, None] * change, token)
            for part, scores, log in zip(several, (gradients * change).sum(-1), logs.tolist(), strict=True):
                part.scores, part.log_middle = scores.double() * (part.end - part.begin), log
        return parts

    parts = measured([_Part(0.0, 1.0, *ends)])
    while len(parts) < _PARTS:  # evenly, at first
        parts = measured([half for part in parts for half in part.halves()])
    while not _is_close(parts, total):
        parts.sort(key=lambda part: -part.missed)
        several = max(4, len(parts) // 4)
        worst, parts = parts[:several], parts[several:]
        parts += measured([half for part in worst for half in part.halves()])
    return Attribution(sum(part.scores for part in parts).tolist(), total, _gap(parts, total), len(parts))


def _is_close(parts: "list[_Part]", total: float) -> bool:
    if len(parts) < _ENOUGH:
        return sum(part.missed for part in parts) <= _MISSING * abs(total)
    return len(parts) >= _MOST_PARTS or _gap(parts, total) < _GAP


def _gap(parts: "list[_Part]", total: float) -> float:
    return abs(sum(float(part.scores.sum()) for part in parts) - total) / max(abs(total), 1e-6)


@dataclass
class _Part:
    """A part of the way, from `begin` to `end` in [0, 1], with log p at both ends."""

    begin: float
    end: float
    log_begin: float
    log_end: float
    log_middle: float = 0.0
    scores: Any = None
    """(T,): what the gradient at the middle says that each token adds on this part."""

    @property
    def middle(self) -> float:
        return (self.begin + self.end) / 2

    @property
    def missed(self) -> float:
        return abs(float(self.scores.sum()) - (self.log_end - self.log_begin))

    def halves(self) -> "list[_Part]":
        first = _Part(self.begin, self.middle, self.log_begin, self.log_middle)
        return [first, _Part(self.middle, self.end, self.log_middle, self.log_end)]


def _split(items: list, size: int) -> Iterator[list]:
    return (items[at : at + size] for at in range(0, len(items), size))


@torch.inference_mode()
def attention_rollout(model, ids: list[int], token: int, baseline: int) -> Attribution:
    """The last position's share of each token, attention multiplied through the layers with half of each kept in place
    (Abnar and Zuidema, 2005.00928). The same for every token that could follow."""
    row = torch.tensor([ids], device=next(model.parameters()).device)
    before = model.config._attn_implementation
    try:
        model.set_attn_implementation("eager")  # the others do not tell their weights
    except (AttributeError, TypeError, ValueError) as error:
        raise _without(model) from error
    try:
        maps = model(input_ids=row, output_attentions=True, use_cache=False).get("attentions")
    except (TypeError, ValueError) as error:
        raise _without(model) from error
    finally:
        if before:
            model.set_attn_implementation(before)
    whole = [each for each in maps or () if each is not None and each.shape[-2:] == (len(ids), len(ids))]
    if not whole:
        raise _without(model)
    flow = torch.zeros(len(ids), dtype=torch.float32, device=row.device)
    flow[-1] = 1
    for each in reversed(whole):  # a row times a matrix, from the last layer down: never a matrix times a matrix
        heads = each[0].float().mean(0)  # (T, T)
        flow = (flow + flow @ heads) / 2
    return Attribution((flow / flow.sum()).tolist())


METHODS: dict[str, Callable[..., Attribution]] = {
    "gradient_x_input": gradient_x_input,
    "integrated_gradients": integrated_gradients,
    "attention_rollout": attention_rollout,
}


def attribute(model, ids: list[int], token: int, method: str, baseline: int) -> Attribution:
    """The score of each of `ids` (T,) for `token`, which follows them. `baseline`: the token that says nothing.

    Raises UserError for a method that there is not, or that the model does not allow.
    """
    if not isinstance(method, str) or method not in METHODS:
        raise UserError("err_attribution_method", method=repr(str(method)[:40]), names=list(METHODS))
    found = METHODS[method](model, ids, token, baseline)
    if not all(map(math.isfinite, found.scores)):
        raise UserError("err_attribution_not_finite")
    return found


def _embedded(model, ids: list[int]) -> Tensor:
    """(T, d): as the model's input embedding gives them."""
    with torch.no_grad():
        return model.get_input_embeddings()(torch.tensor([ids], device=next(model.parameters()).device))[0]


def _gradients(model, embedded: Tensor, token: int) -> tuple[Tensor, Tensor]:
    """Of log p(token) after each row of `embedded` (B, T, d): the gradients (B, T, d), and the log-probabilities (B,)."""
    with torch.enable_grad():
        given = embedded.detach().requires_grad_()
        logs = _log_p(model, given, token)
        return torch.autograd.grad(logs.sum(), given)[0], logs.detach()


def _log_p(model, embedded: Tensor, token: int) -> Tensor:
    with torch.set_grad_enabled(embedded.requires_grad):
        try:
            out = model(inputs_embeds=embedded, use_cache=False, **only_last(model, 1))
        except (TypeError, ValueError, NotImplementedError) as error:
            raise _without(model) from error
        logits = out.logits[:, -1]  # (B, V)
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)[:, token]


def _without(model) -> UserError:
    return UserError("err_attribution_unfit", architecture=type(model).__name__)
