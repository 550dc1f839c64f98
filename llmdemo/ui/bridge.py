"""Islands: parts of the page that our own scripts draw from JSON, and the guards that turn errors into sentences.

An island's text reaches the page as JSON and is put there with textContent, so nothing that a data set, a model
or a file name says can become markup. Knows no panel.
"""

import functools
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from llmdemo.core.errors import DiskFull, UserError, is_disk_full
from llmdemo.core.sentences import pack, say
from llmdemo.ui import authentication
from llmdemo.ui.bounded_log import may_say
from llmdemo.ui.event_streams import EventStream

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""How the page's own events are registered: scripts cannot call them, and Gradio draws nothing over what waits."""
_MOUNT = """(window.llmdemoIslands ||= []).push(
  {name: %s, el: element.firstElementChild || element, props, trigger, server, watch});  // events: %s"""
"""Gradio would evaluate it; assets/lib/no-eval.js knows it and does the same. Gradio finds the names of events in it."""


def island(
    name: str, functions: Iterable[Callable] = (), *, value=None, events: Iterable[str] = (), **options
) -> gr.HTML:
    """A gr.HTML that a script of assets/ draws under `name` (assets/lib/api.js: define).

    `functions` take one JSON value (a dict) and return JSON; the island's script calls them by name, and gets
    {"error": {"message", "hint"}} where a UserError was raised. `events` are names that the script may trigger.
    Who may call them is marked at each (rights.py).
    """
    return gr.HTML(
        value=value,
        html_template=f'<div class="island island-{name}"></div>',
        js_on_load=_MOUNT % (json.dumps(name), json.dumps(list(events))),
        apply_default_css=False,
        server_functions=[guarded(function) for function in functions],
        **options,
    )


def guarded(function: Callable) -> Callable:
    """`function`, but errors come back as {"error": {message, hint}} instead of being raised.

    Sentences come with key and values, of which assets/lib/words.js makes them in the page's language.
    """

    @functools.wraps(function)
    def call(data=None):
        try:
            return pack(function(data or {}))
        except Exception as error:  # the boundary to the page: whatever happened must be said, not lost
            return {"error": pack(sentence(error))}

    return call


def sentence(error: Exception) -> dict[str, str]:
    """What a person reads about `error`: {"message", "hint"}. Unexpected ones are also printed with their trace."""
    if is_disk_full(error):
        error = DiskFull()
    if isinstance(error, UserError):
        return {"message": error.message, "hint": error.hint}
    if may_say("mistake"):
        traceback.print_exception(error, file=sys.stderr)
    return {"message": say("err_mistake", name=type(error).__name__), "hint": say("err_mistake_hint")}


@contextmanager
def own_stream(services, run_id: str) -> Iterator[EventStream]:
    """The stream that the page which sent an event reads as `run_id`, to be filled. Raises gr.Error where that is another
    visitor's."""
    visitor = authentication.current()
    if not services.sessions.claim(run_id, visitor.identity if visitor else ""):
        raise gr.Error(say("err_not_your_session"), print_exception=False)
    with services.streams.writing(run_id) as stream:
        yield stream


def notice(error: Exception | None = None, *, message: str = "", kind: str = "error") -> dict:
    """The value of a "notice" island: a calm message next to the thing it is about; empty hides it."""
    if error is not None:
        return {"kind": "error", **pack(sentence(error))}
    return {"kind": kind, "message": pack(message), "hint": ""} if message else {}
