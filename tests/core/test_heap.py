import platform
import subprocess
import sys

import pytest

ROUNDS, BLOCKS = 30, 6
FAULTS = f"""
import resource
def steps(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        blocks = [b"x" * 1_400_000 for _ in range({BLOCKS})]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
steps(3)
print(steps({ROUNDS}))
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="these are glibc's options")


def faults(setup="", **environment):
    """Pages that are made anew while blocks of a step's size are freed and asked for again."""
    found = subprocess.run(
        [sys.executable, "-c", setup + FAULTS], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return int(found.stdout)


KEEP = "from llmdemo.core.heap import keep_freed; keep_freed()\n"


@glibc
def test_memory_that_one_step_frees_is_there_for_the_next():
    assert faults() > ROUNDS * 100
    assert faults(KEEP) < ROUNDS * 10


@glibc
def test_what_the_environment_says_of_freed_memory_stays():
    assert faults(KEEP, MALLOC_MMAP_THRESHOLD_="1048576") > ROUNDS * 100
