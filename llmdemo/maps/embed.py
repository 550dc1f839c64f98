"""A vector for each text: the mean of a model's hidden states over its tokens. Knows no data set and no job.

Of a language model the states after a share of its layers, since those in the middle say more of the meaning than the
last, which are about the next token (Skean et al., arXiv 2502.02013), and cost less; of an encoder the last layer's.
"""

from typing import cast

import torch
from torch import Tensor, nn

from llmdemo.models.load import positions

MOST_TOKENS = 4096
"""Of a batch with its padding: what its memory grows with."""


class _Enough(Exception):
    """The layer that was wanted is done; those behind it need not be computed."""


class Embedder:
    """`vectors(texts)` for one model, which is made to give its states after `depth` (0 … 1) of its layers."""

    def __init__(self, model: nn.Module, tokenizer, depth: float, max_tokens: int, pad_id: int):
        self._model, self._tokenizer, self._pad = model, tokenizer, pad_id
        self._base = getattr(model, "base_model", model)
        self._most = min(max_tokens, positions(model) or max_tokens)
        layers = layers_of(self._base, model.config) if self._base is not model else None  # an encoder has no head
        self._layer = None if layers is None or depth >= 1 else layers[max(0, round(depth * len(layers)) - 1)]
        self._tokens_only = layers is not None and round(depth * len(layers)) == 0

    @torch.inference_mode()
    def vectors(self, texts: list[str]) -> Tensor:
        """float32 (N, H). A text without a token gets the pad token's state."""
        rows = self._tokenizer(texts, return_attention_mask=False, verbose=False)["input_ids"]
        rows = [row[: self._most] or [self._pad] for row in rows]
        found: Tensor | None = None
        for batch in batches([len(row) for row in rows]):
            states = self._of([rows[place] for place in batch])
            if found is None:
                found = torch.zeros(len(rows), states.shape[1])  # [N, H]
            found[batch] = states
        assert found is not None, "there is at least one text"
        return found

    def _of(self, rows: list[list[int]]) -> Tensor:
        """[b, H] means over the tokens of rows that go through the model together, padded on the right."""
        width, device = max(map(len, rows)), next(self._model.parameters()).device
        ids = torch.tensor([row + [self._pad] * (width - len(row)) for row in rows], device=device)  # [b, t]
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)  # [b, t]
        states = self._states(ids, mask).float()  # [b, t, H]
        return ((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).cpu()

    def _states(self, ids: Tensor, mask: Tensor) -> Tensor:
        if self._tokens_only:
            return cast(nn.Module, self._model.get_input_embeddings())(ids)  # type: ignore[operator]
        if self._layer is None:
            return self._base(input_ids=ids, attention_mask=mask).last_hidden_state
        caught: list[Tensor] = []

        def stop(_module, _inputs, output):
            caught.append(output[0] if isinstance(output, tuple) else output)
            raise _Enough

        handle = self._layer.register_forward_hook(stop)
        try:
            self._base(input_ids=ids, attention_mask=mask)
        except _Enough:
            pass
        finally:
            handle.remove()
        return caught[0]


def layers_of(base: nn.Module, config) -> nn.ModuleList | None:
    """The list of a decoder's layers; None where no list has as many modules as the config says there are layers."""
    number = getattr(config, "num_hidden_layers", None)
    return next((part for part in base.modules() if isinstance(part, nn.ModuleList) and len(part) == number), None)


def batches(lengths: list[int]) -> list[list[int]]:
    """Places in batches of like length that hold at most MOST_TOKENS with their padding."""
    found: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if found and (len(found[-1]) + 1) * lengths[place] <= MOST_TOKENS:
            found[-1].append(place)
        else:
            found.append([place])
    return found
