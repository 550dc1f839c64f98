"""Whether a prompt and its answer fit into the model's context, before anything is decoded. Imports torch through the arena."""

from dataclasses import replace
from typing import Any

from llmdemo.arena.prompt import check_length
from llmdemo.arena.service import Request
from llmdemo.core.errors import UserError
from llmdemo.serving.errors import ApiError


def fitted(request: Request, tokenizer: Any, context: int, asked: int | None) -> Request:
    """`request`, where it fits; its answer is shortened to the context where the caller did not say how long it is.

    context: most tokens of prompt and answer, 0 if unknown. asked: the answer's tokens as the caller gave them, or None.
    Raises ApiError with OpenAI's code context_length_exceeded.
    """
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
