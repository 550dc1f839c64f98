"""How long `python app.py` takes from the command to the first answered page; the bar is 4 seconds.

    python tests/benchmarks/start_time.py [--times 3] [--out FILE]

Each time on a home folder of its own with a tiny model as starter, so that nothing is fetched. Beside the seconds: the
CPU seconds that the start took, which tell a slow start from a busy machine, and the machine's load.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil
from public_common import ROOT, tiny_model

from tests.waiting import free_port, page_of

LONGEST = 120.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    starts = []
    for _ in range(options.times):
        with tempfile.TemporaryDirectory() as scratch:
            tiny_model(Path(scratch) / "models" / "starter")
            starts.append(start(Path(scratch)))
            print(starts[-1], flush=True)
    result = {"starts": starts, "seconds_least": min(each["seconds"] for each in starts)}
    print(json.dumps(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1))
    return 0


def start(home: Path) -> dict:
    """{"seconds", "cpu_seconds", "load"} of one start, until GET / is 200."""
    port = free_port()
    load, begun = os.getloadavg()[0], time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "LLMDEMO_HOME": str(home), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        page_of(f"http://127.0.0.1:{port}/", process, LONGEST, pause=0.02)
        seconds, times = time.perf_counter() - begun, psutil.Process(process.pid).cpu_times()
        return {
            "seconds": round(seconds, 2),
            "cpu_seconds": round(times.user + times.system, 2),
            "load": round(load, 1),
        }
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    sys.exit(main())
