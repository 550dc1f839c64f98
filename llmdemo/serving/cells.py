"""What happened to one version of a served model within one stretch of time: sums that can be added to one another.

A cell is a plain dict of numbers, and of dicts of numbers, so that it is kept as JSON and two of them merge by adding.
Latencies are counted in bins of equal ratio: percentiles are within 6 % of the exact ones. Knows no clock and no file.
"""

import math
from typing import Any

BINS_A_DECADE = 20
MOST_NAMES = 40
"""Languages, topics and classes that a cell tells apart; the others are one, OTHER."""
OTHER = "…"
PERCENTILES = (50, 95, 99)
_MOST = ("queued",)
"""Of these the greatest is kept, not the sum."""
Cell = dict[str, Any]


def bin_of(value: float) -> str:
    """The bin of a positive number: the bins' borders are 20 a power of ten."""
    return str(math.floor(math.log10(max(value, 1e-6)) * BINS_A_DECADE))


def of_bin(name: str) -> float:
    """The number in the middle of a bin, by ratio."""
    return 10 ** ((int(name) + 0.5) / BINS_A_DECADE)


def add(cell: Cell, other: Cell) -> None:
    """Adds what happened in `other` to `cell`."""
    for key, value in other.items():
        if isinstance(value, dict):
            mine = cell.setdefault(key, {})
            for name, count in value.items():
                name = name if name in mine or len(mine) < MOST_NAMES or key in ("first", "each", "waited") else OTHER
                mine[name] = mine.get(name, 0) + count
        elif key in _MOST:
            cell[key] = max(cell.get(key, 0), value)
        else:
            cell[key] = cell.get(key, 0) + value


def percentiles(bins: dict[str, int] | None) -> dict[str, float] | None:
    """{p50, p95, p99} by the nearest rank; None where nothing was counted."""
    total = sum((bins or {}).values())
    if not bins or not total:
        return None
    ranked, found, seen = sorted(bins, key=int), {}, 0
    for each in PERCENTILES:
        wanted, seen = math.ceil(each / 100 * total), 0
        for name in ranked:
            seen += bins[name]
            if seen >= wanted:
                found[f"p{each}"] = round(of_bin(name), 5)
                break
    return found


def told(cell: Cell) -> dict[str, Any]:
    """A cell as the page and /monitor show it: counts, {p50, p95, p99} of the latencies, means, and the mixes as shares."""
    outcomes = cell.get("outcomes", {})
    return {
        "requests": sum(outcomes.values()),
        "outcomes": outcomes,
        "prompt_tokens": cell.get("prompt_tokens", 0),
        "tokens": cell.get("tokens", 0),
        **{key: percentiles(cell.get(key)) for key in ("waited", "first", "each")},
        "queued": cell.get("queued", 0),
        "length": _mean(cell, "length", "answers", 1),
        "repetition": _mean(cell, "repetition", "looked", 4),
        "surprise": _mean(cell, "surprise", "surprises", 4),
        "confidence": _mean(cell, "confidence", "confidences", 4),
        # what is taken back is taken from its own cell, which may have gone meanwhile, or been told apart less well
        **{key: max(0, cell.get(key, 0)) for key in ("up", "down", "labelled")},
        "right": min(max(0, cell.get("right", 0)), max(0, cell.get("labelled", 0))),
        **{key: shares(cell.get(key)) for key in ("languages", "topics", "classes")},
    }


def shares(counts: dict[str, int] | None) -> dict[str, float]:
    """{name: share}, the largest first."""
    total = sum((counts or {}).values())
    ranked = sorted((counts or {}).items(), key=lambda item: -item[1])
    return {name: round(count / total, 4) for name, count in ranked} if total else {}


def _mean(cell: Cell, sum_: str, count: str, digits: int) -> float | None:
    return round(cell[sum_] / cell[count], digits) if cell.get(count) else None
