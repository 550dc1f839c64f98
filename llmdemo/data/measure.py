"""How many tokens each record has, and which of the vocabulary it uses, kept beside the records by tokenizer.

Knows no files that are uploaded and no training. A measurement is known by a key: the tokenizer with its chat
template, the greatest length and what the loss is on. `measured-<key>.arrow` has a row for each record: length
(tokens before the cut), trained (tokens that are trained after it) and flags (prompt_too_long, response_cut,
template_refused, answer_hidden); `measured-<key>.npy` counts each token of the vocabulary.
"""

import hashlib
import io
import os
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home, write_atomic
from llmdemo.data.codes import BIT
from llmdemo.data.encode import Refused, check_tokenizer, encode_documents, encode_many
from llmdemo.data.library import (
    DatasetInfo,
    Writer,
    change_info,
    column,
    folder_of,
    get_dataset,
    kept_mask,
    open_arrow,
    read_checks,
    still_there,
)

DEFAULT_MAX_LENGTH = 512
_SCHEMA = pa.schema([("length", pa.int64()), ("trained", pa.int64()), ("flags", pa.uint32())])


def measure_key(tokenizer, max_length: int, loss_on: str) -> str:
    """16 hex digits that name the tokenizer, its template, the length and the loss."""
    state = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode())
    state.update(f"\0{tokenizer.chat_template}\0{tokenizer.eos_token}\0{max_length}\0{loss_on}".encode())
    return state.hexdigest()[:16]


@dataclass(frozen=True)
class Measured:
    """A measurement, a row for each record of the folder (kept or not), and the counts of the vocabulary."""

    length: np.ndarray
    trained: np.ndarray
    flags: np.ndarray
    vocabulary: np.ndarray


def measure_records(records: list[dict], task: str, tokenizer, max_length: int, loss_on: str) -> Measured:
    """Measures these records, in memory."""
    measured = _measured(records, task, tokenizer, max_length, loss_on) if records else []
    length = np.array([row[0] for row in measured], np.int64)
    trained = np.array([row[1] for row in measured], np.int64)
    flags = np.zeros(len(records), np.uint32)
    flags[length < 0] = BIT["template_refused"]
    if task in ("chat", "preference"):
        cut = length > max_length
        flags[cut & (trained > 0)] = BIT["response_cut"]
        flags[cut & (trained == 0)] = BIT["prompt_too_long"]
    flags[np.array([row[3] for row in measured], bool)] |= np.uint32(BIT["answer_hidden"])
    ids = [np.array(row[2], np.int64) for row in measured if row[2]]
    vocabulary = np.bincount(np.concatenate(ids)) if ids else np.zeros(0, np.int64)
    return Measured(np.maximum(length, 0), trained, flags, vocabulary)


def _measured(records, task, tokenizer, max_length, loss_on) -> list[tuple[int, int, list[int], bool]]:
    """(length, trained, ids, hidden) of each record; length -1 where the chat template refuses it.

    hidden: whether the template leaves out answers, or a part of one.
    """
    if task == "text":
        ids = encode_documents((record["text"] for record in records), tokenizer)
        return [(len(row), len(row), row, False) for row in ids]
    return [_figures(row) for row in encode_many(records, tokenizer, max_length, loss_on, refuse=False)]


def _figures(row) -> tuple[int, int, list[int], bool]:
    """As `_measured`, of an encoded record; of a preference, of both its rows together."""
    if isinstance(row, tuple):
        chosen, rejected = row
        if isinstance(chosen, Refused) or isinstance(rejected, Refused):
            return -1, 0, [], False
        trained = chosen.trained + rejected.trained if chosen.trained and rejected.trained else 0
        hidden = any(side.unreachable or side.altered for side in row)
        return max(chosen.length, rejected.length), trained, chosen.input_ids + rejected.input_ids, hidden
    if isinstance(row, Refused):
        return -1, 0, [], False
    return row.length, row.trained, row.input_ids, bool(row.unreachable or row.altered)


class Meter:
    """Measures batches of records one after the other, in bounded memory, into files of `folder`."""

    def __init__(self, folder: Path, task: str, tokenizer, max_length: int, loss_on: str):
        check_tokenizer(tokenizer)
        self.key = measure_key(tokenizer, max_length, loss_on)
        self._folder, self._how = folder, (task, tokenizer, max_length, loss_on)
        self._part = folder / f".measured-{self.key}-{secrets.token_hex(3)}"
        self._writer = Writer(self._part, _SCHEMA)
        self._vocabulary = np.zeros(len(tokenizer), np.int64)

    def add(self, records: list[dict]) -> np.ndarray:
        """Measures these records; returns their flags, uint32 (N,)."""
        one = measure_records(records, *self._how)
        size = max(len(self._vocabulary), len(one.vocabulary))
        self._vocabulary = np.pad(self._vocabulary, (0, size - len(self._vocabulary)))
        self._vocabulary[: len(one.vocabulary)] += one.vocabulary
        self._writer.write(pa.record_batch([one.length, one.trained, one.flags], schema=_SCHEMA))
        return one.flags

    def finish(self) -> str:
        """Puts the files under their names; returns the key."""
        self._writer.close()
        _save_vocabulary(self._folder, self.key, self._vocabulary)
        os.replace(self._part, self._folder / f"measured-{self.key}.arrow")
        return self.key

    def discard(self) -> None:
        self._writer.close()
        self._part.unlink(missing_ok=True)


