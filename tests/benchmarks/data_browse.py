"""How long a person waits while browsing a large data set: pages, searches, filters, an edit.

    python tests/benchmarks/data_browse.py [--rows 100000] [--repeat 5] [--out FILE]

Makes a data set of short conversations in a temporary home folder; shows medians in milliseconds.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from llmdemo.core.store import Home  # noqa: E402
from llmdemo.data import (  # noqa: E402
    add_dataset,
    apply_filters,
    edit_record,
    get_dataset,
    open_records,
    preview_filters,
    problems,
    split,
    stats,
)
from llmdemo.settings import Settings  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = measure(Path(folder), args)
    for name, (wall, cpu) in times.items():
        print(f"{name:44} {wall:9.1f} ms  ({cpu:.1f} ms of CPU)")
    if args.out:
        args.out.write_text(json.dumps({name: {"ms": w, "cpu_ms": c} for name, (w, c) in times.items()}, indent=1))


def measure(folder: Path, args) -> dict[str, tuple[float, float]]:
    home = Home(folder / "home").prepare()
    settings = Settings(home=home.root)
    path = folder / "a.jsonl"
    with open(path, "w") as file:
        for n in range(args.rows):
            prompt = f"Please tell me about the number {n} and of its neighbour {n * 7919 % 1_000_003}."
            answer = f"The number {n} is {'even' if n % 2 == 0 else 'odd'}; write to {n}@example.org. " * (1 + n % 4)
            file.write(json.dumps({"instruction": prompt, "input": "", "output": answer}) + "\n")
    info = add_dataset(home, settings, path, "numbers")
    name = info.dataset_id
    records = open_records(home, name, everything=True)
    middle = records[args.rows // 2]
    jobs = {
        "open": lambda: open_records(home, name),
        "first page of 20": lambda: records.page(0, 20),
        "page in the middle": lambda: records.page(args.rows // 2, 20),
        "search, found everywhere": lambda: records.page(0, 20, query="NUMBER"),
        "search, found once": lambda: records.page(0, 20, query=f"number {args.rows - 3} and"),
        "search within a problem": lambda: records.page(0, 20, query="odd", code="email"),
        "a page of problems": lambda: problems(home, name, offset=args.rows // 2, limit=50),
        "preview of filters": lambda: preview_filters(home, name, ["email"]),
        "information": lambda: get_dataset(home, name),
        "figures": lambda: stats(home, name),
        "split": lambda: split(records, 0, 0.1),
        "apply filters (a new version)": lambda: apply_filters(home, name, []),
        "edit a record (a new version)": lambda: edit_record(home, name, args.rows // 2, middle),
        "1,000 records one by one": lambda: [records[i] for i in range(0, args.rows, args.rows // 1000)],
    }
    times = {}
    for label, job in jobs.items():
        walls, cpus = [], []
        for _ in range(args.repeat):
            wall, cpu = time.perf_counter(), time.process_time()
            job()
            walls.append(1000 * (time.perf_counter() - wall))
            cpus.append(1000 * (time.process_time() - cpu))
        times[label] = (statistics.median(walls), statistics.median(cpus))
    return times


if __name__ == "__main__":
    main()
