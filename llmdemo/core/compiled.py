"""Compiles C for this machine's processor at run time, once: where there is gcc. Knows no function of it.

Code that is compiled for the processor at hand may use all its instructions, and nothing is installed. It is for speed alone: who
asks for it has another way where there is no compiler. The library asks for OpenMP's symbols, which it finds in a process that
has torch's loaded, so that both share their threads.
"""

import atexit
import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

_FLAGS = ("-O2", "-fpeel-loops", "-ftree-vectorize", "-march=native", "-ffp-contract=off", "-fPIC", "-fopenmp")
"""Short loops are unrolled whole, as by -O3, which compiles for three times as long and gives no faster code. No contraction: where
gcc takes a fused multiply and add is its choice, and results would differ from place to place."""
_SECONDS = 300
_log = logging.getLogger(__name__)
_loaded: dict[tuple[Path, tuple[str, ...]], ctypes.CDLL | None] = {}
_lock = threading.Lock()


def library(source: Path, flags: tuple[str, ...] = ()) -> ctypes.CDLL | None:
    """The library of this C file and of those beside it that it includes, compiled the first time that this machine asks for it
    (some seconds), with these flags of gcc besides; None: it cannot be had."""
    with _lock:
        if (source, flags) not in _loaded:
            _loaded[source, flags] = _library(source, (*_FLAGS, *flags))
        return _loaded[source, flags]


def _library(source: Path, flags: tuple[str, ...]) -> ctypes.CDLL | None:
    compiler = shutil.which("gcc")
    if sys.platform != "linux" or platform.machine() != "x86_64" or compiler is None:
        return None
    try:
        folder = cache_folder()
        path = folder / f"{source.stem}-{_key(source, compiler, flags)}.so"
        with _alone(folder / "lock"):  # processes that begin together would each take a core for seconds
            if not path.exists():
                _compile(source, [compiler, *flags], path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", b"") or b""
        _log.warning("%s is not compiled: %s %s", source.name, error, told.decode(errors="replace")[-500:])
        return None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process of this machine at a time; not core.store's lock, for which this process's other threads would wait."""
    import fcntl  # Linux has it

    with open(path, "ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _key(source: Path, compiler: str, flags: tuple[str, ...]) -> str:
    """Changes with the code, the compiler and the processor: a home may be shared by several machines."""
    about = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=_SECONDS).stdout
    lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    cpu = [next((line for line in lines if line.startswith(name)), b"") for name in (b"model name", b"flags")]
    code = [path.read_bytes() for path in sorted(source.parent.iterdir()) if path.suffix in (".c", ".h")]
    return hashlib.sha256(b"\0".join([*code, about, *cpu, " ".join(flags).encode()])).hexdigest()[:24]


def _compile(source: Path, compiler: list[str], path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built, whole = Path(folder) / "built.o", Path(folder) / "whole.so"
        # -fopenmp is not for the linker: it would bring a second OpenMP library, whose threads would fight with torch's
        for command in (
            [*compiler, "-c", str(source), "-o", str(built)],
            [compiler[0], "-shared", str(built), "-o", str(whole), "-lm"],
        ):
            subprocess.run(command, capture_output=True, check=True, timeout=_SECONDS)
        os.replace(whole, path)


def cache_folder() -> Path:
    """A folder into which nobody else can write, or one for this process alone: what lies there is run."""
    folder = Path(platformdirs.user_cache_dir("llmdemo", appauthor=False)) / "compiled"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.stat()
        if state.st_uid == os.getuid() and not state.st_mode & 0o022 and os.access(folder, os.W_OK):
            return folder
    except OSError:  # no home, or one that is read-only
        pass
    return _own_folder()


def _own_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="llmdemo-compiled-"))
    atexit.register(shutil.rmtree, folder, True)
    return folder
