"""Files that are broken, huge, or made to hurt: each ends in a sentence with a place and a remedy, and leaves nothing."""

import gzip
import json
import os
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from llmdemo.core.errors import UserError
from llmdemo.data import add_dataset, get_dataset, open_records

GOOD = json.dumps({"prompt": "a", "completion": "b"})
DEEP = 200_000
FILES = {
    "empty.json": (b"", "is empty"),
    "blank.csv": (b" \n\n", "only whitespace"),
    "nul.csv": (b"a,b\n1,\x002\n", "byte 7 is NUL"),
    "picture.json": (b"\x89PNG\r\n\x1a\n0000", "is a picture"),
    "sheet.csv": (b"PK\x03\x04000", "ZIP archive or an Excel workbook"),
    "empty.xlsx": (b"PK\x05\x06" + b"\0" * 18, "empty ZIP archive or Excel workbook"),
    "cut.xlsx": (b"PK\x03\x04\x14\x00", "ZIP archive or an Excel workbook"),
    "part.xlsx": (b"PK\x07\x08" + b"\0" * 99, "part of a ZIP archive"),
    "page.xlsx": (b"<html><table><tr><td>a</td></tr></table></html>", "page of HTML or XML"),
    "table.xlsx": (b"a,b\n1,2\n", "not a kind of data file known"),
    "locked.xlsx": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500, "old Excel or Word file"),
    "empty.csv.gz": (gzip.compress(b""), "is empty"),
    "cut.csv.gz": (gzip.compress(b"a,b\n" * 100_000)[:-20], "damaged or cut off"),
    "broken.jsonl.gz": (b"\x1f\x8b\x08" + b"\x00" * 40, "damaged or cut off|is empty"),
    "broken.jsonl.zst": (b"\x28\xb5\x2f\xfd" + b"\xff" * 40, "damaged or cut off"),
    "twice.csv.gz": (gzip.compress(gzip.compress(b"a,b\n")), "compressed with gzip"),
    "large.txt.gz": (gzip.compress(b"\0" * 70_000_000), "holds over 64 MB"),
    "page.json": (b"<!DOCTYPE html><html>404</html>", "page of HTML"),
    "program.py": (b"import os\n", "not a kind of data file known"),
    "latin.json": ('[{"prompt":"a",\n"completion":"é"}]'.encode("latin-1"), "Line 2 of latin.json has the byte 0xE9"),
    "latin.csv": ("question,answer\na,b\nc,caf\xe9\n".encode("latin-1"), "Line 3 of latin.csv has the byte 0xE9"),
    "latin.jsonl": (GOOD.encode() + b'\n{"prompt": "\xe9"}', "Line 2"),
    "cut.json": (b'[{"prompt":"a",\n"completion":"b"},\n{"prompt":"a', r"line 3, column 11: Unterminated string starting at \(record 2\); the file may be cut off"),
    "comma.json": (b'[{"prompt":"a","completion":"b"}\n{"prompt":"a"}]', r"line 2, column 1: Expecting ',' delimiter"),
    "trailing.json": (b'[{"prompt":"a","completion":"b"},]', "line 1, column 3"),
    "after.json": (b'[{"prompt":"a","completion":"b"}]\n\nx', "line 3, column 1: something follows"),
    "broken.jsonl": (f"{GOOD}\n{GOOD}\n{{'a': 1}}\n".encode(), "Line 3 of broken.jsonl is not JSON"),
    "deep.json": (b"[" * DEEP, r"line 1, column \d+: record 1 is nested too deeply"),
    "deeper.json": (b'{"a":' * DEEP, "nested too deeply"),
    "deep.jsonl": (GOOD.encode() + b'\n{"prompt":' + b"[" * DEEP + b"]" * DEEP + b"}", "Line 2 .* nested too deeply|Line 2 .*[Rr]ecursion"),
    "number.json": (b'[{"prompt":"a","completion":' + b"9" * 5000 + b"}]", "number that is too long"),
    "words.json": (b"hello there", "line 1 begins with 'hello there'"),
    "long.jsonl": (b'{"prompt":"' + b"a" * 9_000_000 + b'"}', "Line 1 of long.jsonl is longer than 8 MB"),
    "long.json": (b'[{"prompt":"' + b"a" * 9_000_000 + b'"}]', r"line 1, column \d+: record 1 is longer than 8 MB"),
    "string.json": (b'[{"prompt":"' + b"a" * 40_000_000 + b'"}]', r"line 1, column \d+: record 1 is longer than 8 MB"),
    "blank-lines.jsonl": (GOOD.encode() + b"\n" * 1_100_000, "1,000,001 blank lines"),
    "blank-lines.csv": (b"prompt,completion\na,b" + b"\r\n" * 1_100_000, "1,000,001 blank lines"),
    "blank-lines.txt": (b"hello" + b"\n" * 1_100_000, "1,000,001 blank lines"),
    "long.txt": (b"a" * 9_000_000, "longer than 8 MB"),
    "columns.csv": (b",".join(b"c%d" % n for n in range(2000)) + b"\n" + b"," * 1999 + b"\n1" + b",1" * 1999, "2,000 columns"),
    "wide.csv": (b"a," * 5_000_000, "longer than 8 MB"),
    "quote.csv": (b'question,answer\na,b\nc,"d\n' + b"e,f\n" * 9, "row that begins on line 3"),
    "twice.csv": (b"answer,answer\na,b\n", "two columns named 'answer'"),
    "labels.csv": (b"text,label\n" + b"".join(b"text %d,label %d\n" % (n, n) for n in range(5000)), "more than 1,000 different values"),
    "one-label.csv": (b"text,label\n" + b"".join(b"text %d,same\n" % n for n in range(9)), "the same label, 'same'"),
    "prompts.json": (json.dumps([{"prompt": "a"}, {"prompt": "b"}]).encode(), "'prompt' but no answer"),
    "answerless.json": (json.dumps([{"prompt": "a", "completion": ""}] * 3).encode(), "None of the 3 rows is a valid record. Row 1 has an empty answer"),
    "numbers.json": (b"[1, 2, 3]", "No row of the file is a record"),
    "none.json": (b"[]", "No row of the file is a record"),
    "keys.jsonl": (b"\n".join(b'{"k%d": 1, "j%d": 2}' % (n, n + 20_000) for n in range(6000)), "columns .* are not known|different fields"),
    "not.parquet": (b"hello", "is not a Parquet file"),
    "cut.parquet": (b"PAR1" + b"\x00" * 50, "damaged or not a Parquet file"),
    "utf32.json": ("[]".encode("utf-32"), "UTF-32"),
}  # fmt: skip


