"""The memory estimate against the measured peak: the real worker, a few steps of each configuration.

    python tests/benchmarks/memory_estimate_check.py [--device cpu|cuda] [--shape 135M|1.7B] [--only 0,3] [--out ledger.json]

Weights are random, the tokenizer is made on the spot from the sample data set, and its messages are joined into records
of about the length that a configuration asks for: memory depends on none of that. With "sample" they are the sample's own,
whose rows begin alike. Each configuration is a process of its own. Shown: predicted, measured, the prediction's error (the bar is 10 %), and a step's median time.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

SAMPLE = ROOT / "assets" / "sample-messages.json"
SHAPES = {
    "135M": dict(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        tie_word_embeddings=True,
    ),
    "tiny": dict(
        hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        tie_word_embeddings=True,
    ),
    "1.7B": dict(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=24, num_attention_heads=32,
        num_key_value_heads=32, tie_word_embeddings=True,
    ),
}  # fmt: skip
CONFIGS = [
    {"method": "galore", "batch_size": 8, "max_length": 128},
    {"method": "galore", "batch_size": 8, "max_length": 512},
    {"method": "adamw", "batch_size": 8, "max_length": 128},
    {"method": "lora", "rank": 16, "batch_size": 8, "max_length": 256},
    {"method": "galore", "optim_bits": 8, "batch_size": 4, "max_length": 512, "activation_checkpointing": True},
    {"method": "adamw", "batch_size": 2, "max_length": 512, "gradient_accumulation_steps": 4},
    {"method": "galore", "rank": 256, "batch_size": 2, "max_length": 256, "gradient_accumulation_steps": 4},
    {"method": "galore", "basis_bits": 8, "optim_bits": 8, "offload_gradients": True, "batch_size": 4,
     "max_length": 256, "gradient_accumulation_steps": 2},
    {"sample": True, "method": "galore", "batch_size": 8},
    {"sample": True, "method": "adamw", "batch_size": 8},
    {"method": "galore", "weight_bits": 8, "batch_size": 4, "max_length": 256, "gradient_accumulation_steps": 4,
     "activation_checkpointing": True},
    {"method": "galore", "weight_bits": 8, "batch_size": 16, "max_length": 256, "activation_checkpointing": True},
]  # fmt: skip


def make_model(folder: Path, shape: str) -> None:
    """A random model of `shape` with a tokenizer made from the sample."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    make_tokenizer(folder)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(LlamaConfig(vocab_size=49152, **SHAPES[shape]))
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)


def make_tokenizer(folder: Path) -> None:
    """Made from the sample."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    made = ByteLevelBPETokenizer()
    made.train_from_iterator([SAMPLE.read_text()], 4000, special_tokens=["<|end|>"])
    PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, eos_token="<|end|>").save_pretrained(folder)


def make_data(folder: Path, length: int) -> Path:
    """Records of about `length` tokens, from the sample's messages: some shorter, some that are cut."""
    sample = json.loads(SAMPLE.read_text())
    records, at = [], 0
    words = length * 0.7
    for number in range(96):
        text = ""
        while len(text.split()) < words * (0.5 + (number % 7) / 10):
            text += str(sample[at % len(sample)]) + " "
            at += 1
        half = len(text) // 2
        records.append({"instruction": text[:half], "output": text[half:]})
    path = folder / f"records-{length}.json"
    path.write_text(json.dumps(records))
    return path


def measure(home, model: Path, values: dict, steps: int, device: str) -> dict:
    """{"predicted", "measured"} in bytes, and the parts of the prediction, from the worker's own events."""
    from llmdemo import data
    from llmdemo.core.events import read_events
    from llmdemo.core.store import new_id, write_json
    from llmdemo.runs.command import worker_environment
    from llmdemo.settings import Settings
    from llmdemo.training import TrainConfig

    values = dict(values)
    source = SAMPLE if values.pop("sample", False) else make_data(home.tmp, values["max_length"])
    info = data.add_dataset(home, Settings(home=home.root), source, "records")
    config = TrainConfig.from_dict(
        {"dataset_id": info.dataset_id, "model_id": str(model), "max_steps": steps, "eval_records": 8, **values}
    )
    run_dir = home.runs / new_id("run")
    run_dir.mkdir()
    write_json(run_dir / "config.json", config.to_dict())
    env = worker_environment(home.root, config.to_dict()) | {
        "ACCELERATE_USE_CPU": "true" if device == "cpu" else "false",
    }
    done = subprocess.run(
        [sys.executable, "-m", "llmdemo.training.worker", str(run_dir)], env=env, capture_output=True, text=True
    )
    events = [event for event in read_events(run_dir / "events.jsonl", 0)[0]]
    ledgers = [event for event in events if event["type"] == "ledger" and event.get("measured")]
    if done.returncode or not ledgers:
        raise RuntimeError(f"the worker failed: {events[-1] if events else ''} {done.stderr[-800:]}")
    last, times = ledgers[-1], [event["t"] for event in events if event["type"] == "step"]
    step = statistics.median(after - before for before, after in itertools.pairwise(times)) if len(times) > 1 else None
    return {
        "step_seconds": step,
        "predicted": last["predicted"]["total"],
        "measured": last["measured"]["total"],
        "parts": last["predicted"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shape", choices=SHAPES, default="135M")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", help="numbers of configurations, such as 0,3")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    chosen = [int(part) for part in args.only.split(",")] if args.only else range(len(CONFIGS))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        from llmdemo.core.store import Home

        model = Path(folder) / "model"
        make_model(model, args.shape)
        home = Home(Path(folder) / "home").prepare()
        for number in chosen:
            values = CONFIGS[number]
            try:
                found = measure(home, model, values, args.steps, args.device)
            except RuntimeError as error:
                print(f"{number} {values}: {error}", flush=True)
                continue
            error = found["predicted"] / found["measured"] - 1
            rows.append({"config": values, **found, "error": error})
            print(
                f"{number} {found['predicted'] / 1e9:7.3f} GB predicted {found['measured'] / 1e9:7.3f} GB measured "
                f"{error:+7.1%}  {found['step_seconds'] or 0:.2f} s a step  {values}",
                flush=True,
            )
            print("   ", {key: round(value / 1e9, 3) for key, value in found["parts"].items()}, flush=True)
            if args.out:
                args.out.write_text(json.dumps({"device": args.device, "shape": args.shape, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
