"""What decoding adds on the sample task: the tuned model's answers to the 104 held-out messages by several strategies.

    python tests/benchmarks/decoding_choice.py --model FOLDER [--limit 104] [--threads 2]

By the evaluation's own functions: the same records and seeds for every lane, exact match, each with its 95 % interval and
the paired difference to greedy. The model is one that the default run on the sample has made (sample_exact_match.py --train
--keep). Wall and CPU seconds are told with the machine's load.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch

from llmdemo.decoding import prepare
from llmdemo.evaluation.heldout import Example
from llmdemo.evaluation.run_decoding import Asking, _record, settings_of
from llmdemo.evaluation.strategies import table
from llmdemo.models.load import load_causal
from llmdemo.settings.evaluation_decoding import CheckerSpec, DecodingSpec

SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "who": {"type": ["string", "null"]},
        "what": {"type": ["string", "null"]},
        "when": {"type": ["string", "null"]},
        "amount": {"type": ["number", "null"]},
    },
    "required": ["type", "who", "what", "when", "amount"],
    "additionalProperties": False,
}
BEST = {"strategy": "best_of_n", "num_return_sequences": 8}
LANES = [
    "greedy",
    {"name": "greedy, schema", "strategy": "greedy", "json_schema": SCHEMA},
    {"name": "sample", "strategy": "sample"},
    {"name": "best of 8", **BEST},
    {"name": "vote of 8", "strategy": "self_consistency", "num_return_sequences": 8, "vote_on": "text"},
    {"name": "beam 4", "strategy": "beam", "num_beams": 4},
    {"name": "beam 8", "strategy": "beam", "num_beams": 8},
]


def examples(limit: int) -> list[Example]:
    rows = json.loads((ROOT / "assets" / "sample-messages.json").read_text(encoding="utf-8"))
    held = [row for row in rows if row["split"] == "eval"][:limit]
    found = []
    for place, row in enumerate(held):
        turns = [{"role": "user", "content": f"{row['instruction']}\n\n{row['input']}"}]
        found.append(Example(place, place, turns, turns, row["output"]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--limit", type=int, default=104)
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    model, tokenizer = load_causal(Path(asked.model), torch.float32)
    spec = DecodingSpec.from_value({"lanes": LANES, "settings": {"max_new_tokens": 64, "seed": 0}})
    settings = settings_of(spec)
    print(prepare(model, "auto"), f"load {os.getloadavg()[0]:.1f}")
    wall, cpu = time.perf_counter(), time.process_time()
    asking = Asking(model, tokenizer, settings)
    cells = list(asking.together(examples(asked.limit)))
    records = [_record(one, found, CheckerSpec("exact")) for one, found in cells]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    for row in table(records, 1, [lane.to_dict() for lane in settings.lanes], (), 0):
        change = row["difference"]
        against = f"{change['value']:+.1%} ({change['low']:+.1%} to {change['high']:+.1%})" if change else ""
        score = f"{row['score']:.1%} ({row['low']:.1%} to {row['high']:.1%}) of {row['n']}"
        print(f"{row['name']:16} {score}  {against}  tokens {row['tokens']:.1f}  pass@k {row['pass_at']}")
    print(json.dumps({"records": len(records), "seconds": round(wall, 1), "cpu_seconds": round(cpu, 1)}))


if __name__ == "__main__":
    main()
