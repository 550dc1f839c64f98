import os
import signal
import subprocess
import sys
import time

import pytest

from llmdemo.jobs import process
from tests.waiting import until


@pytest.fixture(params=["proc", "psutil"], autouse=True)
def source(request, monkeypatch):
    """Linux tells of processes in files; elsewhere psutil does, which works on Linux too."""
    monkeypatch.setattr(process, "_LINUX", request.param == "proc" and sys.platform.startswith("linux"))


@pytest.fixture
def started(tmp_path):
    """Starts `python -c code` as a run would be; everything of it is killed at the end."""
    launched = []

    def start(code: str, token: str = "token-a"):
        argv = [sys.executable, "-S", "-c", code]
        pid, identity = process.launch(argv, tmp_path, dict(os.environ), tmp_path / "log.txt", token)
        launched.append((pid, identity, token))
        return pid, identity

    yield start
    for each in launched:
        process.send(process.group(*each), signal.SIGKILL)


def test_a_launched_process_has_a_session_of_its_own_and_writes_to_the_log(started, tmp_path, bench):
    pid, identity = started("import os, time; print('hello', os.getcwd(), flush=True); time.sleep(600)")
    until(lambda: b"hello" in (tmp_path / "log.txt").read_bytes())
    assert os.getsid(pid) == pid
    assert str(tmp_path).encode() in (tmp_path / "log.txt").read_bytes()
    assert process.is_alive(pid, identity)


def test_a_process_is_known_by_more_than_its_pid(started):
    pid, identity = started("import time; time.sleep(600)")
    assert identity == process.identity(pid) != process.identity(os.getpid())
    assert not process.is_alive(pid, "another")
    assert (
        not process.is_alive(pid, "") and not process.is_alive(None, identity) and not process.is_alive(2**22 + 1, "x")
    )


def test_a_zombie_is_not_alive_and_its_exit_status_is_known(started, bench):
    pid, identity = started("import sys; sys.exit(3)")
    until(lambda: not process.is_alive(pid, identity))
    assert process.exit_status(pid) == 3
    process.forget(pid)
    assert process.exit_status(pid) is None


def test_a_signal_for_another_identity_is_not_sent(started):
    pid, identity = started("import time; time.sleep(600)")
    process.send({pid: "another"}, signal.SIGKILL)
    time.sleep(0.1)
    assert process.is_alive(pid, identity)
    process.send({pid: identity, 2**22 + 1: "gone"}, signal.SIGKILL)
    process._children[pid].wait(5)
    assert process.exit_status(pid) == -9


def test_the_group_holds_children_that_left_the_session_and_lost_their_parent(started, bench):
    nested = "import os, time; os.setsid(); os.fork() and os._exit(0); time.sleep(600)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', {nested!r}]).wait(); import time; time.sleep(600)"
    pid, identity = started(code)

    def both_with_the_child_orphaned():
        found = process.group(pid, identity, "token-a")
        return len(found) == 2 and all((seen := process._look(each)) and seen.parent != pid for each in found) and found

    members = until(both_with_the_child_orphaned)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not process.is_alive(pid, identity))
    left = process.group(pid, identity, "token-a")
    assert set(left) == set(members) - {pid}, "found by its token, though the launcher is gone"
    assert process.group(pid, identity, "token-b") == {}
    assert process.group(None, "", "", members) == left, "found as it was seen before"


def test_this_process_and_strangers_are_never_in_the_group(started):
    pid, identity = started("import time; time.sleep(600)", "token-c")
    stranger = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    try:
        assert set(process.group(pid, identity, "token-c")) == {pid}
        assert process.group(os.getpid(), "recycled", "") == {}
        assert process.group(None, "", "") == {}
    finally:
        stranger.kill()
        stranger.wait()


def test_the_eldest_member_is_the_launcher():
    assert process.eldest({7: "boot:30", 9: "boot:4", 5: "boot:100"}) == 9


def test_the_identity_does_not_depend_on_the_clock(monkeypatch):
    before = process.identity(os.getpid())
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert process.identity(os.getpid()) == before


def test_a_name_with_brackets_and_spaces_is_read_right(tmp_path):
    """The name of a program stands in the middle of what the kernel tells of it."""
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([program, "600"])
    try:
        seen = process._look(child.pid)
        assert seen.parent == os.getpid() and not seen.zombie
    finally:
        child.kill()
        child.wait()