def nothing_left(home):
    return not list(home.datasets.iterdir()) and not list(home.tmp.iterdir())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.slow
def test_a_file_that_hurts_gets_a_sentence_and_leaves_nothing(home, settings, write, name):
    content, words = FILES[name]
    with pytest.raises(UserError, match=words) as caught:
        add_dataset(home, settings, write(name, content), name)
    assert caught.value.hint and len(str(caught.value)) < 600
    assert nothing_left(home)


BOMBS = {
    "repeated": lambda: (
        pa.table({"text": pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), ["a" * 1_000_000])}),
        "holds over 64 MB",
    ),
    "one value": lambda: (pa.table({"text": ["a" * 60_000_000]}), "row of more than 32 MB"),
    "rows": lambda: (pa.table({"text": pa.array(["x"]).take(pa.array([0] * 1_100_000))}), "more rows than are allowed"),
    "columns": lambda: (pa.table({f"c{n}": [1] for n in range(1500)}), "more than 1,000 columns"),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.slow
def test_a_parquet_file_that_inflates_is_refused(home, settings, tmp_path, name):
    table, words = BOMBS[name]()
    pq.write_table(table, tmp_path / "bomb.parquet", compression="zstd")
    with pytest.raises(UserError, match=words):
        add_dataset(home, settings, tmp_path / "bomb.parquet", "bomb")
    assert nothing_left(home)


