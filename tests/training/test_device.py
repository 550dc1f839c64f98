"""The precision that a device computes in."""

import pytest
import torch

from llmdemo.training import device as devices

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def measured_anew():
    devices.bf16_pays.cache_clear()
    yield
    devices.bf16_pays.cache_clear()


@pytest.mark.parametrize(
    ("seconds", "expected"), [({"bf16": 1.0, "fp32": 2.0}, "bf16"), ({"bf16": 2.0, "fp32": 1.0}, "fp32")]
)
def test_auto_on_a_cpu_with_bf16_units_is_what_multiplies_faster(monkeypatch, seconds, expected):
    now = [0.0]

    class Matrix:
        def __init__(self, dtype):
            self.seconds = seconds["bf16" if dtype == torch.bfloat16 else "fp32"]

        def __matmul__(self, other):
            now[0] += self.seconds

    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(devices.time, "thread_time", lambda: now[0])
    monkeypatch.setattr(devices.torch, "ones", lambda *shape, dtype: Matrix(dtype))
    assert devices.resolve_precision("auto", CPU) == expected


def test_auto_on_a_cpu_without_bf16_units_is_fp32_without_measuring(monkeypatch):
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: False)
    monkeypatch.setattr(devices.torch, "ones", None)
    assert devices.resolve_precision("auto", CPU) == "fp32"
    assert devices.resolve_precision("bf16_pure", CPU) == "bf16_pure"


def test_auto_on_a_gpu_with_bf16_keeps_the_weights_in_fp32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert devices.resolve_precision("auto", torch.device("cuda")) == "bf16"
