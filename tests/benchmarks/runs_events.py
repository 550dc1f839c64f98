"""How fluid is a long run to look at, and what does an app cost that has nothing to do?

    python tests/benchmarks/runs_events.py [--events 100000] [--idle 20] [--out events.json]

Times are medians of --repeats, in milliseconds. "reread" is the peer: what it takes to read the whole file with
json.loads, line by line, which is what a page without offsets does at each look.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

import psutil  # noqa: E402

from llmdemo.core.events import EventWriter  # noqa: E402
from llmdemo.core.store import Home, write_json  # noqa: E402
from llmdemo.jobs import Jobs  # noqa: E402
from llmdemo.runs import Runs  # noqa: E402
from llmdemo.settings import Settings  # noqa: E402


def write_run(folder: Path, count: int) -> None:
    """A run folder with `count` events such as a worker writes, without an end."""
    folder.mkdir()
    write_json(folder / "config.json", {"run": {"id": folder.name, "name": "long", "created": time.time()}})
    lines = [json.dumps({"type": "start", "t": 1.0, "step": 0, "total_steps": count})]
    for step in range(1, count):
        figures = {"loss": 3 / step**0.5, "lr": 1e-3, "grad_norm": 1.0, "tokens": 100 * step, "epoch": step / count}
        figures |= {"tokens_per_second": 250.5, "memory_bytes": 10**9 + step, "eta_seconds": 1.5 * (count - step)}
        lines.append(json.dumps({"type": "step", "t": step / 10, "step": step, **figures}))
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")


def timed(act) -> tuple[float, object]:
    begun = time.perf_counter()
    value = act()
    return 1000 * (time.perf_counter() - begun), value


def median(act, repeats: int) -> float:
    return statistics.median(timed(act)[0] for _ in range(repeats))


def looks(count: int, repeats: int) -> dict:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        home = Home(root).prepare()
        write_run(home.runs / "run-long", count)
        path = home.runs / "run-long" / "events.jsonl"
        app = Runs(Jobs(home, Settings(home=root, min_free_bytes=0)))
        app.jobs._readers.drop(home.runs / "run-long")
        tracemalloc.start()
        cold, _ = timed(lambda: app.series("run-long", 1000))
        memory = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        app.jobs._readers.drop(home.runs / "run-long")
        cold, curves = timed(lambda: app.series("run-long", 1000))
        writer = EventWriter(path)

        def one_more():
            writer.write("step", step=count, loss=0.5)
            return app.status("run-long")

        return {
            "events": count,
            "file (MB)": round(path.stat().st_size / 1e6, 1),
            "first look, all read (ms)": round(cold),
            "series of 1000 points (ms)": round(median(lambda: app.series("run-long", 1000), repeats), 2),
            "status after one more event (ms)": round(median(one_more, repeats), 3),
            "status, nothing new (ms)": round(median(lambda: app.status("run-long"), repeats), 3),
            "peer: reread (ms)": round(median(lambda: [json.loads(line) for line in open(path, "rb")], 3)),
            "points drawn of the loss": len(curves["loss"]["step"]),
            "the JSON of all curves (KB)": round(len(json.dumps(curves)) / 1e3),
            "memory kept (MB)": round(memory / 1e6, 1),
        } | closed(app)


def closed(app: Runs) -> dict:
    app.close()
    return {}


def idle(seconds: float) -> dict:
    """CPU time of an app with ten ended runs: nobody looks, and then a page that asks for the list every second."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        home = Home(root).prepare()
        for index in range(10):
            write_run(home.runs / f"run-{index}", 1000)
            with open(home.runs / f"run-{index}" / "events.jsonl", "a") as file:
                file.write('{"type": "end", "state": "completed"}\n')
        app, mine = Runs(Jobs(home, Settings(home=root, min_free_bytes=0))), psutil.Process()
        app.list()
        time.sleep(1.5)
        results = {}
        for what, look in (("nobody looks", lambda: None), ("a page lists the runs each second", app.list)):
            cpu, begun = sum(mine.cpu_times()[:2]), time.monotonic()
            while time.monotonic() - begun < seconds:
                look()
                time.sleep(1)
            results[f"idle, {what} (CPU %)"] = round(100 * (sum(mine.cpu_times()[:2]) - cpu) / seconds, 3)
        app.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--idle", type=float, default=20, help="seconds to watch an idle app")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--out", help="write the figures as JSON")
    args = parser.parse_args()
    results = looks(args.events, args.repeats) | idle(args.idle)
    for key, value in results.items():
        print(f"{key:55} {value}")
    if args.out:
        Path(args.out).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
