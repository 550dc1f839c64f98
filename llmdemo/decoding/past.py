"""What a model keeps of the tokens it has read, for the rows of one batch: read on, and give it to other rows.

Models keep keys and values, convolution windows, recurrent states, or several of these, under several names; some keep
them in their own modules, where nobody can give them to another row. What works for a model is found out by trying it
against reading everything again (`way_of`, `padded_way_of`), not by asking what its cache is called.

`ModelForward` drives any decoder of transformers through its own forward and its past: a prefill, then one forward a step
over rows. It is the fallback and the reference of the fused forward (fused_llama.py), which does the same for the Llama
family at a fraction of the time. Knows no lanes and no sampling.
"""

import copy
import inspect
import logging
import weakref
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from llmdemo.core.sentences import say

CACHE, COPIES, AGAIN = "cache", "copies", "again"
"""Ways of giving a past to other rows: the cache's own; copies of all tensors in it; none, everything is read again."""
_NAMES = ("past_key_values", "cache_params", "state")
PROVED = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")
"""Classes whose cache needs no trial: tests compare them with generate."""
_ways: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_padded: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_log = logging.getLogger(__name__)
NOTES = {
    COPIES: say("note_past_copied"),
    AGAIN: say("note_past_none"),
}
"""What people should know where a model's cache does not serve several lanes by itself."""


class Past:
    """The past of a batch, kept in one of the ways above. Empty until the first `read`."""

    def __init__(self, model, way: str):
        self._model, self._way = model, way
        self._takes = inspect.signature(model.forward).parameters
        self._kept: dict = {}  # the past under the name under which the model gives and takes it
        self._ids: Tensor | None = None  # (B, T) all that was read, where it is read again
        self._rows, self._length = 0, 0

    def read(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (B, V) after `ids` (B, T) more; mask (B, all tokens so far): 0 where a row is padded on the left."""
        return self.read_last(ids, 1, mask)[:, -1]

    def read_last(self, ids: Tensor, count: int, mask: Tensor | None = None) -> Tensor:
        """The same after each of the last `count` of `ids`: (B, count, V), 1 ≤ count ≤ T."""
        if self._way == AGAIN:
            ids = self._ids = ids if self._ids is None else torch.cat([self._ids, ids], dim=1)
        # Said to all: some models take positions from the length of a cache's first layer, which may have none.
        first = 0 if self._way == AGAIN else self._length
        self._rows, self._length = len(ids), first + ids.shape[1]
        positions = torch.arange(first, self._length, device=ids.device)[None]
        given: dict = {"logits_to_keep": count} if "logits_to_keep" in self._takes else {}
        if mask is not None:
            given["attention_mask"] = mask
            positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        if "position_ids" in self._takes:
            given["position_ids"] = positions
        out = self._model(input_ids=ids, use_cache=self._way != AGAIN, **self._kept, **given)
        if self._way != AGAIN:
            self._kept = {name: out[name] for name in _NAMES if out.get(name) is not None and name in self._takes}
            if not self._kept:
                raise TypeError(f"{type(self._model).__name__} gives no past back.")
        return out.logits[:, -count:]

    def layers(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(keys, values) [b, kv heads, t, d] of each layer, where the model keeps these in transformers' cache."""
        return ((layer.keys, layer.values) for layer in self._kept["past_key_values"].layers)

    def take(self, rows: Tensor) -> None:
        """Row i is what row rows[i] was; `rows` int64, as many as there are to be."""
        if self._ids is not None:
            self._ids = self._ids[rows]
        elif self._way == CACHE:
            for past in self._kept.values():
                past.reorder_cache(rows)
        else:
            self._kept = {name: _picked(past, rows, self._rows, {}) for name, past in self._kept.items()}
        self._rows = len(rows)


def _picked(value, rows: Tensor, batch: int, seen: dict):
    """A copy in which each tensor with `batch` rows has `rows` of them; what is no part of a batch is shared."""
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, Tensor):
        return value.index_select(0, rows.to(value.device)) if value.dim() and len(value) == batch else value
    if isinstance(value, dict):
        return type(value)((key, _picked(each, rows, batch, seen)) for key, each in value.items())
    if isinstance(value, list | tuple):
        return type(value)(_picked(each, rows, batch, seen) for each in value)
    if isinstance(value, type | nn.Module) or not hasattr(value, "__dict__"):
        return value
    made = seen[id(value)] = copy.copy(value)
    made.__dict__ = {key: _picked(each, rows, batch, seen) for key, each in vars(value).items()}
    return made


def way_of(model) -> str:
    """How rows of equal length share this model's past; tried once a model."""
    if type(model).__name__ in PROVED:
        return CACHE
    if model not in _ways:
        want = _branched(model, AGAIN)
        _ways[model] = next((way for way in (CACHE, COPIES) if _agrees(model, _branched, way, want)), AGAIN)
    return _ways[model]


def padded_way_of(model) -> str | None:
    """How rows that are padded on the left share it; None where padding changes what a row says, or where rows of each
    length apart are faster. Tried once a model.
    """
    if type(model).__name__ in PROVED:
        return CACHE
    if model not in _padded:
        want = torch.cat([_alone(model, length) for length in _LENGTHS], dim=1)
        ways = (CACHE, COPIES, AGAIN) if way_of(model) == AGAIN else (CACHE, COPIES)
        _padded[model] = next((way for way in ways if _agrees(model, _together, way, want)), None)
    return _padded[model]


def _agrees(model, work, way: str, want: Tensor) -> bool:
    try:
        got = work(model, way)
    except Exception as error:  # whatever a model's own code says when it is asked for what it can't do
        _log.info("%s: %s does not work (%s).", type(model).__name__, way, error)
        return False
    allowed = 1e-3 if want.dtype == torch.float32 else 0.1
    return bool((got.float() - want.float()).norm() <= allowed * want.float().norm())


def _tokens(model, count: int, start: int = 0) -> Tensor:
    vocabulary = model.get_input_embeddings().weight.shape[0]
    ids = [(7 + 97 * i) % vocabulary for i in range(start, start + count)]
    return torch.tensor([ids], device=next(model.parameters()).device)


@torch.inference_mode()
def _branched(model, way: str) -> Tensor:
    """Logits of a prompt that becomes three rows, which go on, branch and end, as beams do."""
    past = Past(model, way)
    found = [past.read(_tokens(model, 12))]
    device = found[0].device
    for parents in ([0, 0, 0], [2, 0, 0], [1, 1]):
        past.take(torch.tensor(parents, device=device))
        found.append(past.read(_tokens(model, len(parents), 20).T))
    return torch.cat(found)


_LENGTHS = (4, 9)


@torch.inference_mode()
def _alone(model, length: int) -> Tensor:
    """(1, 2·V): the logits after a prompt of so many tokens, and after one token more."""
    past = Past(model, AGAIN)
    return torch.cat([past.read(_tokens(model, length)), past.read(_tokens(model, 1, 30))], dim=1)


@torch.inference_mode()
def _together(model, way: str) -> Tensor:
    """(1, 4·V): the same for both prompts in one batch."""
    past, width = Past(model, way), max(_LENGTHS)
    rows = [nn.functional.pad(_tokens(model, length), (width - length, 0)) for length in _LENGTHS]
    mask = torch.stack([(torch.arange(width + 1) >= width - length).long() for length in _LENGTHS]).to(rows[0].device)
    first = past.read(torch.cat(rows), mask[:, :-1])
    more = past.read(_tokens(model, 1, 30).expand(2, 1), mask)
    return torch.cat([first[0], more[0], first[1], more[1]])[None]


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
