"""How likely a model holds given tokens: the summed −log p of a row's labels. Token ids only, no tokenizer.

Knows nothing of what the rows are. Only the places that predict a label get logits, so that a long prompt and a large
vocabulary do not fill the memory.
"""

import inspect
from collections.abc import Iterator

import torch
from torch.nn import functional

from llmdemo.decoding.engine import check_tokens
from llmdemo.decoding.past import padded_way_of

_MOST_LOGITS = 256 * 2**20
_MOST_TOKENS = 4096


@torch.inference_mode()
def row_losses(model, rows: list, pad_id: int) -> list[tuple[float, int]]:
    """(sum of the labels' −log p in nats, number of labels) of each row: an object with `input_ids` and `labels`.

    The labels are -100 where nothing is asked (data.encode.Encoded). Equals transformers' own loss times the count.
    """
    found: list[tuple[float, int]] = [(0.0, 0)] * len(rows)
    check_tokens(model, (token for row in rows for token in row.input_ids))
    order = sorted(range(len(rows)), key=lambda place: len(rows[place].input_ids))
    padded = padded_way_of(model) is not None
    for batch in _batches(order, rows, getattr(model.config.get_text_config(), "vocab_size", 50_000), padded):
        for place, result in zip(batch, _losses(model, [rows[place] for place in batch], pad_id), strict=True):
            found[place] = result
    return found


def _batches(order: list[int], rows: list, vocabulary: int, padded: bool) -> Iterator[list[int]]:
    """Rows of like length, few enough that neither their tokens nor their logits are too many; of the same length where
    padding would change what the model says.
    """
    batch: list[int] = []
    width = labels = 0
    for place in order:
        length = len(rows[place].input_ids)
        asked = length - rows[place].labels.count(-100)
        size = len(batch) + 1
        logits = size * (max(labels, asked) + 8) * vocabulary * 4
        full = size * max(width, length) > _MOST_TOKENS or logits > _MOST_LOGITS
        if batch and (full or (length != width and not padded)):
            yield batch
            batch, width, labels = [], 0, 0
        batch.append(place)
        width, labels = max(width, length), max(labels, asked)
    if batch:
        yield batch


def _losses(model, rows: list, pad_id: int) -> list[tuple[float, int]]:
    device = next(model.parameters()).device
    width = max(len(row.input_ids) for row in rows)
    padded = [width - len(row.input_ids) for row in rows]
    # Padding on the left brings the answers, which stand at the end, into the same columns.
    ids = torch.tensor([[pad_id] * gap + row.input_ids for gap, row in zip(padded, rows, strict=True)], device=device)
    labels = torch.tensor([[-100] * gap + row.labels for gap, row in zip(padded, rows, strict=True)], device=device)
    mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in padded], device=device)
    wanted = labels[:, 1:]
    places = (wanted != -100).any(0).nonzero()[:, 0]  # columns that predict a label in some row
    if not len(places):
        return [(0.0, 0)] * len(rows)
    takes = inspect.signature(model.forward).parameters
    extra = {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)} if "position_ids" in takes else {}
    if "logits_to_keep" in takes:
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=places, **extra).logits
    else:
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, **extra).logits[:, places]
    wanted = wanted[:, places]
    loss = functional.cross_entropy(
        logits.float().flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="none"
    ).view(wanted.shape)
    return list(zip(loss.double().sum(1).tolist(), (wanted != -100).sum(1).tolist(), strict=True))
