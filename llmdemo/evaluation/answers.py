"""A model's answers to held-out records, and how likely it holds the right ones; kept, so that nothing is done twice.

One model is in memory at a time. What a model said depends on its weights, its tokenizer, the data and the settings
alone; by these it is found again, whichever other model it is compared with.
"""

import gc
import hashlib
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from llmdemo import data
from llmdemo.arena.cache import fingerprint
from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.data.encode import Encoded, Refused, encode_documents, encode_many, encode_prompt
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.engine import context_length
from llmdemo.decoding.prompts import greedy
from llmdemo.evaluation.folder import Kept
from llmdemo.evaluation.heldout import HeldOut, example
from llmdemo.evaluation.job import Job
from llmdemo.evaluation.likelihood import row_losses
from llmdemo.models.load import best_device, load_causal, usual_dtype
from llmdemo.settings.evaluation import Spec

FORMAT = 3
"""Raised when what a kept line means changes."""
BATCH = 16
MOST_TOKENS = 8192
"""Of prompts, padding and answers in a batch together: what a batch's memory grows with."""
_LOSS_SHARE = 0.15
"""About what the likelihoods take of a batch's time."""
_LARGE = 3_000_000_000
_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json", "config.json")


def identity(entry) -> str:
    """16 hex digits that tell this model, tokenizer and template from any other."""
    digest = hashlib.sha256(fingerprint(entry.path).encode())
    for name in _FILES:
        file = entry.path / name
        digest.update(file.read_bytes() if file.is_file() else b"-")
    return digest.hexdigest()[:16]


def told_models(entries: list) -> list[dict]:
    """The models of an evaluation, as its result names them."""
    return [
        {"id": entry.id, "title": entry.title, "identity": identity(entry), "parameters": entry.parameters}
        for entry in entries
    ]


def precision_of(spec: Spec, entry) -> torch.dtype:
    """fp32, in which a row's answer does not depend on its batch; for large models on a GPU the fast type."""
    if spec.precision != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16}[spec.precision]
    device = best_device()
    return usual_dtype(entry, device) if device.type == "cuda" and entry.parameters > _LARGE else torch.float32


@contextmanager
def loaded(entry, dtype: torch.dtype, load=load_causal):
    """(model, tokenizer) in memory, which is given back at the end."""
    try:
        model, tokenizer = load(entry, dtype=dtype)
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise UserError("err_model_too_large", title=entry.title) from error
    try:
        yield model, tokenizer
    finally:
        del model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def answers_of(job: Job, home: Home, entry, held: HeldOut, spec: Spec) -> list[dict]:
    """A line for each held-out record, in their order. Raises Stopped; what is done is kept.

    Of conversations: {id, loss, labels, bytes, cut, whole, text, tokens, ended, long}: the summed −log p of the right
    answers' tokens in nats, their number, the answers' UTF-8 bytes; whether the record was cut at max_length, and
    whether the tokens are those of all the bytes; what the model answered, how long that is, whether it ended by itself;
    `long` marks a prompt that leaves no room for an answer, `refused` one that the model's chat template does not take. Of raw text, which goes on in the next row where one is
    full: {id, loss, labels, bytes}.
    """
    work = _answer if spec.kind == "answers" else _text_loss
    return _each(job, kept_of(home, entry, held, spec), entry, held, spec, work)


def kept_of(home: Home, entry, held: HeldOut, spec: Spec) -> Kept:
    """The lines of this model on this data with these settings, by the records' indices."""
    about = {
        "format": FORMAT,
        "model": identity(entry),
        "data": held.records.info.content_hash,
        "max_length": spec.max_length,
        "precision": str(precision_of(spec, entry)),
    }
    return Kept(home, spec.kind, about | ({"new": spec.max_new_tokens} if spec.kind == "answers" else {}))


def _each(job: Job, kept: Kept, entry, held: HeldOut, spec: Spec, work) -> list[dict]:
    """The lines of all records: those that are kept, and those that `work(model, tokenizer, indices)` gives now."""
    wanted = [int(index) for index in held.indices]
    missing = [index for index in wanted if index not in kept.lines]
    done = len(wanted) - len(missing)
    job.tell(done, len(wanted))
    if missing:
        with loaded(entry, precision_of(spec, entry)) as (model, tokenizer):
            for part in _parts(job, tokenizer, held, missing, spec):
                tell = partial(tell_part, job, done, len(wanted), len(part))
                lines = work(model, tokenizer, held, part, spec, tell)
                kept.add(lines)
                done += len(part)
                job.tell(done, len(wanted), fresh=len(part))
    return [kept.lines[index] for index in wanted]


