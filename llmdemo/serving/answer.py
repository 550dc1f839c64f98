"""Decoding steps become the pieces of an API answer: text up to a stop sequence, log-probabilities, why it ended.

An `AnswerEncoder` takes the place of the arena's EventEncoder, in the thread that decodes, so that whatever the arena does
with a comparison (loading, batching, stopping, errors) holds for served requests too. Imports torch through the arena.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmdemo.arena.text import TextStream, TokenNames
from llmdemo.decoding import Candidates, LaneResult, PlainStep, Step, TokenStep
from llmdemo.decoding.steps import EOS, LENGTH


@dataclass(frozen=True)
class Token:
    """One token of an answer, with the likeliest ones in its place."""

    text: str
    data: bytes
    """Of UTF-8."""
    logprob: float
    top: tuple[tuple[str, bytes, float], ...] = ()
    offset: int = 0
    """Where its text begins in the answer, in characters."""


@dataclass(frozen=True)
class Piece:
    """What one step adds to one answer."""

    index: int
    text: str
    tokens: tuple[Token, ...]
    finish_reason: str | None = None
    """stop, length, or None while it goes on."""


@dataclass(frozen=True)
class Wanted:
    """What a request wants of its answers."""

    number: int = 1
    top_logprobs: int | None = None
    """How many alternatives a token has; None: no log-probabilities at all."""


@dataclass
class _Choice:
    """One answer as it grows. `tokens` wait until the text that they complete may be told."""

    index: int
    stops: tuple[str, ...]
    stream: TextStream
    held: str = ""
    told: int = 0
    seen: int = 0
    waiting: list[tuple[int, Token]] = field(default_factory=list)
    """(where the token's text ends, token)"""
    ended: bool = False

    def push(self, token_id: int, token: Token | None) -> Piece | None:
        """The piece that this token makes certain; None where nothing can be told yet."""
        piece = self.stream.push(token_id)
        if token is not None:
            self.waiting.append((self.seen + len(piece), replace(token, offset=self.seen)))
        self.held += piece
        self.seen += len(piece)
        found = [place for stop in self.stops if (place := self.held.find(stop)) >= 0]
        if found:
            return self._tell(min(found), "stop", cut=True)
        keep = max((_overlap(self.held, stop) for stop in self.stops), default=0)
        size = len(self.held) - keep
        return self._tell(size) if size else None

    def end(self, reason: str) -> Piece:
        """The rest of the text, however it might have gone on."""
        return self._tell(len(self.held), reason)

    def _tell(self, size: int, reason: str | None = None, cut: bool = False) -> Piece:
        text, self.held = self.held[:size], self.held[size:]
        self.told += size
        self.ended = reason is not None
        if cut:  # of a token that a stop sequence cuts, what stands before the cut was said
            ready = [token for _, token in self.waiting if token.offset < self.told]
        else:
            ready = [token for end, token in self.waiting if self.ended or end <= self.told]
        self.waiting = self.waiting[len(ready) :]
        return Piece(self.index, text, tuple(ready), reason)


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` could be the beginning of `stop`."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)


class AnswerEncoder:
    """In the place of arena.events.EventEncoder: turns steps into {"type": "pieces", pieces, tokens (decoded in all), done}."""

    def __init__(self, wanted: Wanted, tokenizer: Any, model: int = 0, stop: tuple[str, ...] = ()):
        self._tokenizer, self._model, self._stops = tokenizer, model, stop
        self._wanted, self._tokens = wanted, TokenNames(tokenizer)
        self._choices: dict[str, _Choice] = {}
        self._generated, self._chooses = 0, False

    def lane_id(self, name: str) -> str:
        return f"{self._model}:{name}"

    def mention(self, token: int) -> int:
        return token

    def events(self, step: Step) -> list[dict]:
        pieces: list[Piece] = []
        for name, part in step.lanes.items():
            if isinstance(part, TokenStep | PlainStep):
                self._generated += 1
                pieces += self._push(name, part)
        for result in step.results.values():
            if result.sequences:
                pieces += self._beams(result)
        done = step.done or bool(self._choices) and all(choice.ended for choice in self._choices.values())
        told = {"surprise": step.surprise} if step.surprise is not None else {}
        return [{"type": "pieces", "pieces": self._copied(pieces), "tokens": self._generated, "done": done, **told}]

    def begin_lane(self, name: str, prefix: tuple[int, ...] = ()) -> list[str]:
        """Called for each lane, in order, before its first step."""
        index = len(self._choices)
        self._choices[name] = _Choice(index, self._stops, TextStream(self._tokenizer))
        return [self._choices[name].stream.push(token) for token in prefix]

    def _push(self, name: str, step: TokenStep | PlainStep) -> list[Piece]:
        choice = self._choices[name]
        if choice.ended:
            return []
        ends = step.finish_reason == EOS
        found: list[Piece] = []
        if not ends:
            told = self._token(step.token, step.logprob, step.top) if isinstance(step, TokenStep) else None
            piece = choice.push(step.token, told)
            found += [piece] if piece else []
        if step.finish_reason and not choice.ended:
            found.append(choice.end("length" if step.finish_reason == LENGTH else "stop"))
        return found

    def _beams(self, result: LaneResult) -> list[Piece]:
        """The best hypotheses or answers, whole: until the end of beams, and of a lane that chooses, any may win."""
        self._chooses = True
        choice = self._choices.pop(result.lane)
        found: list[Piece] = []
        for index, sequence in enumerate(result.sequences[: self._wanted.number]):
            one = _Choice(choice.index + index, choice.stops, TextStream(self._tokenizer))
            self._choices[f"{result.lane}\0{index}"] = one
            ends = sequence.finish_reason == EOS
            self._generated += len(sequence.token_ids)
            said = list(zip(sequence.token_ids, sequence.logprobs, strict=True))[: -1 if ends else None]
            for token, logprob in said:
                piece = one.push(token, self._token(token, logprob, None))
                found += [piece] if piece else []
                if one.ended:
                    break
            if not one.ended:
                found.append(one.end("length" if sequence.finish_reason == LENGTH else "stop"))
        return found

    def _copied(self, pieces: Sequence[Piece]) -> list[Piece]:
        """A lane that does not draw was decoded once, for all the answers that would have been the same."""
        if self._chooses or len(self._choices) >= self._wanted.number:
            return list(pieces)
        return [replace(piece, index=index) for piece in pieces for index in range(self._wanted.number)]

    def _token(self, token_id: int, logprob: float, top: Candidates | None) -> Token | None:
        if self._wanted.top_logprobs is None:
            return None
        likeliest = zip(top.tokens, top.logprobs, strict=True) if top else ()
        alternatives = [(*self._said(other), value) for other, value in likeliest]
        return Token(*self._said(token_id), logprob, tuple(alternatives[: self._wanted.top_logprobs]))

    def _said(self, token_id: int) -> tuple[str, bytes]:
        """(text, bytes); the text of a part of a character is written as OpenAI does: bytes:\\xe2\\x82."""
        data = self._tokens.bytes_of(token_id)
        try:
            return data.decode(), data
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data), data
