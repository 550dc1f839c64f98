"""What can be seen in a record by itself and between records, in bulk: flags for each, as codes.BIT.

Knows no files and no tokens. Patterns run in Arrow's RE2, which is linear in the text; duplicates are found
by hashes; near-duplicates by MinHash (rensa) over three-word shingles, in bands. `masked` hides what the patterns find.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rensa import RMinHash

from llmdemo.data.codes import BIT

VERY_LONG = 30_000
"""Characters of a record above which it is flagged."""
NEAR = 0.8
"""Least share of equal MinHash values (an estimate of the Jaccard similarity of the shingles) of near-duplicates."""

_PATTERNS = {
    "control_characters": r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}\x{feff}]",
    "encoding_damage": r"[\x{fffd}\x{80}-\x{9f}]|[\x{c2}\x{c3}][\x{80}-\x{bf}]|\x{e2}\x{20ac}|\x{ef}\x{bf}\x{bd}",
    "html": r"(?i)</?(?:div|span|p|br|a|table|tr|td|th|ul|ol|li|h[1-6]|img|script|style|html|body|b|i|u|strong|em|font|iframe)"
    r"(?:\s[^<>]*)?/?>|&(?:nbsp|amp|lt|gt|quot|#[0-9]{1,6});",
    "special_tokens": r"<\|[a-z_]{2,30}\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>|<</?SYS>>",
    "secret": r"\bsk-[A-Za-z0-9_-]{20,}|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}"
    r"|\bhf_[A-Za-z0-9]{30,}|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bAIza[0-9A-Za-z_-]{35}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.|(?i:\b(?:password|passwd|api[_-]?key|secret[_-]?key)\s*[:=]\s*['\"]?[^\s'\",;]{8,})",
    "email": r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z]{2,}",
}
PRIVATE = {name: _PATTERNS[name] for name in ("secret", "email")}
"""What nobody else should read, which `masked` hides."""
_PERMUTATIONS, _BANDS, _SEED = 64, 8, 42
_SHINGLED = 4000
_FIXED_LEAST, _FIXED_SHARE = 20, 0.05
"""More different prompts than this, and than this share of all, are alike by a fixed instruction, not by chance."""
_FIXED_IN = 0.5
"""Share of such prompts in which a shingle is part of what is fixed."""
_FIXED_SAMPLE, _FIXED_ROUNDS = 2000, 5
_WORD = re.compile(r"\w+")
_LAST_WORD = re.compile(r"\w*$")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese: written without spaces between words."""


def text_flags(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """(flags uint32 (N,), characters int64 (N,)) of the records' own texts; `batch` as tables.to_batch makes it."""
    flags, characters = np.zeros(batch.num_rows, np.uint32), np.zeros(batch.num_rows, np.int64)
    for texts, record in _texts(batch):
        characters += np.bincount(record, pc.utf8_length(texts).to_numpy(False), batch.num_rows).astype(np.int64)
        for name, pattern in _PATTERNS.items():
            found = pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False).astype(bool)
            flags[record[found]] |= np.uint32(BIT[name])
    flags[characters > VERY_LONG] |= np.uint32(BIT["very_long"])
    return flags, characters


def _texts(batch: pa.RecordBatch):
    """(texts, index of the record of each) for every column of texts."""
    for name in batch.schema.names:
        column = batch.column(name)
        if name == "messages":
            lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
            yield column.flatten().field("content"), np.repeat(np.arange(batch.num_rows), lengths)
        elif name in ("text", "chosen", "rejected"):
            yield column, np.arange(batch.num_rows)


# ---- hashes of one record ----


def prompt_of(record: dict) -> str:
    """What the record asks: the turns before the last answer, or the text."""
    if "text" in record:
        return record["text"]
    messages = record["messages"] if "chosen" in record else record["messages"][:-1]
    if len(messages) == 1:
        return messages[0]["content"]
    return "\x1e".join(f"{message['role']}\x1f{message['content']}" for message in messages)


def answer_of(record: dict) -> str:
    """What the record answers: the last answer, the label, both sides of a preference, or nothing (raw text)."""
    if "label" in record:
        return record["label"]
    if "chosen" in record:
        return record["chosen"] + "\x1e" + record["rejected"]
    return "" if "text" in record else record["messages"][-1]["content"]


