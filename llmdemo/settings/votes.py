"""The settings of a class's blind vote, checked before it is opened. Imports no torch.

The decoding settings beside them are `DecodeSettings`. Knows nothing of how votes are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
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
            raise UserError("err_vote_config_no_object")
        config = cls(**check(cls, values, say("what_config")))
        prompts = tuple(dict.fromkeys(prompt.strip() for prompt in config.prompts if prompt.strip()))
        if not prompts and not config.own_prompts:
            raise UserError("err_vote_no_prompts")
        if len(prompts) > most_prompts:
            raise UserError("err_vote_many_prompts", n=len(prompts), most=most_prompts, variable=variable)
        if too_long := next((prompt for prompt in prompts if len(prompt) > _LONGEST_PROMPT), None):
            raise UserError("err_vote_long_prompt", n=len(too_long), most=_LONGEST_PROMPT)
        if not 1 <= len(set(config.model_ids)) == len(config.model_ids) <= MOST_MODELS:
            raise UserError("err_vote_models", n=len(config.model_ids))
        return cls(**{**vars(config), "prompts": prompts})
