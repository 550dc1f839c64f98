"""The optimizer of a run: galore_torch's over projected gradients, or AdamW over full ones, behind one interface.

Used as any torch optimizer: backward, `step()`, `zero_grad()`, with any number of backward passes a step. What steps
is galore_torch's own GaLoreAdamW, GaLoreAdamW8bit or GaLoreAdafactor: its projector is replaced by one that returns
the gradient that was already projected and accumulated (gradients.py). Knows nothing of data and of the loop.
"""

import math
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from llmdemo.errors import UserError
from llmdemo.settings.training import TrainConfig
from llmdemo.training.adamw import ForeachGaLoreAdamW
from llmdemo.training.gradients import Slot, attach, detach
from llmdemo.training.offload import HostSums
from llmdemo.training.subspace import Refresh, Subspace
from llmdemo.training.targets import check_rank, find_targets
from llmdemo.training.vocabulary import attach_vocabulary

REFRESH_FLOPS = 1.2e12
"""Most work that the first refreshes may do in one step (some 30 ms of an H100)."""
FIRST_SHARE = 1 / 4
"""Most of all projected values that get their first subspace in one step: until then their full gradients exist."""


@dataclass
class _Projector:
    """Stands where galore_torch keeps its GaLoreProjector: the gradient is already projected when it is asked for."""

    slot: Slot
    scale: float

    def project(self, gradient: Tensor, iteration: int) -> Tensor:
        return self.slot.take_low()

    def project_back(self, low: Tensor) -> Tensor:
        # GaLoreAdamW8bit has put the projected gradient there; with this matrix done, it would only take memory.
        self.slot.weight.grad = None
        return self.slot.subspace.back(low).mul_(self.scale)

    def add_back(self, weight: Tensor, low: Tensor, factor: float) -> None:
        """weight += factor · project_back(low), in place."""
        self.slot.subspace.add_back(weight, low, factor * self.scale)


