"""A model's own attention without a mask: causal over whole rows, by PyTorch's fused kernel.

Rows that are padded on the right need no mask: no text's token comes after the padding, so none sees it, and nothing
is learned from what the padding computes. Without one the fastest kernel is taken, and nothing has to look at the
mask's values, for which a GPU's host would wait. Knows nothing of losses and batches.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn import functional
from transformers import AttentionInterface

_NAME = "llmdemo_plain_causal"


class OtherAttention(ValueError):
    """The model's attention is not plain causal attention over all tokens of a row."""


@contextmanager
def plain_attention(model: nn.Module) -> Iterator[None]:
    """Meanwhile `model` (not wrapped) attends this way; it makes no mask then. A forward raises OtherAttention where its
    attention is of another kind, and set_attn_implementation what it does where there is none to set."""
    usual = model.config._attn_implementation
    model.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)


def _attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **more):
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


AttentionInterface.register(_NAME, _attention)
