"""The optimizer of a run: galore_torch's over projected gradients, or AdamW over full ones, behind one interface.

A torch.optim.Optimizer: backward, `step()`, `zero_grad()`, with any number of backward passes a step; schedulers, Accelerate
and transformers' Trainer take it. What steps is galore_torch's GaLoreAdamW (adamw.py), or its own GaLoreAdamW8bit or
GaLoreAdafactor: the projector is replaced by one that returns
the gradient that was already projected and accumulated (gradients.py). Knows nothing of data and of the loop.
"""

import math
import zlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from llmdemo.core.errors import UserError
from llmdemo.settings.training import TrainConfig
from llmdemo.training.adamw import ForeachGaLoreAdamW, closure_loss
from llmdemo.training.gradients import GradientAccumulator, detach
from llmdemo.training.offload import HostSums
from llmdemo.training.projector import Projector, without_cuda_sync
from llmdemo.training.refresh_schedule import RefreshSchedule
from llmdemo.training.subspace import Refresh


class Optimizer(torch.optim.Optimizer):
    """One run's optimizer. `slots` is empty unless the method is GaLore.

    A step is: `backward` any number of times, then `reduce` (several processes), `refresh`, `clip`, `step`,
    `zero_grad`; plain use may leave out the first three, `step` refreshes what is due.

    Projected matrices have no `.grad` that others could clip: where something else drives the steps, clip by
    `optimizer.register_step_pre_hook(lambda optimizer, *_: optimizer.clip(1.0))`.
    """

    def __init__(
        self,
        model: nn.Module,
        slots: list[GradientAccumulator],
        inner: torch.optim.Optimizer,
        config: TrainConfig,
        host: HostSums | None = None,
    ):
        self.inner = inner
        super().__init__(inner.param_groups, inner.defaults)
        self.slots = slots
        self.steps = 0
        self._config = config
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        projected = {slot.weight for slot in slots}
        self.others = [p for group in inner.param_groups for p in group["params"] if p not in projected]
        self.share: Callable[[Tensor], None] | None = None
        """Overwrites a tensor with that of the first of several processes: bases that differ by rounding would drift."""
        self._reports: list[tuple[str, Refresh]] = []
        self._host = host
        self._schedule = RefreshSchedule(slots, config)
        self._mark_due()

    @property
    def param_groups(self) -> list[dict]:
        """The inner optimizer's: a rate that is set here is what it steps with."""
        return self.inner.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict]) -> None:
        # torch sets an empty list while it is made, and then adds the groups that are there already.
        pass

    @property
    def state(self):
        """By weight; of GaLore without its projectors' tensors, which `state_dict` adds."""
        return self.inner.state

    @state.setter
    def state(self, state) -> None:
        pass

    def add_param_group(self, param_group: dict) -> None:
        """Refused: what is trained is chosen when the optimizer is built."""
        if any(param_group is group for group in self.inner.param_groups):
            return
        raise UserError("err_add_group")

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

    def backward_order(self) -> list[GradientAccumulator | Tensor]:
        """Slots and other weights, about as the backward pass comes by them: the model's order, from its end."""
        places = {p: number for number, p in enumerate(self._names)}
        owners: list[tuple[int, Any]] = [(places[slot.weight], slot) for slot in self.slots]
        owners += [(places[p], p) for p in self.others]
        return [owner for _, owner in sorted(owners, key=lambda pair: -pair[0])]

    def refresh(self) -> list[tuple[str, Refresh]]:
        """Refreshes the subspaces that are due, from their full gradients; returns what changed since the last call.

        A gradient that is not finite leaves its subspace as it was: `clip` then reports the step as not finite.
        """
        self._refresh_due()
        reports, self._reports = self._reports, []
        return reports

    def _refresh_due(self) -> None:
        for slot in self.slots:
            if slot.due and slot.has_full:
                self._refresh(slot)

    def _refresh(self, slot: GradientAccumulator) -> None:
        space, full = slot.subspace, slot.take_full()
        gradient = full.to(slot.weight.dtype)
        if torch.isfinite(full).all():
            report, low = space.refresh_and_project(gradient, self._config.refresh, self._generator(slot), self.share)
            self._reports.append((slot.name, report))
        elif space.ready:
            low = space.project(gradient)
        else:
            low = torch.full(space.low_shape, math.nan, dtype=slot.dtype, device=full.device)
        slot.add_low(low.to(slot.dtype))

    def _generator(self, slot: GradientAccumulator, use: str = "") -> torch.Generator:
        # Seeded by matrix and step, never carried on: a resumed run and a second process draw the same numbers.
        seed = zlib.crc32(f"{self._config.seed} {slot.name} {self.steps}{use}".encode())
        return torch.Generator(slot.weight.device).manual_seed(seed)

    def clip(self, max_norm: float) -> float:
        """Scales all gradients so that their global norm is at most `max_norm` (0: no limit); returns the norm before.

        It is the norm of what the optimizer sees: of projected gradients where there are any. NaN or infinity when
        a gradient is not finite; then the step must be left out.
        """
        gradients = self.gradients()
        total = self._norm(gradients)
        if total is None:
            return 0.0
        norm = total.item()
        if max_norm and math.isfinite(norm) and norm > max_norm:
            factor = max_norm / (norm + 1e-6)
            if gradients:
                torch._foreach_mul_(gradients, factor)
            if self._host:
                self._host.factor = factor
        return norm

    def norm(self) -> float:
        """The global norm of all gradients that there are; 0 where there is none."""
        total = self._norm(self.gradients())
        return 0.0 if total is None else total.item()

    def _norm(self, gradients: list[Tensor]) -> Tensor | None:
        """The global norm [], of the host's sums too; None where there is no gradient."""
        # In fp32 at least: norms rounded to bf16 would clip by another factor.
        whole = torch.float64 if gradients and gradients[0].dtype == torch.float64 else torch.float32
        norms = list(torch._foreach_norm(gradients, dtype=whole)) if gradients else []
        norms += self._host.norms() if self._host else []
        return torch.linalg.vector_norm(torch.stack(norms)) if norms else None

    @torch.no_grad()
    def step(self, closure: Callable | None = None):
        """One optimizer step from the accumulated gradients; returns what `closure` does, which makes them anew."""
        loss = closure_loss(closure)
        self._mark_gradients()
        with without_cuda_sync(self.inner):
            self.inner.step()
        self._forget_shadows()
        self.skip()
        return loss

    def _mark_gradients(self) -> None:
        """Refreshes what is due; then each projected weight that is to be stepped has a gradient to look at."""
        self._refresh_due()
        zeros: dict[tuple, Tensor] = {}
        for slot in self.slots:
            # The optimizer only looks whether there is a gradient; a zero seen through strides costs no memory.
            weight = slot.weight
            if not slot.has_low:
                weight.grad = None
                continue
            if slot.matrix:
                slot.generator = self._generator(slot, " rounding")
            kind = (weight.dtype, weight.device)
            if kind not in zeros:
                zeros[kind] = torch.zeros((), dtype=weight.dtype, device=weight.device)
            weight.grad = zeros[kind].expand_as(weight)

    # ---- the same where the host runs ahead of a GPU ----

    @property
    def runs_ahead(self) -> bool:
        """Whether `step_where_finite` can be used: the device itself clips, and leaves a step out."""
        if self._host or not self.others or not self.others[0].is_cuda:
            return False
        return isinstance(self.inner, ForeachGaLoreAdamW) or bool(self.inner.defaults.get("fused"))

    @torch.no_grad()
    def step_where_finite(self, max_norm: float, loss: Tensor) -> tuple[Tensor, Tensor]:
        """`clip` and `step`, or nothing where the norm or `loss` [] is not finite; waits for nothing.

        Returns (the norm before [], 1 where the step was left out, else 0 []); that has to be told by `tell`, in order.
        """
        self._refresh_due()
        norm = self._norm(self.gradients())
        assert norm is not None, "a step follows a backward pass, which leaves gradients"
        skip = (~(torch.isfinite(norm) & torch.isfinite(loss))).float()
        divisor = ((norm + 1e-6) / max_norm).clamp_min(1.0).float() if max_norm else None
        self._mark_gradients()
        if isinstance(self.inner, ForeachGaLoreAdamW):
            self.inner.step_where_finite(divisor, skip)
        else:
            fused: Any = self.inner  # torch's fused optimizers look for these two, which their class does not declare
            fused.grad_scale, fused.found_inf = divisor, skip
            fused.step()
            del fused.grad_scale, fused.found_inf
        self.skip()
        return norm, skip

    def tell(self, left_out: bool) -> None:
        """What became of the oldest step of `step_where_finite` that was not told yet."""
        if isinstance(self.inner, ForeachGaLoreAdamW):
            self.inner.tell(left_out)

    def refresh_in_rounds(self) -> None:
        """From now on the refreshes that are due within some steps come together: the steps between are all alike."""
        self._schedule.in_rounds()
        self._mark_due()

    @property
    def no_refresh_due(self) -> bool:
        """Whether the coming step finds every subspace and refreshes none."""
        return all(slot.subspace.ready and not slot.due for slot in self.slots)

    def adopt(self, sums: dict) -> None:
        """Takes these tensors, by slot or weight, for the gradients that were accumulated."""
        for owner, total in sums.items():
            if isinstance(owner, GradientAccumulator):
                owner.low = total
            else:
                owner.grad = total

    def skip(self) -> None:
        """Ends the step without changing a weight: the gradients are dropped, the step counts."""
        self.zero_grad()
        self.steps += 1
        self._mark_due()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops all gradients, whatever `set_to_none` says."""
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
        self._schedule.mark(self.steps)

    # ---- what a checkpoint holds ----

    def state_dict(self) -> dict:
        """As torch's: "state" by number and "param_groups", all of it tensors and plain values; GaLore's bases and the
        count of steps besides."""
        packed = self.inner.state_dict()
        packed["state"] = {
            number: {key: value for key, value in state.items() if key != "projector"}
            for number, state in packed["state"].items()
        }
        packed["steps"] = self.steps
        packed["bases"] = [slot.subspace.state() for slot in self.slots]
        return packed

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict) -> None:
        """Takes back what `state_dict` gave, onto the weights' devices. Raises UserError for another optimizer's."""
        bases = state_dict.get("bases")
        if not isinstance(bases, list) or len(bases) != len(self.slots):
            raise UserError("err_optimizer_state")
        self.inner.load_state_dict({key: state_dict[key] for key in ("state", "param_groups")})
        for slot, tensors in zip(self.slots, bases, strict=True):
            slot.subspace.load_state({key: value.to(slot.weight.device) for key, value in tensors.items()})
            assert self._config.scale is not None, "a resolved config has one"
            self.inner.state[slot.weight]["projector"] = Projector(slot, self._config.scale)
        self.steps = int(state_dict["steps"])
        self._mark_due()

    def named_state(self) -> tuple[dict[str, Tensor], dict]:
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
        """Takes back what `named_state` gave, onto the weights' devices."""
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
