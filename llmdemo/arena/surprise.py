"""How surprised a loaded model is at a prompt, taken only while nobody decodes with it."""

import torch
from torch.nn.functional import cross_entropy

from llmdemo.arena.cache import Loaded
from llmdemo.arena.prompt import Prompt
from llmdemo.decoding.engine import context_length
from llmdemo.decoding.past import AGAIN, Past, way_of

_LEAST_TOKENS = 2
_PIECE = 256
"""Tokens that are read at once, where a model keeps what it has read: who wants it meanwhile waits for one piece."""


def mean_surprise(loaded: Loaded, prompt: Prompt, most: int) -> float | None:
    """Mean −log p, in nats a token, of the last `most` tokens of `prompt`, each after all those before it: what a run's
    prefill tells of it (decoding.run), but for rounding.

    None while the model is in use, where somebody comes to use it before all is read, and for a prompt of one token.
    """
    ids = prompt.encode(loaded.tokenizer)[-(context_length(loaded.model) or 0) :]
    if len(ids) < _LEAST_TOKENS or not loaded.lock.try_acquire():
        return None
    try:
        with torch.inference_mode():
            row = torch.tensor([ids], device=next(loaded.model.parameters()).device)  # (1, T)
            way, first, told = way_of(loaded.model), max(0, len(ids) - 1 - most), []
            past, size = Past(loaded.model, way), len(ids) if way == AGAIN else _PIECE
            for start in range(0, len(ids), size):
                if loaded.lock.is_wanted():
                    return None
                end, begin = min(start + size, len(ids)), max(start, first)
                logits = past.read_last(row[:, start:end], max(1, end - begin))[0]  # (end - begin, V)
                following = row[0, begin + 1 : end + 1]  # after the last token there is none
                told.append(cross_entropy(logits[: len(following)].float(), following, reduction="none"))
            return float(torch.cat(told).mean())
    finally:
        loaded.lock.release()
