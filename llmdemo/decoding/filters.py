"""Which tokens a sampler may draw from: top-k, top-p, min-p, typical, epsilon, eta, top-nσ, XTC, mirostat, as masks. Knows nothing of lanes, seeds or models.

Each `keep_*` takes logits of shape (…, V), already divided by the temperature, and returns a bool mask of that
shape. A token with logit −inf is never kept, so a row without any finite logit keeps nothing; every other row
keeps at least one token. The maths is done in float64.

Sources: top-k, Fan et al., arXiv 1805.04833; top-p, Holtzman et al., arXiv 1904.09751; min-p, Nguyen et al.,
arXiv 2407.01082; typical, Meister et al., arXiv 2202.00666; epsilon and eta, Hewitt et al., arXiv 2210.15191; top-nσ, Tang et
al., arXiv 2411.07641; XTC, P. E. Weidmann, text-generation-webui 6335; mirostat 2, Basu et al., arXiv 2007.14966.
Ties and the crossing token are as in transformers' logits processors, where it has one.
"""

import math

import torch

from llmdemo.core.errors import UserError

_BLOCK = 128
_HEAD, _BINS, _BINS_A_NAT = 256, 4096, 64
"""For the search of a filter's edge: how many are looked through first; bins of logits."""


def largest(x: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(values, indices), both (…, k), of the k largest along the last dimension of x (…, V), downwards; as topk gives them.

    They lie in the k blocks with the largest maxima: on a CPU it takes a fifth of topk's time to look there alone.
    """
    if x.device.type != "cpu" or x.shape[-1] % _BLOCK or x.shape[-1] < 4 * _BLOCK * k:
        found = x.topk(k, dim=-1)
        return found.values, found.indices
    blocks = x.unflatten(-1, (-1, _BLOCK))  # (…, V / _BLOCK, _BLOCK)
    chosen = blocks.amax(-1).topk(k, dim=-1).indices  # (…, k)
    among = blocks.gather(-2, chosen[..., None].expand(*chosen.shape, _BLOCK)).flatten(-2)  # (…, k · _BLOCK)
    found = among.topk(k, dim=-1)
    at = chosen.gather(-1, found.indices // _BLOCK)
    return found.values, at * _BLOCK + found.indices % _BLOCK


def keep_top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Mask (…, V) of the k likeliest tokens, and of every token as likely as the k-th. k > V keeps all."""
    if type(k) is not int or k < 1:
        raise UserError("err_top_k", k=repr(k))
    k = min(k, logits.shape[-1])
    kth = largest(logits, k)[0][..., -1:]  # (…, 1)
    return (logits >= kth) & (logits > -torch.inf)


def keep_top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Mask (…, V) of the smallest set of likeliest tokens whose mass reaches p, 0 ≤ p ≤ 1; p = 0 keeps one.

    The token that crosses p is kept. When a set's mass is p up to the rounding of the logits' own type, that is
    an exact hit and no further token is added. Of equal tokens at the edge the ones of lower index are kept.
    """
    _check_share("top_p", p)
    possible = logits > -torch.inf
    if p >= 1:
        return possible
    return (_top_p_by_rows if _is_by_rows(logits) else _top_p_by_sort)(logits, p) & possible


def _is_by_rows(logits: torch.Tensor) -> bool:
    """Whether an edge is looked for in one row after another: faster on a CPU, and a GPU would wait for each."""
    return logits.device.type == "cpu" and bool(logits.numel())


def _top_p_by_sort(logits: torch.Tensor, p: float) -> torch.Tensor:
    """keep_top_p's mask (…, V), but for impossible tokens, without a wait for a GPU."""
    ranked, order = logits.sort(
        dim=-1, descending=True, stable=True
    )  # (…, V) both; in float64 it would take twice as long
    shares = (ranked.double() - ranked[..., :1].double()).exp()
    kept = kept_in_ranking(shares / shares.sum(-1, keepdim=True), p, exact_hit_tolerance(logits.dtype))
    return torch.zeros_like(kept).scatter(-1, order, kept)


def _top_p_by_rows(logits: torch.Tensor, p: float) -> torch.Tensor:
    """The same, one row after another."""
    return torch.stack([_top_p_of_row(row, p) for row in logits.reshape(-1, logits.shape[-1])]).view(logits.shape)


def _top_p_of_row(logits: torch.Tensor, p: float) -> torch.Tensor:
    """The same (V,) of one row."""
    shares = (logits.double() - logits.amax().double()).exp()
    edge, count = _crossing(logits, shares, (p - exact_hit_tolerance(logits.dtype)) * shares.sum(), True)
    mask = logits >= edge
    if int(mask.sum()) > count:  # of those at the edge the first ones
        mask, ties = logits > edge, logits == edge
        mask |= ties & (ties.cumsum(-1) <= count - mask.sum())
    return mask


def _crossing(
    keys: torch.Tensor, shares: torch.Tensor, least: torch.Tensor, downwards: bool = False
) -> tuple[torch.Tensor, int]:
    """(the key of the token with which `shares` (V,), in the order of `keys` (V,), reach `least`; its number in that order,
    from 1). The last one's where they do not reach it.

    A sort of 50,000 keys costs more than all else that a lane does. Where the first 256 are not enough, only the keys in one
    of 4096 bins are sorted, the one in which the sum crosses `least`.
    """
    if len(keys) > 4 * _HEAD:
        ranked, order = keys.topk(_HEAD, largest=downwards)
        at = int((shares[order].cumsum(0) < least).sum())
        if at < _HEAD:
            return ranked[at], at + 1
    if not bool(shares.sum().isfinite()):  # no possible token, or NaN
        return keys[-1], len(keys)
    wide = keys.double()
    apart = wide.amax() - wide if downwards else wide - wide.amin()
    bins = (apart * _BINS_A_NAT).clamp_max_(_BINS - 1).long()
    reached = torch.bincount(bins, shares, _BINS).cumsum(0)
    own = min(int(torch.searchsorted(reached, least)), _BINS - 1)
    among = (bins == own).nonzero()[:, 0]
    ranked, order = keys[among].sort(descending=downwards)
    before = reached[own - 1] if own else reached.new_zeros(())
    at = min(int((before + shares[among][order].cumsum(0) < least).sum()), len(among) - 1)
    return ranked[at], int((bins < own).sum()) + at + 1


def keep_min_p(logits: torch.Tensor, share: float) -> torch.Tensor:
    """Mask (…, V) of the tokens whose probability is at least `share` of the likeliest token's, 0 ≤ share ≤ 1."""
    _check_share("min_p", share)
    if share == 0:
        return logits > -torch.inf
    wide = logits.double()
    floor = wide.amax(-1, keepdim=True) + math.log(share) - exact_hit_tolerance(logits.dtype)  # (…, 1)
    return (wide >= floor) & (logits > -torch.inf)


def keep_typical(logits: torch.Tensor, mass: float) -> torch.Tensor:
    """Mask (…, V) of the tokens whose surprise is nearest to the entropy, until they reach `mass`, 0 < mass ≤ 1.

    As in transformers the token that crosses `mass` is kept, and every token as near as that one.
    """
    _check_share("typical_p", mass)
    possible = logits > -torch.inf
    if mass >= 1:
        return possible
    logprobs = logits.double().log_softmax(-1)  # (…, V)
    distance = (logprobs + _entropy(logprobs)).abs()
    by = _edges_by_rows if _is_by_rows(logits) else _edges_by_sort
    return (distance <= by(distance, logprobs.exp(), mass - exact_hit_tolerance(logits.dtype))) & possible


def _edges_by_sort(keys: torch.Tensor, shares: torch.Tensor, least: float) -> torch.Tensor:
    """The keys (…, 1) with which the shares, in the order of the keys (…, V) upwards, reach `least`, without a wait for a GPU."""
    ranked, order = keys.sort(dim=-1, stable=True)
    last = (shares.gather(-1, order).cumsum(-1) < least).sum(-1, keepdim=True)
    return ranked.gather(-1, last.clamp_max(keys.shape[-1] - 1))


def _edges_by_rows(keys: torch.Tensor, shares: torch.Tensor, least: float) -> torch.Tensor:
    """The same, one row after another."""
    goal, size = shares.new_tensor(least), keys.shape[-1]
    pairs = zip(keys.reshape(-1, size), shares.reshape(-1, size), strict=True)
    return torch.stack([_crossing(key, share, goal)[0] for key, share in pairs]).view(*keys.shape[:-1], 1)


def keep_epsilon(logits: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Mask (…, V) of the tokens with a probability of at least `epsilon`, and of the likeliest in any case."""
    _check_share("epsilon_cutoff", epsilon)
    return _at_least(logits, torch.full_like(logits[..., :1], epsilon, dtype=torch.float64))


def keep_eta(logits: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Mask (…, V) of the tokens as likely as min(ε, √ε · exp(−entropy)), and of the likeliest in any case."""
    _check_share("eta_cutoff", epsilon)
    entropy = _entropy(logits.double().log_softmax(-1))  # (…, 1) nats
    return _at_least(logits, (math.sqrt(epsilon) * (-entropy).exp()).clamp_max(epsilon))


def keep_top_n_sigma(logits: torch.Tensor, n: float) -> torch.Tensor:
    """Mask (…, V) of the tokens whose logit is at most `n` standard deviations below the highest, n > 0.

    Temperature scales logits and deviation alike, so that the kept set does not depend on it. The deviation is the
    population's, over the possible tokens.
    """
    if not isinstance(n, (int, float)) or isinstance(n, bool) or not 0 < n < math.inf:
        raise UserError("err_top_n_sigma", n=repr(n))
    possible, wide = logits > -torch.inf, logits.double()
    count = possible.sum(-1, keepdim=True)  # (…, 1)
    mean = wide.masked_fill(~possible, 0).sum(-1, keepdim=True) / count
    deviation = ((wide - mean).masked_fill(~possible, 0).square().sum(-1, keepdim=True) / count).sqrt()
    return (wide >= wide.amax(-1, keepdim=True) - n * deviation) & possible


def keep_xtc(logits: torch.Tensor, threshold: float) -> torch.Tensor:
    """Mask (…, V) without the tokens of probability ≥ `threshold`, except the least likely of those (all, if equal)."""
    _check_share("xtc_threshold", threshold)
    wide = logits.double()
    above = wide.softmax(-1) >= threshold
    least = wide.masked_fill(~above, torch.inf).amin(-1, keepdim=True)  # (…, 1), ∞ where none is above
    return (wide <= least) & (logits > -torch.inf)


def keep_surprise(logits: torch.Tensor, most: torch.Tensor) -> torch.Tensor:
    """Mask (…, V) of the tokens with a surprise −log2 p of at most `most` (1,) bits, and of the likeliest in any case."""
    return _at_least(logits, torch.exp2(-most))


def _at_least(logits: torch.Tensor, floor: torch.Tensor) -> torch.Tensor:
    """Mask (…, V) of the tokens with a probability of at least `floor` (…, 1), and of the likeliest."""
    wide = logits.double()
    enough = wide.log_softmax(-1) >= floor.log() - exact_hit_tolerance(logits.dtype)
    return (enough | (wide == wide.amax(-1, keepdim=True))) & (logits > -torch.inf)


def _entropy(logprobs: torch.Tensor) -> torch.Tensor:
    """(…, 1) in nats, of log-probabilities (…, V) with −∞ for the impossible."""
    return -(logprobs.exp() * logprobs).nansum(-1, keepdim=True)


def kept_in_ranking(probs: torch.Tensor, p: float, tolerance: float) -> torch.Tensor:
    """top-p over probabilities (…, M) already sorted downwards: a token stays while the mass before it is below p."""
    before = probs.cumsum(-1) - probs  # (…, M), the mass of the likelier tokens
    kept = before < p - tolerance
    kept[..., :1].fill_(True)  # p → 0 keeps one
    return kept


def exact_hit_tolerance(dtype: torch.dtype) -> float:
    """How far a mass may miss p and still count as p: the error that rounding logits to `dtype` can make."""
    return 1e-12 if dtype == torch.float64 else 2.5e-7


def _check_share(name: str, value: float) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise UserError("err_no_share", name=name, value=repr(value))