def loose_hash(text: str) -> int:
    """64 bits of the text without regard to case and blanks."""
    return int.from_bytes(hashlib.blake2b(" ".join(text.casefold().split()).encode(), digest_size=8).digest(), "little")


# ---- between records ----


def duplicate_flags(prompts, answers, rows, task: str, evals=None) -> tuple[np.ndarray, np.ndarray]:
    """(flags uint32 (N,), other int64 (N,)): duplicate, conflicting_answers and leak, with the row they are about.

    prompts, answers: uint64 (N,) hashes; rows: int64 (N,) row numbers; evals: bool (N,) of records that the file
    itself holds out, or None. The first of several equal records has no flag.
    """
    count = len(prompts)
    flags, other = np.zeros(count, np.uint32), np.zeros(count, np.int64)
    if task in ("chat", "classify"):
        first = _first(prompts)
        conflicts = (answers != answers[first]) & (rows != rows[first])
        flags[conflicts] |= np.uint32(BIT["conflicting_answers"])
        other[conflicts] = rows[first[conflicts]]
    part = np.zeros(count, bool) if evals is None else evals
    first = _first(prompts, answers, part)
    again = first != np.arange(count)
    flags[again] = np.uint32(BIT["duplicate"])
    other[again] = rows[first[again]]
    if part.any():
        held, place = np.unique(prompts[part], return_index=True)
        where = np.minimum(np.searchsorted(held, prompts), len(held) - 1)
        leaks = ~part & (held[where] == prompts)
        flags[leaks] = np.uint32(BIT["leak"])
        other[leaks] = rows[part][place][where[leaks]]
    return flags, other


def _first(*keys) -> np.ndarray:
    """int64 (N,): for each record the index of the first one with the same keys (arrays of length N)."""
    count = len(keys[0])
    order = np.lexsort(keys)
    new = np.zeros(count, bool)
    new[:1] = True
    for key in keys:
        new[1:] |= key[order][1:] != key[order][:-1]
    starts = np.flatnonzero(new)
    first = np.empty(count, np.int64)
    first[order] = np.repeat(order[starts], np.diff(np.append(starts, count)))
    return first


def sketches(prompts: list[str], without: frozenset[str] = frozenset()) -> np.ndarray:
    """uint32 (N, 64): the MinHash of each prompt's shingles of three words (of four characters without spaces).

    Shingles in `without` are left out, unless a prompt has no others.
    """
    sets = [_shingles(prompt) for prompt in prompts]
    if without:
        sets = [[shingle for shingle in own if shingle not in without] or own for own in sets]
    rows = RMinHash.digest_matrix_from_token_sets(sets, num_perm=_PERMUTATIONS, seed=_SEED).to_rows()
    return np.array(rows, np.uint32).reshape(len(prompts), _PERMUTATIONS)


def _shingles(text: str) -> list[str]:
    text = text[:_SHINGLED].casefold()
    words = _WORD.findall(text)
    if not text.isascii() and _UNSPACED.search(text):
        return [text[i : i + 4] for i in range(max(1, len(text) - 3))]
    if len(words) < 3:
        return [" ".join(words) or text]
    return [" ".join(three) for three in zip(words, words[1:], words[2:], strict=False)]


