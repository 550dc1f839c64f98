"""All lanes in lock step: one prefill, one forward a step, a Step out. Knows token ids only: no tokenizer, no page."""

import time
from collections.abc import Iterator

import torch

from llmdemo.decoding.backend import forward_for
from llmdemo.decoding.beams import BeamLane
from llmdemo.decoding.lanes import Rows, TokenLane
from llmdemo.decoding.settings import DecodeSettings
from llmdemo.decoding.steps import Step
from llmdemo.errors import UserError


def decode_lanes(model, prompt_ids: list[int], settings: DecodeSettings, eos_token_ids=None) -> Iterator[Step]:
    """Yields one Step a forward until every lane has ended; close the iterator to cancel within one step.

    `model` is a causal language model of transformers; `prompt_ids` its tokens, without padding. The texts end at
    `eos_token_ids` (by default those of the model's generation config), at settings.max_new_tokens or at the
    model's context, whichever comes first. Greedy and beam lanes give generate's tokens in fp32.
    Raises UserError at the call for a prompt or model that cannot be used, and at a step whose logits are not numbers.
    """
    started = time.perf_counter()
    prompt = check_prompt(model, prompt_ids)
    context = context_length(model)
    max_new = settings.max_new_tokens if context is None else min(settings.max_new_tokens, context - len(prompt))
    eos = end_tokens(model) if eos_token_ids is None else [int(token) for token in eos_token_ids]
    return _Run(forward_for(model, settings.precision), prompt, settings, max_new, eos, started).steps()


def check_prompt(model, prompt_ids) -> list[int]:
    """`prompt_ids` as a list of ints that `model` can go on from, or a UserError."""
    if getattr(model.config, "is_encoder_decoder", False):
        raise UserError(
            "This is an encoder-decoder model; the arena compares decoder-only language models.",
            "Choose a causal model, such as a Llama, Qwen, Mistral or GPT-2 model.",
        )
    prompt = [int(token) for token in prompt_ids]
    if not prompt:
        raise UserError("The prompt is empty.", "Type at least one word.")
    vocabulary = model.get_input_embeddings().weight.shape[0]
    if not all(0 <= token < vocabulary for token in prompt):
        raise UserError(
            f"The prompt holds a token that the model does not have (it knows {vocabulary:,}).",
            "Use the tokenizer that belongs to this model.",
        )
    context = context_length(model)
    if context is not None and len(prompt) >= context:
        raise UserError(
            f"The prompt has {len(prompt):,} tokens; this model's context holds {context:,}, the answer included.",
            f"Shorten it to at most {context - 1:,} tokens.",
        )
    return prompt


def context_length(model) -> int | None:
    """The most tokens that prompt and answer may have together, or None if the model does not say."""
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    length = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    return length if isinstance(length, int) and length > 0 else None


def end_tokens(model) -> list[int]:
    """The ids that end a text, from the generation config or else the config; may be empty."""
    for config in (getattr(model, "generation_config", None), model.config):
        found = getattr(config, "eos_token_id", None)
        if found is not None:
            return [found] if isinstance(found, int) else list(found)
    return []


class _Run:
    """One comparison on its way: which lanes are live, and where their rows are."""

    def __init__(
        self, forward, prompt: list[int], settings: DecodeSettings, max_new: int, eos: list[int], started: float
    ):
        self.forward, self.prompt, self.max_new, self.started = forward, prompt, max_new, started
        self.lanes = [
            BeamLane(lane, max_new, eos, forward.device)
            if lane.strategy == "beam"
            else TokenLane(lane, settings.seed, max_new, eos, forward.device)
            for lane in settings.lanes
        ]

    def steps(self) -> Iterator[Step]:
        tokens = parents = None
        for t in range(self.max_new):
            with torch.inference_mode():  # never across a yield: the mode is the consumer's thread's too
                rows = self._rows
                if t == 0:
                    logits = self.forward.prefill(self.prompt, rows, self.max_new).expand(rows, -1)
                else:
                    logits = self.forward.step(tokens, parents)
                tokens, parents, packed = choose(self.lanes, logits, torch.tensor([t], device=logits.device))
                step = self._read(packed, t, 1 if t == 0 else rows)
                if not step.done:
                    tokens, parents = self._leave(tokens, parents)
            yield step
            if step.done:
                return

    @property
    def _rows(self) -> int:
        return sum(lane.rows for lane in self.lanes)

    def _read(self, packed: list[torch.Tensor], t: int, rows: int) -> Step:
        """The Step of the lanes' packed numbers: the one place that waits for the device."""
        values = torch.cat([tensor.double() for part in packed for tensor in part]).tolist()
        taken, first = {}, 0
        for lane, part in zip(self.lanes, packed, strict=True):
            size = sum(tensor.numel() for tensor in part)
            taken[lane.lane.name] = lane.read(check_numbers(values[first : first + size]), t)
            first += size
        seconds = time.perf_counter() - self.started
        ended = [lane for lane in self.lanes if lane.finish_reason]
        results = {lane.lane.name: lane.result(seconds) for lane in ended}
        return Step(t, taken, seconds, rows, done=len(ended) == len(self.lanes), results=results)

    def _leave(self, tokens: torch.Tensor, parents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Takes the ended lanes' rows out of the next forward."""
        if not any(lane.finish_reason for lane in self.lanes):
            return tokens, parents
        kept, first = [], 0
        for lane in self.lanes:
            if not lane.finish_reason:
                kept += range(first, first + lane.rows)
            first += lane.rows
        self.lanes = [lane for lane in self.lanes if not lane.finish_reason]
        index = torch.tensor(kept, device=tokens.device)
        return tokens[index], parents[index]


def choose(lanes, logits: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[list[torch.Tensor]]]:
    """(next tokens (R,), their parents (R,) among these rows, each lane's packed numbers) from logits (R, V)."""
    rows = Rows.of(logits, max(lane.width for lane in lanes))
    tokens, parents, packed, first = [], [], [], 0
    for lane in lanes:
        token, parent, numbers = lane.choose(rows.part(first, lane.rows), t)
        tokens.append(token)
        parents.append(torch.full((1,), first, device=logits.device) if parent is None else parent + first)
        packed.append(numbers)
        first += lane.rows
    return torch.cat(tokens), torch.cat(parents), packed


def check_numbers(values: list[float]) -> list[float]:
    """`values`, or a UserError if a NaN is among them: the logits were not numbers."""
    if any(value != value for value in values):
        raise UserError(
            "The model's output is not a number (NaN or infinite), so no token can be chosen.",
            "Its weights are damaged or its training diverged: choose another model or an earlier checkpoint.",
        )
    return values
