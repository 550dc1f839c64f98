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
        kept, whole = torch.linalg.vector_norm(self.project(gradient).float()), torch.linalg.vector_norm(work)
        return Refresh(energy=(kept / whole.clamp_min(1e-19)).square().item(), overlap=self._overlap(*old))

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
    if start is None:
        # A random start's first pass needs no orthogonality inside: its columns are alike.
        start = torch.randn((matrix.shape[1], rank), generator=generator, device=matrix.device)
        start = orthonormal(matrix.T @ (matrix @ start))
    return orthonormal(matrix.T @ _well_conditioned(matrix @ start.float()))


def _well_conditioned(matrix: Tensor) -> Tensor:
    """The columns [m, r] turned nearly orthogonal by one shifted Cholesky-QR pass: enough between two products."""
    return _pass(matrix, 1e-6)[0]


def orthonormal(matrix: Tensor) -> Tensor:
    """An orthonormal basis [n, r] of the columns of `matrix` [n, r], n >= r.

    Cholesky-QR in two passes, the first with a small shift for nearly dependent columns (Fukaya et al.,
    arXiv 1809.11085); in fp32, and where the columns depend too much for that, in float64, whose Gram matrix stands
    the squared condition number. For a gradient of lower rank than r, Householder QR takes over.
    """
    for work, shift in ((matrix, 1e-6), (matrix.double() if matrix.device.type != "mps" else matrix, 1e-13)):
        first, failed = _pass(work, shift)
        result, failed_again = _pass(first, 0.0)
        deviation = (result.T @ result).sub_(torch.eye(result.shape[1], dtype=work.dtype, device=work.device))
        # One look at the device for all three, since each look makes a GPU wait. NaN is not below either.
        bad = deviation.abs().max() + failed + failed_again
        if bad.item() < 1e-5:
            return result.to(matrix.dtype)
    return torch.linalg.qr(matrix)[0]


def _pass(matrix: Tensor, shift: float) -> tuple[Tensor, Tensor]:
    """(matrix R⁻¹, whether Cholesky failed) for matrixᵀ matrix + shift · trace = Rᵀ R."""
    gram = matrix.T @ matrix
    if shift:
        gram.diagonal().add_(shift * gram.diagonal().sum() + 1e-30)  # the last for a gradient of nothing but zeros
    factor, failed = torch.linalg.cholesky_ex(gram)
    return torch.linalg.solve_triangular(factor.T, matrix, upper=True, left=False), failed
