"""Each private part of Gradio that is replaced is still where it was, still the one that is used, and still needed."""

import asyncio
import inspect
import json
import re

import gradio as gr
import pytest
from gradio import blocks, processing_utils, route_utils, routes, state_holder
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from llmdemo.ui import gradio_internals
from llmdemo.ui.gradio_internals import ORIGINALS, PARTS, SCRIPTS, mended


@pytest.mark.parametrize("number", range(len(PARTS)))
def test_the_part_is_there_and_takes_what_it_took(number):
    part, original = PARTS[number], ORIGINALS[number]
    gradio_internals.install()
    assert getattr(part.owner, part.name) is part.replacement, (
        f"{part.name} has moved; see what gradio {gr.__version__} does"
    )
    assert original is not part.replacement and inspect.iscoroutinefunction(original) == inspect.iscoroutinefunction(
        part.replacement
    )


def source(thing) -> str:
    return inspect.getsource(thing)


def test_gradio_downloads_through_these_names_and_no_others():
    """A new way to the network in the modules that handle requests must be looked at."""
    assert "processing_utils.async_ssrf_protected_download" in source(blocks.Block.async_move_resource_to_block_cache)
    assert "processing_utils.save_url_to_cache" in source(blocks.Block.move_resource_to_block_cache)
    ways = (
        "sh.get(",
        "sync_client.stream(",
        "httpx.get(",
        "httpx.stream(",
        "AsyncClient(",
        "urlopen(",
        "requests.get(",
    )
    found = {
        module.__name__: {way: source(module).count(way) for way in ways if way in source(module)}
        for module in (processing_utils, routes, route_utils, blocks)
    }
    assert found == {
        "gradio.processing_utils": {"sh.get(": 2, "sync_client.stream(": 1},
        "gradio.routes": {"AsyncClient(": 1},  # /proxy=, which is closed
        "gradio.route_utils": {"AsyncClient(": 1},  # secure_url_stream_response
        "gradio.blocks": {"httpx.get(": 1},  # the launch asks its own server whether it is up
    }
    assert "secure_url_stream_response(" in source(gradio_internals._make)


@pytest.mark.parametrize("name", ["async_ssrf_protected_download", "ssrf_protected_download", "save_url_to_cache"])
def test_a_download_is_refused_with_a_sentence(name, tmp_path):
    gradio_internals.install()
    with pytest.raises(gr.Error, match="fetches nothing"):
        answer = getattr(processing_utils, name)("http://192.0.2.1/x", str(tmp_path))
        asyncio.run(answer)
    assert list(tmp_path.iterdir()) == []


async def _dies(pieces):
    for piece in pieces:
        yield piece
    raise ConnectionResetError("who uploads has gone")


@pytest.mark.parametrize("tidy", [False, True])
def test_an_upload_that_ends_early_leaves_no_parts(tidy, tmp_path):
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.json"\r\n\r\n'
    headers = Headers({"content-type": "multipart/form-data; boundary=b"})
    stream = _dies([head + b"x" * 1000])
    parser = route_utils.GradioMultiPartParser(headers, stream, upload_dir=tmp_path, max_file_size=10**6)
    parse = gradio_internals._parse_and_tidy if tidy else gradio_internals._parse
    with pytest.raises(ConnectionResetError):
        asyncio.run(parse(parser))
    for file in parser._files_to_close_on_error:
        file.close()
    assert len(list(tmp_path.iterdir())) == (0 if tidy else 1)  # Gradio alone leaves it


def test_the_page_is_without_the_endpoints_components_and_scripts_still_get_them():
    gradio_internals.install()
    with gr.Blocks() as page:
        gr.api(echo, api_name="echo")
        gr.HTML("seen")
    page.theme = gr.themes.Base()  # as a launch does
    page.config = page.get_config_file()
    web = TestClient(routes.App.create_app(page))
    told = json.loads(re.search(r"window\.gradio_config = (.*?);</script>", web.get("/").text).group(1))  # type: ignore[union-attr]
    kinds = [each["type"] for each in told["components"]]
    left = [child["id"] for child in told["page"][""]["layout"]["children"]]
    assert "html" in kinds and "api" not in kinds and left == [each["id"] for each in told["components"]]
    assert [each["api_name"] for each in told["dependencies"]] == ["echo"]
    assert [each["type"] for each in web.get("/config").json()["components"]].count("api") == 2


def echo(text: str) -> str:
    return text


def test_what_is_mended_in_gradios_scripts_is_still_wrong_there():
    """That it is right afterwards, a browser shows (tests/browser/test_page.py)."""
    changed = [path.name for path in SCRIPTS.iterdir() if mended(path.name, path.read_bytes()) != path.read_bytes()]
    assert len(changed) == 1 and changed[0].startswith("statustracker-")


def test_an_application_is_made_for_a_launch_alone():
    gradio_internals.install()
    with gr.Blocks() as page:
        gr.Textbox()
    page.queue()
    assert page.app is None
    unused = "self.app = App.create_app(self, mcp_server=False)"
    assert source(blocks).count(unused) == 2 and source(blocks).count("create_app(") == 3
    assert unused in source(blocks.Blocks.__exit__) and unused in source(blocks.Blocks.queue)
    assert isinstance(routes.App.create_app(page), routes.App)


def test_a_session_keeps_nothing_of_what_its_visitor_sent():
    gradio_internals.install()
    with gr.Blocks() as page:
        box = gr.Textbox()
    state = state_holder.SessionState(page)
    state._update_value_in_config(box._id, "x" * 10**6)
    assert "x" * 100 not in str(state.config_values)
    assert state[box._id] is box and state.config_values == {}
    plain = object.__new__(state_holder.SessionState)
    gradio_internals._begin(plain, page)
    assert plain.config_values and plain.__dict__.keys() == state.__dict__.keys()
    assert "session_hash].components" in source(routes) and "config_values" not in source(routes) + source(blocks)
