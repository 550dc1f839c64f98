"""Apps and workers of tests as processes that are forked from one that has imported what they need, once for all tests.

A fresh app, or a fresh worker, imports for four to ten CPU seconds what the one before it imported. `Forked` stands where
subprocess.Popen does, for `python -m MODULE …` and `python app.py …`: the process is real (its own pid, session,
environment, standard streams, `__main__`), only its imports are there already. Each of these commands is started for real
as well, where that is the point: tests/test_app.py, and whatever uses the fixture `real_starts`.

The server ends with the test run's first process. A command whose environment says something that is read during imports
(`_SAME`) and that the server has otherwise, is started by subprocess.Popen, as is every command where there is no fork.
"""

import contextlib
import gc
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = "LLMDEMO_TESTS_FORK"
"""The variable with the server's folder: set once by the first process of a test run, so that pytest-xdist's share it."""
_TOKEN = "LLMDEMO_RUN_TOKEN"
_SAME = (
    "HF_",
    "HUGGINGFACE_",
    "TRANSFORMERS_",
    "GRADIO_",
    "PYTHON",
    "TORCH_",
    "CUDA",
    "LD_",
    "MKL_",
    "SPACE",
    "ACCELERATE_",
)
_OF_THE_HUB = ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_IMPLICIT_TOKEN")
_NOT_AT_IMPORT = (
    *_OF_THE_HUB,
    "GRADIO_TEMP_DIR",
    "PYTHONUNBUFFERED",
    "PYTHONSAFEPATH",
    "PYTHONPATH",
    "ACCELERATE_USE_CPU",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING",
)
_FORKED = (
    *("app.py", "llmdemo.training.launch", "llmdemo.evaluation.worker", "llmdemo.generation.worker"),
    *("torch.distributed.run", "tests.training.in_turn"),
)
_LOADS = 120.0
"""Seconds until the server must have imported all."""


def fork_server(folder: Path) -> None:
    """Tells this process, and those that it starts, where the fork server of this test run is to be."""
    os.environ[ADDRESS] = str(folder)
    os.environ[f"{ADDRESS}_OF"] = str(os.getpid())


class Forked:
    """A process of the fork server: pid, stdin, poll, wait, terminate, kill and returncode as subprocess.Popen's."""

    def __init__(self, argv, cwd, env, stdin, stdout, stderr, start_new_session: bool):
        self.args, self.returncode, self.stdin = argv, None, None
        ours, null = [], os.open(os.devnull, os.O_RDWR)
        if stdin == subprocess.PIPE:
            theirs, own = os.pipe()
            self.stdin = os.fdopen(own, "wb")
            ours.append(theirs)
        streams = [theirs if stdin == subprocess.PIPE else stdin, stdout, stderr]
        streams = [number if each is None else each for number, each in enumerate(streams)]
        streams = [null if each == subprocess.DEVNULL else each for each in streams]
        streams = [each if isinstance(each, int) else each.fileno() for each in streams]
        asked = {"argv": [str(each) for each in argv[1:]], "cwd": str(cwd or os.getcwd()), "env": dict(env)}
        self._line = _connect()
        try:
            message = json.dumps({**asked, "session": start_new_session}).encode() + b"\n"
            socket.send_fds(self._line, [message], streams)
            self.pid = int(self._read())
        finally:
            for each in [null, *ours]:
                os.close(each)

    def _read(self) -> bytes:
        said = b""
        while not said.endswith(b"\n"):
            more = self._line.recv(100)
            if not more:
                raise OSError("the fork server has ended")
            said += more
        return said

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._line], [], [], 0)[0]:
            self._ended()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._line], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._ended()
        return self.returncode

    def _ended(self) -> None:
        self.returncode = int(self._read())
        self._line.close()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(args, *, cwd=None, env=None, stdin=None, stdout=None, stderr=None, start_new_session: bool = False):
    """As subprocess.Popen with these arguments; forked where it can be."""
    env = dict(os.environ if env is None else env)
    args = [args[0], *args[2:]] if list(args[1:2]) == ["-u"] else list(args)  # torch's launcher says it
    if _can_be_forked(args, env):
        return Forked(args, cwd, env, stdin, stdout, stderr, start_new_session)
    more = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    return subprocess.Popen(args, cwd=cwd, env=env, start_new_session=start_new_session, **more)


def start_job(argv, folder, env, output, stdin):
    """In the place of llmdemo.jobs.process.start."""
    from llmdemo.jobs import process

    child = start(argv, cwd=folder, env=env, stdin=stdin, stdout=output, stderr=output, start_new_session=True)
    process._children[child.pid] = child
    process._prefer_for_oom_killer(child.pid)
    return child


