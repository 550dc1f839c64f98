"""Finds GaLore's defaults: held-out loss after a fixed number of steps, against AdamW on the same data, seed and steps.

    python tests/benchmarks/sweep_defaults.py --data instruction-data.json [--steps 84] [--grid quick|sensitivity|full] [--out sweep.json]
    python tests/benchmarks/sweep_defaults.py --rows tests/benchmarks/sweep_defaults.json --plot sweep.svg

--points takes a JSON list such as [{"method": "muon", "learning_rate": 2e-4, "seed": 8}]; "muon" is a rival that only this
script has. sweep_defaults.json has what three orders of the records (seeds 7, 8 and 9) gave.

The second draws the README's plot from the table of the full grid that is kept beside this script.

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

from llmdemo.core.store import Home
from llmdemo.data.ingest import add_dataset
from llmdemo.models.load import load_causal, load_tokenizer
from llmdemo.settings import Settings
from llmdemo.training import TrainConfig, build_optimizer
from llmdemo.training.adapters import add_adapters
from llmdemo.training.device import resolve_precision
from llmdemo.training.loop import Loop
from llmdemo.training.optimizer import Optimizer
from llmdemo.training.prepare import prepare_data

QUICK = [
    {"method": "adamw", "learning_rate": 5e-5},
    {"method": "galore"},
    {"method": "galore", "learning_rate": 2e-4, "scale": 1.0, "schedule": "linear"},
]
SENSITIVITY = [
    {"method": "galore"},
    {"method": "adamw", "learning_rate": 5e-5},
    *({"method": "galore", "learning_rate": rate} for rate in (2e-5, 8e-5, 1.6e-4)),
    *({"method": "galore", "rank": rank} for rank in (32, 256)),
    *({"method": "galore", "scale": scale} for scale in (1.0, 2.0, 8.0)),
    *({"method": "galore", "update_proj_gap": gap} for gap in (20, 50)),
]
FULL = [
    *SENSITIVITY,
    *({"method": "galore", "seed": seed} for seed in (8, 9)),
    *({"method": "galore", "schedule": schedule} for schedule in ("linear", "cosine", "constant")),
    *({"method": "adamw", "learning_rate": rate} for rate in (1e-5, 2e-5, 1e-4, 2e-4)),
    *({"method": "adamw", "learning_rate": 5e-5, "seed": seed} for seed in (8, 9)),
    *({"method": "adamw", "learning_rate": rate, "schedule": "warmup_stable_decay"} for rate in (3e-5, 5e-5)),
    *({"method": "galore", "rank": rank} for rank in (8, 64)),
    *({"method": "lora", "rank": 16, "learning_rate": rate} for rate in (2e-4, 5e-4, 1e-3)),
]


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon for the layers' matrices, its rate adjusted to AdamW's, and AdamW for all else: full memory."""

    def __init__(self, model, config):
        inside = {module.weight for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
        inside -= {model.get_input_embeddings().weight, model.get_output_embeddings().weight}
        rest = [p for p in model.parameters() if p.requires_grad and p not in inside]
        options = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
        self.parts = [
            torch.optim.Muon([p for p in model.parameters() if p in inside], **options, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, **options, betas=(config.beta1, config.beta2), eps=config.eps),
        ]
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure=None):
        for part in self.parts:
            part.step()


GRIDS = {"quick": QUICK, "sensitivity": SENSITIVITY, "full": FULL}
PLOTTED = ("learning_rate", "rank", "scale", "update_proj_gap")


def run(point, run_data, model_folder, tokenizer, args):
    """Held-out loss before and after one training."""
    settings = {**point, "method": "adamw"} if point["method"] == "muon" else point
    config = TrainConfig("x", max_steps=args.steps, eval_steps=0, **settings).resolved()
    config = replace(config, eval_records=args.eval_records)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config.seed)
    model, _ = load_causal(model_folder, dtype=torch.float32, device=device)
    if config.method == "lora":
        model = add_adapters(model, config)
    precision = resolve_precision("fp32" if device.type == "cuda" else "auto", device)
    optimizer = build_optimizer(model, config)
    if point["method"] == "muon":
        optimizer = Optimizer(model, [], Muon(model, config), config)
    loop = Loop(
        model, tokenizer, optimizer, replace(run_data, samples=[]), config, precision, lambda kind, **fields: None
    )
    before = loop.objective.evaluate()[0]["loss"]
    started = time.perf_counter()
    for _ in range(args.steps):
        loop._step()
    seconds = time.perf_counter() - started
    return {
        **point,
        "before": before,
        "after": loop.objective.evaluate()[0]["loss"],
        "seconds": seconds,
        "train_loss": loop.progress.loss,
    }


