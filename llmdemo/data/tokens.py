"""The token view: an encoded row token by token, as a person can look at it. Knows no page: text is plain text."""

from llmdemo.data.encode import (
    NOT_TRAINED,
    Encoded,
    closing_tokens,
    encode_classify,
    encode_many,
    encode_preference,
    encode_text,
)

_SHOWN_BYTES = "�"


def view_record(record: dict, tokenizer, max_length: int, loss_on: str = "response", limit: int = 4096) -> list[dict]:
    """A normalised record of any task as the model will see it, and what will be cut off.

    A list of rows, one for each that the record makes: [{title, tokens (as token_view, each with "cut"), length,
    trained, cut}]. `title` is "" or "chosen"/"rejected"; `cut` counts the tokens beyond max_length; `trained` counts
    those that are trained after the cut. For raw text `cut` is 0: it is laid out in rows. Raises UserError.
    """
    if "label" in record:
        row = encode_classify(record["text"], tokenizer, None)
        closing = closing_tokens(tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"])
        return [_viewed("", row, tokenizer, max_length, limit, closing)]
    if "text" in record:
        rows, max_length = [("", row) for row in encode_text(record["text"], tokenizer)], 10**12
    elif "chosen" in record:
        rows = list(zip(("chosen", "rejected"), encode_preference(record, tokenizer, None), strict=True))
    else:
        rows = [("", next(encode_many([record], tokenizer, None, loss_on)))]
    return [_viewed(title, row, tokenizer, max_length, limit) for title, row in rows]


def _viewed(title: str, row: Encoded, tokenizer, max_length: int, limit: int, closing: int = 0) -> dict:
    """`closing`: tokens at the end that a cut leaves there."""
    tokens = token_view(row, tokenizer, limit)
    for token in tokens:
        token["cut"] = row.length > max_length and max_length - closing <= token["position"] < row.length - closing
        token["trained"] = token["trained"] and not token["cut"]
    labels = row.labels[:max_length]
    return {
        "title": title,
        "tokens": tokens,
        "length": row.length,
        "trained": len(labels) - labels.count(NOT_TRAINED),
        "cut": max(0, row.length - max_length),
    }


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
