"""How fast a file becomes a checked, tokenised data set, and in how much memory, beside `datasets`.

    python tests/benchmarks/data_speed.py --tokenizer FOLDER --seed-file instruction-data.json [--repeat 3] [--out FILE]
    python tests/benchmarks/data_speed.py --tokenizer FOLDER --seed-file sharegpt.json --large [--large-bytes 1200000000]

Without --large: 52,000 Alpaca-like records are made from the records of the seed file (words of their instructions
are varied, so that they are no duplicates). With --large: conversations until the file has 1.2 GB. Each
measurement is a process of its own; ours and the peer's alternate, medians are shown, memory is the peak of the
resident set above what the process had after its imports.

The peer: datasets.load_dataset("json") and map(batched) over the same file, which renders the chat template and
tokenises. It checks nothing and marks no answers; ours does both, and writes its records.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def varied(text: str, words: list[str], generator: random.Random) -> str:
    """The text with a third of its longer words exchanged."""
    parts = text.split(" ")
    return " ".join(generator.choice(words) if len(p) > 3 and generator.random() < 0.35 else p for p in parts)


def make_alpaca(seed: list[dict], rows: int, path: Path) -> None:
    """Records of about the length of Alpaca's (22 MB in 52,000)."""
    generator = random.Random(0)
    words = sorted({w for row in seed for w in row["output"].split() if w.isalpha() and len(w) > 3})
    with open(path, "w", encoding="utf-8") as file:
        file.write("[")
        for number in range(rows):
            row = generator.choice(seed)
            output = " ".join(varied(generator.choice(seed)["output"], words, generator) for _ in range(6))
            new = {
                "instruction": varied(row["instruction"], words, generator),
                "input": varied(row["input"], words, generator),
                "output": varied(row["output"], words, generator) + " " + output,
            }
            file.write((",\n" if number else "\n") + json.dumps(new, ensure_ascii=False))
        file.write("\n]\n")


def make_conversations(seed: list[dict], size: int, path: Path) -> None:
    """ShareGPT conversations in JSON Lines, about 1.5 kB each, until the file has `size` bytes."""
    generator = random.Random(0)
    texts = [t["value"] for row in seed for t in row["conversations"]]
    words = sorted({w for text in texts for w in text.split() if w.isalpha() and len(w) > 3})
    with open(path, "w", encoding="utf-8") as file:
        while file.tell() < size:
            turns = []
            for _ in range(2):
                turns.append({"from": "human", "value": " ".join(generator.choices(words, k=generator.randint(5, 48)))})
                turns.append({"from": "gpt", "value": " ".join(generator.choices(words, k=generator.randint(15, 118)))})
            file.write(json.dumps({"conversations": turns}) + "\n")


class Peak:
    """The peak of the resident set of this process above its start, in bytes (Linux)."""

    def __init__(self):
        Path("/proc/self/clear_refs").write_text("5")
        self.base = self._value("VmRSS")

    def bytes(self) -> int:
        return self._value("VmHWM") - self.base

    @staticmethod
    def _value(name: str) -> int:
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024


def ours(path: Path, tokenizer, folder: Path, stop_after: float | None) -> dict:
    from llmdemo.core.store import Home
    from llmdemo.data import Stopped, add_dataset
    from llmdemo.settings import Settings

    home = Home(folder / "home").prepare()
    settings = Settings(home=home.root, max_upload_bytes=2**40, max_rows=10**7)
    begin, calls = time.perf_counter(), [time.perf_counter()]
    stop = (lambda: time.perf_counter() - begin > stop_after) if stop_after else None
    try:
        info = add_dataset(
            home,
            settings,
            path,
            "x",
            tokenizer=tokenizer,
            should_stop=stop,
            progress=lambda *_: calls.append(time.perf_counter()),
        )
    except Stopped:
        left = [str(p) for p in (*home.datasets.iterdir(), *home.tmp.iterdir())]
        return {"stopped_after": time.perf_counter() - begin, "left_behind": left}
    gap = max(b - a for a, b in zip(calls, calls[1:], strict=False))
    return {
        "rows": info.rows,
        "kept": info.kept,
        "tokens": (info.tokens or {}).get("total", 0),
        "longest_gap": gap,
        "counts": info.counts,
    }


