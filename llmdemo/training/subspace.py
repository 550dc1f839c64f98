"""The low-rank subspace of one matrix's gradient: how it is found and how a gradient is projected. After GaLore, arXiv 2403.03507.

Knows nothing of models, optimizers or processes. The shapes are galore_torch's: for a gradient G [m, n] of rank r,

    side "right": basis Q [r, n], low = G Qᵀ [m, r], back = low Q
    side "left":  basis P [m, r], low = Pᵀ G [r, n], back = P low
    side "full":  both,           low = Pᵀ G Qᵀ [r, r], back = P low Q

With proj_type "std" the shorter side is projected: "right" if m >= n.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


def side_of(proj_type: str, rows: int, columns: int) -> str:
    """right, left or full, as galore_torch's GaLoreProjector chooses."""
    if proj_type in ("left", "right", "full"):
        return proj_type
    tall = rows >= columns
    return "right" if tall == (proj_type == "std") else "left"


@dataclass(frozen=True)
class Refresh:
    """What one refresh found."""

    energy: float
    """Share of the gradient's squared norm that lies inside the new subspace, 0 to 1."""
    overlap: float | None
    """Mean squared cosine between old and new subspace, 0 to 1; None for the first."""


class Subspace:
    """Basis of one matrix, refreshed from its gradient. `left` [m, r] and `right` [r, n]; unused ones are None."""

    def __init__(self, shape: tuple[int, int], rank: int, proj_type: str = "std"):
        self.shape = shape
        self.rank = min(rank, *shape)
        self.side = side_of(proj_type, *shape)
        self.left: Tensor | None = None
        self.right: Tensor | None = None

    @property
    def ready(self) -> bool:
        return self.left is not None or self.right is not None

    @property
    def low_shape(self) -> tuple[int, int]:
        """Shape of the projected gradient."""
        return {
            "right": (self.shape[0], self.rank),
            "left": (self.rank, self.shape[1]),
            "full": (self.rank, self.rank),
        }[self.side]

    def project(self, gradient: Tensor) -> Tensor:
        """The gradient [m, n] in the subspace, `low_shape`."""
        low = gradient
        if self.left is not None:
            low = self.left.T @ low
        return low @ self.right.T if self.right is not None else low

    def project_outer(self, a: Tensor, b: Tensor) -> Tensor:
        """project(aᵀ b) for a [t, m], b [t, n], without ever making the [m, n] product where that is cheaper."""
        (m, n), t = self.shape, a.shape[0]
        width = (self.rank if self.left is not None else m) + (self.rank if self.right is not None else n)
        through_factors = t * self.rank * width if self.side != "full" else t * self.rank * (m + n + self.rank)
        if through_factors > t * m * n + m * n * self.rank:
            return self.project(a.T @ b)
        if self.left is not None:
            a = a @ self.left
        if self.right is not None:
            b = b @ self.right.T
        return a.T @ b

    def back(self, low: Tensor) -> Tensor:
        """The full-size [m, n] matrix of a projected one."""
        full = low
        if self.left is not None:
            full = self.left @ full
        return full @ self.right if self.right is not None else full

    def add_back(self, full: Tensor, low: Tensor, factor: float) -> None:
        """full += factor · back(low), in place."""
        if self.side == "right":
            full.addmm_(low, self.right, alpha=factor)
        elif self.side == "left":
            full.addmm_(self.left, low, alpha=factor)
        else:
            full.addmm_(self.left @ low, self.right, alpha=factor)

    def refresh(self, gradient: Tensor, method: str, generator: torch.Generator) -> Refresh:
        """A new basis from `gradient` [m, n]; method power, random or svd. `generator` is on its device.

        The basis is kept in the gradient's type; the work is done in fp32.
        """
        work = gradient.float()
        old = (self.left, self.right)
        left, right = self._by_svd(work) if method == "svd" else self._by_iteration(work, method == "power", generator)
        # Contiguous, as a checkpoint gives them back: another layout is another order of rounding in the products.
        self.left = left.to(gradient.dtype).contiguous() if self.side != "right" else None
        self.right = right.to(gradient.dtype).contiguous() if self.side != "left" else None
        total = work.square().sum()
        kept = self.project(work.to(gradient.dtype)).float().square().sum()
        return Refresh(energy=(kept / total.clamp_min(1e-38)).item(), overlap=self._overlap(*old))

    def _by_svd(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """The first singular vectors on both sides: galore_torch's way, and the reference."""
        u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
        return u[:, : self.rank], vh[: self.rank]

    def _by_iteration(
        self, matrix: Tensor, warm: bool, generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor | None]:
        """Subspace iteration on each side that is wanted: once from the old basis, or twice from a random one.

        Twice from random is randomized SVD's range finder (Halko et al., arXiv 0909.4061).
        """
        left = right = None
        if self.side != "right":
            left = _iterate(matrix.T, self.left if warm else None, self.rank, generator)
        if self.side != "left":
            right = _iterate(matrix, self.right.T if warm and self.right is not None else None, self.rank, generator).T
        return left, right

    def _overlap(self, left: Tensor | None, right: Tensor | None) -> float | None:
        shares = []
        if left is not None:
            shares.append((left.float().T @ self.left.float()).square().sum() / self.rank)
        if right is not None:
            shares.append((right.float() @ self.right.float().T).square().sum() / self.rank)
        return (sum(shares) / len(shares)).item() if shares else None


def _iterate(matrix: Tensor, start: Tensor | None, rank: int, generator: torch.Generator) -> Tensor:
    """An orthonormal basis [n, r] of the leading right singular vectors of `matrix` [m, n]."""
    # Random starts are drawn on the CPU, so that every process and every device begins with the same numbers.
    basis = (
        torch.randn(matrix.shape[1], rank, generator=generator).to(matrix.device) if start is None else start.float()
    )
    for _ in range(2 if start is None else 1):
        basis = orthonormal(matrix.T @ orthonormal(matrix @ basis))
    return basis


def orthonormal(matrix: Tensor) -> Tensor:
    """An orthonormal basis [n, r] of the columns of `matrix` [n, r], n >= r, by Cholesky-QR in two passes.

    The Gram matrix is summed in float64: it has the squared condition number of `matrix`. A small shift (Fukaya et
    al., arXiv 1809.11085) lets the first pass through when columns are nearly dependent; where that is not enough,
    as for a gradient of lower rank than r, Householder QR takes over.
    """
    work = matrix.double() if matrix.device.type != "mps" else matrix
    result = work
    for attempt in range(2):
        gram = result.T @ result
        if attempt == 0:
            gram.diagonal().add_(1e-13 * gram.diagonal().sum())
        factor, failed = torch.linalg.cholesky_ex(gram)
        if failed.item():
            return _householder(matrix)
        result = torch.linalg.solve_triangular(factor, result.T, upper=False).T
    deviation = (result.T @ result).sub_(torch.eye(result.shape[1], dtype=result.dtype, device=result.device))
    if not deviation.abs().max().item() < 1e-5:  # also NaN
        return _householder(matrix)
    return result.to(matrix.dtype)


def _householder(matrix: Tensor) -> Tensor:
    return torch.linalg.qr(matrix)[0]
