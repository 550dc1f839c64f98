"""Many visitors in the arena at once: are there errors, does the memory stay flat, is the waiting fair?

    python tests/benchmarks/load_arena.py [--visitors 40] [--minutes 10] [--tokens 8] [--heavy 1] [--hostile] [--out FILE]

Starts the app on a home folder of its own with a tiny random model, shared with guests (--host 0.0.0.0), and then lets
each visitor, a gradio_client with a session of its own, ask again as soon as it has been answered. `--heavy` of them keep
five requests in the queue all the time. With `--hostile` a guest who means harm (hostile_guest.py) is there for the whole
time as well; the others' median wait shall be at most 1.5 times what it is without. The minutes count from when all
visitors are connected. An honest "the queue is full" is counted by itself. Prints per-visitor median waits with their
spread, errors, answers, how long connecting took, the app's memory from after the first minute to the end, and the CPU
seconds of the app, of the visitors and of the hostile guest: all three share this machine's cores.
"""

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import httpx
import psutil
from public_common import Watch, started_app

CONNECT_SECONDS = 300.0
HOSTILE_BEFORE = 20.0
"""How much longer than the measured time the hostile guest is there: the visitors connect beside it."""


class Visitor(threading.Thread):
    """Asks, waits, asks again; notes how long each answer took to begin and to end."""

    def __init__(self, url: str, tokens: int, at_once: int, connected: threading.Barrier):
        super().__init__(daemon=True)
        self.url, self.end, self.tokens, self.at_once = url, 0.0, tokens, at_once
        self.connected = connected
        self.waits: list[float] = []
        self.begins: list[float] = []
        self.errors: Counter = Counter()

    def run(self) -> None:
        client = self._client()
        self.connected.wait(CONNECT_SECONDS)
        self.connected.wait(CONNECT_SECONDS)  # in between, `end` is set
        while time.monotonic() < self.end:
            jobs = [self._ask(client) for _ in range(self.at_once)]
            for begun, job in jobs:
                self._take(begun, job)
        client.close()

    def _client(self):
        """A client once the app has let it in; tries that took longer than its own limit, 5 seconds, are counted."""
        from gradio_client import Client

        while True:
            try:
                return Client(self.url, verbose=False)
            except httpx.HTTPError as error:
                self.errors[f"connecting: {type(error).__name__}"] += 1

    def _ask(self, client):
        # a seed of its own: the same question once more would not be computed again
        settings = {"max_new_tokens": self.tokens, "num_beams": 2, "seed": secrets.randbelow(2**31)}
        return time.monotonic(), client.submit("starter", "What is two plus two?", settings, api_name="/compare")

    def _take(self, begun: float, job) -> None:
        try:
            first = None
            for _ in job:
                first = first or time.monotonic()
            job.result(timeout=300)
            self.begins.append(first - begun)
            self.waits.append(time.monotonic() - begun)
        except Exception as error:  # counted and shown
            text = f"{type(error).__name__}: {str(error)[:80]}"
            self.errors["queue full" if "Queue is full" in text else text] += 1
            time.sleep(0.5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--heavy", type=int, default=1)
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, started_app(Path(scratch), "--host", "0.0.0.0") as (url, process):
        watch = Watch(process.pid)
        hostile = begin_hostile(url, 60 * options.minutes + HOSTILE_BEFORE) if options.hostile else None
        begun, connected = time.monotonic(), threading.Barrier(options.visitors + 1)
        visitors = [
            Visitor(url, options.tokens, 5 if number < options.heavy else 1, connected)
            for number in range(options.visitors)
        ]
        for visitor in visitors:
            visitor.start()
        connected.wait(CONNECT_SECONDS)
        connecting = time.monotonic() - begun
        end = time.monotonic() + 60 * options.minutes
        for visitor in visitors:
            visitor.end = end
        before = cpu_seconds(process.pid), cpu_seconds(os.getpid())
        connected.wait(CONNECT_SECONDS)
        watch.until(end, every=2)
        after = cpu_seconds(process.pid), cpu_seconds(os.getpid())
        for visitor in visitors:
            visitor.join(300)
        result = report(visitors, options, watch) | {
            "connecting_seconds": round(connecting, 1),
            "cpu_seconds_of_app": round(after[0] - before[0], 1),
            "cpu_seconds_of_visitors": round(after[1] - before[1], 1),
        }
        if hostile:
            result["hostile_guest"] = json.loads(hostile.communicate(timeout=HOSTILE_BEFORE + 60)[0] or "null")
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1))
    return 0


def cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def begin_hostile(url: str, seconds: float) -> subprocess.Popen:
    script = Path(__file__).with_name("hostile_guest.py")
    return subprocess.Popen([sys.executable, str(script), url, str(seconds)], stdout=subprocess.PIPE, text=True)


def report(visitors, options, watch) -> dict:
    light = [visitor for visitor in visitors[options.heavy :] if visitor.waits]
    medians = sorted(statistics.median(visitor.waits) for visitor in light)
    middle = statistics.median(medians)
    errors = sum((visitor.errors for visitor in visitors), Counter())
    heavy = [statistics.median(visitor.waits) for visitor in visitors[: options.heavy] if visitor.waits]
    return {
        "visitors": options.visitors,
        "minutes": options.minutes,
        "cores": os.cpu_count(),
        "answers": sum(len(visitor.waits) for visitor in visitors),
        "queue_full": errors.pop("queue full", 0),
        "errors": dict(errors),
        "median_wait_seconds": round(middle, 2),
        "fastest_visitor": round(medians[0], 2),
        "slowest_visitor": round(medians[-1], 2),
        "spread_percent": round(100 * max(medians[-1] / middle - 1, 1 - medians[0] / middle), 1),
        "heavy_visitors_median": [round(value, 2) for value in heavy],
        **watch.report(),
    }


if __name__ == "__main__":
    sys.exit(main())
