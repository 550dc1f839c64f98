"""A process of ours ends with its status and what it said; of what is registered for its end, only what matters is called."""

import subprocess
import sys

import pytest

from llmdemo.jobs.environment import PROJECT

ENDS = """
import atexit, sys, types, weakref
from llmdemo.core import leaving

class Thing:
    pass

def tables():
    print("a table of compile times")

def operators():
    print("operators taken apart")

operators.__module__ = "torch.library"
sys.modules["torch._dynamo.utils"] = types.SimpleNamespace(dump_compile_times=tables)
atexit.register(tables)
atexit.register(print, "registered")
thing, other = Thing(), Thing()
weakref.finalize(thing, operators)
weakref.finalize(other, print, "finalized")
print("said", end=" ")
leaving.{name}(3)
"""


@pytest.mark.parametrize(
    ("name", "said"), [("leave", ["said"]), ("leave_in_order", ["said", "finalized", "registered"])]
)
def test_a_process_leaves_with_its_status_and_without_torchs_tables(name, said):
    code = ENDS.replace("{name}", name)
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and done.stderr == ""
    assert sorted(done.stdout.split()) == sorted(said)
