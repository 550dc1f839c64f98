"""The page's files: small, kept by browsers for ever under their own address, and nothing else of assets/."""

import re
import shutil

import brotli
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from llmdemo.core.languages import languages
from llmdemo.ui.gradio_internals import SCRIPTS
from llmdemo.ui.page_files import GradioFiles, PageFiles
from llmdemo.ui.services import ASSETS


@pytest.fixture(scope="module")
def files():
    return PageFiles()


@pytest.fixture(scope="module")
def web(files):
    return TestClient(Starlette(routes=[files.route()]))


@pytest.mark.parametrize("language", languages())
def test_a_first_visit_transfers_at_most_200_kb_of_scripts_and_words(language, files):
    """By Brotli, as every browser takes it from this computer and over https. A second visit transfers nothing at all:
    `immutable` files are not even asked for again. What the server says comes with its English text, so said.en.json is
    never fetched (assets/lib/words.js)."""
    words = [f"words/{language}.json"] + [f"words/said.{language}.json"] * (language != "en")
    first = files.needed() | set(words)
    assert sum(len(brotli.compress(files.files[name], quality=11)) for name in first) < 200_000
    assert len(files.head().encode()) < 5_000


def test_a_file_comes_by_brotli_where_that_is_taken(files, web):
    answer = web.get(f"/{files.folder}/main.js", headers={"accept-encoding": "gzip, deflate, br, zstd"})
    assert answer.headers["content-encoding"] == "br" and answer.text == (ASSETS / "main.js").read_text()


def test_a_file_is_kept_for_ever_and_comes_packed(files, web):
    answer = web.get(f"/{files.folder}/main.js", headers={"accept-encoding": "gzip"})
    assert "immutable" in answer.headers["cache-control"] and answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"].startswith("text/javascript")
    plain = web.get(f"/{files.folder}/main.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.text == answer.text == (ASSETS / "main.js").read_text()


@pytest.mark.parametrize(
    "path", ["sample-messages.json", "../app.py", "screenshots/arena.png", "lib/preact.LICENSE", ""]
)
def test_nothing_else_is_served(path, files, web):
    assert web.get(f"/{files.folder}/{path}").status_code == 404


def test_gradios_scripts_are_kept_for_ever_too_and_are_what_gradio_has():
    web = TestClient(Starlette(routes=[GradioFiles().route()]))
    script, font = (min(SCRIPTS.glob(f"*.{kind}"), key=lambda path: path.stat().st_size) for kind in ("js", "woff2"))
    for path, encoding in ((script, "br"), (font, None)):
        answer = web.get(f"/assets/{path.name}", headers={"accept-encoding": "gzip, br"})
        assert answer.content == path.read_bytes() and answer.headers.get("content-encoding") == encoding
        assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"] == "font/woff2"
    for other in ("../index.html", "none.js", ""):
        assert web.get(f"/assets/{other}").status_code == 404


def test_each_script_that_is_imported_is_there(files):
    for name, content in files.files.items():
        for wanted in re.findall(r"""(?:from |import |import\()"(\.[^"]+)\"""", content.decode()):
            path = (ASSETS / name).parent.joinpath(wanted).resolve().relative_to(ASSETS).as_posix()
            assert path in files.files, f"{name} imports {wanted}"


def test_what_the_first_panel_needs_is_fetched_at_once_and_other_panels_only_when_they_are_opened(files):
    head = files.head()
    assert {"main.js", "lib/api.js", "data/panel.js", "data/numbers.js"} <= files.needed()
    assert all(f"{files.folder}/{name}" in head for name in files.needed())
    for panel in ("arena/panel.js", "train/run.js", "evaluate/result.js"):
        assert panel in files.files and panel not in files.needed() and panel not in head


def test_another_content_has_another_address(files, tmp_path):
    shutil.copytree(ASSETS, tmp_path / "assets", ignore=shutil.ignore_patterns("screenshots", "*.png"))
    assert PageFiles(tmp_path / "assets").folder == files.folder
    with open(tmp_path / "assets" / "lib" / "format.js", "a") as script:
        script.write("// changed\n")
    assert PageFiles(tmp_path / "assets").folder != files.folder


def test_no_line_of_ours_is_over_120_columns(files):
    ours = {name: content.decode() for name, content in files.files.items() if name.endswith((".js", ".css"))}
    ours.pop("lib/preact.js")
    assert [name for name, text in ours.items() if any(len(line) > 120 for line in text.split("\n"))] == []


def test_no_script_and_no_style_sheet_of_ours_is_over_400_lines():
    paths = [path for path in ASSETS.rglob("*.*") if path.suffix in (".js", ".css")]
    lines = {path.relative_to(ASSETS).as_posix(): path.read_bytes().count(b"\n") for path in paths}
    assert {name: number for name, number in lines.items() if number > 400} == {}
