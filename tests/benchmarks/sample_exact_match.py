"""Exact match on the held-out part of the sample data set: does a model write the right JSON, character for character?

    python tests/benchmarks/sample_exact_match.py --base
    python tests/benchmarks/sample_exact_match.py --model FOLDER
    python tests/benchmarks/sample_exact_match.py --train [--set max_steps=90 --set rank=256] [--keep]

--base asks the starter model, --model the model in a folder (or a model id of the home folder, such as a run's).
--train does the app's default run on the sample, through the same services as the page, and asks the starter model
before and the tuned one after; --set changes a setting of the run, --keep leaves the data set and the run in the
home folder. Models are kept in --home (default: LLMDEMO_HOME, or the user's data folder); the starter model is
fetched there if it is missing. Answers are greedy, in fp32, at most 64 tokens. --out writes all figures and answers
as JSON; --limit asks only the first records.

Only an answer that equals the record's output counts as exact, without any trimming; "same JSON" counts answers
that json.loads reads as the same object, and the keys' shares say where a model errs.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
SAMPLE = ROOT / "assets" / "sample-messages.json"
KEYS = ("type", "who", "what", "when", "amount")
BATCH, NEW_TOKENS = 26, 64


def main() -> int:
    args = arguments()
    home = open_home(args.home)
    records = [record for record in json.loads(SAMPLE.read_text(encoding="utf-8")) if record["split"] == "eval"]
    records = records[: args.limit]
    results = {"held_out": len(records), "cpus": os.cpu_count()}
    if args.base or args.train:
        results["base"] = ask(home, "starter", records)
        show("starter model", results["base"], args.examples)
    if args.model:
        results["model"] = ask(home, args.model, records)
        show(args.model, results["model"], args.examples)
    if args.train:
        results["run"], results["tuned"] = train_and_ask(home, records, args)
        show("tuned model", results["tuned"], args.examples)
    if args.out:
        Path(args.out).write_text(json.dumps(results, indent=1, ensure_ascii=False), encoding="utf-8")
    return 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", action="store_true", help="ask the starter model as it is")
    parser.add_argument("--model", help="folder or id of a model to ask")
    parser.add_argument("--train", action="store_true", help="do the default run, ask before and after")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the run")
    parser.add_argument("--keep", action="store_true", help="keep the data set and the run")
    parser.add_argument("--home", type=Path, help="home folder (default: that of the app)")
    parser.add_argument("--limit", type=int, help="ask only the first records")
    parser.add_argument("--examples", type=int, default=3, help="wrong answers to show")
    parser.add_argument("--out", help="write the figures and answers as JSON")
    args = parser.parse_args()
    if not (args.base or args.model or args.train):
        parser.error("give --base, --model FOLDER or --train")
    return args


def open_home(folder: Path | None):
    """The home folder, with the starter model in it."""
    from llmdemo.core.store import Home
    from llmdemo.models.starter import fetch_starter
    from llmdemo.settings import Settings

    home = Home(folder.resolve() if folder else Settings.from_env().home).prepare()
    fetch_starter(home)
    return home


# ---- asking ----


def ask(home, model_id: str, records: list[dict]) -> dict:
    """{"exact", "same_json", "keys", "seconds", "answers"}: the model's answers to the records, judged."""
    from llmdemo.models import catalog, load

    if Path(model_id).is_dir():
        model_id = str(Path(model_id).resolve())
    import torch

    model, tokenizer = load.load_causal(catalog.resolve(home, model_id), dtype=torch.float32)
    start = time.perf_counter()
    answers = generate(model, tokenizer, [messages(record) for record in records])
    return judge(records, answers) | {"seconds": round(time.perf_counter() - start, 1)}


def messages(record: dict) -> list[dict]:
    """The prompt as the app builds it from Alpaca fields."""
    return [{"role": "user", "content": f"{record['instruction']}\n\n{record['input']}"}]


