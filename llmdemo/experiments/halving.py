"""Successive halving (Jamieson and Talwalkar, arXiv 1502.07943): many short runs, the best of them longer, and so on.

Each rung's runs are new ones, not the last rung's resumed. A run's learning rate falls to zero over its own steps; to
go on from there it would have to rise again, and at a constant rate the short runs would favour small rates. The price
for honest losses at every rung is about 1/eta of the steps more.

Knows nothing of runs: counts, steps and scores.
"""

import math

from llmdemo.core.errors import UserError


def rungs(runs: int, steps: int, least_steps: int, eta: int) -> list[tuple[int, int]]:
    """[(runs, steps of each)] from the first rung to the last, whose runs take all `steps`.

    Each rung keeps one in `eta` of the runs and gives them `eta` times the steps. Raises UserError where that makes no
    second rung.
    """
    if eta < 2:
        raise UserError("err_eta", eta=eta)
    if runs < eta:
        raise UserError("err_few_to_halve", runs=runs, eta=eta, example=eta * eta)
    least_steps = max(1, least_steps)
    if steps < least_steps * eta:
        raise UserError("err_few_steps_to_halve", steps=steps, least_steps=least_steps, needed=least_steps * eta)
    count = 1 + min(_power(runs, eta), _power(steps // least_steps, eta))
    return [(runs // eta**i, max(least_steps, round(steps / eta ** (count - 1 - i)))) for i in range(count)]


def _power(value: int, base: int) -> int:
    """The largest p with base**p <= value."""
    power = 0
    while base ** (power + 1) <= value:
        power += 1
    return power


def survivors(scores: dict[str, float | None], keep: int) -> list[str]:
    """The names with the `keep` lowest scores, the best first. One without a finite score never goes on."""
    known = {name: score for name, score in scores.items() if score is not None and math.isfinite(score)}
    return sorted(known, key=lambda name: known[name])[:keep]
