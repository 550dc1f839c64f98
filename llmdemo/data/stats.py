"""A data set in numbers: lengths, trained share, vocabulary, languages, cost of an epoch, and what to put the loss on.

Knows no page and no model; a tokenizer is passed in only to name the tokens that stand for bytes.
"""

import math

import numpy as np
import pyarrow.compute as pc

from llmdemo.core.store import Home
from llmdemo.data.library import column, folder_of, get_dataset, kept_mask, open_arrow, read_checks, still_there
from llmdemo.data.measure import read_measured
from llmdemo.data.records import Records, open_records

LANGUAGE_SAMPLE = 400
"""Records whose language is looked at; more take long and change the shares by a few percent at most."""
_LEAST_CHARACTERS = 20
_BARS = 24


@still_there
def stats(home: Home, dataset_id: str, tokenizer=None, tokens_per_second: float | None = None) -> dict:
    """All figures of the kept records, as JSON values.

    records, rows, characters, tokens (as DatasetInfo.tokens or None), trained_share (0…1 or None), histogram
    {unit, bars: [{from, to, count}]}, turns {mean, longest}, labels {label: count}, kinds {kind: count} (None where
    the data tells none), vocabulary (see `coverage`),
    languages [{language, share}] with languages_of (records looked at), loss (see `recommend_loss`),
    epoch (see `epoch_cost`, None without tokens or speed).
    """
    info, folder = get_dataset(home, dataset_id), folder_of(home, dataset_id)
    records = open_records(home, dataset_id)
    checks = read_checks(folder)
    kept = kept_mask(column(checks, "flags"), info.filters)
    measured = read_measured(folder, info.measured) if info.measured else None
    lengths = measured.length[kept] if measured else column(checks, "characters")[kept]
    languages, looked_at = language_mix(records)
    tokens = info.tokens
    return {
        "records": info.kept,
        "rows": info.rows,
        "characters": int(column(checks, "characters")[kept].sum()),
        "tokens": tokens,
        "trained_share": round(tokens["trained"] / tokens["total"], 4)
        if tokens and tokens["total"] and info.task != "classify"
        else None,
        "histogram": {"unit": "tokens" if measured else "characters", "bars": histogram(lengths)},
        "turns": _turns(records),
        "labels": _label_counts(records),
        "kinds": _kind_counts(records),
        "vocabulary": coverage(measured.vocabulary, tokenizer) if measured and tokenizer is not None else None,
        "languages": languages,
        "languages_of": looked_at,
        "loss": recommend_loss(home, dataset_id) if info.task == "chat" else None,
        "epoch": epoch_cost(tokens, info.kept, tokens_per_second, packed=info.task == "text")
        if tokens and tokens_per_second
        else None,
    }


def histogram(lengths: np.ndarray) -> list[dict]:
    """[{from, to, count}]: at most 24 bars of equal, round width; the last takes all above the 99th percentile and
    ends at the longest."""
    if not len(lengths):
        return []
    top = float(np.percentile(lengths, 99))
    width = _round_up(max(1.0, (top + 1) / _BARS))
    count = max(1, math.ceil((top + 1) / width))
    places = np.minimum(lengths // width, count - 1).astype(np.int64)
    counts = np.bincount(places, minlength=count)
    bars = [{"from": i * width, "to": (i + 1) * width - 1, "count": int(number)} for i, number in enumerate(counts)]
    bars[-1]["to"] = int(lengths.max())
    return bars


def _round_up(value: float) -> int:
    """The next 1, 2, 5, 10, 20, 50, … at or above the value."""
    power = 10 ** math.floor(math.log10(value))
    return int(next(step * power for step in (1, 2, 5, 10) if step * power >= value - 1e-9))


def _turns(records: Records) -> dict | None:
    if records.task not in ("chat", "preference"):
        return None
    counts = np.concatenate([pc.list_value_length(part).to_numpy(False) for part in records.columns("messages")])
    counts = counts[records.places]
    return {"mean": round(float(counts.mean()), 1), "longest": int(counts.max())} if len(counts) else None


def _label_counts(records: Records) -> dict | None:
    labels = records.labels()
    if labels is None:
        return None
    names, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(names[i]): int(counts[i]) for i in order}


def _kind_counts(records: Records) -> dict[str, int] | None:
    numbers, names = records.kinds()
    counts = np.bincount(numbers, minlength=len(names))
    return {names[i]: int(counts[i]) for i in np.argsort(-counts, kind="stable")} if names else None