class Optimizer:
    """One run's optimizer. `slots` is empty unless the method is GaLore.

    A step is: `backward` any number of times, then `reduce` (several processes), `refresh`, `clip`, `step`,
    `zero_grad`; plain use may leave out the first three, `step` refreshes what is due.
    """

    def __init__(self, model: nn.Module, slots: list[Slot], inner: torch.optim.Optimizer, config: TrainConfig):
        self.slots = slots
        self.inner = inner
        self.steps = 0
        self._config = config
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        projected = {slot.weight for slot in slots}
        self.others = [p for group in inner.param_groups for p in group["params"] if p not in projected]
        self.share: Callable[[Tensor], None] | None = None
        """Overwrites a tensor with that of the first of several processes: bases that differ by rounding would drift."""
        self._reports: list[tuple[str, Refresh]] = []
        self._host = _host_sums(slots, config)
        self._mark_due()

    @property
    def param_groups(self) -> list[dict]:
        return self.inner.param_groups

    def set_lr(self, lr: float) -> None:
        for group in self.inner.param_groups:
            group["lr"] = lr

    def refresh_at_once(self) -> None:
        """From now on a due subspace is refreshed inside the backward pass, so that no two full gradients exist together.

        Only right where one backward pass of one process makes a step, and where no weight serves two layers.
        """
        for slot in self.slots:
            slot.when_full = self._refresh

    def expect_parts(self, parts: int) -> None:
        """How often the coming backward pass comes by each layer: a gradient is whole only after the last time."""
        for slot in self.slots:
            slot.parts = parts

    def forget(self) -> None:
        """Drops gradients and, before the first step, the subspaces that a trial pass made: as if it had not been."""
        self.zero_grad()
        self._reports.clear()
        if self.steps == 0:
            for slot in self.slots:
                slot.subspace.forget()
        self._mark_due()

    # ---- one step ----

    def gradients(self) -> list[Tensor]:
        """All gradients that there are, in a fixed order: low-rank or full ones of the slots, then the others'."""
        found = [slot.full if slot.due else slot.low for slot in self.slots]
        return [gradient for gradient in [*found, *(p.grad for p in self.others)] if gradient is not None]

    def fill_missing(self) -> None:
        """Zeros where this process computed nothing, so that every process reduces the same tensors."""
        for slot in self.slots:
            device = slot.weight.device
            if slot.due and slot.full is None:
                slot.full = torch.zeros(slot.subspace.shape, dtype=slot.dtype, device=device)
            elif slot.active and not slot.due and slot.low is None:
                slot.low = torch.zeros(slot.subspace.low_shape, dtype=slot.dtype, device=device)
        for p in self.others:
            if p.grad is None:
                p.grad = torch.zeros_like(p)

    def refresh(self) -> list[tuple[str, Refresh]]:
        """Refreshes the subspaces that are due, from their full gradients; returns what changed since the last call.

        A gradient that is not finite leaves its subspace as it was: `clip` then reports the step as not finite.
        """
        for slot in self.slots:
            if slot.due and slot.full is not None:
                self._refresh(slot)
        reports, self._reports = self._reports, []
        return reports

    def _refresh(self, slot: Slot) -> None:
        space, full = slot.subspace, slot.full
        assert full is not None, "only a slot with the whole gradient is refreshed"
        slot.full, slot.due = None, False
        gradient = full.to(slot.weight.dtype)
        if torch.isfinite(full).all():
            report, low = space.refresh_and_project(gradient, self._config.refresh, self._generator(slot), self.share)
            self._reports.append((slot.name, report))
        elif space.ready:
            low = space.project(gradient)
        else:
            low = torch.full(space.low_shape, math.nan, dtype=slot.dtype, device=full.device)
        slot.add_low(low.to(slot.dtype))

    def _generator(self, slot: Slot) -> torch.Generator:
        # Seeded by matrix and step, never carried on: a resumed run and a second process draw the same numbers.
        seed = zlib.crc32(f"{self._config.seed} {slot.name} {self.steps}".encode())
        return torch.Generator(slot.weight.device).manual_seed(seed)

    def clip(self, max_norm: float) -> float:
        """Scales all gradients so that their global norm is at most `max_norm` (0: no limit); returns the norm before.

        It is the norm of what the optimizer sees: of projected gradients where there are any. NaN or infinity when
        a gradient is not finite; then the step must be left out.
        """
        gradients = self.gradients()
        # In fp32 at least: norms rounded to bf16 would clip by another factor.
        whole = torch.float64 if gradients and gradients[0].dtype == torch.float64 else torch.float32
        norms = list(torch._foreach_norm(gradients, dtype=whole)) if gradients else []
        norms += self._host.norms() if self._host else []
        if not norms:
            return 0.0
        norm = torch.linalg.vector_norm(torch.stack(norms)).item()
        if max_norm and math.isfinite(norm) and norm > max_norm:
            factor = max_norm / (norm + 1e-6)
            if gradients:
                torch._foreach_mul_(gradients, factor)
            if self._host:
                self._host.factor = factor
        return norm

    @torch.no_grad()
    def step(self) -> None:
        """One optimizer step from the accumulated gradients."""
        for slot in self.slots:
            if slot.due and slot.full is not None:
                self._refresh(slot)
            # The optimizer only looks whether there is a gradient; a zero seen through strides costs no memory.
            weight = slot.weight
            weight.grad = (
                None
                if not slot.has_low
                else torch.zeros((), dtype=weight.dtype, device=weight.device).expand_as(weight)
            )
        with _without_cuda_sync(self.inner):
            self.inner.step()
        self._forget_shadows()
        self.skip()

    def skip(self) -> None:
        """Ends the step without changing a weight: the gradients are dropped, the step counts."""
        self.zero_grad()
        self.steps += 1
        self._mark_due()

    def zero_grad(self) -> None:
        if self._host:
            self._host.clear()
        for slot in self.slots:
            slot.clear()
            slot.weight.grad = None
        for p in self.others:
            p.grad = None

    def _forget_shadows(self) -> None:
        # GaLoreAdamW8bit leaves each weight's old storage in an attribute of the parameter.
        for slot in self.slots:
            slot.weight.__dict__.pop("saved_data", None)

    def _mark_due(self) -> None:
        """Marks the slots whose subspace the coming step refreshes."""
        gap, count, work = self._config.update_proj_gap, len(self.slots), REFRESH_FLOPS
        room = FIRST_SHARE * sum(slot.weight.numel() for slot in self.slots)
        first = True
        for index, slot in enumerate(self.slots):
            if not self._config.stagger:
                slot.due = self.steps % gap == 0 or not slot.subspace.ready
            elif slot.subspace.ready:
                slot.due = (self.steps - index * gap // count) % gap == 0
            else:
                size = slot.weight.numel()
                work, room = work - 8 * size * slot.subspace.rank, room - size
                # The first in line always gets its turn, however large it is.
                slot.due = first or (work > 0 and room >= 0)
                first = False

    # ---- what a checkpoint holds ----

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """(tensors by name, JSON-able rest): all that `load_state` needs."""
        tensors: dict[str, Tensor] = {}
        scalars: dict[str, dict[str, float]] = {}
        for p, state in self.inner.state.items():
            name = self._names[p]
            for key, value in state.items():
                if isinstance(value, Tensor):
                    tensors[f"state/{name}/{key}"] = value
                elif isinstance(value, (int, float)):
                    scalars.setdefault(name, {})[key] = value
        for slot in self.slots:
            tensors |= {f"basis/{slot.name}/{key}": value for key, value in slot.subspace.state().items()}
        return tensors, {"steps": self.steps, "state": scalars}

    def load_state(self, tensors: dict[str, Tensor], numbers: dict) -> None:
        """Takes back what `state` gave, onto the weights' devices."""
        parameters = {name: p for p, name in self._names.items()}
        for name, values in numbers["state"].items():
            self.inner.state[parameters[name]].update(values)
        bases: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            kind, _, rest = key.partition("/")
            name, _, last = rest.rpartition("/")
            if kind == "state":
                # A step counter stays where the optimizer keeps it: on the CPU, unless it is fused.
                p, fused = parameters[name], self.inner.defaults.get("fused")
                self.inner.state[p][last] = value if value.dim() == 0 and not fused else value.to(p.device)
            elif kind == "basis":
                bases.setdefault(name, {})[last] = value
        for slot in self.slots:
            device = slot.weight.device
            slot.subspace.load_state({key: value.to(device) for key, value in bases.get(slot.name, {}).items()})
        self.steps = numbers["steps"]
        self._mark_due()

    def detach(self, model: nn.Module) -> None:
        """Gives the model its own linear layers back."""
        for module in model.modules():
            detach(module)


def _host_sums(slots: list[Slot], config: TrainConfig) -> HostSums | None:
    """Set up where the config asks for it and there is a GPU; without one, the sums are in the computer's memory anyway."""
    if not (config.offload_gradients and slots and slots[0].weight.is_cuda):
        return None
    host = HostSums(slots[0].weight.device)
    for slot in slots:
        slot.host = host
    return host


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """The optimizer for `model` (for LoRA: already with its adapters) as `config` asks.

    Raises UserError for what cannot work: a rank above every matrix, unknown target modules, nothing to train.
    """
    config = config.resolved()
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise UserError("Every weight of this model is frozen.", "Choose a model with weights that can be trained.")
    assert config.scale is not None, "a resolved config has one"
    slots = _make_slots(model, config) if config.method == "galore" else []
    attach_vocabulary(model)
    projected = {slot.weight for slot in slots}
    rest = [p for p in trainable if p not in projected]
    # Norms and biases are not decayed, as is usual.
    groups = [
        {"params": [p for p in rest if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if slots:
        galore = {
            "rank": config.rank,
            "update_proj_gap": config.update_proj_gap,
            "scale": config.scale,
            "proj_type": config.proj_type,
            "weight_decay": config.weight_decay,
        }
        groups.append({"params": [slot.weight for slot in slots], **galore})
    inner = _inner(config, [group for group in groups if group["params"]])
    for slot in slots:
        inner.state[slot.weight]["projector"] = _Projector(slot, config.scale)
    return Optimizer(model, slots, inner, config)


def _make_slots(model: nn.Module, config: TrainConfig) -> list[Slot]:
    targets = find_targets(model, config.target_modules)
    check_rank(targets, config.rank)
    slots: dict[nn.Parameter, Slot] = {}
    for target in targets:
        weight = target.weight
        if weight not in slots:
            space = Subspace((weight.shape[0], weight.shape[1]), config.rank, config.proj_type, config.basis_bits)
            slots[weight] = Slot(target.name, weight, space, weight.dtype)
        attach(target.module, slots[weight], target.transposed)
    return list(slots.values())


def _inner(config: TrainConfig, groups: list[dict]) -> torch.optim.Optimizer:
    options: dict[str, Any] = {"lr": config.learning_rate, "betas": (config.beta1, config.beta2), "eps": config.eps}
    if config.method != "galore":
        if config.optim_bits == 8:
            from bitsandbytes.optim import AdamW8bit

            return AdamW8bit(groups, **options)
        # Fused where the weights are on a GPU: the other way round makes full-size copies in between.
        return torch.optim.AdamW(groups, **options, fused=groups[0]["params"][0].is_cuda or None)
    import galore_torch

    if config.optim_bits == 8:
        inner = galore_torch.GaLoreAdamW8bit(groups, **options)
        # galore_torch 1.0 passes two options by position that bitsandbytes has since dropped, so that they land in
        # max_unorm = 100 and skip_zeros = True. The first then scales the step of every matrix below 4096 values by
        # the norm of galore_torch's zeroed copy: it would never move.
        inner.args.max_unorm, inner.args.skip_zeros = 0.0, False
        return inner
    if config.galore_optimizer == "adafactor":
        return galore_torch.GaLoreAdafactor(
            groups, lr=config.learning_rate, relative_step=False, scale_parameter=False, beta1=config.beta1 or None
        )
    return ForeachGaLoreAdamW(groups, **options, no_deprecation_warning=True)


@contextmanager
def _without_cuda_sync(inner: torch.optim.Optimizer):
    """GaLoreAdamW8bit waits for CUDA after every matrix, which fails without CUDA and stalls with it.

    bitsandbytes' kernels run on the current stream, in order with everything else: there is nothing to wait for.
    """
    if type(inner).__name__ != "AdamW8bit" or not type(inner).__module__.startswith("galore_torch"):
        yield
        return
    synchronize = torch.cuda.synchronize
    torch.cuda.synchronize = lambda *args: None
    try:
        yield
    finally:
        torch.cuda.synchronize = synchronize
