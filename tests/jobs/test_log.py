import os

from llmdemo.jobs import log as logs


def test_a_flooding_log_is_cut_while_its_writer_goes_on(tmp_path):
    log = tmp_path / "log.txt"
    writer = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(writer, b"the beginning\n" + b"x" * 2_000_000 + b"\nthe end\n")
    assert logs.trim(log, 1_000_000)
    os.write(writer, b"and on\n")
    os.close(writer)
    text = log.read_bytes()
    assert len(text) < 300_000
    assert text.startswith(b"the beginning\n") and text.endswith(b"\nthe end\nand on\n")
    assert b"the middle part was removed" in text
    assert b"\0" not in text


def test_a_log_that_is_cut_again_and_again_keeps_its_beginning_and_one_notice(tmp_path):
    log = tmp_path / "log.txt"
    log.write_bytes(b"the beginning\n")
    for _ in range(5):
        with open(log, "ab") as file:
            file.write(b"y" * 700_000 + b"\n")
        assert logs.trim(log, 500_000)
    assert log.read_bytes().startswith(b"the beginning\n")
    assert log.read_bytes().count(b"was removed") == 1


def test_a_short_or_missing_log_is_left_alone(tmp_path):
    (tmp_path / "log.txt").write_bytes(b"short")
    assert not logs.trim(tmp_path / "log.txt", 100)
    assert not logs.trim(tmp_path / "none.txt", 100)
    assert (tmp_path / "log.txt").read_bytes() == b"short"


def test_the_tail_shows_the_last_state_of_a_progress_bar_and_survives_any_bytes(tmp_path):
    log = tmp_path / "log.txt"
    log.write_bytes(b"first\nloading 10%\rloading 90%\rloading 100%\n\xff\xfe broken\r\nlast")
    assert logs.tail(log) == "first\nloading 100%\n\ufffd\ufffd broken\nlast"
    assert logs.tail(log, 1) == "last"
    assert logs.tail(log, 0) == logs.tail(tmp_path / "none") == ""


def test_only_what_the_last_attempt_printed_is_judged(tmp_path):
    log = tmp_path / "log.txt"
    for attempt, word in ((1, "MemoryError"), (2, "fine")):
        logs.begin_attempt(log, attempt)
        with open(log, "a") as file:
            file.write(f"{word}\n")
    assert logs.last_attempt(log) == "fine"
