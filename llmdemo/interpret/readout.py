"""What turns a layer's output into logits: the final norm and the head of any decoder, found by watching one forward pass.

Names differ between families (norm, ln_f, final_layer_norm, norm_f; lm_head, embed_out, output), so none is asked for:
the modules that run after the last layer are the readout, and they are right if they give the model's own logits again.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from llmdemo.core.errors import UserError

_AGREES = {torch.float32: 1e-4, torch.float64: 1e-8}
_AGREES_HALF = 0.05
"""Largest relative distance of the readout's logits from the model's own, by type; 16 bits round differently by shape."""
_MOST_VALUES = 2**26
"""Logits made at once: 256 MB in fp32."""


class Readout:
    """One forward pass over `ids` (T,): `states` (L, W, d), the outputs of the L layers at the last W positions, and
    `logits` (W, V) as the model itself gives them. Raises UserError where the model's end is not found."""

    def __init__(self, model, ids: list[int], window: int = 1):
        self._window = min(window, len(ids))
        layers, ancestors = _layers_of(model)
        self._after: list[nn.Module] = []
        self._states: list[Tensor] = []
        row = torch.tensor([ids], device=next(model.parameters()).device)  # (1, T)
        with _watched(layers, ancestors, self._keep, self._note):
            out = model(input_ids=row, use_cache=False, **only_last(model, self._window))
        self.logits = out.logits[0, -self._window :].detach().float()  # (W, V)
        self.states = torch.stack(self._states)  # (L, W, d)
        self._ends, self._last_parts = self._find_ends(model)

    def logits_by_layer(self) -> Iterator[Tensor]:
        """(l, W, V) fp32, the layers in turn, as many at once as memory allows, as a head is read once for all of them; the
        last layer's are the model's own."""
        known = len(self._last_parts)
        for part in self.states[:-known].split(self._at_once()) if len(self.states) > known else ():
            yield self._ends(self._raw(part))
        last = self._ends(self._last_parts)
        last[-1] = self.logits
        yield last

    def _at_once(self) -> int:
        """Layers whose logits are made at once."""
        return max(1, _MOST_VALUES // max(1, self._window * self.logits.shape[-1]))

    def _keep(self, output) -> None:
        state = output[0] if isinstance(output, tuple) else output
        # A layer that runs more than once (shared weights) gives a state each time.
        self._states.append(state.reshape(-1, state.shape[-1])[-self._window :])
        self._after.clear()

    def _note(self, module: nn.Module) -> None:
        if self._states:
            self._after.append(module)

    def _find_ends(self, model) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        """What the model does to its head's output: nothing, a soft cap, or a factor; and that output of the last layers,
        as many as are made at once. Raises UserError for anything else."""
        try:
            parts = self._raw(self.states[-self._at_once() :])  # (l, W, V)
            raw = parts[-1]  # (W, V)
        except Exception as error:  # modules of unknown models, called by themselves
            raise _unfit(model) from error
        if raw.shape != self.logits.shape:
            raise _unfit(model)
        cap = float(getattr(model.config.get_text_config(), "final_logit_softcapping", None) or 0)
        factor = float((raw.double() * self.logits).sum() / raw.double().square().sum().clamp_min(1e-30))
        known: list[Callable[[Tensor], Tensor]] = [lambda logits: logits, lambda logits: logits * factor]
        if cap:
            known.insert(0, lambda logits: cap * torch.tanh(logits / cap))
        allowed = _AGREES.get(next(model.parameters()).dtype, _AGREES_HALF)
        for ends in known:
            if _distance(self.logits, ends(raw)) <= allowed:
                return ends, parts
        raise _unfit(model)

    def _raw(self, states: Tensor) -> Tensor:
        """(…, W, V) fp32: `states` (…, W, d) through the modules that ran after the last layer, in their order."""
        for module in self._after:
            states = module(states)
        return states.detach().float()


def only_last(model, count: int) -> dict[str, int]:
    """What to call the model with so that it makes the logits of its last `count` positions and no others, where it can:
    of a large vocabulary the others are most of the memory, and of a small model most of the work."""
    return {"logits_to_keep": count} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}


def _layers_of(model) -> tuple[nn.ModuleList, list[nn.Module]]:
    """The decoder's layers, and the modules that hold them from the outside in."""
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    found = [
        (sum(p.numel() for p in module.parameters()), name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    if not found:
        raise _unfit(model)
    _, name, layers = max(found, key=lambda each: each[0])
    parts = name.split(".")
    return layers, [model.get_submodule(".".join(parts[:n])) for n in range(len(parts))]


@contextmanager
def _watched(layers: nn.ModuleList, ancestors: list[nn.Module], keep: Callable, note: Callable) -> Iterator[None]:
    """Meanwhile `keep` gets each layer's output, and `note` each module beside the layers, or beside what holds them, that
    has run."""
    inside = {id(layers), *map(id, ancestors)}
    beside = [child for holder in ancestors for child in holder.children() if id(child) not in inside]
    hooks = [layer.register_forward_hook(lambda _module, _given, output: keep(output)) for layer in layers]
    hooks += [child.register_forward_hook(lambda module, _given, _output: note(module)) for child in beside]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _distance(wanted: Tensor, found: Tensor) -> float:
    return float((wanted - found).norm() / wanted.norm().clamp_min(1e-30))


def _unfit(model) -> UserError:
    return UserError("err_lens_unfit", architecture=type(model).__name__)
