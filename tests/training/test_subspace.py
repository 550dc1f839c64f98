import math

import pytest
import torch

from llmdemo.training.subspace import Basis, Subspace, orthonormal, side_of


def generator():
    return torch.Generator().manual_seed(0)


def decaying(rows, columns, rate=0.7, seed=1):
    """A matrix with singular values 1, rate, rate², …"""
    torch.manual_seed(seed)
    count = min(rows, columns)
    u, v = torch.linalg.qr(torch.randn(rows, count))[0], torch.linalg.qr(torch.randn(columns, count))[0]
    return (u * rate ** torch.arange(count)) @ v.T


@pytest.mark.parametrize("proj_type", ["std", "reverse_std", "left", "right"])
@pytest.mark.parametrize("shape", [(48, 32), (32, 48), (32, 32)])
def test_the_side_is_the_one_that_galore_torch_takes(proj_type, shape):
    from galore_torch.galore_projector import GaLoreProjector

    gradient = torch.randn(shape, generator=generator())
    theirs = GaLoreProjector(4, update_proj_gap=10, proj_type=proj_type)
    low = theirs.project(gradient, 0)
    ours = Subspace(shape, 4, proj_type)
    ours.refresh(gradient, "svd", generator())
    assert ours.low_shape == tuple(low.shape)
    torch.testing.assert_close(ours.project(gradient), low)
    torch.testing.assert_close(ours.back(low), theirs.project_back(low))


@pytest.mark.parametrize("proj_type", ["std", "reverse_std", "full"])
@pytest.mark.parametrize("tokens", [3, 500])
def test_projecting_the_factors_equals_projecting_the_product(proj_type, tokens):
    a, b = torch.randn(tokens, 24, dtype=torch.float64), torch.randn(tokens, 40, dtype=torch.float64)
    space = Subspace((24, 40), 5, proj_type)
    space.refresh(a.T @ b, "svd", generator())
    torch.testing.assert_close(space.project_outer(a, b), space.project(a.T @ b))


@pytest.mark.parametrize("proj_type", ["std", "left", "full"])
def test_add_back_adds_what_back_gives(proj_type):
    space = Subspace((24, 40), 5, proj_type)
    space.refresh(torch.randn(24, 40, generator=generator()), "svd", generator())
    low, full = torch.randn(space.low_shape), torch.randn(24, 40)
    expected = full + 0.3 * space.back(low)
    space.add_back(full, low, 0.3)
    torch.testing.assert_close(full, expected)


@pytest.mark.parametrize(("bits", "off"), [(8, 0.005), (4, 0.1)])
@pytest.mark.parametrize("proj_type", ["std", "left", "full"])
def test_a_basis_in_few_bits_keeps_the_energy_and_is_used_the_same_both_ways(proj_type, bits, off):
    gradient = decaying(96, 63, rate=0.9)
    whole, packed = Subspace((96, 63), 16, proj_type), Subspace((96, 63), 16, proj_type, bits=bits)
    best = whole.refresh(gradient, "svd", generator()).energy
    assert abs(packed.refresh(gradient, "svd", generator()).energy - best) < off * best
    low = torch.randn(packed.low_shape, generator=generator())
    expected = torch.zeros(96, 63)
    packed.add_back(expected, low, 1.0)
    torch.testing.assert_close(expected, packed.back(low))
    # <project(G), low> = <G, back(low)>: the two directions are each other's transpose, rounding or not.
    torch.testing.assert_close((packed.project(gradient) * low).sum(), (gradient * packed.back(low)).sum())
    again = Subspace((96, 63), 16, proj_type, bits=bits)
    again.load_state(packed.state())
    assert torch.equal(again.back(low), packed.back(low))


def test_a_basis_in_4_bits_is_within_half_a_step_of_its_blocks():
    vectors = torch.linalg.qr(torch.randn(128, 16, generator=generator()))[0]
    basis = Basis.of(vectors.T.contiguous(), 0, 4)
    largest = vectors.T.double().unflatten(1, (-1, 64)).abs().amax(-1, keepdim=True)
    off = (basis.tensor().double() - vectors.T.double()).unflatten(1, (-1, 64)).abs()
    assert (off <= largest / 7 * 0.5 * (1 + 1e-5)).all()
    assert basis.kept.dtype == torch.uint8 and basis.kept.numel() == 16 * 128 // 2 and basis.scale.shape == (16, 2)


