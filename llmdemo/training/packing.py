"""Short documents laid together into rows of one length, by best fit; none is cut for it.

Cutting texts where a row happens to end costs context and teaches made-up endings; best fit leaves almost as little
room unused (arXiv 2404.10830). Knows nothing of tokens' meaning and of models.
"""

from collections.abc import Iterable

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


def pack(pieces: list[tuple[list[int], list[int]]], capacity: int) -> TokenRows:
    """Rows of (ids, labels) pieces, each of at most `capacity` tokens. A piece's first token is never trained."""
    order = best_fit([len(ids) for ids, _ in pieces], capacity)
    rows = [
        ([token for i in row for token in pieces[i][0]], [label for i in row for label in _unled(pieces[i][1])])
        for row in order
    ]
    return with_positions(TokenRows.from_lists(rows), (len(pieces[i][0]) for row in order for i in row))


def with_positions(rows: TokenRows, lengths: Iterable[int]) -> TokenRows:
    """The rows with the positions of pieces of these lengths, in order."""
    positions = [np.arange(length, dtype=np.int32) for length in lengths]
    flat = np.concatenate(positions) if positions else np.zeros(0, np.int32)
    return TokenRows(rows.ids, rows.labels, rows.offsets, flat, rows.classes)


def cut(ids: list[int], length: int) -> list[tuple[list[int], list[int]]]:
    """A document as (ids, labels) pieces of at most `length` tokens, all but each first one trained."""
    pieces = [ids[start : start + length] for start in range(0, len(ids), length)]
    return [(piece, [NOT_TRAINED, *piece[1:]]) for piece in pieces if len(piece) > 1]


def _unled(labels: list[int]) -> list[int]:
    # What stands before it in the row is another document's end.
    return [NOT_TRAINED, *labels[1:]]
