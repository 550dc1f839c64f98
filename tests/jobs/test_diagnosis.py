import psutil

from llmdemo.jobs import diagnosis
from llmdemo.jobs.diagnosis import memory_there, oom_kills_so_far
from llmdemo.runs.digest import Digest
from llmdemo.runs.service import run_kind


def diagnose(exit_status, log, oom_kills=0, free=None, config=None, **events):
    """The diagnosis of a run that told of `ledger`, and of `peak` bytes."""
    digest = Digest()
    if "ledger" in events:
        digest.feed({"type": "ledger", **events["ledger"]})
    digest.feed({"type": "step", "step": 1, "peak_memory_bytes": events.get("peak")})
    kind = run_kind(None, None)
    advice = kind.memory_advice(digest, config or {})
    words = {"noun": kind.noun, "resume": kind.resume_hint}
    return diagnosis.diagnose(exit_status, log, oom_kills, free, advice=advice, **words)


LAUNCHER = """Traceback (most recent call last):
  File "launch.py", line 997, in simple_launcher
    raise subprocess.CalledProcessError(returncode=process.returncode, cmd=cmd)
subprocess.CalledProcessError: Command '['python', '-m', 'llmdemo.training.worker']' {}.
"""
KILLED = LAUNCHER.format("died with <Signals.SIGKILL: 9>")
FAILED = LAUNCHER.format("returned non-zero exit status 1")


def test_a_kill_without_evidence_is_lost_and_with_it_out_of_memory():
    assert diagnose(-9, "").reason == diagnose(1, KILLED).reason == "lost"
    assert diagnose(-9, "", oom_kills=1).reason == diagnose(1, KILLED, oom_kills=1).reason == "out_of_memory"
    assert diagnose(-15, "", oom_kills=1).reason == "lost"


def test_out_of_memory_tells_what_was_taken_what_is_there_and_what_to_lower():
    end = diagnose(-9, "", oom_kills=1, peak=3 * 2**30)
    assert "It had taken 3.00 GiB. The machine has " in end.message
    assert "batch size" in end.hint and "Resume" in end.hint
    assert "The machine has " in diagnose(-9, "", oom_kills=1).message
    ledger = {"predicted": {"total": 3 * 2**30, "activations": 2**31}, "available": 2**31}
    end = diagnose(-9, "", oom_kills=1, ledger=ledger, config={"batch_size": 32})
    assert "needs about 3.00 GiB, most of it for activations" in end.message and "(now 32)" in end.hint
    assert 2**26 < memory_there() <= psutil.virtual_memory().total


def test_torchs_launcher_is_understood_too():
    assert (
        diagnose(1, "  exitcode  : -9 (pid: 4711)\n  traceback : Signal 9 (SIGKILL) received by PID 4711").reason
        == "lost"
    )


def test_an_unknown_end_is_lost():
    for end in (diagnose(None, ""), diagnose(0, "all is well\n")):
        assert end.reason == "lost" and "Resume" in end.hint


def test_the_workers_own_last_words_are_told_not_the_launchers():
    log = (
        "Traceback (most recent call last):\n  File ...\nRuntimeError: shapes cannot be multiplied (2x3 and 4x5)\n"
        + FAILED
    )
    end = diagnose(1, log)
    assert end.reason == "worker_error"
    assert "shapes cannot be multiplied" in end.message and "CalledProcessError" not in end.message


def test_a_crash_without_a_traceback_tells_the_exit_status():
    assert "exit status 3" in diagnose(3, "").message


def test_memory_and_disk_are_named_when_the_log_says_so():
    for line, told in (
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "2.00 GiB more"),
        (
            "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
            "9 bytes",
        ),
        ("MemoryError: Unable to allocate 9.00 GiB", "9.00 GiB more"),
        ("RuntimeError: MPS backend out of memory (MPS allocated: 9 GB)", "MPS allocated: 9 GB"),
    ):
        end = diagnose(1, f"Traceback\n{line}\n{FAILED}")
        assert end.reason == "out_of_memory" and told in end.message and "batch size" in end.hint
    end = diagnose(1, f"OSError: [Errno 28] No space left on device: 'x'\n{FAILED}")
    assert end.reason == "disk_full" and "Free some space" in end.hint


def test_a_disk_without_space_is_evidence_of_its_own():
    """On a full disk the log could not be written either."""
    assert diagnose(1, "", free=4096).reason == diagnose(None, "", free=0).reason == "disk_full"
    assert diagnose(1, "", free=2**30).reason == "worker_error"
    assert diagnose(-9, "", free=0).reason == "lost", "a signal has another cause"


def test_a_long_line_is_shortened():
    assert len(diagnose(1, "ValueError: " + "x" * 5000).message) < 400


def test_the_kernels_counter_is_a_number_that_does_not_fall():
    assert 0 <= oom_kills_so_far() <= oom_kills_so_far()


def test_a_kind_without_advice_of_its_own_gets_a_general_one():
    end = diagnosis.diagnose(-9, "", oom_kills=1, noun="evaluation", resume="Resume goes on from here.")
    assert (end.state, end.reason) == ("failed", "out_of_memory") and "ended the evaluation" in end.message
    assert "GiB" in end.message and end.hint.endswith("Resume goes on from here.")
    assert "CUDA out of memory" in diagnosis.diagnose(1, "torch.OutOfMemoryError: CUDA out of memory.").message
