"""The low-rank subspace of one matrix's gradient: how it is found and how a gradient is projected. After GaLore, arXiv 2403.03507.

Knows nothing of models, optimizers or processes. The shapes are galore_torch's: for a gradient G [m, n] of rank r,

    side "right": basis Q [r, n], low = G Qᵀ [m, r], back = low Q
    side "left":  basis P [m, r], low = Pᵀ G [r, n], back = P low
    side "full":  both,           low = Pᵀ G Qᵀ [r, r], back = P low Q

With proj_type "std" the shorter side is projected: "right" if m >= n.

A basis may be kept in 8 bits, one scale a basis vector, or in 4, one scale a block of a row: it is used the same both ways,
so the sum over micro-batches stays the projection of the sum, and what changes is the subspace: by about a hundredth of
an angle, or a tenth.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from llmdemo.training.quantised import block_of

BLOCK_4_BITS = 64
"""Most values that share a scale in a basis of 4 bits."""


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


class Basis:
    """A basis [m, r] or [r, n] as it is kept: as it is, in 8 bits with one scale a basis vector, or in 4 by blocks."""

    def __init__(self, kept: Tensor, scale: Tensor | None, columns: int):
        self.kept = kept
        """The values; int8, or uint8 with two of a row in a byte, the first in its lower half, as 1 … 15 around 8."""
        self.scale = scale
        """Shape [1, r] or [r, 1] beside 8-bit values, [rows, blocks] beside 4-bit ones, else None."""
        self._columns = columns
        """Of the basis as it is used: r or n."""

    @classmethod
    def of(cls, tensor: Tensor, vectors: int, bits: int) -> "Basis":
        """`tensor` kept in 8 or 4 bits, or as it is; `vectors` is the dimension that counts the basis vectors."""
        columns = tensor.shape[1]
        # Contiguous, as a checkpoint gives it back: another layout is another order of rounding in the products.
        if bits not in (8, 4):
            return cls(tensor.contiguous(), None, columns)
        if bits == 4:
            return cls._in_4_bits(tensor)
        scale = (tensor.abs().amax(1 - vectors, keepdim=True).float() / 127).clamp_min(1e-30).to(tensor.dtype)
        kept = (tensor / scale).round_().clamp_(-127, 127).to(torch.int8).contiguous()
        return cls(kept, scale.contiguous(), columns)

    @classmethod
    def _in_4_bits(cls, tensor: Tensor) -> "Basis":
        blocks = tensor.unflatten(1, (-1, block_of(tensor.shape[1], BLOCK_4_BITS)))
        scale = (blocks.abs().amax(-1).float() / 7).clamp_min(1e-30).to(tensor.dtype)
        counts = (blocks / scale[..., None]).round_().clamp_(-7, 7).add_(8).to(torch.uint8).flatten(1)
        counts = torch.nn.functional.pad(counts, (0, counts.shape[1] % 2))
        return cls(counts[:, 0::2] | counts[:, 1::2] << 4, scale.contiguous(), tensor.shape[1])

    @property
    def dtype(self) -> torch.dtype:
        """Of the products with it."""
        return self.kept.dtype if self.scale is None else self.scale.dtype

    def take(self, other: "Basis") -> None:
        """The values of a basis of the same form, in the same memory: a captured step goes on reading there."""
        self.kept.copy_(other.kept)
        if self.scale is not None and other.scale is not None:
            self.scale.copy_(other.scale)

    def is_like(self, other: "Basis") -> bool:
        """Whether `other` has the same form."""
        return self.kept.shape == other.kept.shape and self.kept.dtype == other.kept.dtype

    def tensor(self) -> Tensor:
        """The basis, of its own memory where it is kept in fewer bits."""
        if self.scale is None:
            return self.kept
        if self.kept.dtype == torch.int8:
            return self.kept.to(self.scale.dtype).mul_(self.scale)
        counts = torch.stack([self.kept & 15, self.kept >> 4], 2).flatten(1)[:, : self._columns]
        values = counts.to(self.scale.dtype).sub_(8).unflatten(1, (self.scale.shape[1], -1))
        return values.mul_(self.scale[..., None]).flatten(1)


class Subspace:
    """Basis of one matrix, refreshed from its gradient. `left` [m, r] and `right` [r, n]; unused ones are None."""

    def __init__(self, shape: tuple[int, int], rank: int, proj_type: str = "std", bits: int = 32):
        self.shape = shape
        self.rank = min(rank, *shape)
        self.side = side_of(proj_type, *shape)
        self.bits = bits
        """8, 4: the basis is kept in so many bits; else in the gradient's type."""
        self._kept: dict[str, Basis] = {}

    @property
    def left(self) -> Tensor | None:
        return self._kept["left"].tensor() if "left" in self._kept else None

    @property
    def right(self) -> Tensor | None:
        return self._kept["right"].tensor() if "right" in self._kept else None

    @property
    def ready(self) -> bool:
        return bool(self._kept)

    @property
    def dtype(self) -> torch.dtype:
        """Of the products with the basis."""
        return next(iter(self._kept.values())).dtype

    def forget(self) -> None:
        self._kept = {}

    def state(self) -> dict[str, Tensor]:
        """What `load_state` takes back, bit for bit: "left" or "right", and "left_scale" or "right_scale" of 8 bits."""
        kept = {side: basis.kept for side, basis in self._kept.items()}
        return kept | {f"{side}_scale": b.scale for side, b in self._kept.items() if b.scale is not None}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        sides = [side for side in ("left", "right") if side in tensors]
        columns = {"left": self.rank, "right": self.shape[1]}
        self._kept = {side: Basis(tensors[side], tensors.get(f"{side}_scale"), columns[side]) for side in sides}

    @property
    def low_shape(self) -> tuple[int, int]:
        """Shape of the projected gradient."""
        return {
            "right": (self.shape[0], self.rank),
            "left": (self.rank, self.shape[1]),
            "full": (self.rank, self.rank),
        }[self.side]

    @property
    def basis_shapes(self) -> list[tuple[int, int]]:
        """Of the left basis and the right one, as far as they are used."""
        left, right = (self.shape[0], self.rank), (self.rank, self.shape[1])
        return {"right": [right], "left": [left], "full": [left, right]}[self.side]

    def project(self, gradient: Tensor, out: Tensor | None = None) -> Tensor:
        """The gradient [m, n] in the subspace, `low_shape`; written into `out` where that is given."""
        left, right = self.left, self.right
        if right is None:
            assert left is not None, "only a subspace that is ready is used"
            return torch.mm(left.T, gradient, out=out)
        return torch.mm(gradient if left is None else left.T @ gradient, right.T, out=out)

    def project_outer(self, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        """project(aᵀ b) for a [t, m], b [t, n], without ever making the [m, n] product where that is cheaper."""
        (m, n), t = self.shape, a.shape[0]
        width = (self.rank if self.side != "right" else m) + (self.rank if self.side != "left" else n)
        through_factors = t * self.rank * width if self.side != "full" else t * self.rank * (m + n + self.rank)
        if through_factors > t * m * n + m * n * self.rank:
            return self.project(a.T @ b, out)
        left, right = self.left, self.right
        if left is not None:
            a = a @ left
        if right is not None:
            b = b @ right.T
        return torch.mm(a.T, b, out=out)

    def back(self, low: Tensor) -> Tensor:
        """The full-size [m, n] matrix of a projected one."""
        full, left, right = low, self.left, self.right
        if left is not None:
            full = left @ full
        return full @ right if right is not None else full

    def add_back(self, full: Tensor, low: Tensor, factor: float) -> None:
        """full += factor · back(low), in place."""
        left, right = self.left, self.right
        if right is None:
            assert left is not None, "only a subspace that is ready is used"
            full.addmm_(left, low, alpha=factor)
        else:
            full.addmm_(low if left is None else left @ low, right, alpha=factor)

    def refresh(self, gradient: Tensor, method: str, generator: torch.Generator) -> Refresh:
        """A new basis from `gradient` [m, n]; method power, random or svd. `generator` is on its device."""
        return self.refresh_and_project(gradient, method, generator)[0]

    def refresh_and_project(
        self, gradient: Tensor, method: str, generator: torch.Generator, share: Callable[[Tensor], None] | None = None
    ) -> tuple[Refresh, Tensor]:
        """(what the refresh found, the gradient in the new subspace): the energy is that of the projection.

        `share` overwrites each tensor of the new basis with that of the first of several processes.
        """
        # Copies, as the new basis takes the old one's memory.
        old = [None if basis is None else basis.clone() for basis in (self.left, self.right)]
        self.find(gradient, method, generator)
        if share:
            for tensor in self.state().values():
                share(tensor)
        low = self.project(gradient)
        kept = torch.linalg.vector_norm(low, dtype=_at_least_fp32(low))
        whole = torch.linalg.vector_norm(gradient, dtype=_at_least_fp32(gradient))
        return Refresh(energy=(kept / whole.clamp_min(1e-19)).square().item(), overlap=self._overlap(*old)), low

    def find(self, gradient: Tensor, method: str, generator: torch.Generator) -> None:
        """Takes a new basis from `gradient` [m, n]. It is kept in the gradient's type; the work is done in fp32."""
        work = gradient.float()
        with _whole_fp32(gradient):
            found = self._by_svd(work) if method == "svd" else self._by_iteration(work, method == "power", generator)
        left, right = found
        vectors = {"left": (left, 1), "right": (right, 0)}
        for side in ("left", "right") if self.side == "full" else (self.side,):
            vector, axis = vectors[side]
            assert vector is not None, "each side that is wanted is found"
            basis = Basis.of(vector.to(gradient.dtype), axis, self.bits)
            if side in self._kept and self._kept[side].is_like(basis):
                self._kept[side].take(basis)
            else:
                self._kept[side] = basis

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
            old = self.right if warm else None
            right = _iterate(matrix, None if old is None else old.T, self.rank, generator).T
        return left, right

    def _overlap(self, left: Tensor | None, right: Tensor | None) -> float | None:
        shares = []
        if left is not None and (new := self.left) is not None:
            shares.append((left.float().T @ new.float()).square().sum() / self.rank)
        if right is not None and (new := self.right) is not None:
            shares.append((right.float() @ new.float().T).square().sum() / self.rank)
        return (sum(shares, start=torch.zeros_like(shares[0])) / len(shares)).item() if shares else None


@contextmanager
def _whole_fp32(tensor: Tensor) -> Iterator[None]:
    """Meanwhile a GPU multiplies fp32 as fp32, where the run lets it round factors to TF32: orthogonality needs that."""
    if not tensor.is_cuda:
        yield
        return
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed


def _at_least_fp32(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


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
