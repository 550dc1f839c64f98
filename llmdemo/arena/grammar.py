"""Forms of texts (a JSON schema, a pattern, a choice) as masks over a tokenizer's vocabulary, by llguidance. No model.

llguidance (MIT, Microsoft) walks the tokenizer's tokens through an Earley parser whose lexer is a lazy automaton, and
counts its work: what would explode ends with an error instead. One `GrammarMasks` follows one text at a time; asked about another,
it goes back to where the two part.
"""

import json
import threading
import weakref
from collections.abc import Sequence
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from llmdemo.core.errors import UserError
from llmdemo.settings.lane import LaneSettings

_SPACES = r" |\n {0,24}"
"""What may stand between the parts of JSON: with anything, a small model may write blanks until its tokens are used up."""
_MOST_LEXER_STATES = 20_000
_FUEL = 100_000
"""A few milliseconds a token."""
_tokenizers: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_lock = threading.Lock()


class GrammarMasks:
    """settings.lane.TokenMasks of one lane."""

    def __init__(self, tokenizer, lane: LaneSettings):
        """Raises UserError for a form that llguidance cannot read or that no text has, and for a tokenizer it cannot use."""
        self._name = lane.constrained
        self._known = _tokenizer_of(tokenizer, self._name)
        limits = LLParserLimits(step_lexer_fuel=_FUEL, max_lexer_states=_MOST_LEXER_STATES, verbose_errors=False)
        self._matcher = LLMatcher(self._known, _grammar(lane), log_level=0, limits=limits)
        if self._matcher.is_error():
            raise UserError("err_constraint", constraint=self._name, why=_reason(self._matcher))
        self._said: list[int] = []  # what the matcher has consumed
        self._ends = frozenset(self._known.eos_tokens)
        if not any(self.allowed([])) and not self.complete([]):
            raise UserError("err_constraint_nothing", constraint=self._name)

    def allowed(self, said: Sequence[int]) -> bytes:
        """As TokenMasks.allowed."""
        if not self._follow(said):
            return b""
        bits = bytearray(self._matcher.compute_bitmask())
        if self._matcher.is_error():
            if self._matcher.stop_reason().startswith("NoExtension"):  # found out late that nothing goes on
                self._matcher.reset()
                self._said = []
                return b""
            raise UserError("err_constraint_complex", constraint=self._name, n=len(said), why=_reason(self._matcher))
        for end in self._ends:
            bits[end >> 3] &= ~(1 << (end & 7))
        return bytes(bits)

    def complete(self, said: Sequence[int]) -> bool:
        """As TokenMasks.complete."""
        return self._follow(said) and self._matcher.is_accepting()

    def _follow(self, said: Sequence[int]) -> bool:
        """Brings the matcher to the end of `said`; False where that breaks the form."""
        same = 0
        while same < min(len(said), len(self._said)) and said[same] == self._said[same]:
            same += 1
        if len(self._said) > same:
            self._matcher.rollback(len(self._said) - same)
            self._said = self._said[:same]
        rest = list(said[same:])
        taken = 0 if self._ends.intersection(rest) else self._matcher.try_consume_tokens(rest)
        self._said += rest[:taken]
        if self._matcher.is_error():
            raise UserError("err_constraint_complex", constraint=self._name, n=len(said), why=_reason(self._matcher))
        return taken == len(rest)


def _grammar(lane: LaneSettings) -> str:
    if lane.json_schema:
        options: Any = {"whitespace_pattern": _SPACES}
        return LLMatcher.grammar_from_json_schema(json.dumps(lane.json_schema), overrides=options)
    if lane.choice:
        return LLMatcher.grammar_from_lark("start: " + " | ".join(map(json.dumps, lane.choice)))
    return LLMatcher.grammar_from_regex(lane.regex)


def _tokenizer_of(tokenizer, constraint: str) -> LLTokenizer:
    """llguidance's own view of `tokenizer`, which takes up to a second to make; kept as long as the tokenizer lives."""
    from llguidance.hf import from_tokenizer

    with _lock:
        if tokenizer not in _tokenizers:
            try:
                _tokenizers[tokenizer] = from_tokenizer(tokenizer)
            except Exception as error:  # whatever its Rust says of a tokenizer that it does not know
                kind = type(tokenizer).__name__
                raise UserError("err_constraint_tokenizer", kind=kind, constraint=constraint) from error
        return _tokenizers[tokenizer]


def _reason(matcher: LLMatcher) -> str:
    """The first line of what went wrong."""
    lines = [line.strip() for line in matcher.get_error().splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith("error:")), lines[0] if lines else matcher.stop_reason())
    return said.removeprefix("error:").strip().rstrip(".")[:200]
