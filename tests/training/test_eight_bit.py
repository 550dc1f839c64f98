"""8-bit moments where they cannot be had: a sentence before the first step."""

import subprocess
import sys

import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.core.events import read_events
from llmdemo.training import worker
from llmdemo.training.checks import require_8bit, require_library


def end_of(run_dir) -> dict:
    assert worker.main(run_dir) == 1
    found, _ = read_events(run_dir / "events.jsonl")
    assert not any(event["type"] == "step" for event in found)
    return found[-1]


def test_8_bit_moments_work_on_a_cpu():
    require_8bit(torch.device("cpu"))


def test_without_bitsandbytes_the_sentence_says_what_needs_it(make_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UserError, match="bitsandbytes cannot be imported .*galore_torch needs it"):
        require_library()
    for changes in ({"optim_bits": 8}, {"galore_optimizer": "adafactor"}):
        end = end_of(make_run(**changes))
        assert end["reason"] == "bad_config" and "bitsandbytes cannot be imported" in end["message"]
        assert "requirements.txt" in end["hint"]


@pytest.mark.slow
def test_32_bit_moments_need_no_bitsandbytes_nor_its_seconds(make_run):
    # In a process of its own: this one has imported everything.
    run_dir = make_run(max_steps=1)
    code = f"import sys; from pathlib import Path; from llmdemo.training import worker; worker.main(Path({str(run_dir)!r})); "
    code += "print('bitsandbytes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False" and (run_dir / "model").is_dir()


@pytest.mark.parametrize("method", ["galore", "adamw"])
def test_a_device_without_an_8_bit_optimizer_is_refused_before_the_first_step(make_run, monkeypatch, method):
    from bitsandbytes.optim import AdamW8bit

    def none(self, *_):
        raise NotImplementedError("Could not run 'bitsandbytes::optimizer_update_8bit_blockwise' with arguments")

    monkeypatch.setattr(AdamW8bit, "update_step", none)
    end = end_of(make_run(optim_bits=8, method=method))
    assert end["reason"] == "bad_config" and "8-bit moments do not work on cpu (Could not run" in end["message"]
    assert "optim_bits 32" in end["hint"]


def test_32_bit_moments_ask_for_no_8_bit_optimizer(make_run, monkeypatch):
    from llmdemo.training import session

    monkeypatch.setattr(session, "require_8bit", lambda device: 1 / 0)
    assert worker.main(make_run(max_steps=1)) == 0
