"""A model in training writes: adapters merged and weights fused for the while, rows in lock step. Token ids only."""

import contextlib
from typing import Any

from llmdemo.decoding.backend import fresh_weights
from llmdemo.decoding.draws import Likeliest, Sampler
from llmdemo.decoding.prompts import Answer, greedy, written
from llmdemo.training import device as devices
from llmdemo.training.adapters import merged
from llmdemo.training.objectives.base import Place, end_ids


def write_greedily(place: Place, prompts: list[list[int]], most: int) -> list[Answer]:
    """The likeliest answer to each prompt, of at most so many tokens."""
    return _write(place, prompts, most)


def draw(
    place: Place, prompts: list[list[int]], copies: int, most: int, seeds: list[list[int]], temperature: float
) -> list[list[int]]:
    """`copies` answers to each prompt, side by side, of at most so many tokens, the token that ended one included.

    seeds: one an answer."""
    return _with_ends(place, prompts, most, Sampler(seeds, temperature, most), copies)


def likeliest(place: Place, prompts: list[list[int]], most: int) -> list[list[int]]:
    """The likeliest answer to each prompt as `draw` gives drawn ones, the token that ended it included."""
    return _with_ends(place, prompts, most, Likeliest(len(prompts)), 1)


def _with_ends(place: Place, prompts, most: int, choose: Sampler | Likeliest, copies: int) -> list[list[int]]:
    return ended(_write(place, prompts, most, choose, copies), choose)


def ended(answers: list[Answer], choose: Sampler | Likeliest) -> list[list[int]]:
    """The tokens of each answer, the one that ended it included: where rows cannot leave the batch, `choose` draws on."""
    return [
        tokens[: len(answer.token_ids) + answer.ended] for tokens, answer in zip(choose.tokens, answers, strict=True)
    ]


def _write(
    place: Place, prompts, most: int, choose: Sampler | Likeliest | None = None, copies: int = 1
) -> list[Answer]:
    with merged(place.model) if _has_room(place) else contextlib.nullcontext(place.model) as model:
        # Its weights are others by the next time: the fused ones are not kept.
        weights = fresh_weights(model, "bf16" if place.precision == "bf16" else "auto")
        ends = end_ids(place.model, place.tokenizer)
        more: dict[str, Any] = {"end_ids": ends, "weights": weights, "context": place.autocast}
        if choose is None:
            return greedy(model, prompts, most, place.pad, place.check, **more)
        return written(model, prompts, most, place.pad, choose, place.check, copies=copies, **more)


def _has_room(place: Place) -> bool:
    """Whether adapters may be merged into copies of their matrices: three times the weights, the fused ones among them."""
    taken = sum(p.numel() * p.element_size() for p in place.model.parameters())
    return devices.available_bytes(place.device) > 3 * taken
