import subprocess
import sys

from llmdemo.jobs.lock import LeaderLock


def test_one_holds_the_lock_until_it_lets_go(tmp_path):
    first, second = LeaderLock(tmp_path / "lock"), LeaderLock(tmp_path / "lock")
    assert first.acquire() and first.acquire()
    assert not second.acquire() and not second.held
    first.release()
    assert second.acquire()
    second.release()


def test_a_killed_holder_gives_the_lock_back(tmp_path, bench):
    code = "import sys, time; from llmdemo.jobs.lock import LeaderLock; from pathlib import Path\n"
    code += "print(LeaderLock(Path(sys.argv[1])).acquire(), flush=True); time.sleep(600)"
    code = code.replace("LeaderLock(Path(sys.argv[1])).acquire()", "(lock := LeaderLock(Path(sys.argv[1]))).acquire()")
    holder = subprocess.Popen([sys.executable, "-c", code, tmp_path / "lock"], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "True\n"
    mine = LeaderLock(tmp_path / "lock")
    assert not mine.acquire()
    holder.kill()
    holder.communicate()
    assert mine.acquire()
    mine.release()


def test_a_child_does_not_inherit_the_lock(tmp_path):
    lock = LeaderLock(tmp_path / "lock")
    lock.acquire()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    lock.release()
    assert LeaderLock(tmp_path / "lock").acquire()
    child.kill()
    child.wait()