def test_a_parquet_file_with_broken_text_or_dates_is_refused_with_the_rows(home, settings, tmp_path):
    raw = pa.array([b"good", b"bad \xb1"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    when = pa.array([0, 2**58], pa.int64()).cast(pa.timestamp("ms"))
    for column, words in ((text, "text that is not UTF-8 in rows 1 to 2"), (when, "cannot be read in rows 1 to 2")):
        pq.write_table(pa.table({"prompt": column, "completion": ["a", "b"]}), tmp_path / "broken.parquet")
        with pytest.raises(UserError, match=words):
            add_dataset(home, settings, tmp_path / "broken.parquet", "broken")
        assert nothing_left(home)


def test_a_file_over_the_limit_is_refused_with_both_sizes(home, settings, write):
    small = replace(settings, max_upload_bytes=1_000_000)
    with pytest.raises(UserError, match="has 3 MB; at most 1 MB"):
        add_dataset(home, small, write("a.json", b" " * 3_000_000), "a")


def test_more_rows_than_allowed_are_refused(home, settings, write):
    with pytest.raises(UserError, match="more than 10 records"):
        add_dataset(home, replace(settings, max_rows=10), write("a.jsonl", f"{GOOD}\n" * 11), "a")
    assert nothing_left(home)


def test_what_is_no_regular_file_is_refused(home, settings, tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path, tmp_path / "pipe.json", tmp_path / "missing.json", tmp_path / ("x" * 300)):
        with pytest.raises(UserError):
            add_dataset(home, settings, path, "a")


@pytest.mark.parametrize(
    "name", ["../../x", "a\x00b", "\n\x1b[31m", "", " . ", "x" * 500, "C:\\Users\\me\\data.json", "..", "\u202egnp"]
)
def test_a_hostile_name_becomes_a_plain_one(home, settings, write, name):
    info = add_dataset(home, settings, write("a.jsonl", GOOD), name)
    assert 1 <= len(info.name) <= 80 and info.name.isprintable()
    assert not set(info.name) & set("/\\") and not info.name.startswith(".")
    assert [path.name for path in home.datasets.iterdir()] == [info.dataset_id]


def test_mixed_shapes_keep_what_fits_and_name_the_rest(home, settings, write):
    rows = [{"prompt": "a", "completion": "b"}] + [{"prompt": f"q{n}", "completion": "x"} for n in range(8)]
    rows += [
        {"messages": [{"role": "user", "content": "hi"}]},
        "text",
        5,
        None,
        [1],
        {"prompt": {"a": [1]}, "completion": True},
    ]
    info = add_dataset(home, settings, write("a.json", rows), "a")
    assert info.counts["wrong_shape"] == 5 and info.counts["not_text"] == 1 and info.kept == 9
    assert [problem["row"] for problem in info.problems if problem["code"] == "wrong_shape"] == [10, 11, 12, 13, 14]
    assert open_records(home, info.dataset_id, everything=True)[-1]["messages"][0]["content"] == '{"a":[1]}'


def test_lone_surrogates_and_nan_are_read(home, settings, write):
    info = add_dataset(
        home, settings, write("a.jsonl", '{"prompt": "a\\ud800", "completion": "b", "input": NaN}\n'), "a"
    )
    assert open_records(home, info.dataset_id)[0]["messages"][0]["content"] == "a\ufffd"
    assert info.counts == {"encoding_damage": 1}


@pytest.mark.parametrize(
    ("row", "roles"),
    [
        ({"prompt": "a", "completion": "b", "c\ud800": "d"}, {"prompt": "prompt", "response": "completion"}),
        ({"a\ud800": "What is the capital of Velmora?"}, {"text": "a\ufffd"}),
    ],
    ids=["unused", "text"],
)
def test_lone_surrogates_in_names_of_columns_are_read(home, settings, write, row, roles):
    info = add_dataset(home, settings, write("a.jsonl", json.dumps(row) + "\n"), "a")
    assert info == get_dataset(home, info.dataset_id)
    assert info.columns == [name.replace("\ud800", "\ufffd") for name in row]
    assert info.roles == roles


TEXT = st.text(max_size=20)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXT, v, max_size=3),
    max_leaves=6,
)
KEY = (
    st.sampled_from(
        [
            "instruction",
            "input",
            "output",
            "messages",
            "conversations",
            "prompt",
            "chosen",
            "rejected",
            "text",
            "label",
            "split",
            "system",
            "history",
            "instances",
            "role",
            "content",
            "from",
            "value",
        ]
    )
    | TEXT
)
TURN = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "tool", "x"]),
        "from": st.sampled_from(["human", "gpt"]),
        "content": VALUE,
        "value": TEXT,
        "tool_calls": VALUE,
    },
)
ROW = st.dictionaries(KEY, VALUE | st.lists(TURN | VALUE, max_size=4), max_size=6) | VALUE


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, max_size=6), as_lines=st.booleans())
@pytest.mark.slow
def test_any_json_is_a_data_set_or_a_sentence(home, settings, write, tokenizer, rows, as_lines):
    content = "\n".join(map(json.dumps, rows)) if as_lines else json.dumps(rows)
    try:
        info = add_dataset(
            home, settings, write("a.jsonl" if as_lines else "a.json", content), "a", tokenizer=tokenizer
        )
    except UserError as error:
        assert error.message and error.hint
        return
    assert info == get_dataset(home, info.dataset_id)
    assert 1 <= info.kept <= info.records
    for record in open_records(home, info.dataset_id):
        texts = [record.get("text"), record.get("chosen"), *(turn["content"] for turn in record.get("messages", []))]
        assert any(text and text.strip() for text in texts if text is not None)


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=200) | st.text(st.sampled_from('a1é,;\t"\n\r|=[]{}:'), max_size=120).map(str.encode),
    suffix=st.sampled_from([".csv", ".tsv", ".txt", ".json", ".jsonl", ".parquet", ""]),
)
def test_any_bytes_are_a_data_set_or_a_sentence(home, settings, write, content, suffix):
    if content.startswith(b"PAR1"):
        return
    try:
        info = add_dataset(home, settings, write(f"a{suffix}", content), "a")
    except UserError as error:
        assert error.message and error.hint
    else:
        assert len(open_records(home, info.dataset_id)) == info.kept >= 1
