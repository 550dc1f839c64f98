"""What a comparison's settings mean for one tokenizer, and which draft models they ask for. Knows no model's weights."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmdemo.arena.prompt import Prompt
from llmdemo.arena.text import biases_of
from llmdemo.arena.text_side import TextSide
from llmdemo.core.errors import UserError
from llmdemo.core.spaces import on_zero_gpu
from llmdemo.core.store import Home
from llmdemo.decoding import DecodeSettings
from llmdemo.models import catalog
from llmdemo.settings.lane import Resolved

if TYPE_CHECKING:
    from llmdemo.evaluation.reward_scores import RewardScorer


def resolved_of(
    settings: DecodeSettings,
    tokenizer,
    prompt: Prompt,
    said: int = 0,
    rewards: "Mapping[str, RewardScorer] | None" = None,
) -> Resolved:
    """settings.resolved for a tokenizer; `said`: tokens of the answer that the prompt ends with; `rewards`: the reward
    models that lanes choose by, by their ids."""
    turns = prompt.messages or ({"role": "user", "content": prompt.raw or ""},)
    dry = any(lane.dry_multiplier for lane in settings.lanes)
    guided = settings.negative_prompt and any(lane.guidance_scale != 1.0 for lane in settings.lanes)
    return Resolved(
        biases_of(settings, tokenizer),
        said,
        negative_ids(settings.negative_prompt, tokenizer, prompt) if guided else (),
        breakers_of(settings.dry_sequence_breakers, tokenizer) if dry else (),
        TextSide(tokenizer, settings, turns, rewards),
    )


def rest_of(
    settings: DecodeSettings, tokenizer, prompt: Prompt, said: int, rewards: "Mapping[str, RewardScorer] | None" = None
) -> DecodeSettings:
    """What is left of the settings' lengths after `said` tokens of the answer, resolved for this tokenizer."""
    lanes = tuple(replace(lane, min_new_tokens=max(0, lane.min_new_tokens - said)) for lane in settings.lanes)
    most = max(1, settings.max_new_tokens - said)
    resolved = resolved_of(settings, tokenizer, prompt, said, rewards)
    return replace(settings, max_new_tokens=most, lanes=lanes, resolved=resolved)


def check_fork(ids: tuple[int, ...], tokenizers: list) -> None:
    """Raises UserError where tokenizers spell a fork's tokens in different ways: they come from one model."""
    spelt = [tokenizer.convert_ids_to_tokens(list(ids)) for tokenizer in tokenizers]
    if any(other != spelt[0] for other in spelt[1:]):
        raise UserError("err_different_tokens")


def negative_ids(text: str, tokenizer, prompt: Prompt) -> tuple[int, ...]:
    """The negative prompt's tokens: the same conversation with `text` as its system prompt, or raw, `text` alone."""
    if prompt.raw is not None:
        return tuple(Prompt(raw=text).encode(tokenizer))
    turns = tuple(turn for turn in prompt.messages if turn["role"] != "system")
    return tuple(Prompt(messages=({"role": "system", "content": text}, *turns)).encode(tokenizer))


def breakers_of(texts: tuple[str, ...], tokenizer) -> tuple[int, ...]:
    """The tokens that stand for DRY's sequence breakers: the last one of each, behind a letter, as its author has it."""
    spelt = [tokenizer.encode("a" + text, add_special_tokens=False) for text in texts if text]
    return tuple({ids[-1] for ids in spelt if ids})


def assistant_ids(settings: DecodeSettings) -> tuple[str, ...]:
    """The draft models that the lanes ask for, each once."""
    return tuple(dict.fromkeys(lane.assistant_model_id for lane in settings.lanes if lane.assistant_model_id))


def draft_entry(home: Home, model_id: str) -> catalog.ModelEntry:
    """The draft model's entry, one of the menu. Raises UserError."""
    found = next((entry for entry in catalog.list_models(home) if entry.id == model_id and entry.writes), None)
    if found is None:
        raise UserError("err_no_assistant", id=model_id)
    if on_zero_gpu():
        raise UserError("err_assistant_zero_gpu")
    return found


def reward_ids(settings: DecodeSettings) -> tuple[str, ...]:
    """The reward models that the lanes choose by, each once."""
    return tuple(dict.fromkeys(lane.reward_model_id for lane in settings.lanes if lane.reward_model_id))


def check_assistant(model_title: str, tokenizer: Any, title: str, other: Any) -> None:
    """Raises UserError where a draft model's tokenizer (`other`) has another vocabulary than the model's."""
    if tokenizer.get_vocab() != other.get_vocab():
        raise UserError("err_assistant_vocabulary", assistant=title, model=model_title)