def peer(path: Path, tokenizer, folder: Path) -> dict:
    import datasets

    def tokenise(batch):
        if "conversations" in batch:
            roles = {"human": "user", "gpt": "assistant"}
            chats = [[{"role": roles[t["from"]], "content": t["value"]} for t in row] for row in batch["conversations"]]
        else:
            chats = [
                [{"role": "user", "content": f"{i}\n\n{x}" if x else i}, {"role": "assistant", "content": o}]
                for i, x, o in zip(batch["instruction"], batch["input"], batch["output"], strict=True)
            ]
        texts = tokenizer.apply_chat_template(chats, tokenize=False)
        ids = tokenizer(texts, add_special_tokens=False, truncation=True, max_length=512)["input_ids"]
        return {"input_ids": ids, "length": [len(row) for row in ids]}

    datasets.disable_progress_bars()
    data = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(folder / "cache"))
    data = data.map(tokenise, batched=True, remove_columns=data.column_names)
    return {"rows": len(data), "tokens": sum(data["length"])}


def child(what: str, path: Path, tokenizer_folder: str, stop_after: float | None, no_tokens: bool) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    tokenizer("warm", return_offsets_mapping=True)
    if what == "peer":
        import datasets  # noqa: F401 - imported before the clock starts, as ours is
    else:
        import llmdemo.data  # noqa: F401
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        peak, begin, cpu = Peak(), time.perf_counter(), time.process_time()
        run = (
            peer(path, tokenizer, Path(folder))
            if what == "peer"
            else ours(path, None if no_tokens else tokenizer, Path(folder), stop_after)
        )
        used = time.process_time()
        print(
            json.dumps(
                {**run, "seconds": time.perf_counter() - begin, "cpu_seconds": used - cpu, "peak_bytes": peak.bytes()}
            )
        )


def measured(what: str, path: Path, args, stop_after: float | None = None) -> dict:
    command = [sys.executable, __file__, "--child", what, "--file", str(path), "--tokenizer", args.tokenizer]
    command += ["--stop-after", str(stop_after)] if stop_after else []
    command += ["--no-tokens"] if args.no_tokens else []
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True, help="folder with a fast tokenizer and a chat template")
    parser.add_argument("--seed-file", type=Path, help="records to make the data from")
    parser.add_argument("--rows", type=int, default=52_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--large-bytes", type=int, default=1_200_000_000)
    parser.add_argument("--no-tokens", action="store_true", help="ours without a tokenizer: reading and checks only")
    parser.add_argument("--only", choices=["ours", "peer"])
    parser.add_argument("--scratch", type=Path, help="folder for the files made (default: the system's)")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--stop-after", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.file, args.tokenizer, args.stop_after, args.no_tokens)
        return
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        report = compare(args, Path(folder))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1))


def compare(args, folder: Path) -> dict:
    seed = json.loads(args.seed_file.read_text(encoding="utf-8"))
    path = folder / ("large.jsonl" if args.large else "alpaca.json")
    if args.large:
        make_conversations(seed, args.large_bytes, path)
    else:
        make_alpaca(seed, args.rows, path)
    kinds = [args.only] if args.only else ["ours", "peer"]
    runs = {kind: [] for kind in kinds}
    for _ in range(args.repeat):
        for kind in kinds:
            runs[kind].append(measured(kind, path, args))
            print(kind, runs[kind][-1], flush=True)
    report = {"bytes": path.stat().st_size, "runs": runs}
    print(f"\n{path.stat().st_size / 1e6:.0f} MB, medians of {args.repeat}:")
    for kind in kinds:
        seconds = statistics.median(run["seconds"] for run in runs[kind])
        peak = statistics.median(run["peak_bytes"] for run in runs[kind])
        cpu = statistics.median(run["cpu_seconds"] for run in runs[kind])
        report[kind] = {"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak}
        rows = runs[kind][0]["rows"]
        print(
            f"  {kind:5} {rows:,} rows  {seconds:6.1f} s  ({cpu:.1f} s of CPU)  peak {peak / 2**20:6.0f} MiB  {runs[kind][0]['tokens']:,} tokens"
        )
    if len(kinds) == 2:
        for name in ("seconds", "cpu_seconds"):
            print(f"  ours / peer, {name}: {report['ours'][name] / report['peer'][name]:.2f}")
    if "ours" in kinds:
        report["stop"] = measured("ours", path, args, stop_after=report["ours"]["seconds"] / 3)
        print(f"  stopped on request: {report['stop']}")
    return report


if __name__ == "__main__":
    main()
