"""The whole test suite: `python tests/run.py [--quick] [pytest options]`. Sets up all that it needs, a browser included.

Installs tests/requirements.txt with pip, and Chromium: Debian's through apt where that can be, else Playwright's own
download; with neither, the browser tests fail with a sentence. Linters, types, pip-audit and the tools for the page's
scripts (tests/assets/check.py) run one after another beside the tests, and so do the tests of GPU kernels, through Triton's
interpreter; what they say is printed when these have ended. The tests run with one thread each, two more at a time than there are cores: first those that need the starter model, the real
worker or the browser, as they take long and wait a lot (tests/conftest.py). Those that measure time come last, alone. With
--quick, no slow tests.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""Programs that the browser tests can use, the best first: the shell takes a quarter less CPU time than the whole browser."""
KERNELS = ("gpu_layers", "gpu_lanes")
"""Tests of kernels that need a GPU, or else Triton's interpreter, which each process begins with or not."""
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
"""Some 150 processes load the same modules: where the environment forbids it, each would compile them anew."""
MOST_CORES = 8
"""Each test process takes a gigabyte, and the app and the browser that it starts as much again."""


def main(options: list[str]) -> int:
    is_quick = "--quick" in options
    options = [option for option in options if option != "--quick"]
    install("-r", str(ROOT / "tests" / "requirements.txt"))
    if not is_quick:
        provide_browser()
    checks = [
        [sys.executable, "-m", "ruff", "check", "."],
        [sys.executable, "-m", "ruff", "format", "--check", "."],
        [sys.executable, str(ROOT / "tests" / "assets" / "check.py")],
        [sys.executable, "-m", "mypy"],
        [sys.executable, str(ROOT / "tests" / "audit.py")],
    ]
    if not is_quick and find_spec("triton"):
        checks.append([sys.executable, "-m", "pytest", "-q", *(f"tests/decoding/test_{name}.py" for name in KERNELS)])
    count = min(os.cpu_count() or 1, MOST_CORES) + 2
    workers = ["-n", str(count), "--dist", "loadfile", "--no-loadscope-reorder", "--durations", "12"]
    with ThreadPoolExecutor(1) as beside:
        checked = [beside.submit(run_aside, command) for command in checks]
        tests = [*pytest("not slow" if is_quick else "not alone"), *workers, *options]
        results = [run(tests, {"OMP_NUM_THREADS": "1", **COMPILED})]
        for answer in checked:
            status, said = answer.result()
            print(said, flush=True)
            results.append(status)
    if not is_quick:
        results.append(run([*pytest("alone"), *options], COMPILED))
    return max(results)


def pytest(marker: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "--timeout", "600", "-m", marker]


def install(*what: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *what], check=True)


def provide_browser() -> None:
    """A Chromium for the browser tests; where none can be had, they say so themselves."""
    if any(map(shutil.which, BROWSERS)):
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        run(["apt-get", "update", "-qq"])
        for package in BROWSERS[:2]:
            command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
            if run(command, {"DEBIAN_FRONTEND": "noninteractive"}) == 0:
                return
    run([sys.executable, "-m", "playwright", "install", "chromium"])


def run_aside(command: list[str]) -> tuple[int, str]:
    """(exit status, the command and all that it said)."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.returncode, f"$ {' '.join(command)}\n{done.stdout.rstrip()}"


def run(command: list[str], environment: dict[str, str] | None = None) -> int:
    print("$", " ".join(command), flush=True)
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **(environment or {})}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
