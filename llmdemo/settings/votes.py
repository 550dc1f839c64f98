"""The settings of a class's blind vote, checked before it is opened. Imports no torch.

The decoding settings beside them are `DecodeSettings`. Knows nothing of how votes are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.settings.schema import Setting, check

_LONGEST_PROMPT = 20_000
MOST_MODELS = 2


@dataclass(frozen=True)
class VoteConfig:
    """What is voted on, and until when."""

    title: Annotated[str, Field(max_length=120)] = ""
    """What the participants read above the answers."""
    model_ids: tuple[str, ...] = ("starter",)
    """One model, or two: each strategy of each is a contestant."""
    prompts: tuple[str, ...] = ()
    """What is asked; the answers are made once, as soon as the vote is opened."""
    own_prompts: bool = False
    """Whether participants may ask something of their own; they alone vote on its answers."""
    votes: Annotated[int, Field(ge=1, le=20_000), Setting("votes")] = 200
    """The vote closes by itself after so many."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], most_prompts: int, variable: str) -> "VoteConfig":
        """A checked config; at most `most_prompts` prompts, which `variable` says. Raises UserError."""
        if not isinstance(values, dict):
            raise UserError("The config is not an object.", 'Give keys and values, such as {"prompts": ["…"]}.')
        config = cls(**check(cls, values, "The config"))
        prompts = tuple(dict.fromkeys(prompt.strip() for prompt in config.prompts if prompt.strip()))
        if not prompts and not config.own_prompts:
            raise UserError("There is nothing to ask.", "Write a prompt a line, or let the participants ask.")
        if len(prompts) > most_prompts:
            raise UserError(f"There are {len(prompts):,} prompts.", f"At most {most_prompts:,} are taken ({variable}).")
        if too_long := next((prompt for prompt in prompts if len(prompt) > _LONGEST_PROMPT), None):
            raise UserError(
                f"A prompt is {len(too_long):,} characters long.",
                f"At most {_LONGEST_PROMPT:,}, as on a phone it is read.",
            )
        if not 1 <= len(set(config.model_ids)) == len(config.model_ids) <= MOST_MODELS:
            raise UserError(f"The models are {list(config.model_ids)}.", "Name one model, or two that differ.")
        return cls(**{**vars(config), "prompts": prompts})
