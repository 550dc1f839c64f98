"""How long a map takes: `python tests/benchmarks/map_speed.py --data records.json --model FOLDER --rows 50000`.

Records are made of those of the file by exchanging words (data_speed.varied), so they have their lengths. `--rows` records are
embedded, or with `--embed N` only N of them and the time is extrapolated, which is printed as such; everything after
that (neighbours, clusters, titles, layout) is run on `--rows` vectors in full. With `--embed` less than `--rows` the
missing vectors are those that there are with noise, so that places behind them mean nothing.

`--job` runs the whole job instead, as the app does: a data set in a home folder of its own, the worker in a process of its own,
stopped on the way and resumed; it tells seconds, CPU seconds and the peak of its memory.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from data_speed import varied


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="JSON: instruction, input, output")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--embed", type=int, default=0)
    parser.add_argument("--depth", type=float, default=0.2)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--job", action="store_true")
    args = parser.parse_args()
    if args.job:
        return as_job(args)
    texts = made(json.loads(args.data.read_text(encoding="utf-8")), args.rows)
    number = min(args.embed or args.rows, args.rows)
    used = time.process_time()
    vectors, seconds = embedded(args, texts[:number])
    used = time.process_time() - used
    print(
        f"vectors: {number} records in {seconds:.1f} s, {number / seconds:.0f} a second; {used:.1f} s of CPU",
        flush=True,
    )
    whole = seconds * args.rows / number
    if number < args.rows:
        print(f"  extrapolated to {args.rows}: {whole:.0f} s")
        generator = np.random.default_rng(0)
        more = vectors[generator.integers(0, number, args.rows - number)]
        vectors = np.concatenate([vectors, more + generator.normal(scale=0.1 * vectors.std(), size=more.shape)])
    print(f"all together: {whole + placed(vectors, texts):.0f} s for {args.rows} records")


def made(rows: list[dict], number: int) -> list[str]:
    generator = random.Random(0)
    words = sorted({w for row in rows for w in row["output"].split() if w.isalpha() and len(w) > 3})
    chosen = (generator.choice(rows) for _ in range(number))
    return [
        "\n".join(varied(row[key], words, generator) for key in ("instruction", "input", "output")) for row in chosen
    ]


def embedded(args, texts: list[str]) -> tuple[np.ndarray, float]:
    from llmdemo.maps.embed import Embedder
    from llmdemo.maps.worker import CHUNK
    from llmdemo.models.load import best_device, load_causal, usable_pad, usual_dtype

    model, tokenizer = load_causal(args.model, usual_dtype(args.model, best_device()))
    embedder = Embedder(model, tokenizer, args.depth, args.max_tokens, usable_pad(model, tokenizer))
    began = time.perf_counter()
    parts = [embedder.vectors(texts[start : start + CHUNK]).numpy() for start in range(0, len(texts), CHUNK)]
    return np.concatenate(parts), time.perf_counter() - began


def placed(vectors: np.ndarray, texts: list[str]) -> float:
    from llmdemo.maps import clusters, layout, neighbours

    total = 0.0

    def timed(name: str, call):
        nonlocal total
        began, used = time.perf_counter(), time.process_time()
        value = call()
        total += time.perf_counter() - began
        used = time.process_time() - used
        print(f"{name}: {time.perf_counter() - began:.1f} s, {used:.1f} s of CPU", flush=True)
        return value

    reduced = timed("principal components", lambda: neighbours.reduced(vectors, 7))
    found, cosines = timed("neighbours", lambda: neighbours.nearest(reduced.vectors))
    labels, _ = timed("clusters", lambda: clusters.clustered(reduced.vectors, 0, 7))
    timed("titles", lambda: clusters.telling_terms([text[:2000] for text in texts], labels))
    timed("layout", lambda: layout.placed(found, cosines, reduced.plane, 7))
    return total


def as_job(args) -> None:
    """The worker on a data set of `--rows` records, asked to stop after a third of the vectors, then resumed to its end."""
    from llmdemo.core.events import read_events
    from llmdemo.core.store import Home, write_json
    from llmdemo.data.ingest import add_dataset
    from llmdemo.settings import Settings

    with tempfile.TemporaryDirectory() as scratch:
        home = Home(Path(scratch)).prepare()
        file = home.tmp / "records.jsonl"
        with open(file, "w", encoding="utf-8") as out:
            for text in made(json.loads(args.data.read_text(encoding="utf-8")), args.rows):
                asked, _, answered = text.partition("\n")
                out.write(json.dumps({"instruction": asked, "output": answered}) + "\n")
        info = add_dataset(home, Settings(home=home.root), file, "records")
        folder = home.root / "maps" / "map-20260101-000000-abcdef"
        folder.mkdir(parents=True)
        spec = {"dataset_id": info.dataset_id, "model_id": str(args.model), "depth": args.depth}
        spec["max_tokens"] = args.max_tokens
        write_json(folder / "config.json", {"spec": spec, "map": {"id": folder.name, "name": "x", "created": ""}})
        print(f"{info.kept:,} records kept of {args.rows:,}", flush=True)
        for stops in (True, False):
            began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            process = subprocess.Popen(
                [sys.executable, "-m", "llmdemo.maps.worker", str(folder)],
                env={**os.environ, "LLMDEMO_HOME": str(home.root)},
                cwd=Path(__file__).resolve().parents[2],
            )
            while stops and process.poll() is None:
                time.sleep(1)
                rows = folder / "vectors.rows"
                if rows.is_file() and rows.stat().st_size > info.kept * 2 * 576 / 3:
                    (folder / "stop").touch()
                    stops, asked_at = False, time.perf_counter()
                    process.wait()
                    print(f"stopped {time.perf_counter() - asked_at:.1f} s after it was asked to", flush=True)
            process.wait()
            (folder / "stop").unlink(missing_ok=True)
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
            ends = [event for event in read_events(folder / "events.jsonl")[0] if event["type"] == "end"]
            print(
                f"{ends[-1]['state']}: {time.perf_counter() - began:.0f} s, {cpu:.0f} s of CPU, "
                f"peak {used.ru_maxrss / 1024:.0f} MiB",
                flush=True,
            )
        events, offset = [], 0
        while (more := read_events(folder / "events.jsonl", offset))[1] > offset:
            events, offset = [*events, *more[0]], more[1]
        first = {}
        for event in events:
            if event["type"] == "progress":
                first.setdefault(event.get("phase"), event["t"])
        print({phase: round(at - min(first.values()), 1) for phase, at in first.items()}, ends[-1].get("message", ""))


if __name__ == "__main__":
    main()
