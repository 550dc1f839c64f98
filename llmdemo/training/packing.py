"""Short documents laid together into rows of one length, by best fit; none is cut for it.

Cutting texts where a row happens to end costs context and teaches made-up endings; best fit leaves almost as little
room unused (arXiv 2404.10830). Knows nothing of tokens' meaning and of models.
"""

import numpy as np

from llmdemo.training.batches import NOT_TRAINED, TokenRows


def best_fit(lengths: list[int], capacity: int) -> list[list[int]]:
    """Indices that share a row of `capacity` tokens: the longest first, each into the row with the least room for it.

    Every length must be from 1 to `capacity`. The same lengths always give the same rows.
    """
    rows: list[list[int]] = []
    by_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    rooms = 0  # bit r is set where a row with room r waits
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[index]
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = by_room[room].pop()
            if not by_room[room]:
                rooms ^= 1 << room
        else:
            row, room = len(rows), capacity
            rows.append([])
        rows[row].append(index)
        room -= length
        if room:
            by_room[room].append(row)
            rooms |= 1 << room
    return rows


def pack(pieces: list[tuple], capacity: int) -> TokenRows:
    """Rows of (ids, labels) pieces, each of at most `capacity` tokens. A piece's first token is never trained."""
    lengths = np.array([len(ids) for ids, _ in pieces], np.int64)
    order = best_fit(lengths.tolist(), capacity)
    flat = [index for row in order for index in row]
    apart = TokenRows.from_lists([pieces[index] for index in flat])
    positions = np.arange(len(apart.ids)) - np.repeat(apart.offsets[:-1], apart.lengths)
    # What stands before a piece in its row is another document's end.
    labels = np.where(positions == 0, NOT_TRAINED, apart.labels).astype(np.int32)
    ends = np.cumsum([len(row) for row in order]).astype(np.int64)
    offsets = np.concatenate([[0], apart.offsets[ends]]) if order else np.zeros(1)
    return TokenRows(apart.ids, labels, offsets.astype(np.int64), positions.astype(np.int32))


def cut(ids: list[int], length: int, labels: list[int] | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """A document as (ids, labels) pieces of at most `length` tokens, all but each first one trained, or those that `labels`
    names; pieces without a trained token are left out."""
    whole, told = np.array(ids, np.int32), np.array(ids if labels is None else labels, np.int32)
    parts = [slice(start, start + length) for start in range(0, len(whole), length)]
    pieces = [(whole[part], np.concatenate([[NOT_TRAINED], told[part][1:]]).astype(np.int32)) for part in parts]
    return [(piece, own) for piece, own in pieces if (own != NOT_TRAINED).any()]
