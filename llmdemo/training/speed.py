"""How fast this machine would train a model, guessed from how fast it multiplies matrices. Knows no run and no data.

A guess for the time before the first run here; from then on its measured speed is used.
"""

import time

import torch

_SIZE = {"cpu": 768, "cuda": 4096}
_REPEATS = 3
_MEASUREMENTS = 5
"""Times that are measured before the best one is the last word: the machine may have been busy."""
_SHARE = {"cpu": 1.0, "cuda": 0.25}
"""The part of the matrix speed that a whole step reaches, by device, with the starter model. On a CPU what a step loses
elsewhere is about what it gains by computing the shared beginning of a batch once."""


def tokens_per_second(parameters: int, device: torch.device, dtype: torch.dtype) -> float:
    """A guess: 6 operations a parameter and token (forward 2, backward 4; Kaplan et al. 2020, arXiv 2001.08361)."""
    return _SHARE[device.type] * _operations(device.type, dtype) / (6 * max(1, parameters))


_found: dict[tuple[str, torch.dtype], list[float]] = {}


def _operations(device: str, dtype: torch.dtype) -> float:
    """Operations a second of a square matrix product, the best that was seen; takes some 50 ms, the first few times."""
    seen = _found.setdefault((device, dtype), [])
    if len(seen) < _MEASUREMENTS:
        seen.append(_measured(device, dtype))
    return max(seen)


def _measured(device: str, dtype: torch.dtype) -> float:
    size = _SIZE[device]
    left, right = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    seconds = []
    for _ in range(1 + _REPEATS):  # the first one warms up
        begun = time.perf_counter()
        (left @ right)[0, 0].item()  # waits for a GPU
        seconds.append(time.perf_counter() - begun)
    return 2 * size**3 / min(seconds[1:])
