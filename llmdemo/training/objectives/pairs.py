"""Pairs of answers to one prompt as rows of token ids: rows 2i and 2i + 1 are the chosen and the rejected answer of pair i."""

from collections import deque
from collections.abc import Iterator

import numpy as np

from llmdemo.data.encode import Refused, encode_many
from llmdemo.data.render import conversation
from llmdemo.settings.training import TrainConfig
from llmdemo.training.batches import TokenRows
from llmdemo.training.objectives.base import SAMPLES
from llmdemo.training.objectives.chat import chat_sample, watched
from llmdemo.training.objectives.tally import Tally


def rows_of(items) -> np.ndarray:
    """Rows of these pairs: all chosen answers, then all rejected ones."""
    items = np.asarray(items)
    return np.concatenate([2 * items, 2 * items + 1])


def pairs_of(records: Iterator[dict], config: TrainConfig, tokenizer, tally: Tally) -> list[tuple]:
    """[(record, (chosen row, rejected row))]: both answers need a token within max_length, and must differ there."""
    seen: deque[dict] = deque()
    taken = []
    for chosen, rejected in encode_many(watched(records, seen), tokenizer, config.max_length, refuse=False):
        record = seen.popleft()
        refused = next((row for row in (chosen, rejected) if isinstance(row, Refused)), None)
        if refused:
            tally.takes(record, refused)
        elif not (chosen.trained and rejected.trained and chosen.input_ids != rejected.input_ids):
            tally.add("alike", record)
        elif tally.takes(record, max(chosen, rejected, key=lambda row: row.length)):
            rows = tuple((row.input_ids, row.labels) for row in (chosen, rejected))
            taken.append((record, rows))
    return taken


def pair_rows(pairs: list[tuple]) -> TokenRows:
    return TokenRows.from_lists([row for _, rows in pairs for row in rows])


def pair_samples(pairs: list[tuple], tokenizer) -> list[dict]:
    """Prompts of the first of these pairs, each with its chosen answer."""
    return [chat_sample(conversation(record), tokenizer, record["chosen"]) for record, _ in pairs[:SAMPLES]]
