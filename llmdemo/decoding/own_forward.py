"""A model's own forward for lanes that share none with the others: several tokens at once, hidden states. Knows no lane.

Keys and values are kept where the class is known to give them back as they were (past.PROVED); else everything is read
again, which any model can do.
"""

import inspect

import torch

from llmdemo.decoding.past import PROVED

Hidden = tuple[torch.Tensor, ...]
"""Of the embedding and after each layer, the last one as the head reads it: (rows, tokens read, d) each."""


class OwnForward:
    """One text on its way through a model."""

    def __init__(self, model, hidden: bool = False):
        """`hidden`: whether hidden states are asked for."""
        self._model, self._hidden = model, hidden
        self._keeps = type(model).__name__ in PROVED
        self._takes = "logits_to_keep" in inspect.signature(model.forward).parameters
        self.device = next(model.parameters()).device
        self._past = None
        self._read = 0  # tokens whose keys and values are kept

    def after(self, ids: list[int], draft: list[int] | None = None) -> tuple[torch.Tensor, Hidden]:
        """(logits (1 + D, V) float32 after `ids`, and after each of the D tokens of `draft` behind them; hidden states of
        what was read, or ()). The last of `ids` is always read; what was read and is not in `ids` is forgotten."""
        draft = draft or []
        if self._past is not None:
            wrong = self._read - (len(ids) - 1)
            if wrong > 0:
                self._past.crop(-wrong)
                self._read -= wrong
        out = self._call(torch.tensor([[*ids[self._read :], *draft]], device=self.device), 1 + len(draft))
        if self._keeps:
            self._past, self._read = out.past_key_values, len(ids) + len(draft)
        return out.logits[0, -1 - len(draft) :].float(), out.hidden_states or ()

    def each(self, ids: list[int], candidates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(logits (K, V) float32, last hidden state (K, d)) after `ids`, which have been read, and each of K candidates.
        The text goes on with one of them: see `take`."""
        rows = torch.zeros(len(candidates), dtype=torch.int64, device=self.device)
        if self._keeps:
            assert self._past is not None and self._read == len(ids)
            self._past.reorder_cache(rows)
            new = candidates[:, None]
        else:
            new = torch.cat([torch.tensor([ids], device=self.device)[rows], candidates[:, None]], dim=1)
        out = self._call(new, 1)
        if self._keeps:
            self._past, self._read = out.past_key_values, len(ids) + 1
        return out.logits[:, -1].float(), out.hidden_states[-1][:, -1]

    def take(self, candidate: int) -> None:
        """Goes on with one of the candidates of `each`."""
        if self._keeps:
            assert self._past is not None
            self._past.reorder_cache(torch.tensor([candidate], device=self.device))

    def _call(self, new: torch.Tensor, keep: int):
        given: dict = {"logits_to_keep": keep} if self._takes else {}
        given |= {"past_key_values": self._past, "use_cache": True} if self._keeps else {"use_cache": False}
        return self._model(input_ids=new, output_hidden_states=self._hidden, **given)
