"""Records that are kept in 15 minutes: `python tests/benchmarks/generation_speed.py --model FOLDER [--kind magpie] [--seconds 120]`.

Makes data for some minutes, in whole batches of the job's size and in process, and extrapolates: by the clock, and by the
CPU seconds (user + system) that it took of the 1,800 that two cores have in 15 minutes, which the load of the machine does
not change much. Kinds that need prompts get those that magpie made. Pairs are chosen by a checker that nothing passes: what
is timed is the writing. Goal: 200 kept records of kind magpie.
"""

import argparse
import os
import resource
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from llmdemo.generation.make import Maker
from llmdemo.generation.referee import Referee
from llmdemo.generation.sources import Source
from llmdemo.generation.worker import BATCH, JUDGED_BATCH
from llmdemo.generation.writers import LocalWriter
from llmdemo.models.load import best_device, load_causal, usual_dtype
from llmdemo.settings.generation import GenerationSpec

MINUTES, CORES = 15, 2


def first(pairs, prompts, right) -> list:
    """An opinion that costs nothing: the first answer."""
    return [{"winner": 0, "clear": True, "agreed": True, "grades": None} for _ in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--kind", choices=("magpie", "answers", "pairs", "paraphrases"), default="magpie")
    parser.add_argument("--seconds", type=float, default=120)
    args = parser.parse_args()
    judge = {"judge": {"kind": "model", "model_id": "-"}} if args.kind == "pairs" else {}
    spec = GenerationSpec.from_dict({"kind": args.kind, "dataset_id": "" if args.kind == "magpie" else "-", **judge})
    model, tokenizer = load_causal(args.model, dtype=usual_dtype(args.model, best_device()))
    writer = LocalWriter("model", model, tokenizer, lambda share: None)
    referee = Referee(first) if args.kind == "pairs" else None
    maker, size = Maker([writer], spec, set(), referee), JUDGED_BATCH if args.kind == "pairs" else BATCH
    asked: list[Source | None] = [None]
    if args.kind != "magpie":
        made = Maker([writer], GenerationSpec(), set()).conversations([(n, None) for n in range(size)])
        asked = [
            Source(n, each.messages[:1], each.messages[1:], (each.messages[1]["content"],))
            for n, each in enumerate(made)
            if not each.reason
        ]
    reasons: Counter[str] = Counter()
    number, began, spent = 0, time.perf_counter(), cpu_seconds()
    while time.perf_counter() - began < args.seconds:
        batch = [(n, asked[n % len(asked)]) for n in range(number, number + size)]
        make = {"magpie": maker.conversations, "answers": maker.answers}.get(args.kind) or getattr(maker, args.kind)
        reasons.update(each.reason or "kept" for each in make(batch))
        number += size
        tell(args.kind, reasons, time.perf_counter() - began, cpu_seconds() - spent)


def tell(kind: str, reasons: Counter[str], clock: float, cpu: float) -> None:
    """What was made up to the end of a batch, and what that is in 15 minutes."""
    kept, whole = reasons["kept"], 60 * MINUTES
    print(
        f"{kind}: {kept} of {reasons.total()} kept in {clock:.0f} s of the clock and {cpu:.0f} CPU seconds (load "
        f"{os.getloadavg()[0]:.0f}); in {MINUTES} minutes {kept / clock * whole:.0f} at this load, "
        f"{kept / cpu * whole * CORES:.0f} where all of {CORES} cores were used. {dict(reasons.most_common())}",
        flush=True,
    )


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
