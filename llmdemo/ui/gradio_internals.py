"""The private parts of Gradio that are replaced, all of them, each with its reason. Knows no panel.

`PARTS` names them; tests/ui/test_gradio_internals.py fails when an upgrade of Gradio moves or renames one, and shows
for each that what it is replaced for still needs it (seen in 6.31).
"""

import contextlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import gradio as gr
import uvicorn
from gradio import http_server, processing_utils, queueing, route_utils, routes, state_holder

from llmdemo.ui.bounded_log import BOUNDED_TRACEBACK

_NOTHING_IS_FETCHED = "This app fetches nothing from other addresses. Upload the file itself."


class Part(NamedTuple):
    """One attribute of a module or class of Gradio."""

    owner: Any
    name: str
    replacement: Any


async def _fetches_nothing(*_: Any, **__: Any):
    raise gr.Error(_NOTHING_IS_FETCHED, print_exception=False)


def _downloads_nothing(*_: Any, **__: Any):
    raise gr.Error(_NOTHING_IS_FETCHED, print_exception=False)


_parse = route_utils.GradioMultiPartParser.parse


async def _parse_and_tidy(parser):
    """GradioMultiPartParser.parse, but what has come of an upload that ends early is deleted: Gradio does that for its
    own errors only, not when who uploads goes away or the disk is full."""
    try:
        return await _parse(parser)
    except BaseException:
        for file in parser._files_to_close_on_error:
            with contextlib.suppress(OSError, ValueError):
                file.close()
            with contextlib.suppress(OSError):
                os.unlink(file.name)
        raise


def _keeps_nothing(state, key: int, value: Any = None) -> None:
    """Stands for SessionState._update_config and _update_value_in_config: each session would keep what its visitor
    sent last, megabytes of it, to make deep links of, and this page has none."""


_begin = state_holder.SessionState.__init__


def _begin_without_configuration(state, page: gr.Blocks) -> None:
    """SessionState.__init__, but without a configuration of each component, for deep links as well: making it took half of
    the time of a script's call, which is a session of its own."""
    page_of_none: Any = SimpleNamespace(default_config=page.default_config, blocks=())
    _begin(state, page_of_none)


_make = routes.App.create_app


def _app_to_launch(page: gr.Blocks, **options: Any):
    """App.create_app, but only for a page that is launched: Gradio makes an application whenever a page's block ends and
    when its queue is set, five for this page, which took half of the time of building it, and asks nothing of them."""
    return None if options == {"mcp_server": False} else _make(page, **options)


def _config(app, **options: Any) -> uvicorn.Config:
    """uvicorn.Config, made by the page's own function (`page.uvicorn_config`), if it has one."""
    make = getattr(app.get_blocks(), "uvicorn_config", uvicorn.Config)
    return make(app, **options)


_answer_page = routes.templates.TemplateResponse


def _page_without_endpoints(*, context: dict, **options: Any):
    """TemplateResponse, but the page's own copy of the configuration lacks the components that stand for the endpoints'
    arguments and answers: five sixths of all. They show nothing, and Gradio's script took a third of its time over them.
    Scripts read them at /config."""
    return _answer_page(context={**context, "config": _without_endpoints(context["config"])}, **options)


def _without_endpoints(config: dict) -> dict:
    if "components" not in config:  # that of a page to sign in
        return config
    unseen = {each["id"] for each in config["components"] if each["type"] == "api"}

    def seen(part: dict) -> dict:
        return {**part, "children": [child for child in part["children"] if child["id"] not in unseen]}

    pages = {
        name: {
            **page,
            "components": [each for each in page["components"] if each not in unseen],
            "layout": seen(page["layout"]),
        }
        for name, page in config["page"].items()
    }
    components = [each for each in config["components"] if each["id"] not in unseen]
    return {**config, "components": components, "layout": seen(config["layout"]), "page": pages}


SCRIPTS = Path(route_utils.BUILD_PATH_LIB)
"""Gradio's own scripts and styles."""
_COUNTS = "statustracker-", b",W&&ze()})}", b",W&&U&&ze()})}"
"""The sign that something loads counts its seconds in every frame, and went on when it was taken off the page before it had
ended, as that of the page's own loading is: 60 times a second, for as long as the page was open. U is its element."""


def mended(name: str, content: bytes) -> bytes:
    """One of SCRIPTS without what is wrong in it."""
    begins, wrong, right = _COUNTS
    return content.replace(wrong, right) if name.startswith(begins) else content


PARTS = (
    # What writes a page's markup, with its configuration in it.
    Part(routes.templates, "TemplateResponse", _page_without_endpoints),
    # Where Gradio makes its server's configuration, and takes no options for it (server.py).
    Part(http_server, "uvicorn", SimpleNamespace(Config=_config, Server=uvicorn.Server)),
    # Where Gradio prints what a handler raised, five kilobytes for each request.
    Part(queueing, "traceback", BOUNDED_TRACEBACK),
    Part(routes, "traceback", BOUNDED_TRACEBACK),
    # What downloads files for a request; requests that ask for it are refused before (request_limits.py, json_body.py).
    Part(processing_utils, "async_ssrf_protected_get", _fetches_nothing),
    Part(processing_utils, "async_ssrf_protected_download", _fetches_nothing),
    Part(processing_utils, "ssrf_protected_download", _downloads_nothing),
    Part(processing_utils, "save_url_to_cache", _downloads_nothing),
    Part(processing_utils, "unsafe_download", _downloads_nothing),
    Part(routes, "secure_url_stream_response", _fetches_nothing),
    Part(route_utils.GradioMultiPartParser, "parse", _parse_and_tidy),
    Part(routes.App, "create_app", _app_to_launch),
    Part(state_holder.SessionState, "__init__", _begin_without_configuration),
    Part(state_holder.SessionState, "_update_config", _keeps_nothing),
    Part(state_holder.SessionState, "_update_value_in_config", _keeps_nothing),
)
ORIGINALS = tuple(getattr(part.owner, part.name) for part in PARTS)
"""What stood there before; AttributeError at import where this Gradio has no such part."""


def install() -> None:
    """Replaces the parts, for the whole process; more than once is as good as once."""
    for part in PARTS:
        setattr(part.owner, part.name, part.replacement)
