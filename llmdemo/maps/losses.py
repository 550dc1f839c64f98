"""How hard each record is for a model: loss of its answer with and without the question, from which IFD follows.

IFD, instruction-following difficulty (Li et al., arXiv 2308.12032): the mean loss of the answer's tokens after the
instruction, divided by that of the same tokens alone. Near 1 the instruction hardly helps; above 1 it misleads.
"""

import numpy as np

from llmdemo.data.encode import Encoded, Refused, encode_many
from llmdemo.evaluation.likelihood import row_losses

COLUMNS = 3
"""Of a record: its loss a token, that of its answer's tokens alone, and the number of tokens; NaN where there is none."""


def scores(model, tokenizer, records: list[dict], max_length: int, pad_id: int, alone: bool = True) -> np.ndarray:
    """float64 (N, COLUMNS) in nats. Of raw text the loss of its tokens, and no second one; classes have neither. alone: whether
    the second one is computed of chats, which takes as many tokens as the answers have.

    A conversation counts with all of its answers; a preference with the answer that was chosen.
    """
    found = np.full((len(records), COLUMNS), np.nan)
    rows = _rows(records, tokenizer, max_length)
    places = [place for place, row in enumerate(rows) if row is not None and row.trained]
    asked = [row for place in places if (row := rows[place]) is not None]
    found[places, 0], found[places, 2] = _means(model, asked, pad_id)
    chats = [place for place in places if "messages" in records[place]] if alone else []
    answers = [alone_row(row, tokenizer) for place in chats if (row := rows[place]) is not None]
    if answers:
        found[chats, 1] = _means(model, answers, pad_id)[0]
    return found


def _rows(records: list[dict], tokenizer, max_length: int) -> list[Encoded | None]:
    """One row a record; None for a class's text, and where the chat template refuses it."""
    if not records or "label" in records[0]:
        return [None] * len(records)
    if "text" in records[0]:  # each by itself: together, texts would be joined
        rows = [next(encode_many([record], tokenizer, max_length)) for record in records]
    else:
        rows = list(encode_many(records, tokenizer, max_length, refuse=False))
    rows = [row[0] if isinstance(row, tuple) else row for row in rows]
    return [None if isinstance(row, Refused) else row for row in rows]


def alone_row(row: Encoded, tokenizer) -> Encoded:
    """The same answer's tokens after nothing but the token that begins a text, which is not counted.

    The very tokens, not the text anew: the two losses are then of the same tokens.
    """
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    answer = [token for token, label in zip(row.input_ids, row.labels, strict=True) if label != -100]
    ids = [start if start is not None else answer[0], *answer]
    return Encoded(ids, [-100, *answer])


def _means(model, rows: list[Encoded], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """(mean loss, tokens) of each row, both float64 (N,)."""
    if not rows:
        return np.zeros(0), np.zeros(0)
    sums, counts = np.array(row_losses(model, rows, pad_id), np.float64).T
    return sums / np.maximum(counts, 1), counts
