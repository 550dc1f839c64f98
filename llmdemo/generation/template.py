"""Where a person's turn begins and ends in a chat template. Knows no model.

Magpie (Xu et al., arXiv 2406.08464): an instruction-tuned model that is given its template up to where the user's text
would begin goes on with an instruction, since it has read many thousands of them in that place.
"""

from dataclasses import dataclass

from llmdemo.core.errors import UserError
from llmdemo.data.render import render

_MARKER = "qx7MARKERzk3"


@dataclass(frozen=True)
class UserTurn:
    """A conversation up to where the next instruction begins, and what ends that."""

    ids: list[int]
    """[t] the conversation's tokens."""
    end_ids: list[int]
    """Tokens that end the instruction, beside the model's own ends; [] where the template ends it with plain text."""
    end_text: str
    """The text with which the template goes on after the instruction."""


def user_turn(messages: list[dict], tokenizer) -> UserTurn:
    """For the turns so far (perhaps a system turn; question, answer, …). Raises UserError where a template has no such
    place: a model without one was not tuned to instructions."""
    if not getattr(tokenizer, "chat_template", None):
        raise UserError("err_generation_no_template")
    whole = render([[*messages, {"role": "user", "content": _MARKER}]], tokenizer, generation=True)[0]
    before, found, after = whole.partition(_MARKER)
    opening = before.removeprefix(tokenizer.bos_token or "").strip()
    if not found or not opening:
        raise UserError("err_generation_no_place")
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    ending = tokenizer(after, add_special_tokens=False)["input_ids"]
    ids = tokenizer(before, add_special_tokens=False)["input_ids"]
    return UserTurn(ids, [token for token in ending[:1] if token in special], after.strip())
