"""Likelihoods are transformers' own."""

import pytest
import torch

from llmdemo.data import Encoded
from llmdemo.evaluation.likelihood import row_losses

PROMPTS = [[5, 6, 7], [9] * 17, [40, 41, 3, 8, 99, 120], [12], [200, 13]]


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model_folder)


def test_losses_are_transformers_own_whatever_else_is_in_the_batch(model):
    rows = [Encoded(ids + [30, 31, 32, 33], [-100] * len(ids) + [30, 31, -100, 33]) for ids in PROMPTS]
    for row, (loss, count) in zip(rows, row_losses(model, rows, 2), strict=True):
        with torch.no_grad():
            own = model(input_ids=torch.tensor([row.input_ids]), labels=torch.tensor([row.labels])).loss
        assert count == 3
        assert loss / count == pytest.approx(float(own), rel=1e-5)


def test_a_row_without_labels_counts_nothing(model):
    assert row_losses(model, [Encoded([1, 2, 3], [-100] * 3)], 2) == [(0.0, 0)]
