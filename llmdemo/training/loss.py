"""The causal loss, with logits only where there are labels. Knows nothing of optimizers.

A vocabulary of 49,152 makes the logits the largest tensor of a small model's step. Hidden states are picked where a
label follows, and only these go through the output embedding, in chunks that are computed again in the backward pass.
Models that change their logits after it (soft caps, scales) would be wrong that way: `CausalLoss` compares both ways
on its first batch and takes the model's own where they differ.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

CHUNK_BYTES = 128 * 2**20
"""Size of the fp32 logits that exist at a time."""
_AGREES = 2e-3


class CausalLoss:
    """Sum of the cross entropies of a batch's labels; `lean` says whether the short way is taken."""

    def __init__(self, model: nn.Module):
        self._model = model
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        prefix = getattr(base, "base_model_prefix", "")
        self._body = getattr(base, prefix, None) if prefix else None
        self._head = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
        self.lean = self._body is not None and self._head is not None and self._body is not base

    @torch.no_grad()
    def verify(self, batch: dict[str, Tensor]) -> float:
        """Relative difference of the two ways on `batch` (cut to 2 × 32); the lean one is dropped if they disagree."""
        if not self.lean:
            return 0.0
        small = {key: value[:2, :32] for key, value in batch.items()}
        if not (small["labels"][:, 1:] != -100).any():
            small["labels"] = torch.where(small["attention_mask"].bool(), small["input_ids"], -100)
        lean, whole = self._lean(small).item(), self._whole(small).item()
        difference = abs(lean - whole) / max(abs(whole), 1e-6)
        # Both ways round alike in low precision only up to a few thousandths.
        self.lean = difference < (_AGREES if next(self._model.parameters()).dtype == torch.float32 else 2e-2)
        return difference

    def __call__(self, batch: dict[str, Tensor]) -> Tensor:
        """Sum over the labels [] in fp32; divide by the number of trained tokens of the whole step."""
        return self._lean(batch) if self.lean else self._whole(batch)

    def _whole(self, batch: dict[str, Tensor]) -> Tensor:
        logits = self._model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        ).logits
        return _entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())

    def _lean(self, batch: dict[str, Tensor]) -> Tensor:
        hidden = self._body(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        ).last_hidden_state
        labels = batch["labels"][:, 1:]
        places = labels != -100
        hidden, labels = hidden[:, :-1][places], labels[places]
        chunk = max(1, CHUNK_BYTES // (4 * self._head.weight.shape[0]))
        if len(labels) <= chunk:
            return _entropy(self._head(hidden), labels)
        parts = zip(hidden.split(chunk), labels.split(chunk), strict=True)
        return torch.stack([checkpoint(self._chunk, h, y, use_reentrant=False) for h, y in parts]).sum()

    def _chunk(self, hidden: Tensor, labels: Tensor) -> Tensor:
        return _entropy(self._head(hidden), labels)


def _entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum of −log p of the labels, in fp32; logits [n, V], labels [n] with -100 where nothing is trained."""
    return functional.cross_entropy(logits.float(), labels, ignore_index=-100, reduction="sum")
