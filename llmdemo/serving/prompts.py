"""A body's messages as the arena takes them, whether they fit into the model's context, and what of OpenAI's API is
refused here, each with a sentence.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmdemo.core.errors import UserError
from llmdemo.serving.bodies import ChatBody, CompletionBody, Message, Sampling
from llmdemo.serving.errors import ApiError

if TYPE_CHECKING:
    from llmdemo.arena.service import Request


def plain_messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    """[{role, content}] with texts only; "developer" is what "system" was called before. Raises ApiError."""
    return [_plain(index, message) for index, message in enumerate(messages)]


def _plain(index: int, message: Message) -> dict[str, str]:
    where = f"messages.{index}"
    if message.role in ("tool", "function") or message.tool_calls or message.function_call:
        raise ApiError(
            400, f"Turn {index + 1} belongs to a tool call, and tools are not supported here.", "unsupported", where
        )
    if message.content is None:
        raise ApiError(400, f"Turn {index + 1} has no content. Give it a text.", "invalid_value", f"{where}.content")
    role = "system" if message.role == "developer" else message.role
    if isinstance(message.content, str):
        return {"role": role, "content": message.content}
    for part in message.content:
        if part.type != "text" or part.text is None:
            raise ApiError(
                400,
                f"Turn {index + 1} has a part of the type {part.type[:40]!r}. These models read text only.",
                "unsupported",
                f"{where}.content",
            )
    return {"role": role, "content": "".join(part.text or "" for part in message.content)}


def refuse_unsupported(body: Sampling, keeps: bool = False) -> None:
    """Raises ApiError for what is part of OpenAI's API and not of this one: it would be wrong to leave it out silently.
    keeps: whether texts of requests are kept."""
    if body.store and not keeps:
        raise _unsupported("store", "Nothing of a request is kept here. Leave store out.")
    if body.stream_options is not None and not body.stream:
        raise ApiError(400, "stream_options needs stream: true.", "invalid_value", "stream_options")
    if isinstance(body, ChatBody):
        if body.tools:
            raise _unsupported("tools", "Tools are not supported here. Leave tools out.")
        if body.modalities and body.modalities != ["text"]:
            raise _unsupported("modalities", 'Only text can be generated here: modalities must be ["text"].')
        if body.max_tokens is not None and body.max_completion_tokens is not None:
            raise ApiError(
                400,
                "max_tokens and max_completion_tokens are the same setting. Give one of them.",
                "invalid_value",
                "max_completion_tokens",
            )
    if isinstance(body, CompletionBody):
        if body.echo:
            raise _unsupported("echo", "The prompt is not repeated here. Leave echo out.")
        if body.suffix:
            raise _unsupported("suffix", "Text is only continued here, not filled in. Leave suffix out.")
        if body.best_of not in (None, 1, body.n or 1):
            raise _unsupported("best_of", "best_of must equal n: all answers that are made are returned.")


def _unsupported(param: str, sentence: str) -> ApiError:
    return ApiError(400, sentence, "unsupported", param)


def fitted(request: "Request", tokenizer: Any, context: int, asked: int | None) -> "Request":
    """`request`, where it fits; its answer is shortened to the context where the caller did not say how long it is.

    context: most tokens of prompt and answer, 0 if unknown. asked: the answer's tokens as the caller gave them, or None.
    Raises ApiError with OpenAI's code context_length_exceeded.
    """
    from llmdemo.arena.prompt import check_length  # it imports torch

    length = len(request.prompt.encode(tokenizer))
    try:
        check_length(length, context, request.most_prompt_tokens, request.prompt_variable)
    except UserError as error:
        code = "context_length_exceeded" if length else "invalid_value"
        raise ApiError(400, str(error), code, "messages" if request.prompt.raw is None else "prompt") from None
    if not context or length + request.settings.max_new_tokens <= context:
        return request
    if asked is not None:
        raise ApiError(
            400,
            f"The prompt has {length:,} tokens and max_tokens is {asked:,}, together {length + asked:,}; this model's "
            f"context holds {context:,}. Ask for at most {context - length:,} tokens, or shorten the prompt.",
            "context_length_exceeded",
            "max_tokens",
        )
    return replace(request, settings=replace(request.settings, max_new_tokens=context - length))
