"""The next tokens of lanes whose trace nobody asked for, of many runs at once: no log-probabilities, ranks or entropies.

What a lane says is what it says with its trace (lanes.py). Knows no model but for its fused weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from llmdemo.decoding.fused_llama import FusedLlamaWeights, Parts
from llmdemo.decoding.lanes import TokenLane, draw, lane_weights
from llmdemo.settings.decoding import DecodeSettings
from llmdemo.settings.lane import BEAMS, OF_SAMPLING, OWN_FORWARD, SEVERAL, LaneSettings


@dataclass(frozen=True)
class Request:
    """What a run asks of a forward, and of its plain lanes."""

    parts: Parts
    lanes: Sequence[TokenLane] = ()
    """Those whose tokens are chosen too; none: the logits are wanted."""
    places: Sequence[int] = ()
    """Which row of the logits each of them goes by."""
    t: int = 0
    """Their step."""

    @property
    def rows(self) -> int:
        """New tokens in the forward."""
        return sum(part.rows for _, part in self.parts)


def is_plain(settings: DecodeSettings, trace: bool) -> bool:
    """Whether a trace is not wanted, and all that each lane does is to choose by its row of the logits, and at most not to
    end too soon."""
    biased = settings.logit_bias or settings.bad_words or settings.resolved.biases
    return not trace and not biased and all(map(_by_its_row, settings.lanes))


def _by_its_row(lane: LaneSettings) -> bool:
    if lane.strategy in (*BEAMS, *SEVERAL, *OWN_FORWARD, "xtc", "mirostat") or lane.constrained:
        return False
    return lane.guidance_scale == 1.0 and not replace(lane, min_new_tokens=0).penalised


def computed(weights: FusedLlamaWeights, requests: Sequence[Request]) -> list[torch.Tensor | list[list[float]]]:
    """Of each request the logits (M, V), or [token, a number that is NaN where its logits are] of each of its lanes."""
    logits = weights.batched_logits([request.parts for request in requests])
    found: list[torch.Tensor | list[list[float]]] = list(logits)
    plain = [(at, request) for at, request in enumerate(requests) if request.lanes]
    if plain:
        rows = torch.cat([logits[at][list(request.places)] for at, request in plain])
        lanes = [(lane, request.t) for _, request in plain for lane in request.lanes]
        values = chosen(lanes, rows)
        for at, request in plain:
            found[at], values = values[: len(request.lanes)], values[len(request.lanes) :]
    return found


def chosen(lanes: Sequence[tuple[TokenLane, int]], logits: torch.Tensor) -> list[list[float]]:
    """[token, a number that is NaN where the logits are] of each (plain lane, its step) by its row of logits (S, V)."""
    logits = _held_back(lanes, logits.float())
    tokens = torch.empty(len(lanes), dtype=torch.int64, device=logits.device)
    numbers = torch.empty(len(lanes), dtype=torch.float64, device=logits.device)
    for rows in _alike([lane for lane, _ in lanes]):
        own = logits if len(rows) == len(lanes) else logits[rows]
        lane = lanes[rows[0]][0]
        if lane.lane.samples:
            weights, _ = lane_weights(own, lane.lane)  # (N, V)
            uniforms = torch.stack([lanes[row][0].uniforms[lanes[row][1]] for row in rows])  # type: ignore[index]
            numbers[rows] = weights.sum(-1)
            tokens[rows] = draw(weights, uniforms[:, None])[:, 0].clamp_max(logits.shape[-1] - 1)
        else:
            most = own.max(-1)
            numbers[rows], tokens[rows] = most.values.double(), most.indices
    return torch.stack([tokens.double(), numbers], dim=1).tolist()


def _alike(lanes: Sequence[TokenLane]) -> list[list[int]]:
    """The numbers of the lanes that draw alike, together."""
    found: dict[Any, list[int]] = {}
    for number, lane in enumerate(lanes):
        key = tuple(getattr(lane.lane, name) for name in OF_SAMPLING) if lane.lane.samples else None
        found.setdefault(key, []).append(number)
    return list(found.values())


def _held_back(lanes: Sequence[tuple[TokenLane, int]], logits: torch.Tensor) -> torch.Tensor:
    """Logits in which no lane ends before its min_new_tokens; where nothing else is left to say, it may."""
    early = [row for row, (lane, t) in enumerate(lanes) if t < lane.lane.min_new_tokens and lane.eos]
    early = [row for row in early if len(lanes[row][0].eos) < logits.shape[-1]]
    if not early:
        return logits
    logits = logits.clone()
    for ends in {lanes[row][0].eos for row in early}:
        rows = [row for row in early if lanes[row][0].eos == ends]
        logits[
            torch.tensor(rows, device=logits.device)[:, None], torch.tensor(sorted(ends), device=logits.device)
        ] = -torch.inf
    return logits
