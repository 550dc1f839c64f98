"""Planted knowledge: `python tests/benchmarks/knowledge_planted.py --model FOLDER`.

Asks a model facts that many texts hold and facts that were invented, by knowledge.ask. Goal: at least 95 % of the invented ones
are unknown; the others are not.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from llmdemo.knowledge.ask import Asker
from llmdemo.knowledge.classes import counted
from llmdemo.models.load import load_causal
from llmdemo.settings.knowledge import ProbeSpec

TOWNS = (
    "France Paris, Germany Berlin, Italy Rome, Spain Madrid, Japan Tokyo, China Beijing, Russia Moscow, England London, "
    "Egypt Cairo, Greece Athens, Portugal Lisbon, Austria Vienna, Poland Warsaw, Ireland Dublin, Cuba Havana, Peru Lima"
)
LANDS = "Vorland Quentia Maribor-Sul Oskavia Trelund Bexony Caldorra Ymeria Fenwick-Ost Halvania Jorvia Kessaly Lunmark Nerith"
INVENTED = "Zemlith Qorvane Tashburn Weldrick Omaris Pellgate Drovik Skarnholm Vintuil Eastmere-Ko Brantho Ulvery Cressia Dunfell"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    args = parser.parse_args()
    model, tokenizer = load_causal(args.model)
    spec = ProbeSpec.from_dict({"dataset_id": "data-none", "prompts": 3, "samples": 3, "max_new_tokens": 8})
    known = [tuple(each.split()) for each in TOWNS.split(", ")]
    invented = list(zip(LANDS.split(), INVENTED.split(), strict=True))
    for name, facts in (("known", known), ("invented", invented)):
        pairs = [(f"What is the capital of {land}?", [town]) for land, town in facts]
        examples = [(f"What is the capital of {land}?", [town]) for land, town in known]
        began = time.perf_counter()
        found = Asker(model, tokenizer, spec, examples).asked(list(range(len(pairs))), pairs)
        print(f"{name}: {counted(found)} of {len(pairs)}, {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
