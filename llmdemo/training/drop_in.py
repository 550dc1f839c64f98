"""GaLoreAdamW for scripts that are written for galore_torch: the same groups of weights, its mathematics, our refreshes.

Gradients come whole, in `.grad`, and are projected at the step: it needs no model, and so cannot do what
`build_optimizer`'s does, which never stores a whole gradient.
"""

import zlib

import torch
from torch import Tensor

from llmdemo.training.adamw import ForeachGaLoreAdamW
from llmdemo.training.subspace import Subspace

REFRESHES = ("power", "random", "svd")


class _WholeGradients:
    """Stands where galore_torch keeps its GaLoreProjector."""

    def __init__(self, shape: tuple[int, int], group: dict, refresh: str, seed: int):
        self.subspace = Subspace(shape, group["rank"], group["proj_type"])
        self._gap, self._scale, self._refresh, self._seed = group["update_proj_gap"], group["scale"], refresh, seed

    def project(self, gradient: Tensor, iteration: int) -> Tensor:
        if iteration % self._gap == 0 or not self.subspace.ready:
            seed = zlib.crc32(f"{self._seed} {iteration}".encode())
            generator = torch.Generator(gradient.device).manual_seed(seed)
            self.subspace.find(gradient, self._refresh, generator)
        return self.subspace.project(gradient)

    def add_back(self, weight: Tensor, low: Tensor, factor: float) -> None:
        self.subspace.add_back(weight, low, factor * self._scale)


class GaLoreAdamW(ForeachGaLoreAdamW):
    """Takes galore_torch.GaLoreAdamW's arguments; groups with "rank" also have update_proj_gap, scale and proj_type.

    `refresh`: power (warm subspace iteration), random, or svd, which is galore_torch's.
    """

    def __init__(self, params, *args, no_deprecation_warning: bool = True, refresh: str = "power", **options) -> None:
        if refresh not in REFRESHES:
            raise ValueError(f"refresh is {refresh!r}; it can be {', '.join(REFRESHES)}.")
        super().__init__(params, *args, **options)
        self._refresh = refresh
        self._set_projectors()

    def _set_projectors(self) -> None:
        number = 0
        for group in self.param_groups:
            for p in group["params"] if "rank" in group else ():
                self.state[p].setdefault("projector", _WholeGradients(tuple(p.shape), group, self._refresh, number))
                number += 1

    def state_dict(self) -> dict:
        """As torch's, with each basis as tensors beside the moments."""
        packed = super().state_dict()
        for state in packed["state"].values():
            if "projector" in state:
                state["basis"] = state["projector"].subspace.state()
        packed["state"] = {
            number: {key: value for key, value in state.items() if key != "projector"}
            for number, state in packed["state"].items()
        }
        return packed

    def load_state_dict(self, state_dict: dict) -> None:
        super().load_state_dict(state_dict)
        self._set_projectors()
        for p, state in self.state.items():
            if "basis" in state:
                basis = {name: tensor.to(p.device) for name, tensor in state.pop("basis").items()}
                state["projector"].subspace.load_state(basis)
