import pytest
import torch

from llmdemo.training import speed

CPU = torch.device("cpu")


def test_the_guess_is_by_six_operations_a_weight_and_the_best_of_a_few_measurements(monkeypatch):
    found = iter([6e9, 1e9, 12e9])
    monkeypatch.setattr(speed, "_found", {})
    monkeypatch.setattr(speed, "_measured", lambda device, dtype: next(found))
    monkeypatch.setattr(speed, "_MEASUREMENTS", 3)
    guesses = [speed.tokens_per_second(1000, CPU, torch.float32) for _ in range(4)]
    assert guesses == pytest.approx([1e6, 1e6, 2e6, 2e6]), "a busy moment is mended, and at last nothing is measured"


def test_this_machine_multiplies_at_a_speed_that_can_be():
    assert 1e8 < speed._measured("cpu", torch.float32) < 1e14
