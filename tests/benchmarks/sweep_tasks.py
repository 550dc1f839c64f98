"""Finds the defaults of the tasks beside chat: held-out figures before and after some steps, point by point.

    python tests/benchmarks/sweep_tasks.py --data sms-spam.tsv --points '[{"learning_rate": 1e-4}, {"method": "adamw"}]'

Every point trains the starter model (or --model FOLDER) from the beginning in this process; only the settings named in
a point, and --steps, differ from the defaults of the data set's task. --whole: judged on all that is held out.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch

from llmdemo.core.store import Home
from llmdemo.data.ingest import add_dataset
from llmdemo.settings import Settings
from llmdemo.training import TrainConfig, build_optimizer, objectives
from llmdemo.training.adapters import add_adapters
from llmdemo.training.device import resolve_precision, weight_dtype
from llmdemo.training.loop import Loop
from llmdemo.training.prepare import prepare_data


def run(point: dict, info, home: Home, args) -> dict:
    """Figures before and after one training."""
    values = {"dataset_id": info.dataset_id, "task": info.task, **point}
    config = TrainConfig.from_dict({**values, **({"max_steps": args.steps} if args.steps else {})}).resolved()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = resolve_precision(config.precision, device)
    objective = objectives.of(config.task)
    tokenizer = objective.tokenizer(args.model)
    with tempfile.TemporaryDirectory(dir=home.tmp) as folder:
        data = prepare_data(Path(folder), home, config, tokenizer)
        torch.manual_seed(config.seed)
        model = objective.load(args.model, config, data, weight_dtype(precision), device)
        model = add_adapters(model, config) if config.method == "lora" else model
        events = []
        loop = Loop(
            model, tokenizer, build_optimizer(model, config), data, config, precision,
            lambda kind, **fields: events.append((kind, fields)),
        )  # fmt: skip
        loop.begin(Path(folder), lambda: False)
        before = loop.objective.evaluate(last=args.whole)[0]
        started = time.perf_counter()
        for _ in range(config.max_steps):
            loop._step()
            print(f"  {events[-1][1].get('step')}: {events[-1][1].get('loss')}", file=sys.stderr, flush=True)
        seconds = time.perf_counter() - started
        after = loop.objective.evaluate(last=args.whole)[0]
    figures = {"before": before, "after": after, "seconds": seconds, "tokens": loop.progress.tokens}
    return {**point, **figures, "step_losses": [round(fields["loss"], 4) for kind, fields in events if kind == "step"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--task", help="the data's task, where it cannot be seen from the file")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--points", default="[{}]", help="a JSON list of settings")
    parser.add_argument("--whole", action="store_true", help="judge all that is held out, as a run does at its end")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.model is None:
        from llmdemo.models.starter import fetch_starter

        args.model = fetch_starter(Home(Settings.from_env().home).prepare())
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder)).prepare()
        info = add_dataset(home, Settings(home=home.root), args.data, "data", task=args.task)
        for point in json.loads(args.points):
            rows.append(row := run(point, info, home, args))
            shown = {name: round(value, 4) for name, value in row["after"].items()}
            print(f"{point!s:60} {row['before'].get('loss', 0):.4f} -> {shown}  {row['seconds']:.0f} s", flush=True)
            if args.out:
                args.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
