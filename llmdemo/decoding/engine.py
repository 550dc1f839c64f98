"""All lanes in lock step: one prefill, one forward a step, a Step out. Knows token ids only: no tokenizer, no page."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.decoding.backend import forward_for, fused_weights
from llmdemo.decoding.fused_text import FusedText
from llmdemo.decoding.graphs import GraphRun, StaticForward
from llmdemo.decoding.own_forward import OwnForward
from llmdemo.decoding.plain import is_plain
from llmdemo.decoding.run import Run
from llmdemo.decoding.speculative import Forward
from llmdemo.decoding.steps import Step
from llmdemo.settings.decoding import DecodeSettings
from llmdemo.settings.lane import BEAMS, OWN_FORWARD, Resolved


def decode_lanes(
    model,
    prompt_ids: list[int],
    settings: DecodeSettings,
    eos_token_ids=None,
    assistants: Mapping[str, Any] | None = None,
) -> Iterator[Step]:
    """Yields one Step a forward until every lane has ended; close the iterator to cancel within one step.

    `model` is a causal language model of transformers; `prompt_ids` its tokens, without padding. The texts end at
    `eos_token_ids` (by default those of the model's generation config), at settings.max_new_tokens or at the
    model's context, whichever comes first. `assistants`: the models of the lanes' assistant_model_id, by that id. Greedy and beam lanes give generate's tokens in fp32.
    Raises UserError at the call for a prompt or model that cannot be used, and at a step whose logits are not numbers.
    """
    return run_of(model, prompt_ids, settings, eos_token_ids, assistants).steps()


def run_of(
    model,
    prompt_ids: list[int],
    settings: DecodeSettings,
    eos_token_ids=None,
    assistants: Mapping[str, Any] | None = None,
) -> Run:
    """What decode_lanes takes, not begun yet."""
    started = time.perf_counter()
    prompt = check_prompt(model, prompt_ids)
    context = context_length(model)
    max_new = settings.max_new_tokens if context is None else min(settings.max_new_tokens, context - len(prompt))
    eos = end_tokens(model) if eos_token_ids is None else [int(token) for token in eos_token_ids]
    settings = replace(settings, resolved=_resolved(model, settings))
    _check_own(settings, assistants or {}, context)
    plain = is_plain(settings, settings.resolved.trace)
    forward = forward_for(model, settings.precision, waits=_waits(settings) or plain)
    if isinstance(forward, StaticForward):
        return GraphRun(forward, prompt, settings, max_new, eos, started)
    return Run(
        forward,
        prompt,
        settings,
        max_new,
        eos,
        started,
        model,
        assistants,
        partial(_text_forward, model, settings.precision, max_new),
    )


def _text_forward(main, precision: str, max_new: int, model, most: int) -> Forward:
    """A TextForward: the fused one, where `model` (`main` in `precision`, a draft model in its own) has it, else its own."""
    weights = fused_weights(model, precision if model is main else "auto")
    return OwnForward(model) if weights is None else FusedText(weights, max_new, most)


def _waits(settings: DecodeSettings) -> bool:
    """Whether the next forward depends on what only the host can tell, so that no step can be captured."""
    strategies = {lane.strategy for lane in settings.lanes}
    if not strategies.isdisjoint(("stochastic_beam", *OWN_FORWARD)) or any(
        lane.constrained or lane.guidance_scale != 1.0 for lane in settings.lanes
    ):
        return True
    return bool(settings.stop) and not strategies.isdisjoint(BEAMS)


def _check_own(settings: DecodeSettings, assistants: Mapping[str, Any], context: int | None) -> None:
    """Raises UserError for a draft model that is not there, and a negative prompt without room for an answer."""
    asked = next((id for lane in settings.lanes if (id := lane.assistant_model_id) and id not in assistants), None)
    if asked is not None:
        raise UserError("err_no_assistant", id=asked)
    length = len(settings.resolved.negative) + settings.resolved.answer_tokens + settings.max_new_tokens
    if settings.resolved.negative and context is not None and length > context:
        raise UserError("err_negative_prompt_long", n=len(settings.resolved.negative), context=context)


def check_prompt(model, prompt_ids) -> list[int]:
    """`prompt_ids` as a list of ints that `model` can go on from, or a UserError."""
    if getattr(model.config, "is_encoder_decoder", False):
        raise UserError("err_arena_encoder_decoder")
    if not model.can_generate():
        raise UserError("err_no_head", kind=type(model).__name__)
    prompt = [int(token) for token in prompt_ids]
    if not prompt:
        raise UserError("err_prompt_empty")
    check_tokens(model, prompt)
    context = context_length(model)
    if context is not None and len(prompt) >= context:
        raise UserError("err_context_full", n=len(prompt), context=context, most=context - 1)
    return prompt


def check_tokens(model, ids) -> None:
    """Raises UserError where one of `ids` has no row in the model's embedding: the tokenizer is larger than the model."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    strange = next((token for token in ids if not 0 <= token < vocabulary), None)
    if strange is not None:
        raise UserError("err_strange_token", strange=strange, vocabulary=vocabulary)


def _resolved(model, settings: DecodeSettings) -> Resolved:
    """settings.resolved, with the biases that are given by token id if it has none. Raises UserError for ids the model lacks."""
    resolved = settings.resolved
    if not resolved.biases:
        by_text = next((key for key in settings.logit_bias if not key.isdecimal()), None)
        if settings.bad_words or by_text is not None:
            raise UserError("err_words_without_tokenizer")
        ids = tuple(((int(key),), bias) for key, bias in settings.logit_bias.items())
        resolved = replace(resolved, biases=ids)
    check_tokens(model, [token for tokens, _ in resolved.biases for token in tokens])
    if resolved.texts is None:
        _check_needs_no_texts(settings)
    return resolved


def _check_needs_no_texts(settings: DecodeSettings) -> None:
    """Raises UserError where what was asked for is about texts, which are not decoding's."""
    lane = next(
        (lane for lane in settings.lanes if lane.strategy in ("self_consistency", "mbr") or lane.reward_model_id), None
    )
    if settings.stop:
        raise UserError("err_stop_without_tokenizer")
    if lane:
        raise UserError("err_strategy_without_tokenizer", strategy=lane.strategy)
    constraint = next((lane.constrained for lane in settings.lanes if lane.constrained), "")
    if constraint:
        raise UserError("err_constraint_without_tokenizer", constraint=constraint)


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