def _can_be_forked(argv, env) -> bool:
    if ADDRESS not in os.environ or not hasattr(os, "fork") or argv[0] != sys.executable:
        return False
    module = argv[1:2] if argv[1:2] != ["-m"] else argv[2:3]
    return any(each in _FORKED for each in module) and _read_at_import(env) == _read_at_import(os.environ)


def _read_at_import(env) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_SAME) and name not in _NOT_AT_IMPORT}


def _connect() -> socket.socket:
    """A connection to the fork server, which is started where there is none yet."""
    from filelock import FileLock

    folder = Path(os.environ[ADDRESS])
    with FileLock(folder / "lock"):  # several processes of pytest-xdist ask first at the same time
        line = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            line.connect(str(folder / "server"))
            return line
        end = time.monotonic() + _LOADS
        with open(folder / "log", "ab") as log:
            env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", _TOKEN: "-" * 32}
            env |= {"JE_ARROW_MALLOC_CONF": "background_thread:false", "OMP_NUM_THREADS": "1"}  # one thread
            command = [sys.executable, "-m", "tests.forked", str(folder / "server"), os.environ[f"{ADDRESS}_OF"]]
            null = subprocess.DEVNULL
            server = subprocess.Popen(command, env=env, stdin=null, stdout=log, stderr=log, start_new_session=True)
        while time.monotonic() < end and server.poll() is None:
            with contextlib.suppress(OSError):
                line.connect(str(folder / "server"))
                return line
            time.sleep(0.05)
    raise OSError(f"the fork server did not start: {(folder / 'log').read_text()[-2000:]}")


# -- the server


def serve(path: str, until: int) -> dict | None:
    """Forks what is asked for until the process `until` has ended (None). In each child: what it is to run."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    listener.listen(64)
    wake, woken = os.pipe()
    for each in (wake, woken):
        os.set_blocking(each, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    os.rename(path + ".new", path)
    lines: dict[int, socket.socket] = {}
    while os.path.exists(f"/proc/{until}"):
        ready = select.select([listener, wake], [], [], 1.0)[0]
        if wake in ready:
            os.read(wake, 1000)
        for pid in list(lines):
            with contextlib.suppress(ChildProcessError):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with contextlib.suppress(OSError), lines.pop(pid) as line:
                        line.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
        if listener not in ready:
            continue
        line = listener.accept()[0]
        message, streams, _, _ = socket.recv_fds(line, 1 << 20, 3)
        while not message.endswith(b"\n") and (more := line.recv(1 << 20)):
            message += more
        is_whole = message.endswith(b"\n")  # not where who asked has ended meanwhile
        pid = os.fork() if is_whole else -1
        if not pid:
            return {**json.loads(message), "streams": streams}
        for each in streams:
            os.close(each)
        if is_whole:
            lines[pid] = line
            line.sendall(b"%d\n" % pid)
    return None


def become(asked: dict) -> None:
    """Makes this child what a process is that was started with the command: session, streams, environment, chance."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if asked["session"]:
        os.setsid()
    for number, stream in enumerate(asked["streams"]):
        os.dup2(stream, number)
    os.closerange(3, 1024)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    random.seed()
    tempfile.tempdir = None
    import numpy
    import torch
    from huggingface_hub import constants

    from llmdemo.jobs import process, spare

    numpy.random.seed()
    torch.set_num_threads(int(asked["env"].get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    for name in _OF_THE_HUB:
        setattr(constants, name, asked["env"].get(name, "").lower() in ("1", "true", "yes", "on"))
    if _TOKEN in asked["env"]:
        spare._take_token(asked["env"][_TOKEN])
    process.start = start_job
    sys.argv = asked["argv"][1:] if asked["argv"][0] == "-m" else asked["argv"]


def main(path: str, until: int) -> None:
    import llmdemo.evaluation.service
    import llmdemo.training.ahead
    import llmdemo.ui.app
    import llmdemo.ui.launch  # noqa: F401

    gc.collect()
    gc.freeze()
    assert len(os.listdir("/proc/self/task")) == 1, "a thread that holds a lock while this forks would stop the child"
    asked = serve(path, until)
    if asked is None:
        return
    become(asked)
    module, *_ = sys.argv
    if module == "torch.distributed.run":
        from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

        subprocess_handler.Popen = start
    if asked["argv"][0] == "-m":
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(module, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