def mean_losses(rows: list[dict]) -> list[tuple[dict, float]]:
    """Each point without its seed and figures, and its mean held-out loss over the seeds; defaults that are named are dropped."""
    defaults = TrainConfig("x").resolved()
    groups: dict[str, list[float]] = {}
    for row in rows:
        figures = {"before", "after", "seconds", "train_loss", "seed"}
        point = {key: value for key, value in row.items() if key not in figures}
        if point["method"] == "galore":
            point = {key: value for key, value in point.items() if key == "method" or value != getattr(defaults, key)}
        groups.setdefault(json.dumps(point, sort_keys=True), []).append(row["after"])
    return [(json.loads(key), sum(losses) / len(losses)) for key, losses in groups.items()]


def plot(rows: list[dict], path: Path) -> None:
    """GaLore's held-out loss over each of four settings, the others at their defaults; AdamW's best as a line. An SVG."""
    defaults = TrainConfig("x").resolved()
    means = mean_losses(rows)
    best = min(loss for point, loss in means if point["method"] == "adamw")
    high = sorted(loss for point, loss in means if point["method"] == "galore")[-1] * 1.02
    low = min(loss for _, loss in means) * 0.98
    parts = []
    for number, setting in enumerate(PLOTTED):
        points = {
            point.get(setting, getattr(defaults, setting)): loss
            for point, loss in means
            if point["method"] == "galore" and set(point) <= {"method", setting}
        }
        parts.append(_panel(number, setting, sorted(points.items()), getattr(defaults, setting), best, low, high))
    text = "".join(parts)
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 280" font-family="system-ui, sans-serif" '
        f'font-size="12"><rect width="880" height="280" fill="#fff"/>{text}</svg>\n'
    )


def _panel(number, setting, points, default, best, low, high) -> str:
    """One of four panels, 210 units wide: values along x at equal distances, the loss along y."""
    left, top, width, height = 20 + 215 * number, 40, 190, 190

    def y(value):
        return top + height * (high - value) / (high - low)

    xs = [left + width * (i + 0.5) / len(points) for i in range(len(points))]
    line = " ".join(f"{x:.1f},{y(value):.1f}" for x, (_, value) in zip(xs, points, strict=True))
    found = [
        f'<text x="{left}" y="22" font-weight="600">{setting.replace("_", " ")}</text>',
        f'<line x1="{left}" x2="{left + width}" y1="{y(best):.1f}" y2="{y(best):.1f}" stroke="#999" '
        'stroke-dasharray="4 3"/>',
        f'<text x="{left + width}" y="{y(best) + 15:.1f}" text-anchor="end" fill="#666">AdamW {best:.3f}</text>',
        f'<polyline points="{line}" fill="none" stroke="#0072B2" stroke-width="2"/>',
    ]
    for x, (key, value) in zip(xs, points, strict=True):
        chosen = key == default
        found.append(
            f'<circle cx="{x:.1f}" cy="{y(value):.1f}" r="{6 if chosen else 4}" '
            f'fill="{"#D55E00" if chosen else "#0072B2"}"/>'
            f'<text x="{x:.1f}" y="{y(value) - 10:.1f}" text-anchor="middle">{value:.3f}</text>'
            f'<text x="{x:.1f}" y="262" text-anchor="middle" fill="#444">{_short(key)}</text>'
        )
    return "".join(found)


def _short(value: float) -> str:
    return f"{value * 1e5:g}e-5" if value < 1e-3 else f"{value:g}"


def points_of(args) -> list[dict]:
    points = json.loads(args.points) if args.points else GRIDS[args.grid]
    number, _, parts = args.part.partition("/")
    return points[int(number) :: int(parts)]


def sweep(args) -> None:
    """Trains each point and prints its row; with --out writes all so far after each."""
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
    for point in points_of(args):
        rows.append(run(point, run_data, args.model, tokenizer, args))
        shown = {key: value for key, value in point.items() if key != "method"}
        row = rows[-1]
        print(
            f"{point['method']:7} {shown!s:60} {row['before']:.4f} -> {row['after']:.4f}  {row['seconds']:6.1f} s",
            flush=True,
        )
        if args.out:
            args.out.write_text(json.dumps({"steps": args.steps, "rows": rows}, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--steps", type=int, default=84)
    parser.add_argument("--eval-records", type=int, default=64)
    parser.add_argument("--grid", choices=GRIDS, default="quick")
    parser.add_argument("--points", help="a JSON list of points instead of a grid")
    parser.add_argument("--part", default="0/1", help="the share of the points that this process does, such as 1/3")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path, help="draw the rows of --rows to this SVG instead of training")
    parser.add_argument("--rows", type=Path, nargs="+", help="files that --out wrote")
    args = parser.parse_args()
    if args.plot:
        plot([row for path in args.rows for row in json.loads(path.read_text())["rows"]], args.plot)
    else:
        sweep(args)


if __name__ == "__main__":
    main()
