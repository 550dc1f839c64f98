"""Decoding strategies in lock step: token ids in, steps out. Knows no tokenizer, no page, and loads no model."""

from llmdemo.decoding.settings import DEFAULT_LANES, STRATEGIES, DecodeSettings, LaneSettings
from llmdemo.decoding.steps import BeamStep, Branch, Candidates, Finished, LaneResult, Sequence, Step, TokenStep

__all__ = [
    "DEFAULT_LANES",
    "STRATEGIES",
    "BeamStep",
    "Branch",
    "Candidates",
    "DecodeSettings",
    "Finished",
    "LaneResult",
    "LaneSettings",
    "Sequence",
    "Step",
    "TokenStep",
]