def coverage(vocabulary: np.ndarray, tokenizer) -> dict:
    """Which of the vocabulary the data uses: {size, used, share, tokens, unknown, bytes, bytes_share, most_bytes}.

    unknown: tokens that are the tokenizer's unknown token. bytes: tokens that hold only a part of a character,
    as rare scripts and emoji make; many of them mean that the tokenizer hardly knows the language.
    """
    used = np.flatnonzero(vocabulary)
    total = int(vocabulary.sum())
    unknown = tokenizer.unk_token_id
    partial = [int(number) for number in used if "�" in tokenizer.decode([int(number)])]
    in_bytes = int(vocabulary[partial].sum()) if partial else 0
    # an unknown token that is never made of text (as in byte-level tokenizers) counts only where it stands
    return {
        "size": len(tokenizer),
        "used": len(used),
        "share": round(len(used) / max(1, len(tokenizer)), 4),
        "tokens": total,
        "unknown": int(vocabulary[unknown]) if unknown is not None and unknown < len(vocabulary) else 0,
        "bytes": in_bytes,
        "bytes_share": round(in_bytes / max(1, total), 4),
    }


def language_mix(records: Records) -> tuple[list[dict], int]:
    """([{language (ISO 639-1), share}], records looked at) of an even sample; short texts count as "und"."""
    import py3langid

    if not len(records):
        return [], 0
    count = min(len(records), LANGUAGE_SAMPLE)
    places = [number * len(records) // count for number in range(count)]
    counts: dict[str, int] = {}
    for record in records.rows(places):
        text = _all_text(record)[:400]
        letters = sum(character.isalpha() for character in text)
        language = py3langid.classify(text)[0] if letters >= _LEAST_CHARACTERS or not text.isascii() else "und"
        counts[language] = counts.get(language, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return [{"language": name, "share": round(count / len(places), 4)} for name, count in ranked], len(places)


def _all_text(record: dict) -> str:
    if "text" in record:
        return record["text"]
    return "\n".join(message["content"] for message in record["messages"] if message["role"] != "system")


def epoch_cost(tokens: dict, records: int, tokens_per_second: float, batch_size: int = 8, packed: bool = False) -> dict:
    """What one pass over the data costs at a measured speed.

    {seconds, steps, tokens, longest_batch_tokens}: the last is batch_size rows of the greatest length after the
    cut, which is what the memory of the activations grows with (training.memory_estimate turns it into bytes).
    packed: raw text, laid out in full rows.
    """
    longest = min(tokens["longest"], tokens["max_length"])
    rows = math.ceil(tokens["total"] / tokens["max_length"]) if packed else records
    return {
        "seconds": round(tokens["total"] / tokens_per_second, 1),
        "steps": math.ceil(rows / batch_size),
        "tokens": tokens["total"],
        "longest_batch_tokens": longest * batch_size,
    }


RULE_OF_THUMB = (
    "Loss on everything tends to help where instructions are long and answers short, or where there is little data; "
    "otherwise loss on the response is the safer choice (arXiv 2405.14394)."
)


def recommend_loss(home: Home, dataset_id: str) -> dict:
    """{loss_on, reason, ratio, records, rule} for an instruction data set, by the rule of arXiv 2405.14394.

    The paper (Shi et al. 2024) found loss over instructions to gain most where the ratio of the instructions'
    length to the answers' is high, and with few examples (its LIMA setting has 1,030). Here "all" is recommended
    from a ratio of 2 on, or from 1 on where there are at most 1,000 records. Lengths are in characters of the
    kept records, without system turns.
    """
    info, folder = get_dataset(home, dataset_id), folder_of(home, dataset_id)
    asked = answered = start = 0
    reader = open_arrow(folder / "records.arrow")
    kept = kept_mask(column(read_checks(folder), "flags"), info.filters)
    for number in range(reader.num_record_batches):
        messages = reader.get_batch(number).column("messages")
        mine = kept[start : start + len(messages)][pc.list_parent_indices(messages).to_numpy()]
        start += len(messages)
        lengths = pc.utf8_length(messages.flatten().field("content")).to_numpy(False)
        role = messages.flatten().field("role")
        asked += int(lengths[mine & pc.equal(role, "user").to_numpy(False)].sum())
        answered += int(lengths[mine & pc.equal(role, "assistant").to_numpy(False)].sum())
    ratio = round(asked / max(1, answered), 2)
    long_asked, few = ratio >= 2, info.kept <= 1000
    loss_on = "all" if long_asked or (few and ratio >= 1) else "response"
    return {
        "loss_on": loss_on,
        "reason": f"Here instructions are {ratio:g} times as long as answers, and there are {info.kept:,} records.",
        "ratio": ratio,
        "records": info.kept,
        "rule": RULE_OF_THUMB,
    }
