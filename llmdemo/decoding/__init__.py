"""Decoding strategies in lock step: token ids in, steps out. Knows no tokenizer, no page, and loads no model."""

from llmdemo.decoding.backend import describe, prepare, shares_steps
from llmdemo.decoding.engine import decode_lanes
from llmdemo.decoding.filters import (
    keep_epsilon,
    keep_eta,
    keep_min_p,
    keep_top_k,
    keep_top_n_sigma,
    keep_top_p,
    keep_typical,
    keep_xtc,
)
from llmdemo.decoding.plain import is_plain
from llmdemo.decoding.steps import (
    BeamStep,
    Branch,
    Candidates,
    Finished,
    LaneResult,
    PlainStep,
    Sequence,
    SeveralStep,
    SpeculativeStep,
    Step,
    TokenStep,
)
from llmdemo.settings.decoding import DecodeSettings
from llmdemo.settings.lane import DEFAULT_LANES, PENALTIES, STRATEGIES, LaneSettings

__all__ = [
    "DEFAULT_LANES",
    "PENALTIES",
    "STRATEGIES",
    "BeamStep",
    "Branch",
    "Candidates",
    "DecodeSettings",
    "Finished",
    "LaneResult",
    "LaneSettings",
    "PlainStep",
    "Sequence",
    "SeveralStep",
    "SpeculativeStep",
    "Step",
    "TokenStep",
    "decode_lanes",
    "describe",
    "is_plain",
    "keep_epsilon",
    "keep_eta",
    "keep_min_p",
    "keep_top_k",
    "keep_top_n_sigma",
    "keep_top_p",
    "keep_typical",
    "keep_xtc",
    "prepare",
    "shares_steps",
]
