import json

from llmdemo.core.events import EventWriter
from llmdemo.jobs import reader as module
from llmdemo.jobs.reader import Readers
from llmdemo.runs.digest import Digest


def Reader(path):
    return module.Reader(path, Digest)


def write(path, *steps):
    writer = EventWriter(path)
    for step in steps:
        writer.write("step", step=step, loss=1.0 / step)
    writer.close()


def seen(reader) -> int:
    with reader.digest() as digest:
        return digest.status()["step"]


def test_nothing_is_read_twice(tmp_path, monkeypatch):
    offsets = []
    real = module.read_events
    monkeypatch.setattr(module, "read_events", lambda path, offset: offsets.append(offset) or real(path, offset))
    path = tmp_path / "events.jsonl"
    reader = Reader(path)
    assert seen(reader) == 0
    write(path, 1, 2)
    assert seen(reader) == seen(reader) == 2
    size = path.stat().st_size
    write(path, 3)
    assert seen(reader) == 3
    assert offsets == [0, size]


def test_a_file_that_is_replaced_or_cut_is_read_anew(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, 1, 2, 3)
    reader = Reader(path)
    assert seen(reader) == 3
    path.unlink()
    write(path, 1, 2, 3, 4, 5)
    assert seen(reader) == 5
    path.write_bytes(path.read_bytes().splitlines(True)[0])
    assert seen(reader) == 1


def test_whatever_byte_the_last_record_is_cut_at_the_others_are_there(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, 1, 2, 3)
    whole = path.read_bytes()
    last = len(whole) - len(whole.splitlines(True)[-1])
    for cut in range(last, len(whole) + 1):
        path.write_bytes(whole[:cut])
        reader = Reader(path)
        assert seen(reader) == (3 if cut == len(whole) else 2)
        write(path, 9)  # the run goes on after the cut
        assert seen(reader) == 9
        with reader.digest() as digest:
            steps = digest.curves(10)["loss"]["step"]
        assert steps == ([1, 2, 3, 9] if cut >= len(whole) - 1 else [1, 2, 9])


def test_more_than_one_read_is_caught_up_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("llmdemo.core.events._LARGEST_READ", 200)
    path = tmp_path / "events.jsonl"
    write(path, *range(1, 101))
    assert seen(Reader(path)) == 100


def test_the_time_since_the_last_word_starts_anew_with_each(tmp_path, monkeypatch):
    path, now = tmp_path / "events.jsonl", [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    reader = Reader(path)
    now[0] = 130.0
    assert reader.seconds_quiet() == 30.0
    write(path, 1)
    seen(reader)
    assert reader.seconds_quiet() == 0.0


def test_only_so_many_digests_are_kept(tmp_path):
    readers = Readers(most=2)
    first = readers.of(tmp_path / "a")
    readers.of(tmp_path / "b")
    assert readers.of(tmp_path / "a") is first
    readers.of(tmp_path / "c")
    assert readers.of(tmp_path / "a") is first
    readers.drop(tmp_path / "a")
    assert readers.of(tmp_path / "a") is not first


def test_events_of_any_kind_of_nonsense_are_passed_over(tmp_path):
    path = tmp_path / "events.jsonl"
    good = json.dumps({"type": "step", "step": 7, "loss": 1.0}).encode()
    path.write_bytes(
        b'\xff\xfe\n[]\n"x"\n{"type": 3}\n{"type":"step","step":NaN}\n' + b"[" * 100_000 + b"\n" + good + b"\n"
    )
    assert seen(Reader(path)) == 7
