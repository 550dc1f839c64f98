"""Token ids become words for the page: streamed text that is never broken, and a name for every single token.

Knows nothing of models, strategies or pages; takes any tokenizer object.
"""

import math
import re

from llmdemo.decoding import DecodeSettings

_BROKEN = "\ufffd"
_SPACE = "\u2581"
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class TextStream:
    """Ids in, text out, one token at a time.

    A character may be split over several tokens (emoji, many scripts): such tokens give "" until the last of
    them completes it. `text` is all that was given so far; it never holds half a character. With stop strings it ends
    before the first of them: what may be the beginning of one is held back until the next tokens tell, or `flush`.
    """

    def __init__(self, tokenizer, stop: tuple[str, ...] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop, self._held, self._ended = stop, "", False
        self._special = frozenset(tokenizer.all_special_ids)
        self._ids: list[int] = []
        self._context = 0  # decoding starts here: a few ids of context keep the spaces right
        self._done = 0  # ids before this one are in `text`
        self.text = ""

    def push(self, token_id: int, given: bool = False) -> str:
        """The text that this token completes; "" for special tokens and for the first parts of a split character, and for
        what is held back or comes after a stop string. In what was `given`, no stop string counts."""
        piece = self._completed(token_id)
        if given:
            self.text += piece
            return piece
        return self._let_out(piece) if piece and not self._ended else ""

    def flush(self) -> str:
        """What was held back, at the end of a text that no stop string ended."""
        held, self._held = self._held, ""
        self.text += held
        return held

    def _let_out(self, piece: str) -> str:
        """`piece` and what was held back before it, less what may be, or is, a stop string."""
        piece = self._held + piece
        whole = cut_at(piece, self._stop)
        self._ended = len(whole) < len(piece)
        kept = 0 if self._ended else _begun(whole, self._stop)
        self._held = whole[len(whole) - kept :]
        whole = whole[: len(whole) - kept]
        self.text += whole
        return whole

    def _completed(self, token_id: int) -> str:
        if token_id in self._special:
            return ""
        self._ids.append(token_id)
        before = self._decode(self._ids[self._context : self._done])
        after = self._decode(self._ids[self._context :])
        if len(after) <= len(before) or after.endswith(_BROKEN):
            return ""
        self._context, self._done = self._done, len(self._ids)
        return after[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def cut_at(text: str, stop: tuple[str, ...]) -> str:
    """`text` up to the first of the stop strings; the whole where it holds none."""
    return text[: min((at for each in stop if (at := text.find(each)) >= 0), default=len(text))]


def _begun(text: str, stop: tuple[str, ...]) -> int:
    """How many characters at the end of `text` may be the beginning of a stop string."""
    return max((n for each in stop for n in range(1, len(each)) if text.endswith(each[:n])), default=0)


def biases_of(settings: DecodeSettings, tokenizer) -> tuple[tuple[tuple[int, ...], float], ...]:
    """settings.bad_words (−∞) and logit_bias as ((token ids, bias), …), one a spelling: with and without a space before.

    A key of logit_bias that is a whole number is a token id. Special tokens are not put around a text.
    """
    found = dict[tuple[int, ...], float]()
    for key, bias in settings.logit_bias.items():
        spellings = [(int(key),)] if key.isdecimal() else _spellings(key, tokenizer)
        found.update(dict.fromkeys(spellings, bias))
    for word in settings.bad_words:
        found.update(dict.fromkeys(_spellings(word, tokenizer), -math.inf))
    return tuple(found.items())


def _spellings(word: str, tokenizer) -> list[tuple[int, ...]]:
    spelt = [tuple(tokenizer.encode(text, add_special_tokens=False)) for text in (word, " " + word.lstrip())]
    return [ids for ids in spelt if ids]


def decode_whole(tokenizer, token_ids: list[int]) -> str:
    """The text of `token_ids` without special tokens; an incomplete character at the end is held back."""
    text = tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text.rstrip(_BROKEN)


class TokenNames:
    """What to call one token on the page: its text with its leading space, or its bytes when it is no whole character."""

    def __init__(self, tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = frozenset(tokenizer.all_special_ids)
        self._names: dict[int, str] = {}
        self._bytes = {char: byte for byte, char in _byte_alphabet().items()}

    def is_special(self, token_id: int) -> bool:
        return token_id in self._special

    def __call__(self, token_id: int) -> str:
        name = self._names.get(token_id)
        if name is None:
            name = self._names[token_id] = self._name(token_id)
        return name

    def bytes_of(self, token_id: int) -> bytes:
        """The bytes of UTF-8 that this token stands for, which may be a part of a character."""
        name, raw = self(token_id), self._tokenizer.convert_ids_to_tokens(token_id)
        if raw is None or self.is_special(token_id):
            return name.encode()
        if byte := _BYTE_TOKEN.fullmatch(raw):
            return bytes([int(byte[1], 16)])
        if _BROKEN not in self._tokenizer.decode([token_id], clean_up_tokenization_spaces=False):
            return name.encode()
        return bytes(self._bytes[char] for char in raw if char in self._bytes)

    def _name(self, token_id: int) -> str:
        raw = self._tokenizer.convert_ids_to_tokens(token_id)
        if raw is None:  # a row of the logits beyond the vocabulary: padding of the embedding matrix
            return f"[{token_id}]"
        if self.is_special(token_id):
            return raw
        if byte := _BYTE_TOKEN.fullmatch(raw):
            return f"‹{byte[1].upper()}›"
        if raw.startswith(_SPACE):
            return raw.replace(_SPACE, " ")
        text = self._tokenizer.decode([token_id], clean_up_tokenization_spaces=False)
        if _BROKEN not in text:
            return text
        return "‹" + " ".join(f"{self._bytes[char]:02X}" for char in raw if char in self._bytes) + "›"


def _byte_alphabet() -> dict[int, str]:
    """Byte → the character that stands for it in byte-level BPE vocabularies (as GPT-2's bytes_to_unicode)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {byte: chr(byte) for byte in printable}
    hidden = (byte for byte in range(256) if byte not in alphabet)
    return alphabet | {byte: chr(256 + index) for index, byte in enumerate(hidden)}
