"""Raw text, continued pretraining: every token is trained, in rows in which no document sees another.

What is learned here is paid for elsewhere: the loss on instruction data is measured beside the perplexity (what is
forgotten), and some of another data set can be mixed in against it (replay).
"""

import math

import numpy as np
import orjson

from llmdemo.core import assets
from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.data.records import open_records
from llmdemo.data.shapes import detect
from llmdemo.data.split import in_order, split
from llmdemo.data.tokenised import encoded
from llmdemo.settings.training import TrainConfig
from llmdemo.training.batches import RunData, TokenRows
from llmdemo.training.objectives.base import SAMPLES, Source
from llmdemo.training.objectives.chat import Causal, chat_pieces
from llmdemo.training.packing import cut, pack

SAMPLE_FILE = assets.FOLDER / "sample-messages.json"
"""The instruction data on which forgetting is measured where none is named."""
_PROMPT_TOKENS = 32


class Text(Causal):
    """The task text."""

    task = "text"

    @classmethod
    def encode(cls, source: Source, config: TrainConfig, tokenizer) -> RunData:
        train, held_out = (_documents(source, part, config, tokenizer) for part in (source.train, source.held_out))
        if not held_out and config.eval_share:
            train, held_out = _tail(train, config.eval_share)
        held_out = _some(held_out, config.eval_records * config.max_length, config.seed)
        samples = [_sample(ids, tokenizer) for ids, _ in held_out[:SAMPLES]]
        rows = _rows(train, config)
        facts = {"card": {"documents": len(source.train) + len(source.held_out)}}
        if config.replay_share:
            rows, added = _with_replay(rows, source.home, config, tokenizer)
            facts["card"]["replayed rows"] = added
        more = cls.measured_beside(source, config, tokenizer)
        return RunData(rows, _rows(held_out, config), samples, {}, more, facts)

    @classmethod
    def measured_beside(cls, source: Source, config: TrainConfig, tokenizer) -> dict[str, TokenRows]:
        """Other rows whose loss is measured at each evaluation."""
        return {"forgetting": TokenRows.from_lists(_instructions(source.home, config, tokenizer))}

    def evaluate(self, last: bool = True) -> tuple[dict[str, float], int]:
        figures, count = super().evaluate(last)
        if figures:
            figures["perplexity"] = math.exp(min(figures["loss"], 700.0))
        forgetting = self.data.more.get("forgetting")
        if forgetting is not None and len(forgetting):
            figures["forgetting_loss"] = self.mean_loss(forgetting)
        return figures, count


def _documents(source: Source, part: np.ndarray, config: TrainConfig, tokenizer) -> list[tuple]:
    """Pieces of at most max_length tokens of these documents, in order."""
    records = (source.records[int(i)] for i in part)
    documents = encoded(source.records.info, records, tokenizer)
    return [piece for ids, labels in documents for piece in cut(ids, config.max_length, labels)]


def _tail(pieces: list, share: float) -> tuple[list, list]:
    """(train, held out) of too few documents to hold one out: the end of the text is held out, if there is one."""
    count = min(max(1, round(share * len(pieces))), len(pieces) - 1)
    return (pieces[:-count], pieces[-count:]) if count > 0 else (pieces, [])


def _some(pieces: list, tokens: int, seed: int) -> list:
    """Pieces drawn by `seed` until they have that many tokens, in their order."""
    order = np.random.default_rng(seed).permutation(len(pieces))
    sizes = np.cumsum([len(pieces[i][0]) for i in order])
    return [pieces[i] for i in sorted(order[: int(np.searchsorted(sizes, tokens, side="right"))])] or pieces[:1]


def _rows(pieces: list, config: TrainConfig) -> TokenRows:
    return pack(pieces, config.max_length) if config.packing else TokenRows.from_lists(pieces)


def _sample(ids: np.ndarray, tokenizer) -> dict:
    """The beginning of a held-out text, and how it goes on."""
    length = min(_PROMPT_TOKENS, max(1, len(ids) // 2))
    prompt, after = ids[:length], ids[length : length + 2 * _PROMPT_TOKENS]
    shown = [tokenizer.decode(part, skip_special_tokens=True)[:400] for part in (prompt, after)]
    return {"prompt": shown[0], "expected": shown[1], "ids": prompt.tolist()}


# ---- other data sets ----


def _with_replay(rows: TokenRows, home: Home, config: TrainConfig, tokenizer) -> tuple[TokenRows, int]:
    """The rows with so many of the replay data set's that these are `replay_share` of all; and how many they are."""
    records = open_records(home, config.replay_dataset_id)
    train = split(records, config.seed, config.eval_share, version=config.split_version)[0]
    if records.task == "chat":
        pieces = [piece for _, piece in chat_pieces((records[int(i)] for i in train), config, tokenizer)]
    elif records.task == "text":
        pieces = _documents(Source(home, records, train, train[:0]), train, config, tokenizer)
    else:
        raise UserError("err_replay_task", name=records.info.name, task=repr(records.task))
    other = _rows(pieces, config)
    if not len(other):
        raise UserError("err_replay_empty", name=records.info.name)
    count = max(1, round(len(rows) * config.replay_share / (1 - config.replay_share)))
    random = np.random.default_rng([config.seed, 1])
    rounds = [random.permutation(len(other)) for _ in range(-(-count // len(other)))]
    return _joined(rows, other, np.concatenate(rounds)[:count]), count


def _joined(rows: TokenRows, other: TokenRows, chosen: np.ndarray) -> TokenRows:
    """All of `rows`, then the chosen ones of `other`, some perhaps more than once."""
    places = [np.arange(other.offsets[i], other.offsets[i + 1]) for i in chosen]
    where = np.concatenate(places)
    lengths = np.concatenate([rows.lengths, [len(part) for part in places]])
    positions = None
    if rows.positions is not None:
        assert other.positions is not None, "both are packed, or neither"
        positions = np.concatenate([rows.positions, other.positions[where]])
    return TokenRows(
        np.concatenate([rows.ids, other.ids[where]]),
        np.concatenate([rows.labels, other.labels[where]]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        positions,
    )


def _instructions(home: Home, config: TrainConfig, tokenizer) -> list[tuple[list[int], list[int]]]:
    """Held-out conversations whose loss shows what is forgotten; [] where none are to be had."""
    if config.forgetting_dataset_id == "none":
        return []
    if config.forgetting_dataset_id:
        records = open_records(home, config.forgetting_dataset_id)
        if records.task != "chat":
            raise UserError("err_forgetting_task", name=records.info.name, task=repr(records.task))
        held_out = split(records, config.seed, config.eval_share or 0.1, version=config.split_version)[1]
        chosen = [records[int(i)] for i in in_order(records, held_out, config.seed)[: config.eval_records]]
    else:
        chosen = _shipped()[: config.eval_records]
    return [piece for _, piece in chat_pieces(iter(chosen), config, tokenizer)]


def _shipped() -> list[dict]:
    """The held-out records of the sample that ships with the app, or [] in an installation without it."""
    if not SAMPLE_FILE.is_file():
        return []
    rows = orjson.loads(SAMPLE_FILE.read_bytes())
    shape = detect(rows)
    records = [record for row in rows for record in shape.records(row)]
    return [record for record in records if record.get("split") == "eval"]
