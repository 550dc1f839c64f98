"""Several files as one data set: rows and problems by file, and what cannot be joined."""

import gzip
import json

import pyarrow as pa
import pytest

from llmdemo.core.errors import UserError
from llmdemo.data import add_dataset, apply_filters, open_records
from llmdemo.data import files as data_files
from llmdemo.data.files import several
from llmdemo.data.report import problems, report_csv


def pairs(first, count):
    return [{"instruction": f"What is {n}?", "output": f"It is {n}."} for n in range(first, first + count)]


@pytest.fixture
def files(tmp_path):
    """An Alpaca file with a row without an answer, a packed ShareGPT one, a CSV with a repeated question, and an Arrow one."""
    (tmp_path / "a.json").write_text(json.dumps([*pairs(0, 4), {"instruction": "No answer?", "output": ""}]))
    turns = [{"from": "human", "value": "Hi there"}, {"from": "gpt", "value": "Hello to you"}]
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as out:
        out.write("".join(json.dumps({"conversations": turns}) + "\n" for _ in range(1)))
    (tmp_path / "c.csv").write_text("prompt,response\nWhat is 1?,It is 1.\nWhat is 90?,It is 90.\n")
    table = pa.table({"question": ["What is 70?"], "answer": ["It is 70."]})
    with pa.OSFile(str(tmp_path / "d.arrow"), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return [tmp_path / name for name in ("a.json", "b.jsonl.gz", "c.csv", "d.arrow")]


def test_files_of_several_formats_and_shapes_become_one_data_set(home, settings, files):
    info = add_dataset(home, settings, files, "all")
    assert (info.rows, info.records, info.task) == (9, 8, "chat")
    assert info.format == "JSON, JSON Lines, CSV, Arrow" and info.shape == "Alpaca, ShareGPT, pairs"
    texts = [record["messages"][-1]["content"] for record in open_records(home, info.dataset_id)]
    assert texts == ["It is 0.", "It is 1.", "It is 2.", "It is 3.", "Hello to you", "It is 90.", "It is 70."]
    told = [
        (each["file"], each["format"], each["first_row"], each["rows"], each["kept"]) for each in info.source["files"]
    ]
    assert told == [
        ("a.json", "JSON", 1, 5, 4), ("b.jsonl.gz", "JSON Lines", 6, 1, 1), ("c.csv", "CSV", 7, 2, 1),
        ("d.arrow", "Arrow", 9, 1, 1),
    ]  # fmt: skip


def test_a_problem_is_told_by_its_file_and_its_row_there(home, settings, files):
    info = add_dataset(home, settings, files, "all")
    found, _ = problems(home, info.dataset_id)
    where = {problem["code"]: (problem["file"], problem["file_row"], problem["row"]) for problem in found}
    assert where["no_answer" if "no_answer" in where else found[0]["code"]] == ("a.json", 5, 5)
    assert where["duplicate"] == ("c.csv", 1, 7)
    by_file = [each["problems"] for each in info.source["files"]]
    assert sum(by_file[0].values()) == 1 and by_file[2]["duplicate"] == 1 and by_file[3] == {}
    assert next(report_csv(home, info.dataset_id)).strip().endswith("file,file_row")
    child = apply_filters(home, info.dataset_id, [code for code in info.filters if code != "duplicate"])
    assert [each["kept"] for each in child.source["files"]] == [4, 1, 2, 1], "a version counts anew"


def test_one_file_is_told_as_before(home, settings, files):
    for path in (files[0], [files[0]], str(files[0])):
        info = add_dataset(home, settings, path, "one")
        assert info.source == {"file": "a.json", "bytes": files[0].stat().st_size} and info.rows == 5
        assert "file" not in info.problems[0]


def test_files_of_two_tasks_are_refused_by_name_and_leave_nothing(home, settings, files, tmp_path):
    (tmp_path / "e.csv").write_text("text,label\nbuy now,spam\nhello you,ham\n")
    with pytest.raises(UserError, match=r"e\.csv.*classify.*a\.json.*chat"):
        add_dataset(home, settings, [files[0], tmp_path / "e.csv"], "both")
    assert list(home.datasets.iterdir()) == [] and list(home.tmp.iterdir()) == []


def test_what_is_wrong_with_one_of_the_files_names_it(home, settings, files, tmp_path):
    (tmp_path / "odd.csv").write_text("x,y\n1,2\n3,4\n")
    with pytest.raises(UserError, match=r"^odd\.csv: "):
        add_dataset(home, settings, [files[0], tmp_path / "odd.csv"], "both")
    (tmp_path / "bad.jsonl.gz").write_bytes(b"\x1f\x8b\x08broken")
    with pytest.raises(UserError, match=r"bad\.jsonl\.gz"):
        add_dataset(home, settings, [files[0], tmp_path / "bad.jsonl.gz"], "both")
    with open(tmp_path / "bomb.jsonl.gz", "wb") as out:
        out.write(gzip.compress(b" " * (80 * 2**20)))
    with pytest.raises(UserError, match=r"bomb\.jsonl\.gz"):
        add_dataset(home, settings, [files[0], tmp_path / "bomb.jsonl.gz"], "both")
    assert list(home.datasets.iterdir()) == []


def test_columns_named_by_hand_are_those_of_the_files_that_have_them(home, settings, files, tmp_path):
    (tmp_path / "odd.csv").write_text("x,y\nWhat is 55?,It is 55.\nWhat is 56?,It is 56.\n")
    info = add_dataset(
        home, settings, [files[0], tmp_path / "odd.csv"], "both", columns={"prompt": "x", "response": "y"}
    )
    assert [each["kept"] for each in info.source["files"]] == [4, 2]


@pytest.mark.parametrize("columns", [{"prompt": "zz"}, {"prompt": ["x"]}, ["x"]])
def test_columns_that_no_file_has_are_a_sentence_and_leave_nothing(home, settings, files, columns):
    with pytest.raises(UserError, match="column"):
        add_dataset(home, settings, files[:2], "both", columns=columns)
    assert list(home.datasets.iterdir()) == []


def test_there_must_be_room_for_what_a_packed_file_holds(home, settings, files, tmp_path, monkeypatch):
    """One of some kilobytes may hold hundreds of megabytes, and a hundred of them come at once."""
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(files[0].read_bytes() * 1000))
    monkeypatch.setattr(data_files, "free_bytes", lambda _: 64 * 2**20 + 2**16)
    with pytest.raises(UserError, match="too full"):
        add_dataset(home, settings, [files[0], tmp_path / "packed.jsonl.gz"], "both")
    assert list(home.datasets.iterdir()) == []


def test_how_many_files_there_may_be(files):
    for wrong, words in (([], "0 files"), (files * 30, "120 files"), ([files[0], files[0]], "given twice")):
        with pytest.raises(UserError, match=words):
            several(wrong)
