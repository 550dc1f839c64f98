"""What is known of each record as arrays, and what follows from all of them together: duplicates, groups, the hash.

Used when a data set comes in and when a new version is made of old ones. Knows no raw rows and no tokens.
"""

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from llmdemo.data import checks
from llmdemo.data.codes import BIT, FLAGS, mask
from llmdemo.data.library import CHECKS, Writer, column, content_hash, kept_mask, open_arrow, read_checks

BETWEEN = ("duplicate", "leak", "conflicting_answers", "near_duplicate")
"""Flags that depend on other records."""


@dataclass
class Held:
    """Arrays of one value for each record, N of them."""

    row: np.ndarray
    """int64: row of the file, from 1."""
    line: np.ndarray
    """int64: line of the file, from 1; 0 where the format has none."""
    flags: np.ndarray
    """uint32: bits of codes.FLAGS."""
    characters: np.ndarray
    """int64: length of all its texts."""
    digest: np.ndarray
    """S16: names the content."""
    prompt: np.ndarray
    """uint64: loose hash of what is asked."""
    answer: np.ndarray
    """uint64: loose hash of what is answered."""
    held_out: np.ndarray
    """bool: the file itself has it in its eval part."""
    sketch: np.ndarray
    """uint32 (N, 64): MinHash of what is asked."""

    @classmethod
    def of(cls, records: list[dict], lines: list[int], batch: pa.RecordBatch) -> "Held":
        """What each record (with "row") shows by itself; `batch` holds the same records (records.to_batch)."""
        flags, characters = checks.text_flags(batch)
        flags[["cut_turns" in record for record in records]] |= np.uint32(BIT["cut_turns"])
        for place, record in enumerate(records):
            if "codes" in record:
                flags[place] |= np.uint32(mask(record["codes"]))
        prompts = [checks.prompt_of(record) for record in records]
        return cls(
            row=np.array([record["row"] for record in records], np.int64),
            line=np.array(lines, np.int64),
            flags=flags,
            characters=characters,
            digest=np.frombuffer(b"".join(map(digest_of, records)), "S16"),
            prompt=np.array([checks.loose_hash(prompt) for prompt in prompts], np.uint64),
            answer=np.array([checks.loose_hash(checks.answer_of(record)) for record in records], np.uint64),
            held_out=np.array([record.get("split") == "eval" for record in records], bool),
            sketch=checks.sketches(prompts),
        )

    @classmethod
    def joined(cls, parts: list["Held"]) -> "Held":
        """The records of all parts, in order (one part at least)."""
        return cls(**{item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(cls)})

    def at(self, places: np.ndarray) -> "Held":
        """The records at these places."""
        return Held(**{item.name: getattr(self, item.name)[places] for item in fields(self)})

    def __len__(self) -> int:
        return len(self.row)


def digest_of(record: dict) -> bytes:
    """16 bytes that name the record's content, whatever its row."""
    content = {key: value for key, value in record.items() if key not in ("row", "cut_turns", "codes")}
    return hashlib.blake2b(orjson.dumps(content, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


@dataclass(frozen=True)
class Deduplicated:
    """What follows from all records together."""

    kept: np.ndarray
    counts: dict
    content_hash: str
    characters: int


def deduplicate(folder: Path, held: Held, task: str, filters, step=lambda share: None) -> Deduplicated:
    """Finds what holds between the records in `folder` and writes checks.arrow and sketches.npy there.

    step(share done, 0…1) is called between its parts and may raise to give up.
    """
    step(0.0)
    flags = held.flags & ~np.uint32(mask(BETWEEN))
    between, other = checks.duplicate_flags(held.prompt, held.answer, held.row, task, held.held_out)
    step(0.2)
    near = checks.told_apart(checks.near_duplicates(held.sketch), held.prompt, _prompts_in(folder))
    step(0.6)
    close = (near < np.arange(len(held))) & (between == 0) & (held.prompt != held.prompt[near])
    between[close] = BIT["near_duplicate"]
    other[close] = held.row[near[close]]
    flags |= between
    digests = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(held), [None, pa.py_buffer(np.ascontiguousarray(held.digest).tobytes())]
    )
    group = checks.groups(held.prompt, near)
    step(0.8)
    values = {
        "row": held.row,
        "line": held.line,
        "flags": flags,
        "other": other,
        "group": group,
        "characters": held.characters,
        "digest": digests,
        "prompt": held.prompt,
        "answer": held.answer,
        "held_out": pa.array(held.held_out),
    }
    table = pa.table([values[name] for name in CHECKS.names], schema=CHECKS)
    with Writer(folder / "checks.arrow", CHECKS) as writer:
        writer.write(table)
    step(0.9)
    np.save(folder / "sketches.npy", held.sketch, allow_pickle=False)
    kept = kept_mask(flags, filters)
    return Deduplicated(
        kept, flag_counts(flags), content_hash(task, table.column("digest"), kept), int(held.characters.sum())
    )


def _prompts_in(folder: Path):
    """A function that gives what the records at these places, in ascending order, ask."""

    def prompts(places: np.ndarray) -> list[str]:
        reader, found, start = open_arrow(folder / "records.arrow"), [], 0
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            inside = places[(places >= start) & (places < start + batch.num_rows)] - start
            start += batch.num_rows
            if len(inside):
                records = batch.take(pa.array(inside)).to_pylist()
                found += [checks.prompt_of(record) for record in records]
        return found

    return prompts


def load_held(folder: Path) -> Held:
    """The arrays of a data set that `deduplicate` has written."""
    table = read_checks(folder)
    plain = {name: column(table, name) for name in ("row", "line", "flags", "characters", "prompt", "answer")}
    raw = b"".join(table.column("digest").to_pylist())
    return Held(
        **plain,
        digest=np.frombuffer(raw, "S16"),
        held_out=table.column("held_out").to_numpy().astype(bool),
        sketch=np.load(folder / "sketches.npy", mmap_mode="r", allow_pickle=False),
    )


def flag_counts(flags: np.ndarray) -> dict[str, int]:
    """How many records have each flag; without those that none has."""
    counts = {code.name: int(((flags & np.uint32(code.mask)) != 0).sum()) for code in FLAGS}
    return {name: count for name, count in counts.items() if count}