def generate(model, tokenizer, prompts: list[list[dict]]) -> list[str]:
    """Greedy answers up to the tokenizer's EOS; one that does not end keeps all its tokens, and so is wrong."""
    import torch

    from llmdemo.data import encode_prompt

    eos = tokenizer.eos_token_id
    encoded = [encode_prompt(prompt, tokenizer) for prompt in prompts]
    answers = [""] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda index: len(encoded[index]))
    for first in range(0, len(order), BATCH):
        part = order[first : first + BATCH]
        width = max(len(encoded[index]) for index in part)
        ids = torch.tensor([[eos] * (width - len(encoded[i])) + encoded[i] for i in part])  # [B, T], padded on the left
        mask = torch.tensor([[0] * (width - len(encoded[i])) + [1] * len(encoded[i]) for i in part])
        output = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            do_sample=False,
            num_beams=1,
            max_new_tokens=NEW_TOKENS,
            eos_token_id=eos,
            pad_token_id=eos,
        )
        for index, row in zip(part, output[:, width:].tolist(), strict=True):
            answers[index] = tokenizer.decode(row[: row.index(eos)]) if eos in row else tokenizer.decode(row) + " …"
    return answers


def judge(records: list[dict], answers: list[str]) -> dict:
    """Shares of right answers: as text, as JSON, and key by key."""
    wanted = [json.loads(record["output"]) for record in records]
    found = [parsed(answer) for answer in answers]
    count = len(records)
    exact = [answer == record["output"] for answer, record in zip(answers, records, strict=True)]
    return {
        "exact": round(sum(exact) / count, 4),
        "same_json": round(sum(a == b for a, b in zip(found, wanted, strict=True)) / count, 4),
        "keys": {
            key: round(sum(key in a and a[key] == b[key] for a, b in zip(found, wanted, strict=True)) / count, 4)
            for key in KEYS
        },
        "answers": [
            {"input": record["input"], "expected": record["output"], "answer": answer, "exact": good}
            for record, answer, good in zip(records, answers, exact, strict=True)
        ],
    }


def parsed(answer: str) -> dict:
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def show(name: str, result: dict, examples: int) -> None:
    keys = ", ".join(f"{key} {share:.0%}" for key, share in result["keys"].items())
    print(
        f"{name}: exact match {result['exact']:.1%} of {len(result['answers'])}, same JSON {result['same_json']:.1%} "
        f"({keys}), answered in {result['seconds']} s",
        flush=True,
    )
    for entry in [entry for entry in result["answers"] if not entry["exact"]][:examples]:
        print(
            f"  {entry['input']!r}\n    expected {entry['expected']}\n    got      {entry['answer'][:160]!r}",
            flush=True,
        )


# ---- the default run ----


def train_and_ask(home, records: list[dict], args) -> tuple[dict, dict]:
    """(figures of the run, the tuned model's answers judged); the run goes the way that the page's Start goes."""
    from llmdemo import data, prepare
    from llmdemo.jobs import Jobs
    from llmdemo.jobs.states import COMPLETED, FINAL
    from llmdemo.models import load
    from llmdemo.models.starter import starter_folder
    from llmdemo.runs import Runs
    from llmdemo.settings import Settings

    settings = Settings(home=home.root)
    tokenizer = load.load_tokenizer(starter_folder(home))
    info = data.add_dataset(home, settings, SAMPLE, "Sample (exact match)", tokenizer=tokenizer)
    changes = {key: value_of(text) for key, _, text in (item.partition("=") for item in args.set)}
    with Runs(Jobs(home, settings)) as runs:
        start = time.perf_counter()
        run_id = prepare.start(home, runs, {"dataset_id": info.dataset_id, **changes})
        print(f"{run_id} started", flush=True)
        while (status := runs.status(run_id))["state"] not in FINAL:
            time.sleep(0.5)
        seconds = round(time.perf_counter() - start, 1)
        if status["state"] != COMPLETED:
            raise SystemExit(f"The run ended as {status['state']}: {status['message']} {status['hint']}")
        names = ("step", "loss", "eval_loss", "tokens", "tokens_per_second", "peak_memory_bytes")
        run = {"run_id": run_id, "seconds": seconds, **{name: status[name] for name in names}, "changes": changes}
        print(f"trained in {seconds} s, start to saved model: {run}", flush=True)
        try:
            return run, ask(home, status["model_id"] or run_id, records)
        finally:
            if not args.keep:
                runs.delete(run_id)
                data.delete_dataset(home, info.dataset_id)


def value_of(text: str):
    """A setting's value: JSON where it is, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    raise SystemExit(main())
