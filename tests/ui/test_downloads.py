"""Downloads are made where Gradio serves them from: no second copy, and none that stays for good."""

import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.processing_utils import move_files_to_cache
from gradio.route_utils import delete_files_created_by_app

from llmdemo.core.errors import UserError
from llmdemo.ui import bridge, downloads, evaluate_panel


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """The cache, and the folder for temporary files, each of this test alone."""
    cache, scratch = tmp_path / "cache", tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(cache))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    return SimpleNamespace(cache=cache, scratch=scratch)


def page_with(make):
    """(page, the download button, what the page's event calls)."""
    with gr.Blocks() as page:
        island = bridge.island("x", events=["submit"])
        downloads.on_request(island.submit, make, bridge.island("notice"), "file")
    button = next(block for block in page.blocks.values() if isinstance(block, gr.DownloadButton))
    return page, button, handler(page, "deliver")


def handler(page, name):
    return next(fn.fn for fn in page.fns.values() if getattr(fn.fn, "__name__", "") == name)


def make(data, folder):
    path = folder / "run.zip"
    path.write_bytes(b"weights")
    return path


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_served_as_it_is_and_deleted_on_the_pages_schedule(places):
    page, button, deliver = page_with(make)
    note, path = deliver(gr.EventData(None, {}))
    served = move_files_to_cache(button.postprocess(path).model_dump(), button, postprocess=True)
    assert note == {} and served["path"] == path and files(places.cache) == [Path(path)]
    assert files(places.scratch) == []
    delete_files_created_by_app(page, age=None)
    assert files(places.cache) == []


def test_a_file_that_cannot_be_made_leaves_nothing(places):
    def fail(data, folder):
        make(data, folder)
        raise UserError("No room.", "Delete something.")

    _, _, deliver = page_with(fail)
    note, path = deliver(gr.EventData(None, {}))
    assert note["message"] == "No room." and path is None
    assert list(places.cache.iterdir()) == [] and list(places.scratch.iterdir()) == []


def test_what_a_killed_app_left_is_swept_a_day_later(places):
    _, _, deliver = page_with(make)
    first = Path(deliver(gr.EventData(None, {}))[1])
    second = Path(deliver(gr.EventData(None, {}))[1])
    os.utime(first.parent, (time.time() - 90_000,) * 2)
    third = Path(deliver(gr.EventData(None, {}))[1])
    assert sorted(files(places.cache)) == sorted([second, third]) and not first.parent.exists()


def test_a_table_of_classified_texts_is_made_there_too(places):
    def table(model_id, path, folder):
        return make({}, folder)

    services = SimpleNamespace(
        require_owner=lambda: None, classifiers=SimpleNamespace(get=lambda: SimpleNamespace(table=table))
    )
    with gr.Blocks() as page:
        use, file = bridge.island("use", events=["select"]), gr.UploadButton()
        evaluate_panel._connect(services, use, file, bridge.island("notice"))
    _, path = handler(page, "table")("texts.csv", "run-1")
    assert Path(path).is_relative_to(places.cache) and files(places.scratch) == []