def _parts(job: Job, tokenizer, held: HeldOut, missing: list[int], spec: Spec) -> list[list[int]]:
    """The indices in the batches in which they are asked: prompts of like length, and few of them where they are long.

    The batches come in an order of no meaning, so that what a stop leaves is a fair sample.
    """
    if spec.kind != "answers":
        return list(chunks(missing, BATCH))
    lengths = {}
    for index in missing:
        job.check()
        lengths[index] = len(_prompt(example(held.records, index), tokenizer)) + spec.max_new_tokens
    parts: list[list[int]] = []
    for index in sorted(missing, key=lengths.__getitem__):
        last = parts[-1] if parts else []
        if last and len(last) < BATCH and (len(last) + 1) * lengths[index] <= MOST_TOKENS:
            last.append(index)
        else:
            parts.append([index])
    return [parts[place] for place in np.random.default_rng(spec.seed).permutation(len(parts))]


def tell_part(job: Job, done: int, total: int, count: int, share: float) -> None:
    """`share` of `count` records are under way beside those that are done."""
    job.tell(done, total, under_way=share * count)


def _answer(model, tokenizer, held: HeldOut, indices, spec: Spec, tell) -> list[dict]:
    examples = [example(held.records, index) for index in indices]
    conversations = ({"messages": each.messages} for each in examples)
    rows = list(encode_many(conversations, tokenizer, min(spec.max_length, _context(model)), refuse=False))
    rows = [_NOTHING if isinstance(row, Refused) else row for row in rows]
    losses = row_losses(model, rows, tokenizer.pad_token_id or 0)
    tell(_LOSS_SHARE)
    prompts = [_prompt(each, tokenizer) for each in examples]
    room = _context(model) - spec.max_new_tokens
    asked = [place for place, prompt in enumerate(prompts) if 0 < len(prompt) <= room]
    answers = greedy(
        model,
        [prompts[place] for place in asked],
        spec.max_new_tokens,
        tokenizer.pad_token_id or 0,
        lambda share: tell(_LOSS_SHARE + (1 - _LOSS_SHARE) * share),
        weights=fused_weights(model),
    )
    said = dict(zip(asked, answers, strict=True))
    return [
        {
            "id": each.index,
            "loss": loss,
            "labels": labels,
            "bytes": _asked_bytes(each),
            "cut": row.truncated,
            "whole": not (row is _NOTHING or row.truncated or row.unreachable or row.altered),
            "refused": row is _NOTHING or not prompts[place],
            **_said(said.get(place), tokenizer),
        }
        for place, (each, row, (loss, labels)) in enumerate(zip(examples, rows, losses, strict=True))
    ]


_NOTHING = Encoded([], [])
"""In the place of a record that the model's chat template refuses."""


def _prompt(each, tokenizer) -> list[int]:
    """The ids that the model is asked with; [] where its chat template refuses the turns."""
    try:
        return encode_prompt(each.prompt, tokenizer)
    except UserError:
        return []


def _said(answer, tokenizer) -> dict:
    if answer is None:
        return {"text": "", "tokens": 0, "ended": False, "long": True}
    text = tokenizer.decode(answer.token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return {"text": text, "tokens": len(answer.token_ids), "ended": answer.ended, "long": False}


def _asked_bytes(each) -> int:
    """UTF-8 bytes of the answers whose likelihood is taken: what different tokenizers can be compared by."""
    return sum(len(turn["content"].encode("utf-8", "replace")) for turn in each.messages if turn["role"] == "assistant")


def _text_loss(model, tokenizer, held: HeldOut, indices, spec: Spec, tell) -> list[dict]:
    texts = [held.records[index]["text"] for index in indices]
    length = min(spec.max_length, _context(model))
    rows, owner = [], []
    for place, ids in enumerate(encode_documents(texts, tokenizer)):
        for start in range(0, len(ids), length):
            part = ids[start : start + length]
            rows.append(data.Encoded(part, [-100, *part[1:]]))
            owner.append(place)
    losses = []
    for some in chunks(rows, BATCH):
        losses += row_losses(model, some, tokenizer.pad_token_id or 0)
        tell(len(losses) / len(rows))
    lines = [
        {"id": int(index), "loss": 0.0, "labels": 0, "bytes": len(text.encode("utf-8", "replace"))}
        for index, text in zip(indices, texts, strict=True)
    ]
    for place, (loss, labels) in zip(owner, losses, strict=True):
        lines[place]["loss"] += loss
        lines[place]["labels"] += labels
    return lines


def chunks(items: list, size: int):
    """The items in lists of `size`, the last as long as it comes."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _context(model) -> int:
    return context_length(model) or 1_000_000
