"""Closes every handler of the page to guests that is not marked for them. Knows no panel.

The handlers ask for an owner themselves (Services.require_owner); this is so that one that forgets to is not open to the
world. Islands' functions are closed by bridge.py.
"""

import functools
import inspect
from collections.abc import Callable

import gradio as gr

from llmdemo.ui import door
from llmdemo.ui.services import not_an_owner


def close_to_guests(page: gr.Blocks) -> None:
    """After this, what is not marked with `door.for_guests` refuses guests, events and endpoints alike."""
    for block_function in page.fns.values():
        function = block_function.fn
        if function is not None and not is_open(function):
            block_function.fn = _owners_only(function)


def is_open(function: Callable) -> bool:
    """Whether guests may call it: it is marked, or it is one of Gradio's own (its login button)."""
    return getattr(function, "for_guests", False) or str(getattr(function, "__module__", "")).startswith("gradio.")


def _owners_only(function: Callable) -> Callable:
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def closed(*arguments, **named):
            _refuse_guests()
            yield from function(*arguments, **named)
    else:

        @functools.wraps(function)
        def closed(*arguments, **named):
            _refuse_guests()
            return function(*arguments, **named)

    return closed


def _refuse_guests() -> None:
    visitor = door.current()
    if visitor is not None and not visitor.is_owner:
        raise gr.Error(str(not_an_owner(visitor.policy)), print_exception=False)
