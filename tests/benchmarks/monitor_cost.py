"""What monitoring costs: CPU seconds a request, with it and without, in turn in the same process.

    python tests/benchmarks/monitor_cost.py [rounds] [--model FOLDER]

Each round is two clients (--clients) with four requests of 32 tokens each, once with everything (counts, the figures over time, languages,
repetition, surprise), once with counting and looking but no surprise, once with none of it. CPU time of the whole process is
less disturbed by other programs than the clock. The surprise comes from the forward that reads the prompt.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from starlette.applications import Starlette  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from llmdemo.arena import Arena  # noqa: E402
from llmdemo.core.store import Home  # noqa: E402
from llmdemo.serving import Serving  # noqa: E402
from llmdemo.serving.routes import routes  # noqa: E402
from llmdemo.settings import Settings  # noqa: E402

REQUESTS, TOKENS = 4, 32
WAYS = ("all", "no surprise", "nothing")


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


def a_round(web: TestClient, number: int, clients: int) -> float:
    """CPU seconds of one request, the mean of a round."""

    def one(client: int) -> None:
        for turn in range(REQUESTS):
            text = f"Tell me what you know about the number {1000 * number + 10 * client + turn}, and why it is so."
            body = {"model": "starter", "messages": [{"role": "user", "content": text}], "max_tokens": TOKENS}
            answer = web.post("/v1/chat/completions", json={**body, "min_tokens": TOKENS, "precision": "fp32"})
            assert answer.status_code == 200, answer.text

    threads = [threading.Thread(target=one, args=(client,)) for client in range(clients)]
    began = time.process_time()
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    time.sleep(0.5)  # what goes on beside the requests ends too
    return (time.process_time() - began) / (clients * REQUESTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=6)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--clients", type=int, default=2)
    args = parser.parse_args()
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
            a_round(web, 0, args.clients)
            for number in range(args.rounds):
                for way in WAYS if number % 2 else WAYS[::-1]:
                    quiet(serving, way)
                    found[way].append(a_round(web, number, args.clients))
        base = statistics.median(found["nothing"])
        for way, seconds in found.items():
            middle = statistics.median(seconds)
            each = [round(value, 4) for value in seconds]
            print(f"{way}: {middle:.4f} s of CPU a request, {middle / base - 1:+.2%} ({each})", flush=True)
        print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
