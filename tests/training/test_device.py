"""The precision that a device computes in."""

import pytest
import torch

from llmdemo.training import TrainConfig
from llmdemo.training import device as devices

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def measured_anew():
    devices._bf16_share.cache_clear()
    yield
    devices._bf16_share.cache_clear()


@pytest.mark.parametrize(
    ("bf16", "galore", "others"), [(0.3, "bf16", "bf16"), (0.6, "fp32", "bf16"), (0.9, "fp32", "fp32")]
)
def test_auto_on_a_cpu_with_bf16_units_is_what_the_method_s_runs_are_faster_in(monkeypatch, bf16, galore, others):
    now = [0.0]

    def multiply(x, weight):
        assert x.dtype == weight.dtype
        now[0] += bf16 if x.dtype == torch.bfloat16 else 1.0

    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(devices.time, "thread_time", lambda: now[0])
    monkeypatch.setattr(devices.products, "linear", multiply)
    found = {
        method: devices.precision_of(TrainConfig("x", method=method), CPU) for method in ("galore", "adamw", "lora")
    }
    assert found == {"galore": galore, "adamw": others, "lora": others}


def test_auto_on_a_cpu_without_bf16_units_is_fp32_without_measuring(monkeypatch):
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: False)
    monkeypatch.setattr(devices.products, "linear", None)
    assert devices.resolve_precision("auto", CPU) == "fp32"
    assert devices.resolve_precision("bf16_pure", CPU) == "bf16_pure"


@pytest.mark.parametrize(
    ("precision", "device", "judged"),
    [("bf16", "cpu", "fp32"), ("bf16", "cuda", "bf16"), ("bf16_pure", "cpu", "bf16_pure"), ("fp32", "cpu", "fp32")],
)
def test_a_cpu_s_evaluations_are_without_autocast(precision, device, judged):
    assert devices.judged_in(precision, torch.device(device)) == judged


def test_auto_on_a_gpu_with_bf16_keeps_the_weights_in_fp32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert devices.resolve_precision("auto", torch.device("cuda")) == "bf16"
