"""The learning rate of each step. Knows a config, and no optimizer."""

import math

from llmdemo.settings.training import TrainConfig

DECAY_SHARE = 0.3
"""Share of the steps over which warmup_stable_decay falls; 10 to 30 % is usual (arXiv 2404.06395, 2405.18392)."""


def learning_rate(config: TrainConfig, step: int) -> float:
    """The rate of step `step` (from 0) of a resolved config: linear warm-up, then as TrainConfig.schedule says."""
    assert config.learning_rate is not None and config.schedule is not None, "a resolved config has both"
    warmup = min(config.warmup_steps, config.max_steps // 2)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, config.max_steps - warmup)
    factors = {
        "constant": 1.0,
        "linear": 1.0 - done,
        "cosine": 0.5 * (1 + math.cos(math.pi * done)),
        "warmup_stable_decay": min(1.0, (config.max_steps - step) / (DECAY_SHARE * config.max_steps)),
    }
    return config.learning_rate * factors[config.schedule]