def write_measured(folder: Path, key: str, measured: Measured) -> None:
    """Writes a whole measurement into the folder of a data set that is being made."""
    _save_vocabulary(folder, key, measured.vocabulary)
    with Writer(folder / f"measured-{key}.arrow", _SCHEMA) as writer:
        writer.write(pa.record_batch([measured.length, measured.trained, measured.flags], schema=_SCHEMA))


def _save_vocabulary(folder: Path, key: str, counts: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, counts, allow_pickle=False)
    write_atomic(folder / f"measured-{key}.npy", buffer.getvalue())


def read_measured(folder: Path, key: str) -> Measured | None:
    """The measurement with this key, or None if it was never made."""
    path = folder / f"measured-{key}.arrow"
    if not path.exists():
        return None
    table = open_arrow(path).read_all()
    vocabulary = np.load(path.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
    return Measured(column(table, "length"), column(table, "trained"), column(table, "flags"), vocabulary)


def summary(measured: Measured, kept: np.ndarray, max_length: int, task: str) -> dict:
    """{total, longest, mean, trained, cut, hidden} over the kept records, and what they were measured with.

    cut and hidden are records: those longer than max_length, and those of which the chat template hides an answer.

    total counts what the model sees: after the cut for chat, preference and classify; whole for raw text, which is
    laid out in rows.
    """
    length = measured.length[kept]
    seen = length if task == "text" else np.minimum(length, max_length)
    total = int(seen.sum())
    return {
        "total": total,
        "longest": int(length.max(initial=0)),
        "mean": round(total / max(1, len(length)), 1),
        "trained": int(measured.trained[kept].sum()),
        "max_length": max_length,
        "cut": int((length > max_length).sum()) if task != "text" else 0,
        "hidden": int((measured.flags[kept] & np.uint32(BIT["answer_hidden"]) != 0).sum()),
    }


@still_there
def without_answer(home: Home, dataset_id: str, max_length: int) -> int:
    """How many kept conversations have about no answer's token within `max_length`; 0 where tokens are not counted yet.

    By the measured length without the trained tokens: of several turns, earlier answers may still fit.
    """
    info, length, trained = _of_kept(home, dataset_id)
    most = info.tokens["max_length"] if info.tokens else 0
    # of a longer one the trained tokens are only a part
    before = np.where(length <= most, length - trained, length * (trained == 0))
    return int((before >= max_length).sum())


def kept_lengths(home: Home, dataset_id: str) -> np.ndarray:
    """int64 (kept,): tokens of each kept record, whole; (0,) where tokens are not counted yet."""
    return _of_kept(home, dataset_id)[1]


def _of_kept(home: Home, dataset_id: str) -> tuple[DatasetInfo, np.ndarray, np.ndarray]:
    """(info, tokens (kept,), trained tokens (kept,)) as measured when the data came; (0,) where they are not yet."""
    folder, info = folder_of(home, dataset_id), get_dataset(home, dataset_id)
    measured = read_measured(folder, info.measured) if info.measured else None
    if measured is None:
        return info, np.zeros(0, np.int64), np.zeros(0, np.int64)
    kept = kept_mask(column(read_checks(folder), "flags"), info.filters)
    return info, measured.length[kept], measured.trained[kept]


def measure_tokens(
    home: Home,
    dataset_id: str,
    tokenizer,
    max_length: int = DEFAULT_MAX_LENGTH,
    loss_on: str = "response",
) -> DatasetInfo:
    """The data set's info with `tokens` for this tokenizer; measures it unless that was done before.

    A first measurement is written into the data set's info; others are only returned. What is kept does not
    change: the records are immutable. Raises UserError.
    """
    folder, info = folder_of(home, dataset_id), get_dataset(home, dataset_id)
    check_tokenizer(tokenizer)
    key = measure_key(tokenizer, max_length, loss_on)
    if not (folder / f"measured-{key}.arrow").exists():
        _measure_file(folder, info, tokenizer, max_length, loss_on)
    kept = kept_mask(column(read_checks(folder), "flags"), info.filters)
    measured = read_measured(folder, key)
    assert measured is not None, "it was there or has just been written"
    tokens = {**summary(measured, kept, max_length, info.task), "loss_on": loss_on}
    if info.tokens is None:
        return change_info(home, dataset_id, tokens=tokens, measured=key)
    return replace(info, tokens=tokens, measured=key)


def _measure_file(folder, info, tokenizer, max_length, loss_on) -> None:
    reader = open_arrow(folder / "records.arrow")
    meter = Meter(folder, info.task, tokenizer, max_length, loss_on)
    try:
        for number in range(reader.num_record_batches):
            meter.add(reader.get_batch(number).to_pylist())
        meter.finish()
    except BaseException:
        meter.discard()
        raise


class Stopped(UserError):
    """The person stopped the work; nothing of it is kept."""

    def __init__(self):
        super().__init__(say("measure_stopped"), say("measure_stopped_hint"))
