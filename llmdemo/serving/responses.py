"""The JSON of answers, as OpenAI's API reference has it: chat completions, completions, their chunks. Knows no model."""

import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # it imports torch
    from llmdemo.serving.answer import Piece, Token


class Shape:
    """What all chunks and the whole answer of one request share; `chat` or a completion of a raw text."""

    def __init__(self, chat: bool, model: str, seed: int, wants_logprobs: bool):
        self.chat, self._wants_logprobs = chat, wants_logprobs
        self._object = "chat.completion" if chat else "text_completion"
        self.common: dict[str, Any] = {
            "id": ("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(12),
            "object": self._object,
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": "",
            "seed": seed,
        }

    def begin(self, fingerprint: str) -> None:
        """The weights are known: system_fingerprint tells their version."""
        self.common["system_fingerprint"] = f"fp_{fingerprint}"

    def first(self, index: int) -> dict:
        """A chat's first chunk, which says whose turn it is."""
        return self._chunk(index, {"delta": {"role": "assistant", "content": ""}}, None, ())

    def chunk(self, piece: "Piece") -> dict:
        """One piece of a streamed answer."""
        said = {"delta": {"content": piece.text} if piece.text else {}} if self.chat else {"text": piece.text}
        return self._chunk(piece.index, said, piece.finish_reason, piece.tokens)

    def usage_chunk(self, usage: dict) -> dict:
        """The last chunk where stream_options ask for it."""
        return {**self.common, "object": self._chunk_object, "choices": [], "usage": usage}

    def whole(self, pieces: "Sequence[Piece]", number: int, usage: dict) -> dict:
        """The answer that is not streamed; choices in the order of their index."""
        choices = []
        for index in range(number):
            own = [piece for piece in pieces if piece.index == index]
            if not own:
                continue  # beams found fewer answers than were asked for
            text = "".join(piece.text for piece in own)
            tokens = [token for piece in own for token in piece.tokens]
            said: dict[str, Any] = {"message": {"role": "assistant", "content": text, "refusal": None}}
            if not self.chat:
                said = {"text": text}
            choices.append(self._choice(index, said, own[-1].finish_reason, tokens))
        return {**self.common, "choices": choices, "usage": usage}

    @property
    def _chunk_object(self) -> str:
        return "chat.completion.chunk" if self.chat else self._object

    def _chunk(self, index: int, said: dict, reason: str | None, tokens: "Sequence[Token]") -> dict:
        return {
            **self.common,
            "object": self._chunk_object,
            "choices": [self._choice(index, said, reason, tokens)],
        }

    def _choice(self, index: int, said: dict, reason: str | None, tokens: "Sequence[Token]") -> dict:
        logprobs = None
        if self._wants_logprobs:
            logprobs = chat_logprobs(tokens) if self.chat else completion_logprobs(tokens)
        return {"index": index, **said, "logprobs": logprobs, "finish_reason": reason}


def usage_of(prompt_tokens: int, tokens: int) -> dict:
    """Tokens that were read and generated, the one that ends a text included."""
    return {"prompt_tokens": prompt_tokens, "completion_tokens": tokens, "total_tokens": prompt_tokens + tokens}


def chat_logprobs(tokens: "Sequence[Token]") -> dict:
    """logprobs of a chat's choice: natural logarithms under the model itself, before temperature and filters."""
    return {
        "content": [
            {
                **_one(token.text, token.data, token.logprob),
                "top_logprobs": [_one(text, data, value) for text, data, value in token.top],
            }
            for token in tokens
        ],
        "refusal": None,
    }


def completion_logprobs(tokens: "Sequence[Token]") -> dict:
    """logprobs of a completion's choice: four lists, one entry a token."""
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [round(token.logprob, 6) for token in tokens],
        "top_logprobs": [{text: round(value, 6) for text, _, value in token.top} for token in tokens],
        "text_offset": [token.offset for token in tokens],
    }


def _one(text: str, data: bytes, logprob: float) -> dict:
    return {"token": text, "logprob": round(logprob, 6), "bytes": list(data)}
