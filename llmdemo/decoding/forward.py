"""The model as the engine sees it: a prefill, then one forward a step over rows. Knows no lanes and no sampling.

`ModelForward` drives any decoder of transformers through its own forward and its own past (past.py). It is the fallback
and the reference of the fused forward (fused_llama.py), which does the same for the Llama family at a fraction of the time.
"""

import torch

from llmdemo.core.sentences import say
from llmdemo.decoding.past import AGAIN, COPIES, Past, way_of

NOTES = {
    COPIES: say("note_past_copied"),
    AGAIN: say("note_past_none"),
}
"""What people should know where a model's cache does not serve several lanes by itself."""


class ModelForward:
    """Prefill once, give the past to every row, then one forward a step."""

    joins = False
    """Whether several runs can be computed in one forward."""

    def __init__(self, model):
        self.model = model.eval()  # dropout would make every lane random
        self.device = next(model.parameters()).device
        self.way = way_of(model)
        self.rows = 0

    def prefill(self, prompt_ids: list[int], rows: int, max_new: int) -> torch.Tensor:
        """Logits (1, V) after the prompt; the past is ready for `rows` rows."""
        self._past, self.rows = Past(self.model, self.way), rows
        logits = self._past.read(torch.tensor([prompt_ids], device=self.device))  # (1, V)
        self._past.take(torch.zeros(rows, dtype=torch.int64, device=self.device))
        return logits

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Logits (R, V) after `tokens` (R,) int64, where row i goes on from row parents[i] of the step before."""
        if len(parents) != self.rows or not torch.equal(parents, torch.arange(self.rows, device=self.device)):
            self._past.take(parents)
            self.rows = len(parents)
        return self._past.read(tokens[:, None])
