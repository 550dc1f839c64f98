"""The language that was chosen from the page's menu; how it is found in a request is in tests/core/test_languages.py."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from llmdemo.ui.chosen_language import ChosenLanguage


def test_a_page_begins_with_the_language_that_was_chosen_and_nothing_else_is_changed():
    html, text = HTMLResponse("<!doctype html><head><title>ä</title></head>"), PlainTextResponse("<head>")
    saved = HTMLResponse(html.body, headers={"content-disposition": "attachment"})
    routes = [Route("/", lambda _: html), Route("/text", lambda _: text), Route("/saved", lambda _: saved)]
    web = TestClient(Starlette(routes=routes, middleware=[Middleware(ChosenLanguage)]))
    assert web.get("/").content == html.body
    web.cookies.set("llmdemo-language", "zh-TW")
    page = web.get("/")
    assert '<head><script>{\n  const all = ["zh-TW", ...navigator.languages]' in page.text and page.text.endswith(
        "ä</title></head>"
    )
    assert int(page.headers["content-length"]) == len(page.content)
    assert web.get("/text").text == "<head>" and web.get("/saved").content == html.body
