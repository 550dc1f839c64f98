"""Data sets on their way in: told of until their end, stopped, asked about where the columns are not clear."""

import json
import threading

import pytest
from gradio.utils import get_upload_folder

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.ui import adding_pages
from llmdemo.ui.adding_pages import AddingPages


@pytest.fixture
def upload(tmp_path, monkeypatch):
    """Makes a file of rows as one that was uploaded; returns its path."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))

    def make(name, rows):
        path = tmp_path / name
        path.write_text(json.dumps(rows))
        return str(path)

    assert get_upload_folder() == str(tmp_path)
    return make


@pytest.fixture
def adds(services):
    return AddingPages(services)


def end(adds, state):
    """The last state, as a page asks for it."""
    while not {"dataset_id", "error", "stopped"} & state.keys():
        state = adds.added({"key": state["key"], "news": state["news"]})
    return state


ODD = [{"ask": f"What is {n}?", "tell": f"It is {n}."} for n in range(5)]


def test_files_that_were_uploaded_become_a_data_set(adds, services, upload):
    rows = [{"instruction": f"Add {n} and 1.", "output": f"{n + 1}"} for n in range(9)]
    begun = adds.add_files({"paths": [upload("nine.json", rows)]})
    assert begun["name"] == "nine.json"
    info = data.get_dataset(services.home, end(adds, begun)["dataset_id"])
    assert (info.name, info.kept) == ("nine.json", 9)


@pytest.mark.parametrize("paths", [None, [], "text", [""], [7], ["/etc/passwd"], ["../../etc/passwd"], ["none.json"]])
def test_what_is_no_upload_is_refused(adds, upload, paths):
    with pytest.raises(UserError, match="No uploaded file"):
        adds.add_files({"paths": paths})


def test_files_whose_columns_are_not_known_are_read_again_with_them(adds, services, upload):
    asked = end(adds, adds.add_files({"paths": [upload("odd.json", ODD)]}))
    assert asked["ask"]["columns"] == ["ask", "tell"] and "prompt" in asked["ask"]["roles"]["chat"]
    wrong = adds.add_mapped({"key": asked["key"], "columns": {"prompt": "none", "response": "tell"}, "task": "chat"})
    assert end(adds, wrong)["error"]["message"], "the files are kept for another try"
    right = adds.add_mapped({"key": asked["key"], "columns": {"prompt": "ask", "response": "tell"}, "task": "chat"})
    assert data.get_dataset(services.home, end(adds, right)["dataset_id"]).kept == 5


def test_columns_named_by_hand_go_to_the_hub_again(adds, monkeypatch):
    """What was asked of the hub is kept while the person says which column is which."""
    asked = []

    def fetch(home, settings, hub_id, **how):
        asked.append((hub_id, how["config"], how["split"], how["row_limit"], how.get("columns")))
        if "columns" not in how:
            raise data.ColumnsNeeded(["ask", "tell"], {"prompt": "ask", "response": "tell"}, "chat")
        raise UserError("enough", "of this")

    monkeypatch.setattr(adding_pages, "add_from_hub", fetch)
    request = {"preset": "dolly", "name": "org/name", "config": "main", "split": "test", "limit": 5}
    told = end(adds, adds.begin_hub(request))
    assert told["name"] == "org/name" and told["ask"]["columns"] == ["ask", "tell"]
    columns = {"prompt": "ask", "response": "tell"}
    again = end(adds, adds.add_mapped({"key": told["key"], "columns": columns, "task": "chat"}))
    assert again["error"] == {"message": "enough", "hint": "of this"}
    assert asked[1] == ("org/name", "main", "test", 5, columns)


def test_progress_is_told_as_it_comes_and_a_stop_leaves_nothing(adds, services, monkeypatch):
    going = threading.Event()

    def fetch(*_, progress, should_stop, **how):
        progress(0.25, "a quarter")
        going.set()
        while not should_stop():
            threading.Event().wait(0.005)
        raise data.Stopped()

    monkeypatch.setattr(adding_pages, "add_from_hub", fetch)
    before = data.list_datasets(services.home)
    state = adds.begin_hub({"preset": "dolly"})
    assert going.wait(5)
    state = adds.added({"key": state["key"], "news": 0})
    assert (state["share"], state["what"]) == (0.25, "a quarter")
    adds.stop({"key": state["key"]})
    assert end(adds, state)["stopped"] and data.list_datasets(services.home) == before


def test_two_are_read_at_once_and_the_third_waits(adds, monkeypatch):
    going, go_on = threading.Semaphore(0), threading.Event()

    def fetch(*_, **how):
        going.release()
        go_on.wait(10)
        raise UserError("enough", "of this")

    monkeypatch.setattr(adding_pages, "add_from_hub", fetch)
    begun = [adds.begin_hub({"name": name}) for name in ("a/a", "b/b", "c/c")]
    assert going.acquire(timeout=5) and going.acquire(timeout=5) and not going.acquire(timeout=0.1)
    go_on.set()
    assert all(end(adds, state)["error"] for state in begun)


def test_what_is_stopped_before_its_turn_ends_at_once_and_is_not_read(adds, monkeypatch):
    going, go_on, read = threading.Semaphore(0), threading.Event(), []

    def fetch(*given, **how):
        read.append(given[2])
        going.release()
        go_on.wait(10)
        raise UserError("enough", "of this")

    monkeypatch.setattr(adding_pages, "add_from_hub", fetch)
    begun = [adds.begin_hub({"name": name}) for name in ("a/a", "b/b")]
    assert going.acquire(timeout=5) and going.acquire(timeout=5)
    third = adds.begin_hub({"name": "c/c"})
    adds.stop({"key": third["key"]})
    assert end(adds, third)["stopped"] and not go_on.is_set()  # the two before it are being read still
    go_on.set()
    assert all(end(adds, state)["error"] for state in begun)
    assert sorted(read) == ["a/a", "b/b"]


def test_a_fetch_that_is_asked_for_twice_is_one_until_it_has_ended(adds, monkeypatch):
    """As when its button is pressed twice: a second one would make the same data set again."""
    go_on, read = threading.Event(), []

    def fetch(*given, **how):
        read.append(given[2])
        go_on.wait(10)
        raise UserError("enough", "of this")

    monkeypatch.setattr(adding_pages, "add_from_hub", fetch)
    first, second, other = [adds.begin_hub({"name": name}) for name in ("a/a", "a/a", "b/b")]
    assert first["key"] == second["key"] != other["key"]
    go_on.set()
    assert all(end(adds, state)["error"] for state in (first, other))
    assert sorted(read) == ["a/a", "b/b"]
    assert adds.begin_hub({"name": "a/a"})["key"] != first["key"]


def test_a_key_that_the_app_does_not_know_is_a_sentence(adds):
    for function in (adds.added, adds.stop, adds.add_mapped):
        with pytest.raises(UserError, match="does not know this upload"):
            function({"key": "none"})


def test_ended_ones_are_remembered_up_to_a_bound(adds, monkeypatch):
    monkeypatch.setattr(adding_pages, "_MOST_ENDED", 2)
    monkeypatch.setattr(adding_pages, "add_from_hub", lambda *_, **how: (_ for _ in ()).throw(UserError("no", "")))
    keys = []
    for _ in range(5):
        state = adds.begin_hub({"preset": "dolly"})
        end(adds, state)
        keys.append(state["key"])
    assert set(adds._jobs) == set(keys[-3:])
