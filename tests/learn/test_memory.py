"""Memory as blocks: the estimate's own figures, against the bytes that can be counted by hand."""

import pytest

from llmdemo.core.errors import UserError
from llmdemo.learn.memory import blocks


def test_adamws_blocks_at_7b_are_two_four_and_eight_bytes_a_weight():
    found = blocks("7B", "adamw", 128)
    weights = found["parameters"]
    assert weights == pytest.approx(6.74e9, rel=0.01)  # Llama's 7B
    parts = found["parts"]
    assert parts["weights"] == 2 * weights and parts["gradients"] == 2 * weights
    assert parts["moments"] == pytest.approx(4 * weights, rel=1e-4) and parts["subspace"] == 0
    assert found["total"] == sum(parts.values())


def test_galores_moments_are_those_of_its_rank():
    """32 layers: four matrices of 4096², three of 11008 × 4096; each keeps rank × the longer side, twice, in two bytes."""
    found = blocks("7B", "galore", 128)
    projected = 32 * 128 * (4 * 4096 + 3 * 11008)
    rest = 2 * 32_000 * 4096 + (2 * 32 + 1) * 4096
    assert found["parts"]["moments"] == pytest.approx(4 * (projected + rest), rel=1e-3)
    assert found["parts"]["subspace"] == 2 * 32 * 128 * 7 * 4096  # the shorter side
    assert blocks("7B", "galore", 1024)["total"] > found["total"]


def test_seventy_billion_weights_are_laid_out_without_their_memory():
    assert blocks("70B", "adamw", 4)["parameters"] == pytest.approx(70e9, rel=0.01)


@pytest.mark.parametrize(("size", "method", "rank"), [("71B", "adamw", 4), ("7B", "sgd", 4), ("7B", "lora", 5)])
def test_what_is_not_offered_is_refused(size, method, rank):
    with pytest.raises(UserError):
        blocks(size, method, rank)
