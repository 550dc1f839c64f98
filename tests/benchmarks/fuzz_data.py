"""Random mutations of data files against the readers: no crash, no hang, no wrong acceptance, nothing left behind.

    python tests/benchmarks/fuzz_data.py FOLDER [--cases 20000] [--seed 0] [--seconds 600] [--scratch /dev/shm] [--out FILE]

FOLDER holds files to start from (JSON, JSON Lines, CSV, TSV, text). Each is also rewritten in the other formats it
can have, and cut to its first records so that a case takes milliseconds. A case is one to four mutations of bytes or
of structure. A case passes when the file is refused with a UserError, or accepted and an independent reading agrees:
json.loads, csv.reader or pyarrow read it too and find the same number of rows; what is kept has text; what was
written can be opened again. A case that takes over 5 s of CPU time counts as a hang. Failing files are kept in
<scratch>/failures. Exit code 1 if any case fails.
"""

import argparse
import contextlib
import csv
import io
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import pyarrow as pa
import pyarrow.parquet as pq

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.data import add_dataset, delete_dataset, get_dataset, open_records
from llmdemo.data.format_detection import ENCODINGS
from llmdemo.settings import Settings

HANG_SECONDS = 5.0
SNIPPETS = [
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\r\n", b"\n\n", b"\t", b'"', b'""', b",", b"[", b"]", b"{", b"}", b":",
    b"null", b"NaN", b"1e999", b"9" * 5000, b"[" * 3000, b'{"a":' * 1500, b"\\ud800", b"\\u0000", b"<|im_end|>", b"=cmd|' /C calc'!A0",
    b'{"instruction": 1, "output": [1, 2]}', b'{"messages": [{"role": "user"}]}', b'"role": "tool"', b"{}", b'{"text": "x"}', b"PAR1",
    b"\xe2\x80\xae", b"a" * 5000, b"," * 3000, "é你🎉".encode(), "é".encode("latin-1"), "text".encode("utf-16"),
]  # fmt: skip