@pytest.mark.parametrize("method", ["power", "random"])
@pytest.mark.parametrize("shape", [(96, 64), (64, 96)])
def test_the_fast_refresh_keeps_99_percent_of_the_exact_ones_energy(method, shape):
    gradient = decaying(*shape, rate=0.9) + 0.01 * torch.randn(shape, generator=generator())
    exact, fast = Subspace(shape, 16), Subspace(shape, 16)
    best = exact.refresh(gradient, "svd", generator()).energy
    first = fast.refresh(gradient, method, generator())
    assert first.energy >= 0.99 * best
    assert first.energy <= best + 1e-5
    assert fast.refresh(gradient, method, generator()).energy >= 0.99 * best


def test_a_warm_start_follows_a_gradient_that_turns():
    """Mutation: power iteration that starts anew each time would not report the overlap that a warm one has."""
    gradient = decaying(64, 64, rate=0.8)
    space = Subspace((64, 64), 8)
    assert space.refresh(gradient, "power", generator()).overlap is None
    assert space.refresh(gradient, "power", generator()).overlap > 0.99
    other = decaying(64, 64, rate=0.8, seed=9)
    turned = space.refresh(0.5 * gradient + 0.5 * other, "power", generator())
    assert 0.1 < turned.overlap < 0.95


def test_energy_is_the_share_of_the_squared_norm():
    gradient = torch.diag(torch.tensor([3.0, 2.0, 1.0, 1.0]))
    report = Subspace((4, 4), 2).refresh(gradient, "svd", generator())
    assert report.energy == pytest.approx(13 / 15, abs=1e-6)


@pytest.mark.parametrize("rank_of_matrix", [1, 3, 8])
def test_a_basis_is_orthonormal_even_when_the_gradient_has_a_lower_rank(rank_of_matrix):
    matrix = torch.randn(64, rank_of_matrix, generator=generator()) @ torch.randn(
        rank_of_matrix, 48, generator=generator()
    )
    for shape, part in (((64, 48), matrix), ((48, 64), matrix.T)):
        space = Subspace(shape, 8)
        space.refresh(part, "power", generator())
        basis = space.right if space.right is not None else space.left.T
        torch.testing.assert_close(basis @ basis.T, torch.eye(8), atol=1e-4, rtol=0)


def test_orthonormal_holds_up_against_nearly_dependent_columns():
    column = torch.randn(64, 1, generator=generator())
    matrix = column + 1e-6 * torch.randn(64, 6, generator=generator())
    basis = orthonormal(matrix)
    torch.testing.assert_close(basis.T @ basis, torch.eye(6), atol=1e-4, rtol=0)


def test_a_zero_gradient_gives_a_basis_and_no_nan():
    space = Subspace((16, 16), 4)
    report = space.refresh(torch.zeros(16, 16), "power", generator())
    assert report.energy == 0 and torch.isfinite(space.right).all() and not math.isnan(report.energy)


def test_a_rank_above_the_matrix_is_the_matrix_own():
    assert Subspace((6, 20), 9).rank == 6


def test_side_of_names_the_projected_side():
    assert (side_of("std", 5, 3), side_of("std", 3, 5), side_of("std", 4, 4)) == ("right", "left", "right")
    assert (side_of("reverse_std", 5, 3), side_of("reverse_std", 3, 5)) == ("left", "right")


@pytest.mark.parametrize("bits", [32, 8, 4])
@pytest.mark.parametrize("proj_type", ["std", "full"])
def test_a_refresh_keeps_the_memory_of_the_basis_that_a_captured_step_reads(proj_type, bits):
    space, generator = Subspace((24, 16), 4, proj_type, bits), torch.Generator()
    space.refresh(torch.randn(24, 16), "power", generator)
    before = {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in space.state().items()}
    report = space.refresh(torch.randn(24, 16), "power", generator)
    for name, tensor in space.state().items():
        assert tensor.data_ptr() == before[name][0] and not torch.equal(tensor, before[name][1])
    assert report.overlap < 0.9, "the overlap is that with the basis before"
