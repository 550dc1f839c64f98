"""What the latest prompts left behind, for prompts that begin alike: that much is not computed again. Knows no model."""

import threading
from collections import deque
from dataclasses import dataclass

import torch

_MOST_BYTES = 64 * 2**20
_MOST_PROMPTS = 8


@dataclass(frozen=True)
class Prefix:
    """The beginning of a prompt: its ids (T,), their keys and values [layers, kv heads, T, D]."""

    ids: list[int]
    keys: torch.Tensor
    values: torch.Tensor
    surprise: torch.Tensor
    """(T − 1,) −log p in nats of the tokens after the first; NaN: not known."""
    tells_surprise: bool
    """Whether anybody asked for that."""


class Prefixes:
    """The latest prompts of one set of weights. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: deque[Prefix] = deque(maxlen=_MOST_PROMPTS)

    def add(self, prefix: Prefix) -> None:
        """Keeps a copy of the first tokens, as many as an equal share of the bytes holds."""
        each = 2 * prefix.keys[:, :, :1].numel() * prefix.keys.element_size()
        most = min(len(prefix.ids), _MOST_BYTES // _MOST_PROMPTS // each)
        if most < 2:
            return
        keys, values = prefix.keys[:, :, :most].clone(), prefix.values[:, :, :most].clone()
        kept = Prefix(prefix.ids[:most], keys, values, prefix.surprise[: most - 1], prefix.tells_surprise)
        with self._lock:
            self._latest.append(kept)

    def longest(self, ids: list[int], with_surprise: bool) -> tuple[Prefix, int] | None:
        """(what begins as `ids` does for the most tokens, how many); never all of them, as the last one's hidden state is
        asked for. `with_surprise`: of those only that know it."""
        with self._lock:
            known = [each for each in self._latest if not with_surprise or each.tells_surprise]
        found = [(each, _same(each.ids, ids)) for each in known]
        best = max(found, key=lambda one: one[1], default=None)
        return best if best and best[1] else None


def _same(some: list[int], other: list[int]) -> int:
    most = min(len(some), len(other) - 1)
    return next((at for at in range(most) if some[at] != other[at]), most)
