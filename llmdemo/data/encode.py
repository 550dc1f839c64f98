"""Conversations become token ids and labels: the one code path of training, of the token view and of the arena.

Knows nothing of files, models or tensors, and imports no tokenizer: a fast tokenizer of transformers is
passed in. Special tokens written inside a text are read as special tokens, here as in every chat program;
the checks warn of them.

How the answers are found. Chat templates seldom mark them, so the conversation is rendered again up to each
answer, with the generation prompt: what the whole text has after that prefix, up to the end of the turn, is
the answer. The whole text is tokenised once, and each answer's first character is looked up in it. Where a
token would straddle that place, the text is tokenised in two parts: a prompt's ids are then exactly those
that `encode_prompt` gives, so that what is trained is what is decoded.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from llmdemo.core.errors import UserError
from llmdemo.data.render import Rendered, conversation, own_bos, render, render_answers

NOT_TRAINED = -100
"""The label that the loss ignores (torch.nn.functional.cross_entropy's default ignore_index)."""

_BATCH_RECORDS = 512
_BATCH_CHARACTERS = 2_000_000
_LONGEST_PART = 1_000_000


@dataclass(slots=True)
class Encoded:
    """One row for the model: `input_ids` and `labels`, lists of equal length T <= max_length."""

    input_ids: list[int]
    labels: list[int]
    """The token id where it is trained, -100 elsewhere. The first is never trained: nothing predicts it."""
    truncated: bool = False
    length: int = 0
    """Tokens before the cut."""
    spans: list[tuple[int, int]] = field(default_factory=list)
    """[start, end) of each answer in tokens, its EOS included; as far as they were not cut off."""
    unreachable: int = 0
    """Answers that the template rewrites once the conversation goes on, so that they cannot be trained."""
    altered: int = 0
    """Answers of which the template shows only a part, such as the answer without its reasoning."""
    label: int | None = None
    """The class, for classification only."""

    @property
    def trained(self) -> int:
        """Number of tokens that are trained."""
        return len(self.labels) - self.labels.count(NOT_TRAINED)


@dataclass(frozen=True, slots=True)
class Refused:
    """In the place of a record that the tokenizer's chat template does not take."""

    reason: str
    """A sentence."""
    trained: int = 0


def encode_chat(messages: list[dict], tokenizer, max_length: int | None, loss_on: str = "response") -> Encoded:
    """The conversation as ids and labels, cut on the right at `max_length` tokens (None: not cut).

    loss_on "response" trains each answer up to its EOS, "all" everything up to the last EOS (arXiv 2405.14394).
    If the template does not end the last answer with the tokenizer's EOS, it is appended. Raises UserError
    when the tokenizer's template refuses the conversation or rewrites its last answer.
    """
    return next(encode_many([{"messages": messages}], tokenizer, max_length, loss_on))


def encode_prompt(messages: list[dict], tokenizer) -> list[int]:
    """Ids of the conversation and of the beginning of an answer: what a model goes on from.

    A render.Conversation also tells the template its tools.

    For every answer that `encode_chat` trains, its row begins with the ids of this function for the turns
    before it. Raises UserError when the template refuses the conversation.
    """
    check_tokenizer(tokenizer)
    text = render([messages], tokenizer, generation=True)[0]
    places = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    prefixes = render([messages[:index] for index in places], tokenizer, generation=True)
    cuts = [(len(prefix), len(prefix)) for prefix in prefixes if text.startswith(prefix)]
    rendered = Rendered(text, cuts, needs_eos=False)
    return _tokenise([rendered], tokenizer)[0][0]


def encode_text(text: str, tokenizer, max_length: int | None = None) -> list[Encoded]:
    """Raw text, every token trained: EOS at its end, then cut into rows of `max_length` tokens (None: one row)."""
    return list(_encode_texts([text], tokenizer, max_length))


def encode_preference(record: dict, tokenizer, max_length: int | None) -> tuple[Encoded, Encoded]:
    """(chosen, rejected): the prompt `record["messages"]` with each of the two answers, the answer trained."""
    return next(encode_many([record], tokenizer, max_length))


def encode_classify(text: str, tokenizer, max_length: int | None) -> Encoded:
    """The text with the special tokens that the tokenizer itself adds, cut at `max_length`; no token labels."""
    return next(_encode_classes([{"text": text, "label": None}], tokenizer, max_length, []))


def encode_documents(texts: Iterable[str], tokenizer) -> Iterator[list[int]]:
    """The ids of each text by itself, as they stand in the rows of raw text: BOS where the tokenizer adds it, EOS.

    A text of over a million characters is tokenised in parts that end before a blank, so that memory stays bounded.
    """
    check_tokenizer(tokenizer)
    bos = [tokenizer.bos_token_id] if own_bos(tokenizer) else []
    eos = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    for batch in _batches(texts, len):
        parts = [list(_parts(text)) for text in batch]
        flat = [part for text in parts for part in text]
        ids = iter(tokenizer(flat, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"])
        for text in parts:
            yield [*bos, *(token for _ in text for token in next(ids)), *eos]


def _parts(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > _LONGEST_PART:
        blank = max(
            text.rfind(" ", start + 1, start + _LONGEST_PART), text.rfind("\n", start + 1, start + _LONGEST_PART)
        )
        end = blank if blank > start else start + _LONGEST_PART
        yield text[start:end]
        start = end
    yield text[start:]


def encode_many(
    records: Iterable[dict], tokenizer, max_length: int | None, loss_on: str = "response", labels=None, refuse=True
):
    """Yields the encoded records in order, in batches inside; the kind of each follows from its keys.

    {"messages"}: Encoded; with "untrained" those answers are not trained, with "tools" and "reasoning" the template is
    told them. {"messages", "chosen", "rejected"}: (Encoded, Encoded). {"text", "label"}: Encoded with
    `label`, its index in `labels` (a list of names). {"text"}: rows of max_length tokens of all texts joined, an
    EOS after each text, so more or fewer rows than records. All records are of one kind. A conversation that the
    template refuses raises UserError; without `refuse` it costs itself alone: Refused stands in its place.
    """
    check_tokenizer(tokenizer)
    if loss_on not in ("response", "all"):
        raise UserError("err_loss_on", loss_on=repr(str(loss_on)[:40]))
    records = iter(records)
    first = next(records, None)
    if first is None:
        return
    records = _chain(first, records)
    if "label" in first:
        yield from _encode_classes(records, tokenizer, max_length, labels or [])
    elif "text" in first:
        yield from _encode_texts((record["text"] for record in records), tokenizer, max_length)
    elif "chosen" in first:
        for batch in _batches(records, _characters):
            pairs = [_answered(record, key) for record in batch for key in ("chosen", "rejected")]
            encoded = _encode_batch(pairs, tokenizer, max_length, "response", last_only=True, refuse=refuse)
            yield from zip(encoded[::2], encoded[1::2], strict=True)
    else:
        for batch in _batches(records, _characters):
            conversations = list(map(conversation, batch))
            yield from _encode_batch(conversations, tokenizer, max_length, loss_on, refuse=refuse)


def check_tokenizer(tokenizer) -> None:
    """Raises UserError unless the tokenizer is a fast one, which alone knows where its tokens stand in the text."""
    if not getattr(tokenizer, "is_fast", False):
        raise UserError("err_slow_tokenizer")


def _chain(first: dict, rest: Iterator[dict]) -> Iterator[dict]:
    yield first
    yield from rest


def _answered(record: dict, key: str) -> list[dict]:
    answered = conversation(record)
    answered.append({"role": "assistant", "content": record[key]})
    return answered


def _batches(items: Iterable, size) -> Iterator[list]:
    """Lists of items, bounded in number and in characters (`size` of an item), so that memory stays bounded."""
    batch, characters = [], 0
    for item in items:
        batch.append(item)
        characters += size(item)
        if len(batch) >= _BATCH_RECORDS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _characters(record: dict) -> int:
    answers = len(record.get("chosen") or "") + len(record.get("rejected") or "") + len(record.get("text") or "")
    return answers + sum(len(message["content"]) for message in record.get("messages") or ())


def _encode_batch(
    conversations, tokenizer, max_length, loss_on, last_only=False, refuse=True
) -> list[Encoded | Refused]:
    try:
        rendered = render_answers(conversations, tokenizer, last_only)
    except UserError as error:
        if refuse:
            raise
        if len(conversations) == 1:
            return [Refused(error.message)]
        # the template takes a whole batch or nothing: halves find the ones that it refuses in few calls
        half = len(conversations) // 2
        return [
            row
            for part in (conversations[:half], conversations[half:])
            for row in _encode_batch(part, tokenizer, max_length, loss_on, last_only, refuse=False)
        ]
    results: list[Encoded | Refused] = []
    for item, (ids, spans) in zip(rendered, _tokenise(rendered, tokenizer), strict=True):
        if item.needs_eos and spans and tokenizer.eos_token_id is not None:
            ids = [*ids[: spans[-1][1]], tokenizer.eos_token_id]
            spans[-1] = (spans[-1][0], len(ids))
        row = _labelled(ids, spans, max_length, "response" if item.lost else loss_on, item.unreachable)
        row.altered = item.altered
        results.append(_masked(row, spans, item.masked) if item.masked else row)
    return results


def _masked(row: Encoded, spans: list[tuple[int, int]], masked: list[int]) -> Encoded:
    """The row without the answers that are not learned; `spans` are all, before the cut, `masked` their indices."""
    for start, end in (spans[index] for index in masked):
        cut = min(end, len(row.labels))
        row.labels[start:cut] = [NOT_TRAINED] * max(0, cut - start)
    row.spans = [span for index, span in enumerate(row.spans) if index not in masked]
    return row


def _labelled(ids, spans, max_length, loss_on, unreachable) -> Encoded:
    length = len(ids)
    if max_length is not None and length > max_length:
        ids = ids[:max_length]
        spans = [(start, min(end, max_length)) for start, end in spans if start < max_length]
    labels = [NOT_TRAINED] * len(ids)
    trained = [(0, spans[-1][1] if length == len(ids) else len(ids))] if loss_on == "all" and spans else spans
    for start, end in trained:
        labels[start:end] = ids[start:end]
    if labels:
        labels[0] = NOT_TRAINED
    return Encoded(ids, labels, length > len(ids), length, spans, unreachable)


# ---- tokens ----


def _tokenise(rendered: list[Rendered], tokenizer) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """(ids, [start, end) of each answer in tokens) for each text."""
    if not rendered:
        return []
    batch = tokenizer(
        [item.text for item in rendered], add_special_tokens=False, return_attention_mask=False, verbose=False
    )
    trims = _trims_spaces(tokenizer)
    results = []
    for item, ids, encoding in zip(rendered, batch["input_ids"], batch.encodings, strict=True):
        spans = _spans(encoding, len(ids), item, trims)
        results.append(_in_parts(item, tokenizer) if spans is None else (ids, spans))
    return results


def _spans(encoding, count: int, item: Rendered, trims: bool) -> list[tuple[int, int]] | None:
    """The answers in tokens, or None where a token straddles the beginning or the end of one."""
    spans = []
    for start, end in item.answers:
        if trims and (item.text[start - 1 : start].isspace() or item.text[start : start + 1].isspace()):
            return None
        first, last = (_token_at(encoding, place, len(item.text), count) for place in (start, end))
        if first is None or last is None:
            return None
        spans.append((first, last))
    return spans


def _token_at(encoding, place: int, size: int, count: int) -> int | None:
    """Index of the token that begins at character `place`; None if none does."""
    if place >= size:
        return count
    token = encoding.char_to_token(place)
    return token if token is not None and encoding.token_to_chars(token)[0] == place else None


def _in_parts(item: Rendered, tokenizer) -> tuple[list[int], list[tuple[int, int]]]:
    """As `_tokenise` for one text, cut at each answer's beginning and end before it is tokenised."""
    ids, spans, done = [], [], 0
    for start, end in item.answers:
        ids += _ids(item.text[done:start], tokenizer)
        first = len(ids)
        ids += _ids(item.text[start:end], tokenizer)
        spans.append((first, len(ids)))
        done = end
    return ids + _ids(item.text[done:], tokenizer), spans


def _ids(text: str, tokenizer) -> list[int]:
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] if text else []


def _trims_spaces(tokenizer) -> bool:
    """Whether the tokenizer's places leave out a token's leading space (as RoBERTa's do)."""
    places = tokenizer("a a", add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return bool(places) and places[-1][0] == 2


def _encode_classes(records: Iterable[dict], tokenizer, max_length, labels: list[str]) -> Iterator[Encoded]:
    check_tokenizer(tokenizer)
    index = {name: number for number, name in enumerate(labels)}
    for batch in _batches(records, _characters):
        rows = tokenizer([record["text"] for record in batch], return_attention_mask=False, verbose=False)
        for record, ids, encoding in zip(batch, rows["input_ids"], rows.encodings, strict=True):
            length = len(ids)
            if max_length is not None and length > max_length:
                ids = _cut_inside(ids, encoding.special_tokens_mask, max_length)
            yield Encoded(ids, [NOT_TRAINED] * len(ids), length > len(ids), length, label=index.get(record["label"]))


def closing_tokens(special: list[int]) -> int:
    """How many tokens the tokenizer itself put at the end, from a row's special tokens mask."""
    return next((n for n, mark in enumerate(reversed(special)) if not mark), len(special))


def _cut_inside(ids: list[int], special: list[int], max_length: int) -> list[int]:
    """The first ids and, at the end, the special tokens that the tokenizer ends a text with.

    Not the tokenizer's own truncation: that is a state of the tokenizer, which other threads would see.
    """
    ends = min(closing_tokens(special), max_length)
    return ids[: max_length - ends] + ids[len(ids) - ends :]


def _encode_texts(texts: Iterable[str], tokenizer, max_length: int | None) -> Iterator[Encoded]:
    """Rows of the joined texts; the last row is as long as it comes."""
    waiting: list[int] = []
    for ids in encode_documents(texts, tokenizer):
        waiting += ids
        if max_length is None:
            continue
        whole = len(waiting) - len(waiting) % max_length
        for start in range(0, whole, max_length):
            yield _all_trained(waiting[start : start + max_length])
        del waiting[:whole]
    if waiting:
        yield _all_trained(waiting)


def _all_trained(ids: list[int]) -> Encoded:
    return Encoded(ids, [NOT_TRAINED, *ids[1:]], False, len(ids), [(0, len(ids))])
