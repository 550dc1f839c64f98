"""Finds GaLore's defaults: held-out loss after a fixed number of steps, against AdamW on the same data, seed and steps.

    python tests/benchmarks/sweep_defaults.py --data instruction-data.json [--steps 40] [--grid quick|full] [--out sweep.json]

Every point trains the starter model (or --model FOLDER) from the beginning in this process; only the settings named in
a row differ from TrainConfig's defaults. Held-out records: the split of the data set, at most --eval-records.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch

from llmdemo.data.ingest import add_dataset
from llmdemo.models.load import load_causal, load_tokenizer
from llmdemo.settings import Settings
from llmdemo.store import Home
from llmdemo.training import TrainConfig, build_optimizer
from llmdemo.training.adapters import add_adapters
from llmdemo.training.device import resolve_precision
from llmdemo.training.loop import Loop
from llmdemo.training.prepare import prepare_data

QUICK = [
    {"method": "adamw", "learning_rate": 5e-5},
    {"method": "galore"},
    {"method": "galore", "learning_rate": 1e-3, "scale": 0.25},
]
FULL = [
    *({"method": "adamw", "learning_rate": rate} for rate in (2e-5, 5e-5, 1e-4, 2e-4)),
    *({"method": "galore", "learning_rate": rate} for rate in (1e-4, 2e-4, 3e-4, 5e-4, 1e-3)),
    *({"method": "galore", "scale": scale} for scale in (0.25, 0.5, 2.0, 4.0)),
    *({"method": "galore", "rank": rank} for rank in (16, 64, 256)),
    *({"method": "galore", "update_proj_gap": gap} for gap in (10, 50, 1000)),
    *({"method": "lora", "rank": 16, "learning_rate": rate} for rate in (2e-4, 5e-4, 1e-3)),
]


def run(point, run_data, model_folder, tokenizer, args):
    """Held-out loss before and after one training."""
    config = TrainConfig("x", max_steps=args.steps, eval_steps=0, **point).resolved()
    config = replace(config, eval_records=args.eval_records)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config.seed)
    model, _ = load_causal(model_folder, dtype=torch.float32, device=device)
    if config.method == "lora":
        model = add_adapters(model, config)
    precision = resolve_precision("fp32" if device.type == "cuda" else "auto", device)
    optimizer = build_optimizer(model, config)
    loop = Loop(
        model, tokenizer, optimizer, replace(run_data, samples=[]), config, precision, lambda kind, **fields: None
    )
    before = loop.objective.evaluate()["loss"]
    started = time.perf_counter()
    for _ in range(args.steps):
        loop._step()
    seconds = time.perf_counter() - started
    return {
        **point,
        "before": before,
        "after": loop.objective.evaluate()["loss"],
        "seconds": seconds,
        "train_loss": loop.progress.loss,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--eval-records", type=int, default=64)
    parser.add_argument("--grid", choices=("quick", "full"), default="quick")
    parser.add_argument("--points", help="a JSON list of points instead of a grid")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.model is None:
        from llmdemo.models.starter import fetch_starter

        args.model = fetch_starter(Home(Settings.from_env().home).prepare())
    tokenizer = load_tokenizer(args.model)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder)).prepare()
        info = add_dataset(home, Settings(home=home.root), args.data, "data")
        config = TrainConfig(info.dataset_id, eval_records=args.eval_records).resolved()
        run_data = prepare_data(home.tmp, home, config, tokenizer)
    rows = []
    for point in json.loads(args.points) if args.points else FULL if args.grid == "full" else QUICK:
        rows.append(run(point, run_data, args.model, tokenizer, args))
        shown = {key: value for key, value in point.items() if key != "method"}
        row = rows[-1]
        print(
            f"{point['method']:7} {shown!s:60} {row['before']:.4f} -> {row['after']:.4f}  {row['seconds']:6.1f} s",
            flush=True,
        )
        if args.out:
            args.out.write_text(json.dumps({"steps": args.steps, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
