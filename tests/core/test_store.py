import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmdemo.core.errors import UserError
from llmdemo.core.store import (
    Home,
    child,
    folder_bytes,
    free_bytes,
    new_id,
    parse_json,
    read_json,
    sweep,
    whole_folder,
    write_atomic,
    write_json,
)

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").prepare()


def test_preparing_a_home_makes_its_folders_and_may_be_repeated(home):
    home.prepare()
    assert all(folder.is_dir() for folder in (home.models, home.datasets, home.runs, home.tmp))
    assert not any(home.tmp.iterdir())


def test_a_home_that_cannot_be_written_is_a_sentence_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written") as caught:
        Home(tmp_path / "file" / "home").prepare()
    assert "LLMDEMO_HOME" in caught.value.hint


def test_ids_are_fresh_and_plain(home):
    ids = {new_id("run") for _ in range(200)}
    assert len(ids) == 200
    assert all(re.fullmatch(r"run-\d{8}-\d{6}-[0-9a-f]{6}", each) and child(home.runs, each) for each in ids)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "/etc", "a\0b", "A", "-a", "a" * 65, "a\n", "ä", None, 3, b"a"]
)
def test_anything_but_a_plain_id_is_refused(home, name):
    with pytest.raises(UserError):
        child(home.runs, name)


def test_a_link_is_refused(home, tmp_path):
    (home.runs / "run-1").symlink_to(tmp_path)
    with pytest.raises(UserError, match="link"):
        child(home.runs, "run-1")


def test_a_write_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError):
            write_atomic(path, b"new")
    assert read_json(path) == {"a": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["file.json"]


def test_a_folder_appears_whole_or_not_at_all(home):
    with pytest.raises(RuntimeError), whole_folder(home.runs / "run-1", home.tmp) as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    assert not any(home.runs.iterdir()) and not any(home.tmp.iterdir())
    with whole_folder(home.runs / "run-1", home.tmp) as folder:
        (folder / "all").write_text("x")
        assert not (home.runs / "run-1").exists()
    assert (home.runs / "run-1" / "all").read_text() == "x" and not any(home.tmp.iterdir())


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_makes_is_not(home):
    code = "import sys, os; from pathlib import Path; from llmdemo.core.store import whole_folder\n"
    code += "with whole_folder(Path(sys.argv[1]) / 'x', Path(sys.argv[2])) as folder: os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, home.runs, home.tmp], cwd=PROJECT)
    (home.tmp / "upload").mkdir()
    with whole_folder(home.runs / "run-1", home.tmp) as folder:
        assert len(list(home.tmp.glob("whole-x.*"))) == 1
        sweep(home.tmp)
        assert len(list(home.tmp.glob("whole-x.*"))) == 1, "too young to judge"
        sweep(home.tmp, older_than=-1)
        assert not list(home.tmp.glob("whole-x.*")) and folder.is_dir() and (home.tmp / "upload").is_dir()


def test_sizes_are_of_files_and_links_are_not_followed(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"x" * 1000)
    (tmp_path / "big").write_bytes(b"x" * 10**6)
    (tmp_path / "in" / "link").symlink_to(tmp_path / "big")
    assert 1000 <= folder_bytes(tmp_path / "in") < 2000
    assert folder_bytes(tmp_path / "none") == 0
    assert free_bytes(tmp_path) > 0


def test_an_id_does_not_need_a_clock_that_goes_forward(monkeypatch):
    monkeypatch.setattr(time, "gmtime", lambda *_: time.struct_time((1970, 1, 1, 0, 0, 0, 3, 1, 0)))
    assert new_id("run") != new_id("run")


@pytest.mark.parametrize(
    "text", ["1e400", "-1e999", "NaN", "[Infinity]", f"{2**63}", '{"a": 1%s}' % ("0" * 400), "[" * 65 + "]" * 65, "[" * 10**5]
)  # fmt: skip
def test_json_that_no_page_can_be_sent_is_not_read(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_all_that_is_written_is_read_as_it_was():
    deep = json.loads("[" * 60 + "]" * 60)
    value = {"a": [1.5, -(2**63), 2**63 - 1, 1e308], "b": "\U0001f600 \\ud800 [[[", "c": deep, "d": [[]] * 100}
    assert parse_json(json.dumps(value)) == value == parse_json(json.dumps(value, ensure_ascii=False).encode())
    assert parse_json('["\\ud800x", "\\ud83d\\ude00"]') == ["?x", "\U0001f600"]
