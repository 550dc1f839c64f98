"""A torn last line harms no other, wherever it was torn."""

import pytest

from llmdemo.core.json_lines import append_lines, read_lines

ROWS = [{"n": 1, "text": "ä\n\ud800"}, {"n": 2}, {"n": 3}]


def test_a_line_torn_at_any_byte_loses_itself_and_nothing_else(tmp_path):
    whole = tmp_path / "whole.jsonl"
    append_lines(whole, ROWS[:2])
    data = whole.read_bytes()
    first = data.index(b"\n") + 1
    for cut in range(first, len(data)):
        path = tmp_path / "torn.jsonl"
        path.write_bytes(data[:cut])
        append_lines(path, ROWS[2:])
        found = [row["n"] for row in read_lines(path)]
        assert found == ([1, 2, 3] if cut == len(data) - 1 else [1, 3])


def test_numbers_that_no_json_has_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError):
        append_lines(tmp_path / "a.jsonl", [{"n": 1}, {"n": float("nan")}])
    assert list(read_lines(tmp_path / "a.jsonl")) == []


def test_lines_that_are_no_objects_are_skipped(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'[1]\n{"n": NaN}\n\xff\n{"n": 4}\n')
    assert list(read_lines(path)) == [{"n": 4}]
