"""What monitoring costs: CPU seconds of the whole process a request, with it and without, in turn in the same process.

    OMP_NUM_THREADS=1 python tests/benchmarks/monitor_cost.py [--seconds 220] [--model FOLDER]

A round asks the same model one request after another: with everything (counts, the figures over time, languages,
repetition, surprise), with all but the surprise, and with none of it, in an order drawn anew. What goes on beside a request is
waited for and counted with it. CPU time of the process is less disturbed by other programs than the clock, the difference
within a round less than the figures; torch takes one thread, as several wait for one another by computing. One request at
a time is the worst case: every prompt's surprise is taken (of more than four at once, of about four).
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from starlette.applications import Starlette  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from llmdemo.arena import Arena  # noqa: E402
from llmdemo.core.store import Home  # noqa: E402
from llmdemo.evaluation.intervals import Ratio, difference  # noqa: E402
from llmdemo.serving import Serving  # noqa: E402
from llmdemo.serving.routes import routes  # noqa: E402
from llmdemo.settings import Settings  # noqa: E402

TOKENS, WARM_UP = 32, 3
WAYS = ("nothing", "no surprise", "all")


def quiet(serving: Serving, way: str) -> None:
    """Takes away what `way` leaves out; what the app does otherwise is put back."""
    monitor, metrics = serving.monitor, serving.metrics
    for holder, names in ((monitor, ("answered",)), (metrics, ("finished", "add")), (monitor.surprise, ("tokens",))):
        for name in names:
            holder.__dict__.pop(name, None)
    if way != "all":
        monitor.surprise.tokens = lambda: 0
    if way == "nothing":
        monitor.answered = metrics.finished = metrics.add = lambda *_: None


def cost(web: TestClient, serving: Serving, number: int) -> float:
    """CPU seconds of one request, and of what goes on beside it. The prompts differ in a number of five digits only."""
    text = (
        f"Tell me what you know about the number {10_000 + number}, and why it is so. Say it in a few plain sentences."
    )
    body = {"model": "starter", "messages": [{"role": "user", "content": text}], "max_tokens": TOKENS}
    began = time.process_time()
    answer = web.post("/v1/chat/completions", json={**body, "min_tokens": TOKENS, "precision": "fp32"})
    serving.monitor.join()
    seconds = time.process_time() - began
    assert answer.status_code == 200, answer.text
    return seconds


def told(seconds: dict[str, list[float]]) -> None:
    """The middle half of the rounds by what the request without monitoring took: a program beside it slows some by half."""
    ones, base = np.ones(len(seconds["nothing"])), Ratio(np.array(seconds["nothing"]), np.ones(len(seconds["nothing"])))
    print(f"nothing: {base.value():.4f} s of CPU a request, {len(ones)} rounds, load {os.getloadavg()[0]:.1f}")
    for way in WAYS[1:]:
        mine = Ratio(np.array(seconds[way]), base.sums)  # a ratio of sums over the same rounds
        found = difference(Ratio(base.sums, base.sums), mine, 1)
        shares = np.array(seconds[way]) / base.sums - 1
        drawn = np.random.default_rng(1).choice(shares, (4000, len(shares)))
        low, high = np.quantile(np.median(drawn, 1), (0.025, 0.975))
        print(
            f"{way}: mean {found['value']:+.2%} ({found['low']:+.2%} to {found['high']:+.2%}), "
            f"median of the rounds {np.median(shares):+.2%} ({low:+.2%} to {high:+.2%})",
            flush=True,
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
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        with TestClient(Starlette(routes=routes(serving)), headers={"authorization": f"Bearer {key}"}) as web:
            number, until, order = 0, time.monotonic() + args.seconds, random.Random(1)
            while time.monotonic() < until:
                for way in order.sample(WAYS, len(WAYS)):
                    number += 1
                    quiet(serving, way)
                    seconds = cost(web, serving, number)
                    if number > WARM_UP * len(WAYS):
                        found[way].append(seconds)
        told(found)


if __name__ == "__main__":
    main()
