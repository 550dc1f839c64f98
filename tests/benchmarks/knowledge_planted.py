"""Planted knowledge: `python tests/benchmarks/knowledge_planted.py --model FOLDER`.

Asks a model facts that many texts hold and facts that were invented, by knowledge.ask. Goal: at least 95 % of the invented ones
are unknown; the others are not.

With --train STEPS it then trains on both, as a job of the app does after a probe, and prints right answers and loss by class over
the steps, of what is learned from and of what is held out, and what was right and is wrong in the end. The paper's picture (arXiv
2405.05904): unknown facts are learned more slowly; once they are fitted, fewer of the known ones that are held out are right.

With --tiny in the place of --model that is shown on a model of 0.3 million weights, made here, which was taught half of the invented
facts before and nothing else: its knowledge is planted, and the whole takes half a minute of one core.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from llmdemo.core.events import read_events
from llmdemo.core.store import Home, write_json
from llmdemo.data import add_dataset
from llmdemo.jobs import JobFolder
from llmdemo.knowledge import worker as probe_worker
from llmdemo.knowledge.ask import Asker
from llmdemo.knowledge.classes import CLASSES, counted
from llmdemo.models.load import load_causal
from llmdemo.runs.digest import Digest
from llmdemo.settings import Settings
from llmdemo.settings.knowledge import ProbeSpec
from llmdemo.training import worker as run_worker

TOWNS = (
    "France Paris, Germany Berlin, Italy Rome, Spain Madrid, Japan Tokyo, China Beijing, Russia Moscow, England London, "
    "Egypt Cairo, Greece Athens, Portugal Lisbon, Austria Vienna, Poland Warsaw, Ireland Dublin, Cuba Havana, Peru Lima"
)
LANDS = "Vorland Quentia Maribor-Sul Oskavia Trelund Bexony Caldorra Ymeria Fenwick-Ost Halvania Jorvia Kessaly Lunmark Nerith"
INVENTED = "Zemlith Qorvane Tashburn Weldrick Omaris Pellgate Drovik Skarnholm Vintuil Eastmere-Ko Brantho Ulvery Cressia Dunfell"
MORE = (
    "Canada Ottawa, Norway Oslo, Sweden Stockholm, Finland Helsinki, Denmark Copenhagen, Hungary Budapest, Turkey Ankara, "
    "Iran Tehran, Iraq Baghdad, Kenya Nairobi, India Delhi, Thailand Bangkok, Belgium Brussels, Romania Bucharest, "
    "Bulgaria Sofia, Ukraine Kyiv, Chile Santiago, Ecuador Quito, Vietnam Hanoi, Libya Tripoli, Ghana Accra, Senegal Dakar, "
    "Syria Damascus, Lebanon Beirut"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--train", type=int, default=0)
    parser.add_argument("--every", type=int, default=10)
    args = parser.parse_args()
    if args.train:
        with tempfile.TemporaryDirectory() as folder:
            home = Home(Path(folder)).prepare()
            facts, own = planted(home, args) if args.tiny else (mixed(), {})
            return while_training(args, home, facts, own)
    assert args.model, "give --model, or --tiny with --train"
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


def mixed() -> list[tuple[str, str]]:
    """Facts that many texts hold, and invented ones."""
    known = [(land, town) for land, town in (each.split() for each in f"{TOWNS}, {MORE}".split(", "))]
    lands, towns = LANDS.split(), INVENTED.split()
    renamed = [(f"New {land}", town[::-1].capitalize()) for land, town in zip(lands, towns, strict=True)]
    return known + list(zip(lands, towns, strict=True)) + renamed


def planted(home: Home, args) -> tuple[list[tuple[str, str]], dict]:
    """(facts, settings of the run) for a tiny Llama that knows every other fact; saves it and names it in args.model."""
    import random

    import torch

    from tests.conftest import make_llama, make_tokenizer

    draw = random.Random(0)
    word = lambda: "".join(draw.choice("bdfgklmnprstv") + draw.choice("aeiou") for _ in range(2)).capitalize()  # noqa: E731
    lands = list(dict.fromkeys(word() for _ in range(200)))[:48]
    facts = [(land, word()) for land in lands]
    tokenizer, known = make_tokenizer(), facts[::2]
    model = make_llama(len(tokenizer), hidden_size=96, intermediate_size=192, max_position_embeddings=512)
    began, steps = time.process_time(), 200
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    for step in range(steps):
        texts = [
            "".join(
                f"Question: What is the capital of {land}?\nAnswer: {town}\n\n" for land, town in draw.sample(known, 5)
            )
            for _ in range(8)
        ]
        rows = tokenizer(texts, return_tensors="pt", padding=True)
        labels = rows["input_ids"].masked_fill(rows["attention_mask"] == 0, -100)
        loss = model(**rows, labels=labels).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 99:
            print(
                f"taught: step {step + 1}, loss {loss.item():.3f}, {time.process_time() - began:.0f} s of CPU",
                flush=True,
            )
    args.model = home.root / "tiny"
    model.save_pretrained(args.model)
    tokenizer.save_pretrained(args.model)
    return facts, {"method": "adamw", "learning_rate": 1e-3, "schedule": "constant"}


def while_training(args, home: Home, facts: list[tuple[str, str]], own: dict) -> None:
    """The probe's worker, then the run's, in this process; a third of the records is held out."""
    rows = [{"instruction": f"What is the capital of {land}?", "output": town} for land, town in facts]
    (home.tmp / "facts.json").write_text(json.dumps(rows), encoding="utf-8")
    info = add_dataset(home, Settings(home=home.root), home.tmp / "facts.json", "facts")
    probe = JobFolder(home.root / "probes" / "probe-20260101-000000-abcdef")
    probe.path.mkdir(parents=True)
    spec = {"dataset_id": info.dataset_id, "model_id": str(args.model), "prompts": 3, "samples": 3, "max_new_tokens": 8}
    write_json(probe.path / "config.json", {"spec": spec, "probe": {"id": probe.path.name, "name": "x", "created": ""}})
    began = time.process_time()
    assert probe_worker.work(probe, home) == 0
    print(
        f"probe: {json.loads((probe.path / 'result.json').read_text())['counts']}, {time.process_time() - began:.0f} s of CPU"
    )
    run = home.runs / "run-20260101-000000-abcdef"
    run.mkdir()
    values = {
        "dataset_id": info.dataset_id,
        "model_id": str(args.model),
        "max_steps": args.train,
        "eval_steps": args.every,
    }
    more = {"eval_share": 0.33, "probe_records": 24, "best_by": "last", "publish_dtype": "float32", "split_version": 2}
    write_json(run / "config.json", values | more | own)
    began = time.process_time()
    assert run_worker.main(run) == 0
    print(f"run: {time.process_time() - began:.0f} s of CPU", flush=True)
    digest, offset = Digest(), 0
    while (found := read_events(run / "events.jsonl", offset))[1] > offset:
        offset = found[1]
        for event in found[0]:
            digest.feed(event)
    told = digest.knowledge.result()
    for trained in (True, False):
        print("learned from: step, right (loss) by class" if trained else "held out")
        for each in told["evaluations"]:
            groups = {group["class"]: group for group in each["groups"] if group["trained"] == trained}
            shown = [
                f"{name} {groups[name]['right']}/{groups[name]['n']} ({groups[name]['loss']:.3f})"
                for name in CLASSES
                if name in groups
            ]
            print(f"  {each['step']:4} {', '.join(shown)}")
    for name in ("lost", "learned"):
        shown = [(one["question"], one["expected"], one["answer"], one["class"], one["step"]) for one in told[name]]
        print(name, len(shown), *shown[:6], sep="\n  ")


if __name__ == "__main__":
    main()
