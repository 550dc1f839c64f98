"""What a person asks, checked: a chat of several turns or raw text, as token ids. Knows no models and no page."""

from dataclasses import dataclass

from llmdemo.core.errors import UserError
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
            return cls(raw=_text(value["raw"], "The text to go on from"))
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
        raise UserError("The prompt has no tokens.", "Write at least one word.")
    if prompt_tokens > limit and (not context or limit < context):
        ruled = f" ({variable})" if variable else ""
        raise UserError(
            f"The prompt is {prompt_tokens:,} tokens long; at most {limit:,} are possible here{ruled}.",
            "Shorten the prompt or its earlier turns.",
        )
    if context and prompt_tokens >= context:
        raise UserError(
            f"The prompt is {prompt_tokens:,} tokens long; this model takes at most {context - 1:,}.",
            "Shorten the prompt or its earlier turns, or choose a model with a longer context.",
        )


def _messages(value) -> tuple[dict, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise UserError("There is no prompt.", "Write a question, or choose one of the examples.")
    if len(value) > _MOST_TURNS:
        raise UserError(
            f"The conversation has {len(value)} turns.", f"At most {_MOST_TURNS} are possible: begin a new one."
        )
    messages = tuple(_message(index, item) for index, item in enumerate(value))
    if messages[-1]["role"] != "user":
        raise UserError("The conversation does not end with your turn.", "Write what the model should answer to.")
    return messages


def _message(index: int, item) -> dict:
    role = item.get("role") if isinstance(item, dict) else None
    if role not in _ROLES:
        raise UserError(f"Turn {index + 1} has the role {str(role)[:40]!r}.", f"It must be one of {', '.join(_ROLES)}.")
    if role == "system" and index:
        raise UserError(f"Turn {index + 1} is a system prompt.", "Only the first turn may be one.")
    content = item.get("content")
    # A model may answer nothing. An empty system turn stays, as in training: without it, templates put in their own.
    if content == "" and role != "user" or role == "system" and isinstance(content, str) and not content.strip():
        return {"role": role, "content": content}
    return {"role": role, "content": _text(content, "The prompt" if role == "user" else f"Turn {index + 1}")}


def _text(value, what: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{what} is a {type(value).__name__}, not a text.", "Send it as a string.")
    if not value.strip():
        raise UserError(f"{what} is empty.", "Write a question, or choose one of the examples.")
    if len(value) > _MOST_CHARACTERS:
        raise UserError(
            f"{what} is {len(value):,} characters long.", f"At most {_MOST_CHARACTERS:,} are read: shorten it."
        )
    return value.encode("utf-8", "replace").decode()  # lone surrogates have no token
