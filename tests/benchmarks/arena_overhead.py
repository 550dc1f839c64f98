"""What trace, metrics, JSON and streaming cost: `Arena.stream` as a page's stream, against the bare engine.

Both decode the same prompt with the same four lanes on the same loaded model, in turn, `--rounds` times; the medians
of their wall-clock times are compared. Also says how many bytes go to the page and how long the first events take.

    python tests/benchmarks/arena_overhead.py [--home FOLDER] [--model starter] [--tokens 64] [--rounds 5] [--out FILE]
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from llmdemo.arena import Arena
from llmdemo.core.store import Home
from llmdemo.decoding import decode_lanes
from llmdemo.models import catalog, load
from llmdemo.settings import Settings
from llmdemo.ui.event_streams import EventStream

PROMPT = "Why is the sky blue? Explain it to a child, in a few sentences, and then name three other blue things."


def main() -> None:
    flags = arguments()
    settings = Settings.from_env({"LLMDEMO_HOME": flags.home} if flags.home else None)
    home = Home(settings.home)
    loaded = load.load_causal(catalog.resolve(home, flags.model), {"fp32": torch.float32}.get(flags.precision))
    arena = Arena(home, settings, load_model=lambda *_: loaded)
    request = arena.request(flags.model, PROMPT, {"max_new_tokens": flags.tokens, "temperature": 0.8, "seed": 7})
    results = {"engine": [], "stream": [], "first_events": [], "bytes": []}
    for _ in range(flags.rounds + 1):  # the first of each warms up and is dropped
        results["engine"].append(engine(loaded, request))
        for key, value in stream(arena, request).items():
            results[key].append(value)
    medians = {key: statistics.median(values[1:]) for key, values in results.items()}
    overhead = medians["stream"] / medians["engine"] - 1
    print(f"{flags.model}, {flags.tokens} tokens, 4 lanes, {torch.get_num_threads()} threads, median of {flags.rounds}")
    print(f"engine alone          {medians['engine']:.3f} s")
    print(f"with trace and stream {medians['stream']:.3f} s  ({overhead:+.1%})")
    print(f"first events after    {1000 * medians['first_events']:.0f} ms")
    print(f"sent to the page      {medians['bytes'] / 1000:.0f} kB")
    if flags.out:
        with open(flags.out, "w", encoding="utf-8") as file:
            json.dump({**vars(flags), **medians, "overhead": overhead}, file, indent=1)


def engine(loaded, request) -> float:
    model, tokenizer = loaded
    started = time.perf_counter()
    for step in decode_lanes(model, request.prompt.encode(tokenizer), request.settings):
        if step.done:
            break
    return time.perf_counter() - started


def stream(arena, request) -> dict[str, float]:
    events, first = EventStream(), None
    started = time.perf_counter()
    for batch in arena.stream(request):
        events.add(batch)
        if first is None and any(event["type"] == "token" for event in batch):
            first = time.perf_counter() - started
        if batch[-1]["type"] == "end" and batch[-1]["state"] != "done":
            raise SystemExit(batch[-1]["message"])
    return {"stream": time.perf_counter() - started, "first_events": first, "bytes": events.size}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", help="home folder (default: as the app's)")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=("auto", "fp32"), default="auto")
    parser.add_argument("--out", help="also write the figures as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
