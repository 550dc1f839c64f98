"""Files packed with gzip or zstd are read as what is inside, and leave nothing behind."""

import gzip
import json
import random

import pyarrow as pa
import pytest
from pyarrow import feather

from llmdemo.core.errors import UserError
from llmdemo.data import add_dataset, open_records

ROWS = [{"instruction": f"Which river runs through town {n}?", "output": f"The river {n}."} for n in range(3000)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.json.gz", "a.csv.gz", "a.jsonl"])
@pytest.mark.slow
def test_a_packed_file_is_the_same_data_set_as_the_file_inside(home, settings, write, name):
    plain = {
        "jsonl": LINES,
        "json": json.dumps(ROWS).encode(),
        "csv": b"instruction,output\n" + b"".join(b"%s,%s\n" % tuple(v.encode() for v in row.values()) for row in ROWS),
    }[name.split(".")[1]]
    pack = pa.compress if name.endswith("zst") else None
    packed = pack(plain, codec="zstd", asbytes=True) if pack else gzip.compress(plain)
    info = add_dataset(home, settings, write(name, packed), "")
    assert (info.rows, info.kept) == (3000, 3000) and info.bytes == len(packed)
    assert info.source["file"] == name and info.name in ("a", "a.jsonl")
    assert info.content_hash == add_dataset(home, settings, write("b.jsonl", LINES), "b").content_hash
    assert open_records(home, info.dataset_id)[2999]["messages"][1]["content"] == "The river 2999."
    assert list(home.tmp.iterdir()) == []


def test_several_parts_in_one_gzip_file_are_all_read(home, settings, write):
    half = len(LINES) // 2
    packed = gzip.compress(LINES[:half]) + gzip.compress(LINES[half:])
    assert add_dataset(home, settings, write("a.jsonl.gz", packed), "a").rows == 3000


@pytest.mark.parametrize("form", ["file", "stream", "feather"])
@pytest.mark.slow
def test_an_arrow_file_is_the_same_data_set(home, settings, tmp_path, write, form):
    table, path = pa.Table.from_pylist(ROWS), tmp_path / "a.arrow"
    if form == "feather":
        feather.write_feather(table, path, compression="zstd")
    else:
        with (pa.ipc.new_file if form == "file" else pa.ipc.new_stream)(str(path), table.schema) as writer:
            writer.write_table(table)
    info = add_dataset(home, settings, path, "a")
    assert (info.format, info.rows, info.kept) == ("Arrow", 3000, 3000)
    assert info.content_hash == add_dataset(home, settings, write("b.jsonl", LINES), "b").content_hash


def test_a_damaged_arrow_file_is_a_sentence(home, settings, tmp_path):
    path, generator = tmp_path / "a.arrow", random.Random(0)
    with pa.ipc.new_file(str(path), pa.Table.from_pylist(ROWS).schema) as writer:
        writer.write_table(pa.Table.from_pylist(ROWS[:300]))
    whole = path.read_bytes()
    outcomes = set()
    for _ in range(6):
        damaged = bytearray(whole[: len(whole) - generator.choice([0, 0, 900])])
        for _ in range(40):
            damaged[generator.randrange(8, len(damaged))] = generator.randrange(256)
        path.write_bytes(bytes(damaged))
        try:
            add_dataset(home, settings, path, "a")
            outcomes.add("read")
        except UserError as error:
            assert error.message and error.hint
            outcomes.add("refused")
    assert "refused" in outcomes and list(home.tmp.iterdir()) == []
