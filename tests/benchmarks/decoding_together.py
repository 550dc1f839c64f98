"""What it gains that comparisons of several visitors share each forward: the same ones at once, against one after another.

    python tests/benchmarks/decoding_together.py [--model FOLDER] [--visitors 1 2 4 8] [--tokens 32] [--repeats 3]

Every visitor compares the four default lanes on a prompt of its own through the arena's service, events and all. Peers are
interleaved; medians. "ratio" is the time of all at once over the time of all one after another: under 1 is a gain.
Without --model the starter model is used (fetched if need be).
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from llmdemo.arena.service import Arena
from llmdemo.core.store import Home
from llmdemo.models.starter import fetch_starter
from llmdemo.settings import Settings

QUESTIONS = [
    "Tell me a story about a lighthouse.",
    "What should I pack for a week in the mountains?",
    "Explain why the sky is blue to a child of six.",
    "Write a short letter to a neighbour about a borrowed ladder.",
    "Name three rivers and the cities on them.",
    "How does a bicycle stay upright?",
    "What is the difference between weather and climate?",
    "Give me a plan for learning to play the guitar.",
]


def ask(arena: Arena, number: int, tokens: int, found: list) -> None:
    request = arena.request("starter", QUESTIONS[number % len(QUESTIONS)], {"max_new_tokens": tokens})
    texts: dict[str, list] = {}
    for batch in arena.stream(request):
        for event in batch:
            if event["type"] == "end" and event["state"] != "done":
                raise SystemExit(f"a comparison failed: {event}")
            texts.setdefault(event["type"], []).append(event)
    found.append(len(texts))


def at_once(arena: Arena, visitors: int, tokens: int) -> float:
    started, found = time.perf_counter(), []
    threads = [threading.Thread(target=ask, args=(arena, number, tokens, found)) for number in range(visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) != visitors:
        raise SystemExit("a visitor got no answer")
    return time.perf_counter() - started


def in_turn(arena: Arena, visitors: int, tokens: int) -> float:
    started = time.perf_counter()
    for number in range(visitors):
        ask(arena, number, tokens, [])
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a folder to be used as the starter model")
    parser.add_argument("--visitors", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder)).prepare()
        if options.model:
            (home.models / "starter").symlink_to(options.model.resolve())
        else:
            fetch_starter(home)
        arena = Arena(home, Settings(home=home.root))
        arena.warm("starter")
        in_turn(arena, 2, options.tokens)
        rows = []
        for visitors in options.visitors:
            pairs = [
                (at_once(arena, visitors, options.tokens), in_turn(arena, visitors, options.tokens))
                for _ in range(options.repeats)
            ]
            together, turns = (statistics.median(times) for times in zip(*pairs, strict=True))
            rows.append({
                "visitors": visitors,
                "at_once_seconds": round(together, 2),
                "in_turn_seconds": round(turns, 2),
                "ratio": round(together / turns, 3),
            })  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
