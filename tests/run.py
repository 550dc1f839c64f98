"""The whole test suite: `python tests/run.py [--quick] [pytest options]`. Sets up all that it needs, a browser included.

Installs tests/requirements.txt with pip, and Chromium: Debian's through apt where that can be, else Playwright's own
download; with neither, the browser tests fail with a sentence. The page's scripts are checked by their own tools, from npm
(tests/assets/check.py). Then the quick tests run on all cores, one thread each,
and after them those that need the starter model, the real worker or the browser, two at a time, as they wait a lot;
those that measure time come last, alone. With --quick, linters, types and quick tests only.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""Programs that the browser tests can use, the best first: the shell takes a quarter less CPU time than the whole browser."""


def main(options: list[str]) -> int:
    is_quick = "--quick" in options
    options = [option for option in options if option != "--quick"]
    install("-r", str(ROOT / "tests" / "requirements.txt"))
    if not is_quick:
        provide_browser()
    lint = [[sys.executable, "-m", "ruff", *command, "."] for command in (["check"], ["format", "--check"])]
    quick = [*pytest("not slow"), "-n", str(os.cpu_count() or 1), "--dist", "loadfile"]
    slow = [*pytest("slow and not alone"), "-n", "2", "--dist", "loadfile", "--durations", "12"]
    results = [run(command) for command in lint]
    results.append(run([sys.executable, "-m", "mypy"]))
    results.append(run([sys.executable, str(ROOT / "tests" / "audit.py")]))
    results.append(run([sys.executable, str(ROOT / "tests" / "assets" / "check.py")]))
    results.append(run([*quick, *options], {"OMP_NUM_THREADS": "1"}))
    if is_quick:
        return max(results)
    results.append(run([*slow, *options], {"OMP_NUM_THREADS": "1"}))
    results.append(run([*pytest("alone"), *options]))
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


def run(command: list[str], environment: dict[str, str] | None = None) -> int:
    print("$", " ".join(command), flush=True)
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **(environment or {})}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
