"""AdamW with one moment in 8 bits and a factored second: against Adam written out in float64."""

import math

import pytest
import torch
from torch import nn

from llmdemo.training import one_moment
from llmdemo.training.one_moment import OneMomentAdamW, state_bytes

STEPS, RATE, BETAS, EPS = 30, 1e-2, (0.9, 0.99), 1e-8


def gradients(shape=(24, 96), factored=True, seed=0):
    """Of which every square is a row's number times a column's, as in the factored moment; or any."""
    draw = torch.Generator().manual_seed(seed)
    sizes = (torch.rand(shape[0], 1, generator=draw) + 0.01) * (torch.rand(1, shape[1], generator=draw) + 0.01)
    for _ in range(STEPS):
        noise = torch.randn(shape, generator=draw)
        yield sizes * (noise.sign() if factored else noise)


def adam(weight, grads, decay=0.0):
    """Adam in float64 with galore_torch's place of ε."""
    w, z = weight.double(), torch.zeros_like(weight, dtype=torch.float64)
    v = torch.zeros_like(z)
    for step, g in enumerate((g.double() for g in grads), 1):
        m = BETAS[0] * z * (v.sqrt() + EPS) + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g * g
        z = m / (v.sqrt() + EPS)
        w -= RATE * math.sqrt(1 - BETAS[1] ** step) / (1 - BETAS[0] ** step) * z
        w *= 1 - RATE * decay
    return w


def stepped(weight, grads, decay=0.0):
    p = nn.Parameter(weight.clone())
    optimizer = OneMomentAdamW([{"params": [p], "weight_decay": decay}], RATE, BETAS, EPS, seed=7)
    for g in grads:
        p.grad = g.to(p.dtype)
        optimizer.step()
    return p.detach(), optimizer.state[p]


def relative(a, b, start):
    return ((a.double() - b).norm() / (b - start.double()).norm()).item()


def test_where_squares_factor_it_is_adam_but_for_the_8_bits(monkeypatch):
    start = torch.zeros(24, 96)
    wanted = adam(start, gradients(), decay=0.1)
    found, state = stepped(start, gradients(), decay=0.1)
    assert 1e-6 < relative(found, wanted, start) < 0.01
    assert state["moment"].dtype == torch.int8 and state["rows"].shape == (24,) and state["columns"].shape == (96,)
    # Without the 8 bits nothing but fp32's rounding is left.
    exact = {}
    monkeypatch.setattr(one_moment, "_read", lambda state, part: exact.get("moment", torch.zeros(24, 96)))
    monkeypatch.setattr(one_moment, "_keep", lambda state, part, moment: exact.update(moment=moment.clone()))
    assert relative(stepped(start, gradients(), decay=0.1)[0], wanted, start) < 1e-5


def test_a_moment_that_is_forgotten_would_be_seen(monkeypatch):
    start = torch.zeros(24, 96)
    monkeypatch.setattr(one_moment, "_read", lambda state, part: torch.zeros(24, 96))
    assert relative(stepped(start, gradients())[0], adam(start, gradients()), start) > 0.3


def test_of_any_gradients_it_stays_near_adam():
    start = torch.zeros(24, 96)
    assert relative(stepped(start, gradients(factored=False))[0], adam(start, gradients(factored=False)), start) < 0.35


def test_a_vector_has_both_of_adams_moments():
    start = torch.zeros(96)
    grads = [g[0] for g in gradients(factored=False)]
    found, state = stepped(start, grads)
    assert relative(found, adam(start, grads), start) < 1e-5 and "exp_avg_sq" in state


def test_rows_without_a_gradient_stay_as_they_are():
    """Of an embedding, the tokens that no record has."""
    start = torch.randn(24, 96)
    mask = (torch.arange(24) % 3 > 0)[:, None]
    found, _ = stepped(start, (g * mask for g in gradients(factored=False)))
    assert torch.equal(found[::3], start[::3]) and (found[1::3] != start[1::3]).all()
    assert found.isfinite().all()


def test_weights_in_bf16_take_updates_below_half_of_their_step_in_the_mean():
    """Steps of 1e-4 beside weights of 1, whose neighbours in bf16 are 4e-3 and 8e-3 away: to the nearest none would move."""
    p = nn.Parameter(torch.ones(64, 256, dtype=torch.bfloat16))
    optimizer = OneMomentAdamW([p], 1e-4, BETAS, EPS, seed=7)
    for _ in range(20):
        p.grad = torch.ones_like(p)
        optimizer.step()
    assert torch.equal(torch.ones_like(p) - 1e-4, torch.ones_like(p))
    assert abs(p.detach().double().mean().item() - (1 - 20 * 1e-4)) < 3e-4


def test_state_that_is_loaded_goes_on_bit_for_bit():
    """Beside weights in bf16, whose type torch would give all of it."""
    weight, (*before, last) = torch.randn(24, 96).bfloat16(), list(gradients())[:5]

    def made(p):
        return OneMomentAdamW([{"params": [p]}], RATE, BETAS, EPS, seed=7)

    first = nn.Parameter(weight.clone())
    optimizer = made(first)
    for g in before:
        first.grad = g.bfloat16()
        optimizer.step()
    second = nn.Parameter(first.detach().clone())
    other = made(second)
    other.load_state_dict(optimizer.state_dict())
    assert {key: t.dtype for key, t in other.state[second].items() if key != "step"} == {
        "moment": torch.int8, "scale": torch.float32, "rows": torch.float32, "columns": torch.float32
    }  # fmt: skip
    for p, each in ((first, optimizer), (second, other)):
        p.grad = last.bfloat16()
        each.step()
    assert torch.equal(first, second) and not torch.equal(first, weight)


def test_slices_change_nothing(monkeypatch):
    start = torch.zeros(24, 96)
    whole, _ = stepped(start, gradients(factored=False))
    monkeypatch.setattr("llmdemo.training.quantised._SLICE_CPU", 5 * 96)
    parts, _ = stepped(start, gradients(factored=False))
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", [(24, 96), (3, 8, 33), (40,)])
def test_its_state_takes_what_is_predicted(shape):
    _, state = stepped(torch.zeros(shape), [torch.ones(shape)])
    held = sum(t.numel() * t.element_size() for t in state.values() if isinstance(t, torch.Tensor))
    assert held == state_bytes(shape)
