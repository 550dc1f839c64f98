"""What monitoring costs: its share of the CPU seconds of a request.

    OMP_NUM_THREADS=1 python tests/benchmarks/monitor_cost.py [--seconds 220] [--model FOLDER]

Two ways, in the same run. Directly: the CPU time of monitoring's own threads and calls (counts, figures over time, languages,
repetition, and in the forward that reads the prompt how likely each of its tokens was), each by its thread's clock, over that
of the whole process; this is narrow. By the difference: each round asks once with everything and once with none of it, in an
order drawn anew; this also holds what is not called by name, and is as wide as the machine is noisy. One request at a time is
the worst case: every prompt's surprise is taken (of more than four at once, of about four). torch takes one thread, as
several wait for one another by computing.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from starlette.applications import Starlette
from starlette.testclient import TestClient

from llmdemo.arena import Arena
from llmdemo.core.store import Home
from llmdemo.decoding.fused_llama import FusedLlamaWeights
from llmdemo.evaluation.intervals import Ratio, interval
from llmdemo.serving import Serving
from llmdemo.serving.routes import routes
from llmdemo.settings import Settings

TOKENS, WARM_UP = 32, 3
THREADS = ("monitor", "surprise")
"""Of monitoring alone."""


class Meter:
    """CPU seconds of monitoring so far, by part."""

    def __init__(self, serving: Serving):
        self._parts: Counter[str] = Counter()
        self.on = True
        self._serving, self._surprise_of = serving, serving.monitor.surprise.tokens
        monitor, metrics, timeline = serving.monitor, serving.metrics, serving.monitor.timeline
        self._wrap(FusedLlamaWeights, "_tell_surprise", "surprise in the forward")
        for holder, name in ((monitor, "answered"), (metrics, "finished"), (metrics, "add")):
            self._wrap(holder, name, "beside the answer", skips=True)
        self._wrap(timeline, "flush", "the file")
        monitor.surprise.tokens = lambda: self._surprise_of() if self.on else 0

    def _wrap(self, holder: Any, name: str, part: str, skips: bool = False) -> None:
        whole: Callable = getattr(holder, name)

        def metered(*given):
            if skips and not self.on:
                return None
            with self._timed(part):
                return whole(*given)

        setattr(holder, name, metered)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        outer = not getattr(_INSIDE, "now", False)  # `finished` calls `add`
        _INSIDE.now, began = True, time.thread_time()
        try:
            yield
        finally:
            if outer:
                _INSIDE.now = False
                self._parts[part] += time.thread_time() - began

    def seconds(self) -> Counter[str]:
        mine = [each for each in threading.enumerate() if each.name in THREADS]
        clocks = {f"thread {each.name}": time.pthread_getcpuclockid(each.ident) for each in mine}
        return self._parts + Counter({name: time.clock_gettime(clock) for name, clock in clocks.items()})


_INSIDE = threading.local()


def cost(web: TestClient, serving: Serving, meter: Meter, number: int) -> tuple[float, Counter[str]]:
    """CPU seconds of one request with what goes on beside it, and of that monitoring's by part.

    The prompts differ in a number, whose first digit tells the ways apart: so both find as much of a prompt in the cache,
    where only prompts that were read with their surprise serve one that asks for it.
    """
    known = (10_000 if meter.on else 20_000) + number
    text = f"Tell me what you know about the number {known}, and why it is so. Use a few plain sentences."
    body = {"model": "starter", "messages": [{"role": "user", "content": text}], "max_tokens": TOKENS}
    before, began = meter.seconds(), time.process_time()
    answer = web.post("/v1/chat/completions", json={**body, "min_tokens": TOKENS, "precision": "fp32"})
    serving.monitor.join()
    seconds = time.process_time() - began
    assert answer.status_code == 200, answer.text
    return seconds, meter.seconds() - before


def told(on: list[tuple[float, Counter[str]]], off: list[float]) -> None:
    whole, own = np.array([seconds for seconds, _ in on]), np.array([sum(parts.values()) for _, parts in on])
    share = interval(Ratio(own, whole - own), 1)
    print(
        f"{len(on)} rounds, {np.median(off):.4f} s of CPU a request without monitoring, load {os.getloadavg()[0]:.1f}"
    )
    print(f"directly: {share['mean']:+.2%} ({share['low']:+.2%} to {share['high']:+.2%})")
    for part, seconds in sum((parts for _, parts in on), Counter()).most_common():
        print(f"  {part}: {seconds / len(on) * 1000:.2f} ms a request, {seconds / (whole - own).sum():.2%}")
    shares = whole / np.array(off) - 1
    drawn = np.median(np.random.default_rng(1).choice(shares, (4000, len(shares))), 1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    print(
        f"by the difference: {np.median(shares):+.2%} ({low:+.2%} to {high:+.2%}), the median of the rounds", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=220.0)
    parser.add_argument("--model", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.model is None:
        import platformdirs

        args.model = Path(platformdirs.user_cache_dir("llmdemo-tests", appauthor=False)) / "models" / "starter"
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home").prepare()
        (home.models / "starter").symlink_to(args.model)
        limits = Settings(home=home.root, min_free_bytes=0)
        arena = Arena(home, limits)
        serving = Serving(home, limits, lambda: arena, lambda: None)
        serving.serve("starter", "starter")
        serving.join()
        key = serving.create_key("cost", [], 1_000_000, False)["key"]
        meter, on, off = Meter(serving), [], []
        with TestClient(Starlette(routes=routes(serving)), headers={"authorization": f"Bearer {key}"}) as web:
            number, until, order = 0, time.monotonic() + args.seconds, random.Random(1)
            while time.monotonic() < until:
                number += 1
                found = {}
                for meter.on in order.sample((True, False), 2):
                    found[meter.on] = cost(web, serving, meter, number)
                if number > WARM_UP:
                    on.append(found[True])
                    off.append(found[False][0])
        told(on, off)


if __name__ == "__main__":
    main()
