"""The token view: an encoded row token by token, as a person can look at it. Knows no page: text is plain text."""

from llmdemo.data.encode import NOT_TRAINED, Encoded

_SHOWN_BYTES = "�"


def token_view(encoded: Encoded, tokenizer, limit: int = 4096) -> list[dict]:
    """[{id, text, trained, special, position, eos}, …] for the first `limit` tokens of the row.

    `text` is the token by itself, newlines and blanks as they are; a token that is only a part of a character
    shows as <0xE4>, the bytes it holds where the tokenizer tells, else as �.
    """
    special = set(tokenizer.all_special_ids) | {
        number for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    ids = encoded.input_ids[:limit]
    texts = {number: _text(number, tokenizer) for number in set(ids)}
    return [
        {
            "id": number,
            "text": texts[number],
            "trained": label != NOT_TRAINED,
            "special": number in special,
            "position": position,
            "eos": number == tokenizer.eos_token_id,
        }
        for position, (number, label) in enumerate(zip(ids, encoded.labels, strict=False))
    ]


def _text(number: int, tokenizer) -> str:
    piece = tokenizer.convert_ids_to_tokens(number)
    if piece is None:
        return ""
    text = tokenizer.decode([number], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    if _SHOWN_BYTES in text:
        known = [_BYTES.get(character) for character in piece]
        if None not in known:
            return "".join(f"<0x{byte:02X}>" for byte in known)
    if piece.startswith("▁") and not text.startswith(" "):
        return " " + text  # decoders drop the first blank of a text, but this token stands inside one
    return text


def _byte_characters() -> dict[str, int]:
    """The characters that byte-level BPE writes bytes as (GPT-2's bytes_to_unicode), turned round."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = _byte_characters()
