"""What a person asks, checked: a chat of several turns or raw text, as token ids. Knows no models and no page."""

from dataclasses import dataclass

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.data.encode import encode_prompt

_ROLES = ("system", "user", "assistant")
_MOST_CHARACTERS = 1_000_000
_MOST_TURNS = 200


@dataclass(frozen=True)
class Prompt:
    """Either `messages` (a chat that ends with the user's turn) or `raw` (text that the model simply goes on from)."""

    messages: tuple[dict, ...] = ()
    raw: str | None = None

    @classmethod
    def from_value(cls, value) -> "Prompt":
        """From JSON: a text (one user's turn), a list of {"role", "content"}, {"messages": […]}, {"raw": text}.

        Raises UserError that says what is wrong with it.
        """
        if isinstance(value, str):
            value = [{"role": "user", "content": value}]
        if isinstance(value, dict) and "raw" in value:
            return cls(raw=_text(value["raw"], say("what_raw_prompt")))
        if isinstance(value, dict):
            value = value.get("messages")
        return cls(messages=_messages(value))

    def to_dict(self) -> dict:
        return {"raw": self.raw} if self.raw is not None else {"messages": list(self.messages)}

    def encode(self, tokenizer) -> list[int]:
        """Token ids; a chat goes through the model's template, by the code path that training uses too."""
        if self.raw is not None:
            return list(tokenizer(self.raw, verbose=False)["input_ids"])
        return list(encode_prompt(list(self.messages), tokenizer))


def check_length(prompt_tokens: int, context: int, limit: int, variable: str = "") -> None:
    """Raises UserError unless the prompt leaves room for one token in `context` (0: unknown) and is within `limit`,
    which comes from `variable`."""
    if prompt_tokens == 0:
        raise UserError("err_prompt_no_tokens")
    if prompt_tokens > limit and (not context or limit < context):
        ruled = say("from_variable", name=variable) if variable else ""
        raise UserError("err_prompt_too_long_here", prompt_tokens=prompt_tokens, limit=limit, ruled=ruled)
    if context and prompt_tokens >= context:
        raise UserError("err_prompt_too_long_model", prompt_tokens=prompt_tokens, most=context - 1)


def _messages(value) -> tuple[dict, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise UserError("err_no_prompt")
    if len(value) > _MOST_TURNS:
        raise UserError("err_many_turns", n=len(value), most=_MOST_TURNS)
    messages = tuple(_message(index, item) for index, item in enumerate(value))
    if messages[-1]["role"] != "user":
        raise UserError("err_not_your_turn")
    return messages


def _message(index: int, item) -> dict:
    role = item.get("role") if isinstance(item, dict) else None
    if role not in _ROLES:
        raise UserError("err_turn_role", turn=index + 1, role=repr(str(role)[:40]), names=list(_ROLES))
    if role == "system" and index:
        raise UserError("err_turn_system", turn=index + 1)
    content = item.get("content")
    # A model may answer nothing. An empty system turn stays, as in training: without it, templates put in their own.
    if content == "" and role != "user" or role == "system" and isinstance(content, str) and not content.strip():
        return {"role": role, "content": content}
    return {"role": role, "content": _text(content, "The prompt" if role == "user" else f"Turn {index + 1}")}


def _text(value, what: str) -> str:
    if not isinstance(value, str):
        raise UserError("err_turn_no_text", what=what, kind=type(value).__name__)
    if not value.strip():
        raise UserError("err_turn_empty", what=what)
    if len(value) > _MOST_CHARACTERS:
        raise UserError("err_turn_too_long", what=what, n=len(value), most=_MOST_CHARACTERS)
    return value.encode("utf-8", "replace").decode()  # lone surrogates have no token
