"""A classifier's step on a CPU three ways, on the same texts: a padded batch as transformers' Trainer makes it, several
batches of like lengths, and all texts in one row (llmdemo/training/padding_free.py).

    python tests/benchmarks/classify_cpu.py --data sms-spam.tsv [--model FOLDER] [--steps 4] [--rounds 3]

GaLore's forward and backward pass with the default settings, every text learned from; the ways take turns, and each
one's median is told, beside that of the padded batch. Without --model: the starter model.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch

from llmdemo.core.store import Home
from llmdemo.data.ingest import add_dataset
from llmdemo.settings import Settings
from llmdemo.training import TrainConfig, build_optimizer, objectives
from llmdemo.training.loop import Loop
from llmdemo.training.prepare import prepare_data


def make_loop(args, home: Home, folder: Path) -> Loop:
    """A run's loop on the classification data, before its first step."""
    info = add_dataset(home, Settings(home=home.root), args.data, "data")
    values = {"dataset_id": info.dataset_id, "task": info.task, "least_loss": 0, "precision": "fp32"}
    config, objective, device = TrainConfig.from_dict(values).resolved(), objectives.of(info.task), torch.device("cpu")
    tokenizer = objective.tokenizer(args.model)
    data = prepare_data(folder, home, config, tokenizer)
    torch.manual_seed(config.seed)
    model = objective.load(args.model, config, data, torch.float32, device)
    loop = Loop(model, tokenizer, build_optimizer(model, config), data, config, "fp32", lambda kind, **fields: None)
    loop.begin(folder, lambda: False)
    return loop


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.model is None:
        from llmdemo.models.starter import fetch_starter

        args.model = fetch_starter(Home(Settings.from_env().home).prepare())
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder)).prepare()
        loop = make_loop(args, home, home.tmp)
        objective, one_row = loop.objective, loop.objective._one_row
        if one_row is None:
            sys.exit("This model's texts cannot be read in one row.")
        groups = objective._groups
        ways = {
            "padded": (None, lambda lengths: [np.arange(len(lengths))]),
            "like lengths": (None, groups),
            "one row": (one_row, groups),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        batches = [loop._batches.rows_of(step) for step in range(args.steps)]
        loop._gradients(batches[0])  # the first pass of a process takes longer
        for _ in range(args.rounds):
            for rows in batches:
                for name, (objective._one_row, objective._groups) in ways.items():
                    started = time.perf_counter()
                    loop._gradients(rows)
                    seconds[name].append(time.perf_counter() - started)
                    loop.optimizer.forget()
    padded = statistics.median(seconds["padded"])
    for name, each in seconds.items():
        median = statistics.median(each)
        print(f"{name:14}{median:7.2f} s   {median / padded:.2f} × padded")


if __name__ == "__main__":
    main()
