"""What an evaluation's answers cost, and whether batching changes them: our batched greedy loop beside transformers.

The same prompts (the held-out ones of a data set, or of the sample that ships with the app) go through the same model in
fp32: by `generate` one at a time, by `generate` with the batch padded on the left, and by ours, in turn, `--rounds`
times; the medians of the wall-clock times are compared, and every answer with that of `generate` alone. `--clock cpu`: CPU
time instead, for a busy machine and one thread.

    python tests/benchmarks/evaluate_speed.py [--home FOLDER] [--model starter] [--dataset ID] [--records 32] [--tokens 96]
                                              [--rounds 3] [--clock cpu] [--out FILE]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from llmdemo import data
from llmdemo.core.store import Home
from llmdemo.data.encode import encode_prompt
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.prompts import greedy
from llmdemo.evaluation.answers import BATCH, chunks
from llmdemo.evaluation.heldout import example, held_out
from llmdemo.models import catalog, load
from llmdemo.settings import Settings
from llmdemo.settings.evaluation import Spec

SAMPLE = Path(__file__).resolve().parents[2] / "assets" / "sample-messages.json"


def main() -> None:
    flags = arguments()
    settings = Settings.from_env({"LLMDEMO_HOME": flags.home} if flags.home else None)
    home = Home(settings.home)
    model, tokenizer = load.load_causal(catalog.resolve(home, flags.model), torch.float32)
    prompts = ask(home, settings, flags, tokenizer)
    ways = {"generate, one by one": one_by_one, "generate, batched": batched, "ours": ours}
    seconds, answers = {name: [] for name in ways}, {}
    clock = time.process_time if flags.clock == "cpu" else time.perf_counter
    for _ in range(flags.rounds):
        for name, way in ways.items():
            started = clock()
            answers[name] = way(model, prompts, flags.tokens, tokenizer.pad_token_id)
            seconds[name].append(clock() - started)
    alone = answers["generate, one by one"]
    tokens = sum(map(len, alone))
    print(f"{flags.model}, {len(prompts)} prompts, at most {flags.tokens} tokens, {torch.get_num_threads()} threads")
    for name, times in seconds.items():
        median = statistics.median(times)
        same = sum(one == other for one, other in zip(alone, answers[name], strict=True))
        print(f"{name:22s} {median:7.2f} s  {tokens / median:6.1f} tokens/s  {same} of {len(alone)} answers as alone")
    if flags.out:
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        Path(flags.out).write_text(json.dumps({**vars(flags), "seconds": medians, "tokens": tokens}, indent=1))


def ask(home, settings, flags, tokenizer) -> list[list[int]]:
    if flags.dataset:
        dataset_id = flags.dataset
    else:
        home = Home(Path(tempfile.mkdtemp())).prepare()
        dataset_id = data.add_dataset(home, settings, SAMPLE, "sample").dataset_id
    held = held_out(home, Spec(dataset_id=dataset_id, seed=7, eval_share=0.1, limit=flags.records))
    return [encode_prompt(example(held.records, index).prompt, tokenizer) for index in held.indices]


def one_by_one(model, prompts, new: int, pad: int) -> list[list[int]]:
    return [generate(model, [prompt], new, pad)[0] for prompt in prompts]


def batched(model, prompts, new: int, pad: int) -> list[list[int]]:
    return [answer for part in chunks(prompts, BATCH) for answer in generate(model, part, new, pad)]


def ours(model, prompts, new: int, pad: int) -> list[list[int]]:
    weights = fused_weights(model)
    parts = [greedy(model, part, new, pad, weights=weights) for part in chunks(prompts, BATCH)]
    return [answer.token_ids for part in parts for answer in part]


@torch.inference_mode()
def generate(model, prompts, new: int, pad: int) -> list[list[int]]:
    """transformers' own greedy search on prompts padded on the left; each answer up to its end token."""
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    out = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=new, pad_token_id=pad)[:, width:]
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    return [cut(row, ends) for row in out.tolist()]


def cut(row: list[int], ends: set) -> list[int]:
    return row[: next((place for place, token in enumerate(row) if token in ends), len(row))]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", default="")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--dataset", default="")
    parser.add_argument("--records", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--out", default="")
    return parser.parse_args()


if __name__ == "__main__":
    main()
