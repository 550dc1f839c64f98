"""Two thousand comparisons in a row: does anything grow?

    python tests/benchmarks/soak_compare.py [--calls 2000] [--tokens 6] [--out FILE]

Starts the app on a tiny random model and calls /compare again and again, each fifth call cancelled half-way. Prints
memory, threads, open files and zombies from after the first tenth to the end, and the files in the home folder and in
Gradio's cache before and after.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from public_common import Watch, started_app


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=6)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "cache"
        cache.mkdir()
        with started_app(Path(scratch), env={"GRADIO_TEMP_DIR": str(cache)}) as (url, process):
            result = soak(url, process, options, [Path(scratch) / "home", cache])
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1))
    return 0


def soak(url: str, process, options, folders: list[Path]) -> dict:
    from gradio_client import Client

    client, watch, errors = Client(url, verbose=False), Watch(process.pid), []
    begun, before = time.monotonic(), None
    for number in range(options.calls):
        try:
            job = client.submit("starter", f"Number {number}?", {"max_new_tokens": options.tokens}, api_name="/compare")
            if number % 5 == 4:
                job.cancel()
            else:
                job.result(timeout=120)
        except Exception as error:  # counted and shown
            errors.append(f"call {number}: {type(error).__name__}: {str(error)[:80]}")
        if number % max(1, options.calls // 50) == 0:
            watch.look()
        if number == options.calls // 10:
            before = files_in(folders)
    time.sleep(2)
    watch.look()
    client.close()
    return {
        "calls": options.calls,
        "seconds": round(time.monotonic() - begun),
        "errors": errors[:20],
        "files": [before, files_in(folders)],
        **watch.report(),
    }


def files_in(folders: list[Path]) -> int:
    return sum(1 for folder in folders for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
