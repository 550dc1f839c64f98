"""One text through a plain Llama's fused weights, a few tokens a forward; what is taken back is read again. No strategies.

The same interface as own_forward.OwnForward without hidden states. The keys and values of a token are kept at its position,
so that those of tokens which are taken back are written over. On a CUDA GPU a forward has fixed shapes and addresses and is
captured once (why: graphs.py).
"""

import logging

import torch

from llmdemo.decoding.fused_llama import FusedLlamaForward, FusedLlamaWeights, Part

_log = logging.getLogger(__name__)


class FusedText:
    """Goes on after a prompt: `after`."""

    def __init__(self, weights: FusedLlamaWeights, max_new: int, most: int, static: bool | None = None):
        """`max_new`: tokens of the text after its prompt, and `most` of them in one forward. `static`: whether forwards have
        fixed shapes; None: on a GPU."""
        self.device, self._weights, self._max_new, self._rows = weights.device, weights, max_new, most
        self._static = weights.device.type == "cuda" if static is None else static
        self._captures = weights.device.type == "cuda"
        self._forward = FusedLlamaForward(weights)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._read = self._calls = 0  # tokens whose keys and values are right; forwards after the prompt's

    @torch.inference_mode()
    def after(self, ids: list[int], draft: list[int] | None = None) -> tuple[torch.Tensor, tuple]:
        """(logits (1 + D, V) float32 after `ids`, and after each of the D tokens of `draft` behind them; ()).

        The last of `ids` is always read, and what was read and is not in `ids` is forgotten.
        """
        draft = draft or []
        found = None
        if not self._calls and not self._read:
            found = self._begin(ids)
        self._read = min(self._read, len(ids) - 1) if found is None else self._read
        new = [*ids, *draft][self._read :]
        parts = [] if found is None else [found]
        for first in range(0, len(new), self._rows):
            parts.append(self._next(new[first : first + self._rows]))
        self._read = len(ids) + len(draft)
        return torch.cat(parts)[-1 - len(draft) :].float(), ()

    def _begin(self, ids: list[int]) -> torch.Tensor:
        """Logits (1, V) after the prompt."""
        forward, count = self._forward, len(ids)
        logits = forward.prefill(ids, 0, self._max_new + self._rows)
        shape = (*forward.keys.shape[:2], -(-(count + self._max_new + self._rows) // 64) * 64, forward.keys.shape[3])
        # Zeros, since room that was never written may hold NaN, and 0 · NaN is NaN even under the mask.
        keys, values = forward.keys.new_zeros(shape), forward.values.new_zeros(shape)
        keys[:, :, :count], values[:, :, :count] = forward.keys[:, :, :count], forward.values[:, :, :count]
        forward.keys, forward.values, forward.slot = keys, values, None
        self._columns = torch.arange(shape[2], device=self.device)
        self._tokens = torch.zeros(self._rows, dtype=torch.int64, device=self.device)
        self._place = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._read = count
        return logits

    def _next(self, new: list[int]) -> torch.Tensor:
        """Logits (n, V) after each of `new`, which go on from what was read."""
        if not self._static:
            logits = self._logits(
                torch.tensor(new, device=self.device), slice(self._read, self._read + len(new)), self._read + len(new)
            )
            self._read += len(new)
            return logits
        # what stands behind the new tokens is read too, at places that the next forward writes over
        self._tokens.copy_(torch.tensor(new + [new[-1]] * (self._rows - len(new))), non_blocking=True)
        self._place.fill_(self._read)
        self._calls += 1
        if self._captures and self._calls == 2:  # the first runs as it is, which warms every kernel up
            self._capture()
        if self._graph is not None:
            self._graph.replay()
        else:
            self._out = self._body()
        self._read += len(new)
        return self._out[: len(new)].clone()

    def _body(self) -> torch.Tensor:
        places = self._place + self._columns[: self._rows]
        return self._logits(self._tokens, places, len(self._columns))

    def _logits(self, tokens: torch.Tensor, place: slice | torch.Tensor, end: int) -> torch.Tensor:
        """(M, V) after tokens (M,) at the positions `place`, a slice or (M,), over the first `end` of them."""
        places = self._columns[place] if isinstance(place, slice) else place
        hidden = self._columns[:end] > places[:, None]  # (M, end)
        mask = torch.zeros(hidden.shape, dtype=self._weights.dtype, device=self.device).masked_fill_(hidden, -torch.inf)
        rotation = self._forward.rotation.index_select(0, places)
        part: Part = self._forward.placed(rotation, mask, place)
        return self._weights.logits(self._weights.hidden_states(tokens, [part]))

    def _capture(self) -> None:
        """Captures one forward without running it; on failure the rest goes on uncaptured."""
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._out = self._body()
            self._graph = graph
        except (RuntimeError, NotImplementedError) as error:
            _log.warning("This GPU step cannot be captured, so it runs uncaptured: %s", error)
            self._captures = False
