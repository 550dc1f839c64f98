"""What the load scripts share: the app as a process on a tiny random model, and a watch on what it takes."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.waiting import free_port, page_of


@contextmanager
def started_app(scratch: Path, *flags: str, env: dict | None = None):
    """`python app.py` on an empty home in `scratch`; yields (address, process)."""
    home = scratch / "home"
    tiny_model(home / "models" / "starter")
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    settings = {"LLMDEMO_HOME": str(home), "HF_HUB_OFFLINE": "1", "LLMDEMO_MIN_FREE_BYTES": "0", **(env or {})}
    with open(scratch / "app.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port), *flags],
            cwd=ROOT,
            env={**os.environ, **settings},
            stdout=log,
            stderr=log,
        )
        try:
            page_of(url, process, 120)
            yield url, process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
    said = (scratch / "app.log").read_text(errors="replace")
    if "Traceback" in said:
        print(f"the app's log has tracebacks:\n{said[-4000:]}", file=sys.stderr)


def tiny_model(folder: Path) -> None:
    """A random Llama of 30,000 weights with its tokenizer, as the tests use it."""
    from tests.conftest import make_llama, make_tokenizer

    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = make_tokenizer()
    make_llama(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class Watch:
    """Memory, threads and open files of a process over time."""

    def __init__(self, pid: int):
        self._process = psutil.Process(pid)
        self._begun = time.monotonic()
        self.rows: list[tuple[float, int, int, int, int]] = []

    def look(self) -> None:
        process = self._process
        zombies = sum(child.status() == psutil.STATUS_ZOMBIE for child in process.children(recursive=True))
        row = (process.memory_info().rss, process.num_threads(), process.num_fds(), zombies)
        self.rows.append((time.monotonic() - self._begun, *row))

    def until(self, end: float, every: float) -> None:
        while time.monotonic() < end:
            self.look()
            time.sleep(min(every, max(0, end - time.monotonic())))
        self.look()

    def report(self) -> dict:
        """Growth counts from a tenth of the time on, when models, threads and caches are there."""
        later = [row for row in self.rows if row[0] > 0.1 * self.rows[-1][0]] or self.rows
        return {
            "rss_mib_first": round(later[0][1] / 2**20),
            "rss_mib_last": round(later[-1][1] / 2**20),
            "rss_mib_most": round(max(row[1] for row in later) / 2**20),
            "growth_mib": round((later[-1][1] - later[0][1]) / 2**20),
            "threads": [later[0][2], later[-1][2]],
            "open_files": [later[0][3], later[-1][3]],
            "zombies": later[-1][4],
        }
