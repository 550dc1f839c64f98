"""The causal loss, with logits only where there are labels, and the prompt's shared beginning computed once.

Knows nothing of optimizers.

A vocabulary of 49,152 makes the logits the largest tensor of a small model's step. Hidden states are picked where a
label follows, and only these go through the output embedding, in chunks that are computed again in the backward pass.

The rows of a batch of instructions begin alike: the system turn, the user's header, often the instruction itself, a
third to half of all tokens. Their keys and values are computed once and given to every row, and their gradients are
summed by the same graph: the loss is the same, to rounding, for much less work.

Models that change their logits after it (soft caps, scales) would be wrong that way: `CausalLoss` compares both ways
on its first batch and takes the model's own where they differ.

Rows that are padded on the right need no mask: no text's token comes after the padding, so none sees it, and nothing is
learned from what the padding computes. Without one the fastest kernel is taken (`plain_attention`), and nothing has to
look at the mask's values, for which a GPU's host would wait.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, DynamicCache, PreTrainedModel

from llmdemo.training.batches import FixedBatch
from llmdemo.training.targets import base_of, output_embeddings

CHUNK_BYTES = 128 * 2**20
"""Size of the fp32 logits that exist at a time."""
LEAST_SHARED = 64
"""Tokens that sharing must save in a batch to be worth a second pass."""
_AGREES = 2e-3
_PLAIN_CAUSAL = "llmdemo_plain_causal"


class CausalLoss:
    """Sum of the cross entropies of a batch's labels; `lean` says whether the short way is taken."""

    def __init__(self, model: nn.Module):
        self._model = model
        base = base_of(model)
        prefix = getattr(base, "base_model_prefix", "")
        # The model's own classes: what they take and give is found out by `verify`.
        self._body: Any = getattr(base, prefix, None) if prefix else None
        self._head: Any = output_embeddings(base)
        self.lean = self._body is not None and self._head is not None and self._body is not base
        self._base: Any = base  # transformers' own, or another whose attention cannot be set: `fixed` fails then
        recomputes = any(getattr(m, "gradient_checkpointing", False) for m in base.modules())
        # Recomputed activations know no cache. On a GPU the launches of a second pass take longer than what it saves.
        self.shares = self.lean and not recomputes and next(model.parameters()).device.type != "cuda"
        self.temperature = 1.0
        """Divides the logits, as a draw at that temperature does."""
        self.passes = 1
        """Times that the last batch went through each layer: 2 where its beginning was shared."""

    @torch.no_grad()
    def verify(self, batch: dict[str, Tensor]) -> float:
        """Relative difference of the two ways on two rows of `batch`; what disagrees is not used: first the sharing."""
        if not self.lean:
            return 0.0
        small = self._beginning(batch)
        whole = self._whole(small).item()
        # Both ways round alike in low precision only up to a few thousandths.
        weight = next(self._model.parameters())
        exact = weight.dtype == torch.float32 and not torch.is_autocast_enabled(weight.device.type)
        allowed = _AGREES if exact else 2e-2
        for shares in dict.fromkeys((self.shares, False)):
            self.shares = shares
            try:
                difference = abs(self._lean(small, least=0).item() - whole) / max(abs(whole), 1e-6)
            except (TypeError, ValueError, AttributeError, RuntimeError, IndexError):
                difference = float("inf")  # a model whose body or cache works otherwise
            if difference < allowed:
                return difference
        self.lean = False
        return difference

    def _beginning(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Two rows, up to where the logits of all their tokens would exceed a chunk: a check must not be the run's peak."""
        length = max(2, CHUNK_BYTES // (2 * 4 * self._head.weight.shape[0]))
        small = {key: value[:2, :length] for key, value in batch.items()}
        if (small["labels"][:, 1:] == -100).all():  # the labels come later: any will do
            labels = small["input_ids"].clone()
            labels[:, : labels.shape[1] // 2] = -100
            if "attention_mask" in small:
                labels[~small["attention_mask"].bool()] = -100
            small["labels"] = labels
        return small

    def __call__(self, batch: dict[str, Tensor]) -> Tensor:
        """Sum over the labels [] in fp32; divide by the number of trained tokens of the whole step."""
        return self._lean(batch) if self.lean else self._whole(batch)

    def tokens(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(−log p [n] in fp32 of each label, row after row; the row [n] that each is in)."""
        if self.lean:
            hidden, labels, rows = self._picked(batch, LEAST_SHARED)
            return self._chunked(hidden, labels, "none"), rows
        self.passes = 1
        labels = batch["labels"][:, 1:]
        places = labels != -100
        logits = self._model(**_inputs(batch), use_cache=False).logits[:, :-1]
        return _entropy(self._tempered(logits[places]), labels[places], "none"), places.nonzero()[:, 0]

    def fixed(self, batch: FixedBatch) -> Tensor:
        """As `__call__`, for a batch of fixed shapes on the model's device; waits for no value.

        Raises OtherAttention, and what the model raises, where it cannot be read so; needs `lean`.
        """
        self.passes = 1
        with plain_attention(self._base):
            hidden = self._body(input_ids=batch.ids, use_cache=False).last_hidden_state
        return self._chunked(hidden.flatten(0, 1).index_select(0, batch.places), batch.targets, "sum")

    def _whole(self, batch: dict[str, Tensor]) -> Tensor:
        self.passes = 1
        logits = self._model(**_inputs(batch), use_cache=False).logits
        return _entropy(self._tempered(logits[:, :-1].flatten(0, 1)), batch["labels"][:, 1:].flatten())

    def _lean(self, batch: dict[str, Tensor], least: int = LEAST_SHARED) -> Tensor:
        hidden, labels, _ = self._picked(batch, least)
        return self._chunked(hidden, labels, "sum")

    def _picked(self, batch: dict[str, Tensor], least: int) -> tuple[Tensor, Tensor, Tensor]:
        """(hidden states [n, h] that predict a label, the labels [n], their rows [n])."""
        shared = self.shared(batch, least)
        if not shared:
            self.passes = 1
            hidden = self._body(**_inputs(batch), use_cache=False).last_hidden_state
            labels = batch["labels"][:, 1:]
        else:
            self.passes = 2
            hidden, labels = self._after_prefix(batch, shared), batch["labels"][:, shared + 1 :]
        places = labels != -100
        return hidden[:, :-1][places], labels[places], places.nonzero()[:, 0]

    def shared(self, batch: dict[str, Tensor], least: int = LEAST_SHARED) -> int:
        """Tokens of the rows' beginning that go through the model once for all: 0 where that saves fewer than `least`."""
        shared = shared_prefix(batch) if self.shares and "attention_mask" in batch else 0
        return shared if shared * (batch["input_ids"].shape[0] - 1) >= least else 0

    def _chunked(self, hidden: Tensor, labels: Tensor, reduction: str) -> Tensor:
        """Cross entropies, summed or one a label, with the logits of a part of them at a time."""
        chunk = max(1, CHUNK_BYTES // (4 * self._head.weight.shape[0]))
        if len(labels) <= chunk:
            return _entropy(self._tempered(self._head(hidden)), labels, reduction)
        parts = zip(hidden.split(chunk), labels.split(chunk), strict=True)
        # The output embedding draws no random numbers: none are kept for the second time.
        found = [
            checkpoint(self._chunk, h, y, reduction, use_reentrant=False, preserve_rng_state=False) for h, y in parts
        ]
        return torch.stack(found).sum() if reduction == "sum" else torch.cat(found)

    def _after_prefix(self, batch: dict[str, Tensor], shared: int) -> Tensor:
        """Hidden states [b, t - shared, h] behind the prefix, which goes through the body once for all rows."""
        ids, cache = batch["input_ids"], DynamicCache()
        self._body(input_ids=ids[:1, :shared], past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(ids.shape[0])
        return self._body(
            input_ids=ids[:, shared:], attention_mask=batch["attention_mask"], past_key_values=cache, use_cache=True
        ).last_hidden_state

    def _tempered(self, logits: Tensor) -> Tensor:
        return logits if self.temperature == 1 else logits.float() / self.temperature

    def _chunk(self, hidden: Tensor, labels: Tensor, reduction: str) -> Tensor:
        return _entropy(self._tempered(self._head(hidden)), labels, reduction)


def _inputs(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: batch[key] for key in ("input_ids", "attention_mask", "position_ids") if key in batch}


def shared_prefix(batch: dict[str, Tensor]) -> int:
    """Tokens with which all rows begin alike, before the one that predicts the first label."""
    ids, labels, mask = batch["input_ids"], batch["labels"], batch["attention_mask"]
    same = (ids == ids[:1]).all(0) & mask.bool().all(0)
    # The token before a label predicts it, so its hidden state is wanted in each row.
    wanted = nn.functional.pad((labels[:, 1:] != -100).any(0), (0, 1), value=True)
    return int((same & ~wanted).long().cumprod(0).sum().item())


def _entropy(logits: Tensor, labels: Tensor, reduction: str = "sum") -> Tensor:
    """−log p of the labels, in fp32; logits [n, V], labels [n] with -100 where nothing is trained."""
    return functional.cross_entropy(logits.float(), labels, ignore_index=-100, reduction=reduction)


class OtherAttention(ValueError):
    """The model's attention is not plain causal attention over all tokens of a row."""


@contextmanager
def plain_attention(model: PreTrainedModel) -> Iterator[None]:
    """Meanwhile `model` (not wrapped) attends causally over whole rows, without a mask. A forward raises OtherAttention where its
    attention is of another kind, and set_attn_implementation what it does where there is none to set."""
    usual = model.config._attn_implementation
    model.set_attn_implementation(_PLAIN_CAUSAL)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)


def _plain_causal(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **more):
    """query [b, heads, t, d], key and value [b, kv heads, t, d] → [b, t, heads, d]."""
    window = more.get("sliding_window")
    if not getattr(module, "is_causal", True) or any(more.get(name) is not None for name in ("softcap", "s_aux")):
        raise OtherAttention("This attention is not plain and causal.")
    if attention_mask is not None or window is not None and window < query.shape[2]:
        raise OtherAttention("This attention does not see all tokens.")
    found = functional.scaled_dot_product_attention(
        query, key, value, dropout_p=dropout, scale=scaling, is_causal=True, enable_gqa=query.shape[1] != key.shape[1]
    )
    return found.transpose(1, 2).contiguous(), None


AttentionInterface.register(_PLAIN_CAUSAL, _plain_causal)
