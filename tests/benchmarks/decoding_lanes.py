"""What more lanes cost: eight against four, and an evaluation's records by six strategies in lock step.

    python tests/benchmarks/decoding_lanes.py [--model FOLDER] [--tokens 32] [--repeats 5] [--records 0] [--answer-tokens 96]

The four default lanes (7 rows) and those with four samplers more (11 rows), interleaved; medians; "ratio" is eight's time
over four's, of which the bar is 1.5. With --records N so many of the sample's 104 held-out messages are answered by six
strategies, many of them in one forward (an untuned model talks longer than a tuned one: give --model the folder of a run's model), and the time of all 104
is worked out from theirs; the bar is 240 seconds. Without --model the starter model is used (fetched if need be).
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch

from llmdemo.core.store import Home
from llmdemo.decoding import DEFAULT_LANES, DecodeSettings, decode_lanes, prepare
from llmdemo.evaluation.heldout import Example
from llmdemo.evaluation.run_decoding import Asking
from llmdemo.models.load import load_causal
from llmdemo.models.starter import fetch_starter

FOUR = list(DEFAULT_LANES)
EIGHT = [*FOUR, "min_p", "typical_p", "top_n_sigma", "sample"]
SIX = ["greedy", "sample", "top_p", "beam", {"strategy": "best_of_n", "num_return_sequences": 4}, "speculative"]
BAR, SECONDS, ALL = 1.5, 240, 104
PROMPT = "Tell me a story about a lighthouse."


def seconds_of(model, ids: list[int], lanes: list, tokens: int) -> float:
    """Of a comparison in which no lane ends early."""
    settings = DecodeSettings.from_dict({"lanes": lanes, "max_new_tokens": tokens, "min_new_tokens": tokens})
    started = time.perf_counter()
    for _ in decode_lanes(model, ids, settings):
        pass
    return time.perf_counter() - started


def lanes_cost(model, tokenizer, tokens: int, repeats: int) -> dict:
    turns = [{"role": "user", "content": PROMPT}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    times: dict[int, list[float]] = {4: [], 8: []}
    for repeat in range(repeats + 1):  # the first warms up
        for lanes in (FOUR, EIGHT) if repeat % 2 else (EIGHT, FOUR):
            took = seconds_of(model, ids, lanes, tokens)
            if repeat:
                times[len(lanes)].append(took)
    four, eight = (statistics.median(times[count]) for count in (4, 8))
    return {"four": round(four, 3), "eight": round(eight, 3), "ratio": round(eight / four, 3), "bar": BAR}


def records_cost(model, tokenizer, count: int, tokens: int) -> dict:
    """Of `count` of the sample's held-out messages, as an evaluation asks them: many records in one forward."""
    rows = json.loads((ROOT / "assets" / "sample-messages.json").read_text(encoding="utf-8"))
    held = [row for row in rows if row["split"] == "eval"][:count]
    asking = Asking(model, tokenizer, DecodeSettings.from_dict({"lanes": SIX, "max_new_tokens": tokens}))
    examples = []
    for place, row in enumerate(held):
        turns = [{"role": "user", "content": f"{row['instruction']}\n\n{row['input']}"}]
        examples.append(Example(place, place, turns, turns, str(row["output"])))
    wall, cpu = time.perf_counter(), time.process_time()
    cells = [found for _, found in asking.together(examples)]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    told = {"records": len(cells), "seconds": round(wall, 1), "cpu_seconds": round(cpu, 1)}
    tokens_of = sum(cell["tokens"] for found in cells for cell in found)
    share = ALL / max(1, len(cells))
    return told | {
        "tokens": tokens_of,
        "of_104": round(wall * share, 1),
        "cpu_of_104": round(cpu * share, 1),
        "bar": SECONDS,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--records", type=int, default=0)
    parser.add_argument("--answer-tokens", type=int, default=96)
    asked = parser.parse_args()
    folder = asked.model or fetch_starter(Home(Path(tempfile.mkdtemp())).prepare())
    model, tokenizer = load_causal(Path(folder), torch.float32)
    print(prepare(model, "fp32"))
    found = {"load": os.getloadavg()[0], "lanes": lanes_cost(model, tokenizer, asked.tokens, asked.repeats)}
    if asked.records:
        found["evaluation"] = records_cost(model, tokenizer, asked.records, asked.answer_tokens)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
