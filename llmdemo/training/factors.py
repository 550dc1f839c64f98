"""Matrices as products W = BA of a rank that they never leave: the low-rank baseline of the GaLore paper.

Both factors are trained, by AdamW, and nothing is kept of the matrix that they begin from but its best approximation
of that rank (spectral initialisation: Khodak et al., arXiv 2105.01029, section 3). Knows no optimizer.
"""

import torch
from torch import Tensor, nn

from llmdemo.core.errors import UserError
from llmdemo.training.targets import find_targets, put_layer


class FactoredLinear(nn.Module):
    """A linear layer whose weight is up @ down."""

    def __init__(self, down: Tensor, up: Tensor, bias: nn.Parameter | None):
        super().__init__()
        self.down = nn.Parameter(down)  # [rank, in]
        self.up = nn.Parameter(up)  # [out, rank]
        self.bias = bias

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., in] → [..., out]"""
        return nn.functional.linear(nn.functional.linear(inputs, self.down), self.up, self.bias)

    @torch.no_grad()
    def whole(self) -> nn.Linear:
        """The plain layer that computes the same."""
        layer = nn.Linear(1, 1, bias=self.bias is not None, device="meta")
        layer.in_features, layer.out_features = self.down.shape[1], self.up.shape[0]
        layer.weight = nn.Parameter(self.up @ self.down)
        if self.bias is not None:
            layer.bias = self.bias
        return layer.train(self.training)


@torch.no_grad()
def factorise(model: nn.Module, rank: int, wanted: tuple[str, ...] = ()) -> nn.Module:
    """`model`, with each linear layer of attention and MLP as factors of `rank`; a matrix that has no more is left whole.

    Raises UserError where that leaves every matrix whole.
    """
    count = 0
    for target in find_targets(model, wanted):
        weight = target.weight
        if rank >= min(weight.shape) or target.transposed:
            continue
        if weight.is_meta:
            down, up = weight.new_empty(rank, weight.shape[1]), weight.new_empty(weight.shape[0], rank)
        else:
            u, s, v = torch.linalg.svd(weight.float(), full_matrices=False)
            root = s[:rank].sqrt()
            down, up = (root[:, None] * v[:rank]).to(weight.dtype), (u[:, :rank] * root).to(weight.dtype)
        bias = target.module.bias
        assert bias is None or isinstance(bias, nn.Parameter)
        put_layer(model, target.name, FactoredLinear(down.contiguous(), up.contiguous(), bias))
        count += 1
    if not count:
        raise UserError("err_factors_too_wide", rank=rank)
    return model


def multiplied(model: nn.Module) -> nn.Module:
    """`model`, with plain linear layers in place of the factored ones, for good."""
    for name, module in list(model.named_modules()):
        if isinstance(module, FactoredLinear):
            put_layer(model, name, module.whole())
    return model
