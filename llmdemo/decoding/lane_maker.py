"""Makes the lane of each strategy. Knows which class decodes what, and nothing of steps and forwards."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from llmdemo.core.errors import UserError
from llmdemo.decoding.beams import BeamLane
from llmdemo.decoding.constraints import Changes, Constraint, EitherStops, constraint_of
from llmdemo.decoding.contrastive import ContrastiveLane
from llmdemo.decoding.diverse_beams import DiverseBeamLane, groups_of
from llmdemo.decoding.dola import DolaLane
from llmdemo.decoding.guidance import Guidance
from llmdemo.decoding.lanes import TokenLane
from llmdemo.decoding.own_forward import OwnForward
from llmdemo.decoding.penalties import Diversity, Penalties
from llmdemo.decoding.several import SeveralLane, answers_of
from llmdemo.decoding.speculative import Draft, Forward, ModelDraft, SpeculativeLane, lookup
from llmdemo.decoding.stochastic_beams import StochasticBeamLane
from llmdemo.settings.decoding import DecodeSettings
from llmdemo.settings.lane import SEVERAL, LaneSettings, Stops

TextForward = Callable[[Any, int], Forward]
"""(model, most tokens in a forward) → a fresh forward of one text."""
OwnLane = SpeculativeLane | ContrastiveLane | DolaLane
SharedLane = TokenLane | BeamLane | SeveralLane | DiverseBeamLane | StochasticBeamLane


def own_forward_of(model, most: int) -> Forward:
    """A TextForward: the model's own."""
    return OwnForward(model)


class LaneMaker:
    """Of one comparison: what its lanes have in common."""

    def __init__(
        self,
        prompt: list[int],
        settings: DecodeSettings,
        max_new: int,
        eos: list[int],
        device: torch.device,
        model=None,
        assistants: Mapping[str, Any] | None = None,
        text_forward: TextForward = own_forward_of,
    ):
        """`model`: for lanes with forwards of their own; `assistants`: draft models by their ids; `text_forward`: what a
        speculative lane computes with."""
        self.text_forward = text_forward
        self.model, self.assistants = model, assistants or {}
        self.prompt, self.settings, self.max_new, self.eos, self.device = prompt, settings, max_new, eos, device
        self.texts = settings.resolved.texts if settings.stop else None

    def own_forward(self, lane: LaneSettings) -> OwnLane:
        """A lane of a strategy in OWN_FORWARD, at its beginning; it computes with the model by itself."""
        greedy = self._token_lane(replace(lane, strategy="greedy"))
        if lane.strategy == "contrastive":
            return ContrastiveLane(self.model, self.prompt, greedy)
        if lane.strategy == "dola":
            return DolaLane(self.model, self.prompt, greedy)
        draft: Draft = lookup
        most = lane.prompt_lookup_num_tokens
        if lane.assistant_model_id:
            assistant, most = self.assistants[lane.assistant_model_id], lane.num_assistant_tokens
            draft = ModelDraft(assistant, self.text_forward(assistant, 1))
        forward = self.text_forward(self.model, 1 + most)
        return SpeculativeLane(self.model, self.prompt, greedy, draft, most, self.max_new, forward)

    def lane(self, lane: LaneSettings) -> SharedLane:
        """The lane, at its beginning; of any strategy that is not in OWN_FORWARD."""
        if lane.strategy in SEVERAL:
            return SeveralLane(
                lane, [self._token_lane(each) for each in answers_of(lane)], self.settings.resolved.texts
            )
        if lane.strategy == "diverse_beam":
            groups = [
                self._beam_lane(each, Diversity(lane.diversity_penalty, self._held(each))) for each in groups_of(lane)
            ]
            return DiverseBeamLane(lane, groups)
        if lane.strategy == "stochastic_beam":
            return self._stochastic(lane)
        if lane.strategy == "beam":
            return self._beam_lane(lane, self._changes(lane))
        return self._token_lane(lane)

    def _changes(self, lane: LaneSettings) -> Guidance | Penalties | Constraint | None:
        """What changes the lane's scores: guidance, then penalties, then its form."""
        held = self._held(lane)
        if lane.guidance_scale == 1.0:
            return held
        # without a negative prompt its last token stands for it, as in transformers
        context = [
            *(self.settings.resolved.negative or self.prompt[: len(self.prompt) - len(self._said)][-1:]),
            *self._said,
        ]
        return Guidance(self.model, context, lane.num_beams, lane.guidance_scale, held)

    @property
    def _said(self) -> list[int]:
        """Tokens of the answer that the prompt ends with."""
        return self.prompt[len(self.prompt) - self.settings.resolved.answer_tokens :]

    def _held(self, lane: LaneSettings) -> Penalties | Constraint | None:
        resolved, rows = self.settings.resolved, lane.num_beams
        penalties = None  # a lane without any pays nothing
        if lane.penalised or resolved.biases:
            penalties = Penalties(lane, self.prompt, rows, self.max_new, self.eos, resolved, self.device)
        if not lane.constrained:
            return penalties
        assert resolved.texts is not None, "the engine refuses such a lane"
        masks, said = resolved.texts.masks(lane), self._said
        if not any(masks.allowed(said)) and not masks.complete(said):
            raise UserError("err_constraint_begun", constraint=lane.constrained)
        return Constraint(masks, said, rows, self.eos, penalties)

    def _stops(self, penalties: Changes | None) -> Stops | None:
        """Who tells whether a lane with these penalties ends without a token for it; None: nobody has to be asked."""
        constraint = constraint_of(penalties)
        parts: list[Stops] = [self.texts] if self.texts else []
        if constraint and not self.eos:
            parts.append(constraint)
        return EitherStops(*parts) if len(parts) > 1 else parts[0] if parts else None

    def _token_lane(self, lane: LaneSettings) -> TokenLane:
        seed, penalties = self.settings.seed, self._changes(lane)
        return TokenLane(lane, seed, self.max_new, self.eos, self.device, penalties, self._stops(penalties))

    def _beam_lane(self, lane: LaneSettings, penalties: Changes | None) -> BeamLane:
        return BeamLane(lane, self.max_new, self.eos, self.device, penalties, self._stops(penalties))

    def _stochastic(self, lane: LaneSettings) -> StochasticBeamLane:
        seed, penalties = self.settings.seed, self._changes(lane)
        stops = self._stops(penalties)
        return StochasticBeamLane(lane, seed, self.max_new, self.eos, self.device, penalties, stops)
