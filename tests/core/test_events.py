import json
import os

import pytest

from llmdemo.core import events
from llmdemo.core.events import EventWriter, read_events
from llmdemo.core.sentences import say


def test_what_is_written_is_read_once_and_in_order(tmp_path):
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    writer.write("step", step=1, text="漢字 and\nnewline")
    first, offset = read_events(path)
    assert [(e["type"], e["step"], e["text"]) for e in first] == [("step", 1, "漢字 and\nnewline")]
    assert isinstance(first[0]["t"], float)
    assert read_events(path, offset) == ([], offset)
    writer.write("end", state="completed")
    writer.close()
    assert [event["type"] for event in read_events(path, offset)[0]] == ["end"]


def test_a_file_that_is_not_there_has_no_events(tmp_path):
    assert read_events(tmp_path / "none", 5) == ([], 5)


def test_a_torn_last_line_waits_and_is_passed_over_once_another_follows(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"type": "a"}\n{"type": "b", "te')
    found, offset = read_events(path)
    assert [e["type"] for e in found] == ["a"] and offset == 14
    writer = EventWriter(path)
    writer.write("c")
    writer.close()
    assert [e["type"] for e in read_events(path, offset)[0]] == ["c"]


def test_a_whole_line_that_lacks_only_its_end_becomes_an_event(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"type": "a"}')
    writer = EventWriter(path)
    writer.end_line()
    writer.end_line()
    writer.close()
    assert path.read_bytes() == b'{"type": "a"}\n'


def test_a_disk_that_fills_up_in_the_middle_of_an_event_spoils_only_that_one(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    writer.write("a")
    real, calls = os.write, []

    def full(handle, data):
        calls.append(1)
        if len(calls) == 1:
            return real(handle, data[:7])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(events.os, "write", full)
    with pytest.raises(OSError):
        writer.write("b", text="x" * 100)
    monkeypatch.undo()
    writer.write("c")
    writer.close()
    assert [event["type"] for event in read_events(path)[0]] == ["a", "c"]


def test_nan_is_neither_written_nor_read(tmp_path):
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    with pytest.raises(ValueError):
        writer.write("step", loss=float("nan"))
    writer.write("a")
    writer.close()
    with open(path, "a") as file:
        file.write('{"type": "b", "loss": NaN}\n{"type": "c", "loss": Infinity}\n')
    assert [event["type"] for event in read_events(path)[0]] == ["a"]


def test_lines_that_are_no_events_are_passed_over(tmp_path):
    path = tmp_path / "events.jsonl"
    lines = [b"", b"[]", b"3", b'{"no": "type"}', b'{"type": 1}', b"\xff\xfe\x00", b"{" * 100_000, b'{"type": "a"}']
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert [event["type"] for event in read_events(path)[0]] == ["a"]


def test_a_long_file_is_read_in_parts_and_an_endless_line_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "_LARGEST_READ", 100)
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(b'{"type": "a%d"}\n' % n for n in range(50)) + b"x" * 1000 + b'\n{"type": "z"}\n')
    found, offset = [], -1
    while offset != (offset := read_events(path, max(0, offset))[1]):
        pass
    offset, before = 0, -1
    while offset != before:
        before = offset
        more, offset = read_events(path, offset)
        found += more
    assert [event["type"] for event in found] == [*(f"a{n}" for n in range(50)), "z"]


def test_a_lone_surrogate_does_not_break_the_writer(tmp_path):
    writer = EventWriter(tmp_path / "events.jsonl")
    writer.write("sample", text="half \ud83d of a pair")
    writer.close()
    assert json.loads((tmp_path / "events.jsonl").read_text())["text"] == "half ? of a pair"


def test_a_sentence_keeps_key_and_values_and_reads_as_english_without_them(tmp_path):
    writer = EventWriter(tmp_path / "events.jsonl")
    writer.write("note", message=say("err_empty_file", name="a.csv"))
    writer.close()
    line = json.loads((tmp_path / "events.jsonl").read_text())
    assert line["message"] == "a.csv is empty."
    (event,), _ = read_events(tmp_path / "events.jsonl")
    assert event["message"].key == "err_empty_file" and event["message"].values == {"name": "a.csv"}
    assert "said" not in event