def near_duplicates(signatures: np.ndarray) -> np.ndarray:
    """int64 (N,): the index of an earlier record whose signature agrees in NEAR of its values, or the own index."""
    count, width = len(signatures), _PERMUTATIONS // _BANDS
    own, other = np.arange(count), np.arange(count)
    mix = np.random.default_rng(_SEED).integers(1, 2**63, width, np.uint64) | np.uint64(1)
    for band in range(_BANDS):
        part = signatures[:, band * width : (band + 1) * width].astype(np.uint64)
        candidate = _first((part * mix).sum(axis=1, dtype=np.uint64))
        ask = np.flatnonzero((candidate < own) & (other == own))
        for piece in np.array_split(ask, len(ask) // 50_000 + 1):  # bounded memory
            agree = (signatures[piece] == signatures[candidate[piece]]).mean(axis=1)
            near = piece[agree >= NEAR]
            other[near] = candidate[near]
    return other


def told_apart(near: np.ndarray, prompts: np.ndarray, texts: Callable[[np.ndarray], list[str]]) -> np.ndarray:
    """`near` (of `near_duplicates`), but records that share a fixed instruction are compared by what varies in them.

    A template or a system prompt in front of every question makes all of them look alike. What stands in more records
    than duplicates would is left out, and what is left decides; again, as long as many records hang together by
    something that most of them share. prompts: uint64 (N,) hashes; texts(indices) gives the prompts of these records.
    """
    alone = np.sort(np.unique(prompts, return_index=True)[1])
    most = max(4, min(len(alone) / 2, max(_FIXED_LEAST, _FIXED_SHARE * len(alone))))
    near, some = near.copy(), _large(alone, groups(prompts, near), 1)
    if not some:
        return near
    fixed = _shared(texts(_sample(alone)), most / len(alone))
    members = np.sort(np.concatenate(some))
    near[members] = _near_without(members, texts, "", fixed)
    parts = [alone]
    for _ in range(_FIXED_ROUNDS):
        group = groups(prompts, near)
        large, parts = [members for part in parts for members in _large(part, group, most)], []
        for members in large:
            sample = texts(_sample(members))
            start = os.path.commonprefix(sample)
            word = _LAST_WORD.search(start)
            assert word, "the pattern also matches nothing at the end"
            start = start[: len(start) - len(word.group())]
            fixed = _shared([text[len(start) :] for text in sample], _FIXED_IN)
            if start or fixed:
                near[members] = _near_without(members, texts, start, fixed)
                parts.append(members)
        if not parts:
            break
    return near


def _sample(places: np.ndarray) -> np.ndarray:
    return places[:: -(-len(places) // _FIXED_SAMPLE)]


def _shared(texts: list[str], share: float) -> frozenset[str]:
    """The shingles that stand in more than this share of the texts."""
    counts = Counter(shingle for text in texts for shingle in set(_shingles(text)))
    return frozenset(shingle for shingle, count in counts.items() if count > share * len(texts))


def _large(alone: np.ndarray, group: np.ndarray, most: float) -> list[np.ndarray]:
    """Of these records, one for each prompt, the groups of more than `most`."""
    _, at, sizes = np.unique(group[alone], return_inverse=True, return_counts=True)
    order = np.argsort(at, kind="stable")
    return [part for part in np.split(alone[order], np.cumsum(sizes)[:-1]) if len(part) > most]


def _near_without(members: np.ndarray, texts: Callable, start: str, fixed: frozenset[str]) -> np.ndarray:
    """`near` of these records without the beginning `start` and the shingles `fixed`."""
    signatures = [
        sketches([text.removeprefix(start) for text in texts(part)], fixed)
        for part in np.array_split(members, len(members) // 1000 + 1)
    ]
    return members[near_duplicates(np.concatenate(signatures))]


def groups(prompts: np.ndarray, near: np.ndarray) -> np.ndarray:
    """int64 (N,): equal for records with the same or nearly the same instruction; a split keeps them together."""
    links = (_first(prompts), near)
    group = np.arange(len(prompts))
    while True:
        smaller = group.copy()
        for link in links:
            np.minimum.at(smaller, link, smaller)
            smaller = np.minimum(smaller, smaller[link])
        smaller = smaller[smaller]
        if np.array_equal(smaller, group):
            return group
        group = smaller


SECRET, EMAIL = "[secret]", "[e-mail]"
_KEY_BLOCK = r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)"
"""The check finds a key's first line; what it opens must go too, up to its last line or the text's end."""
_REST = r"[A-Za-z0-9_+/=.-]*"
"""What goes on right after a secret is part of it: a JSON web token's signature."""
_STEPS = (
    (_KEY_BLOCK, SECRET),
    (f"(?:{PRIVATE['secret']}){_REST}", SECRET),
    (PRIVATE["email"] + r"(?:\.[A-Za-z]{2,})*", EMAIL),
)


def masked(texts: Sequence[str]) -> list[str]:
    """The texts with each probable secret as "[secret]" and each e-mail address as "[e-mail]", and a little beyond where the
    checks' patterns end. Linear in their length."""
    array = pa.array([text.encode("utf-8", "replace").decode() for text in texts], pa.string())
    for pattern, instead in _STEPS:
        array = pc.replace_substring_regex(array, pattern=pattern, replacement=instead)
    return array.to_pylist()
