"""A classifier at work: probabilities of many texts, and what each token of one text contributed.

Knows nothing of data sets or of what is right. Texts are encoded as in training (data.encode_classify).
"""

from collections.abc import Iterator

import numpy as np
import torch

from llmdemo.core.errors import UserError
from llmdemo.data.encode import encode_many
from llmdemo.decoding.engine import check_tokens
from llmdemo.models.load import load_classifier

_MOST_TOKENS = 4096
"""Of the rows of a batch together, padding too."""


def load(entry, dtype: torch.dtype | None = None):
    """(model in eval mode, tokenizer) of an entry with a classification head of its own. Raises UserError."""
    model, tokenizer = load_classifier(entry, dtype=dtype or torch.float32)
    return model.eval(), tokenizer


def labels_of(model) -> list[str]:
    names = model.config.id2label
    return [str(names[number]) for number in sorted(names)]


@torch.inference_mode()
def logits_of(model, tokenizer, texts: list[str], max_length: int, tell=None) -> np.ndarray:
    """float32 (N, C): the model's logits for each text. `tell(done)` is called after each batch.

    A text without any token gets the logits of the pad token alone.
    """
    rows = [
        row.input_ids or [tokenizer.pad_token_id or 0] for row in _encode(texts, tokenizer, _limit(model, max_length))
    ]
    found = np.zeros((len(rows), model.config.num_labels), np.float32)
    order, done = sorted(range(len(rows)), key=lambda place: len(rows[place])), 0
    for batch in batches(order, rows):
        found[batch] = forward(model, [rows[place] for place in batch], tokenizer.pad_token_id or 0)
        done += len(batch)
        if tell:
            tell(done)
    return found


def cut_of(model, tokenizer, texts: list[str], max_length: int) -> list[bool]:
    """Whether each text is longer than what `logits_of` reads of it."""
    return [row.truncated for row in _encode(texts, tokenizer, _limit(model, max_length))]


def forward(model, rows: list[list[int]], pad: int) -> np.ndarray:
    """float32 (N, C): a classifier's logits of rows of ids, padded on the right with `pad`."""
    check_tokens(model, (token for row in rows for token in row))
    width = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=model.device)  # [b, t]
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=model.device)
    return model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()


def explain(model, tokenizer, text: str, max_length: int = 512) -> dict:
    """{"label", "probabilities": [{label, probability}] likeliest first, "tokens": [{text, score}], "truncated"}.

    A token's score is gradient × input: how the likeliest class's logit changes along the token's embedding (Simonyan
    et al., arXiv 1312.6034; Shrikumar et al., arXiv 1605.01713), divided by the largest of all, so −1 … 1; above 0
    speaks for the class. Raises UserError for a text without tokens.
    """
    encoded = _encode([text], tokenizer, _limit(model, max_length))[0]
    if not text.strip() or not encoded.input_ids:
        raise UserError("err_no_text")
    ids = torch.tensor([encoded.input_ids], device=model.device)
    with torch.enable_grad():
        embedded = model.get_input_embeddings()(ids).detach().requires_grad_()  # [1, t, h]
        logits = model(inputs_embeds=embedded, attention_mask=torch.ones_like(ids)).logits[0]
        best = int(logits.argmax())
        (gradient,) = torch.autograd.grad(logits[best], embedded)
    scores = (gradient * embedded).sum(-1)[0].detach().float()
    scores = scores / scores.abs().max().clamp(min=1e-12)
    shares = logits.detach().float().softmax(-1).tolist()
    labels = labels_of(model)
    return {
        "label": labels[best],
        "probabilities": sorted(
            ({"label": label, "probability": share} for label, share in zip(labels, shares, strict=True)),
            key=lambda each: -each["probability"],
        ),
        "tokens": _pieces(text, tokenizer, encoded.input_ids, scores.tolist()),
        "truncated": encoded.truncated,
    }


def _pieces(text: str, tokenizer, ids: list[int], scores: list[float]) -> list[dict]:
    """Each token as the part of the text that it stands for; parts of one character are joined."""
    whole = tokenizer(text, return_offsets_mapping=True, verbose=False)
    if whole["input_ids"][: len(ids)] != ids:  # cut inside, before closing special tokens
        return [
            {"text": tokenizer.decode([token]), "score": round(score, 4)}
            for token, score in zip(ids, scores, strict=True)
        ]
    pieces, end = [], 0
    for token, (start, stop), score in zip(ids, whole["offset_mapping"], scores, strict=False):
        if start == stop:  # a special token, which stands nowhere in the text
            pieces.append({"text": tokenizer.decode([token]), "score": score, "special": True})
        elif stop <= end:  # the same character again: its bytes are several tokens
            pieces[-1]["score"] += score
        else:
            pieces.append({"text": text[end:stop], "score": score})  # with the blanks that the token leaves out
            end = stop
    return [{**piece, "score": round(max(-1.0, min(1.0, piece["score"])), 4)} for piece in pieces]


def _encode(texts: list[str], tokenizer, max_length: int) -> list:
    return list(encode_many(({"text": text, "label": None} for text in texts), tokenizer, max_length))


def _limit(model, max_length: int) -> int:
    context = getattr(model.config.get_text_config(), "max_position_embeddings", 0) or max_length
    return min(max_length, context)


def batches(order: list[int], rows: list[list[int]]) -> Iterator[list[int]]:
    """Places in `order`, the shortest first, in batches of at most _MOST_TOKENS with their padding, or of one row."""
    batch: list[int] = []
    for place in order:
        if batch and (len(batch) + 1) * len(rows[place]) > _MOST_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