def seeds(folder: Path) -> dict[str, bytes]:
    """name -> bytes: the start of each file, and the same records in other formats."""
    found = {}
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        if path.suffix == ".json":
            rows = json.loads(data)[:12]
            found[path.name] = json.dumps(rows, indent=1, ensure_ascii=False).encode()
            found[path.stem + ".jsonl"] = b"\n".join(json.dumps(row).encode() for row in rows)
            found[path.stem + "-16.json"] = json.dumps(rows, ensure_ascii=False).encode("utf-16")
            buffer = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(rows), buffer)
            found[path.stem + ".parquet"] = buffer.getvalue()
            if all(isinstance(value, str) for row in rows for value in row.values()):
                table = io.StringIO()
                writer = csv.DictWriter(table, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
                found[path.stem + ".csv"] = table.getvalue().encode()
        elif path.suffix in (".jsonl", ".tsv", ".csv"):
            found[path.name] = b"\n".join(data.split(b"\n")[:30]) + b"\n"
        elif path.suffix == ".txt":
            found[path.name] = data[:5000] + b"\n" + data[-3000:]
    return found


def mutate(data: bytes, generator: random.Random) -> bytes:
    """The bytes after one to four random changes."""
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(data) + 1)
        kind = generator.randrange(9)
        if kind == 0:
            data = data[:at] + bytes([generator.randrange(256)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + generator.choice(SNIPPETS) + data[at:]
        elif kind == 2:
            data = data[:at]
        elif kind == 3:
            data = data[:at] + data[at + generator.randrange(200) :]
        elif kind == 4:
            end = min(len(data), at + generator.randrange(400))
            data = data[:end] + data[at:end] * generator.randint(1, 20) + data[end:]
        elif kind == 5:
            lines = data.split(b"\n")
            generator.shuffle(lines)
            data = b"\n".join(lines)
        elif kind == 6:
            old = generator.choice(
                [b'"output"', b'"from"', b'"value"', b'"human"', b'"gpt"', b"\t", b'": "', b"},", b"\n"]
            )
            data = data.replace(old, generator.choice(SNIPPETS + [b'"x"', b'"input"']), generator.choice([1, 2, -1]))
        elif kind == 7:
            data = b"".join(generator.choice([line, line, line, b""]) + b"\n" for line in data.split(b"\n"))
        else:
            data = data[at:] + data[:at]
    return data[:500_000]


def text_by_others(data: bytes) -> str:
    """The text in UTF-16, UTF-8 or the first of the East Asian encodings that takes all of it; raises if none does."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    for encoding in ("utf-8-sig", *ENCODINGS):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode(encoding)
    raise ValueError("no encoding takes it")


def rows_by_others(path: Path, format_: str) -> int | None:
    """How many rows an independent reader finds; raises if it cannot read the file; None if it cannot tell."""
    if format_ == "Parquet":
        return pq.read_table(path).num_rows
    text = text_by_others(path.read_bytes())
    if format_ == "JSON Lines":
        return sum(json.loads(line) is not NotImplemented for line in text.split("\n") if line.strip(" \t\r\n\x0b\x0c"))
    if format_ == "JSON":
        value = json.loads(text)
        return len(value) if isinstance(value, list) else None
    return None  # tables and plain text have no such thing as a wrong file


class Hang(Exception):
    """A case that does not end."""


def _alarm(*_):
    raise Hang


def case(name: str, data: bytes, home: Home, settings: Settings, folder: Path) -> str:
    """Runs one case: "accepted" or "refused"; raises AssertionError or whatever the readers raise."""
    path = folder / name
    path.write_bytes(data)
    try:
        info = add_dataset(home, settings, path, name)
    except UserError as error:
        assert error.message and error.hint, "an error without a remedy"
        assert not any(home.datasets.iterdir()) and not any(home.tmp.iterdir()), "something is left behind"
        return "refused"
    assert info == get_dataset(home, info.dataset_id), "what was returned is not what was written"
    records = open_records(home, info.dataset_id)
    assert len(records) == info.kept >= 1
    for record in records:
        texts = [record.get("text"), record.get("chosen"), *(turn["content"] for turn in record.get("messages", ()))]
        assert any(text and text.strip() for text in texts), "a record without text"
        if info.task == "chat":
            assert record["messages"][-1]["role"] == "assistant" and record["messages"][-1]["content"].strip()
    try:
        others = rows_by_others(path, info.format)
    except (ValueError, RecursionError, pa.ArrowException, OSError) as error:
        raise AssertionError(f"accepted, though it cannot be read: {error}") from error
    assert others in (None, info.rows), f"{info.rows} rows where others find {others}"
    delete_dataset(home, info.dataset_id)
    return "accepted"


def run(args) -> dict:
    start = seeds(args.folder)
    light = [name for name in start if not name.endswith(".parquet")]
    heavy = [name for name in start if name.endswith(".parquet")]
    generator, outcome, by_format, failures = random.Random(args.seed), Counter(), Counter(), []
    slowest, begin, done = 0.0, time.monotonic(), 0
    signal.signal(signal.SIGALRM, _alarm)
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        folder = Path(scratch)
        while done < args.cases and time.monotonic() - begin < args.seconds:
            home = Home(folder / "home").prepare()
            settings = Settings(home=home.root, max_upload_bytes=20 * 2**20)
            parquet = heavy and generator.random() < args.parquet_share
            name = generator.choice(heavy if parquet else light)
            data = mutate(start[name], generator)
            cpu = time.process_time()
            signal.alarm(120)
            try:
                result = case(name, data, home, settings, folder)
                outcome[result] += 1
                by_format[name.rsplit(".", 1)[-1], result] += 1
            except (Exception, Hang) as error:  # the point of the script is to meet every kind
                failures.append(
                    {"case": done, "file": name, "error": "".join(traceback.format_exception(error))[-1500:]}
                )
                keep = args.scratch / "failures"
                keep.mkdir(exist_ok=True)
                (keep / f"{done}-{name}").write_bytes(data)
                shutil.rmtree(home.root, ignore_errors=True)
            finally:
                signal.alarm(0)
            took = time.process_time() - cpu
            if took > HANG_SECONDS:
                failures.append({"case": done, "file": name, "error": f"took {took:.1f} s of CPU"})
            slowest = max(slowest, took)
            done += 1
            if done % 1000 == 0:
                print(f"{done:,} cases, {dict(outcome)}, {len(failures)} failures", flush=True)
    formats = {f"{ending} {result}": count for (ending, result), count in sorted(by_format.items())}
    return {
        "cases": done,
        "seed": args.seed,
        "outcome": dict(outcome),
        "formats": formats,
        "slowest_cpu_seconds": round(slowest, 2),
        "failures": failures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--parquet-share", type=float, default=0.02, help="share of cases that start a process each")
    parser.add_argument(
        "--scratch", type=Path, default=Path("/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir())
    )
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    report = run(args)
    print(json.dumps({**report, "failures": report["failures"][:5]}, indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1))
    sys.exit(1 if report["failures"] else 0)


if __name__ == "__main__":
    main()
