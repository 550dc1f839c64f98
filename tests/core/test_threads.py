"""Threads wait for one another briefly, so that two programs can share a machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("own", "expected"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
    ids=["by itself", "a person's number", "a person's policy"],
)
def test_the_waiting_is_set_before_torch_unless_a_person_has_set_it(own, expected):
    env = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | own
    code = "import os, sys, llmdemo; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected, "False"]


def test_a_worker_waits_as_the_app_does(home):
    from llmdemo.runs.command import worker_environment

    assert worker_environment(home.root, {})["GOMP_SPINCOUNT"] == os.environ["GOMP_SPINCOUNT"]
