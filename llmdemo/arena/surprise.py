"""How surprised a loaded model is at a prompt, taken only while nobody decodes with it."""

import torch

from llmdemo.arena.cache import Loaded
from llmdemo.arena.prompt import Prompt

_LEAST_TOKENS = 2


def mean_surprise(loaded: Loaded, prompt: Prompt, most: int) -> float | None:
    """Mean −log p, in nats a token, of the last `most` tokens of `prompt`, each after those before it.

    None while the model is in use, and for a prompt of one token.
    """
    ids = prompt.encode(loaded.tokenizer)[-most:]
    if len(ids) < _LEAST_TOKENS or not loaded.lock.try_acquire():
        return None
    try:
        with torch.inference_mode():
            row = torch.tensor([ids], device=next(loaded.model.parameters()).device)  # (1, T)
            logits = loaded.model(input_ids=row).logits[0, :-1].float()  # (T - 1, V)
            return float(torch.nn.functional.cross_entropy(logits, row[0, 1:]))
    finally:
        loaded.lock.release()
