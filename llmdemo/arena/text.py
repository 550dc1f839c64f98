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
    them completes it. `text` is all that was given so far; it never holds half a character.
    """

    def __init__(self, tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = frozenset(tokenizer.all_special_ids)
        self._ids: list[int] = []
        self._context = 0  # decoding starts here: a few ids of context keep the spaces right
        self._done = 0  # ids before this one are in `text`
        self.text = ""

    def push(self, token_id: int) -> str:
        """The text that this token completes; "" for special tokens and for the first parts of a split character."""
        if token_id in self._special:
            return ""
        self._ids.append(token_id)
        before = self._decode(self._ids[self._context : self._done])
        after = self._decode(self._ids[self._context :])
        if len(after) <= len(before) or after.endswith(_BROKEN):
            return ""
        self._context, self._done = self._done, len(self._ids)
        piece = after[len(before) :]
        self.text += piece
        return piece

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


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
