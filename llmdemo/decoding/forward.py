"""The model as the engine sees it: a prefill, then one forward a step over rows. Knows no lanes and no sampling.

`ModelForward` drives any decoder of transformers through its own forward and cache. It is the fallback and the
reference of the fused forward (fused_llama.py), which does the same for the Llama family at a fraction of the time.
"""

import inspect

import torch

from llmdemo.errors import UserError


class ModelForward:
    """Prefill once, copy the cache to every row, then one forward a step."""

    def __init__(self, model):
        self.model = model.eval()  # dropout would make every lane random
        self.device = next(model.parameters()).device
        self.cache = None
        self.rows = 0

    def prefill(self, prompt_ids: list[int], rows: int, max_new: int) -> torch.Tensor:
        """Logits (1, V) after the prompt; the cache is ready for `rows` rows."""
        ids = torch.tensor([prompt_ids], device=self.device)  # (1, P)
        last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(self.model.forward).parameters else {}
        out = self.model(input_ids=ids, use_cache=True, **last)
        self.cache, self.rows = getattr(out, "past_key_values", None), rows
        if not hasattr(self.cache, "batch_repeat_interleave") or not hasattr(self.cache, "reorder_cache"):
            raise UserError(
                "This model keeps its past in a form that cannot be shared between lanes.",
                "Choose a transformer with attention layers, such as a Llama, Qwen, Mistral or GPT-2 model.",
            )
        self.cache.batch_repeat_interleave(rows)
        return out.logits[:, -1]

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Logits (R, V) after `tokens` (R,) int64, where row i goes on from row parents[i] of the step before."""
        if len(parents) != self.rows or not torch.equal(parents, torch.arange(self.rows, device=self.device)):
            self.cache.reorder_cache(parents)
            self.rows = len(parents)
        out = self.model(input_ids=tokens[:, None], past_key_values=self.cache, use_cache=True)
        return out.logits[:, -1]
