"""A worker that waits for its job: it does the job as one started for it would, and ends where nobody comes."""

import subprocess
import sys

import pytest

from llmdemo.jobs import process
from llmdemo.jobs.environment import worker_environment
from llmdemo.jobs.spare import Spare
from tests.waiting import until

WORKER = """
import os, sys
from pathlib import Path
from llmdemo.jobs.process import TOKEN_VARIABLE
if sys.argv[1] == "--wait":
    from llmdemo.jobs.spare import wait_for_job
    folder = wait_for_job()
    if folder is None:
        sys.exit(3)
else:
    folder = sys.argv[1]
print("works in", os.getcwd(), "for", folder, "on", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
token = f"{TOKEN_VARIABLE}={os.environ[TOKEN_VARIABLE]}".encode()
print("token", token in Path("/proc/self/environ").read_bytes().split(b"\\0"), flush=True)
sys.exit(5)
"""
TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def bench(tmp_path):
    """(spare, argv without the folder, environment, the job's folder, its log); counts cold starts in `cold`."""
    script, folder = tmp_path / "worker.py", tmp_path / "job"
    script.write_text(WORKER)
    folder.mkdir()
    cold = []

    def start(*job):
        cold.append(job)
        return process.launch(*job)

    spare = Spare(start)
    yield spare, [sys.executable, str(script)], worker_environment(tmp_path), folder, folder / "log.txt", cold
    spare.close()


def status(pid) -> int:
    until(lambda: process.exit_status(pid) is not None)
    return process.exit_status(pid)


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="none is kept waiting elsewhere")


@linux
def test_a_waiting_worker_does_the_job_as_one_that_was_started_for_it(bench):
    spare, argv, env, folder, log, cold = bench
    assert spare.get_ready(argv, env, 60) and spare.get_ready(argv, env, 60)
    told = []
    for _ in ("by the one that waits", "by a new one"):
        pid, identity = spare.launch([*argv, str(folder)], folder, env | {"CUDA_VISIBLE_DEVICES": "1"}, log, TOKEN)
        assert identity == process.identity(pid) != ""
        assert status(pid) == 5
        told.append(log.read_text())
        log.unlink()
    assert told[0] == told[1] == f"works in {folder} for {folder} on 1\ntoken True\n"
    assert len(cold) == 1


@linux
def test_another_environment_or_command_gets_a_worker_of_its_own(bench):
    spare, argv, env, folder, log, cold = bench
    spare.get_ready(argv, env, 60)
    waiting: subprocess.Popen = spare._child
    pid, _ = spare.launch([*argv, str(folder)], folder, env | {"OMP_NUM_THREADS": "7"}, log, TOKEN)
    assert status(pid) == 5 and len(cold) == 1
    assert waiting.wait(60) == 3, "it ends, as nobody is left to ask for it"


@linux
def test_one_that_nobody_asks_for_ends(bench):
    spare, argv, env, folder, log, cold = bench
    spare.get_ready(argv, env, 0.01)
    assert spare._child.wait(60) == 3
    pid, _ = spare.launch([*argv, str(folder)], folder, env, log, TOKEN)
    assert status(pid) == 5 and len(cold) == 1


@linux
def test_one_whose_patience_is_over_but_that_still_runs_gets_no_job(bench, tmp_path):
    """It ends without looking again; what was written into its pipe then would be nobody's."""
    spare, argv, env, folder, log, cold = bench
    slow = tmp_path / "slow.py"
    slow.write_text("import sys; sys.stdin.read() if sys.argv[1] == '--wait' else sys.exit(5)")
    argv = [sys.executable, str(slow)]
    spare.get_ready(argv, env, 0.0)
    waiting: subprocess.Popen = spare._child
    pid, _ = spare.launch([*argv, str(folder)], folder, env, log, TOKEN)
    assert pid != waiting.pid and status(pid) == 5 and len(cold) == 1
    assert waiting.wait(60) == 0
    spare.get_ready(argv, env, 0.0)
    first: subprocess.Popen = spare._child
    assert spare.get_ready(argv, env, 60) and spare._child is not first, "another one takes its place"


def test_where_memory_is_short_none_waits(bench, monkeypatch):
    spare, argv, env, *_ = bench
    monkeypatch.setattr("llmdemo.jobs.spare.LEAST_FREE_BYTES", 2**60)
    assert not spare.get_ready(argv, env, 60) and spare._child is None
