"""Who may call what of the page: each handler, endpoint and island's function says so with one of two decorators.

What says nothing is closed to guests, and a test fails for it. The handlers ask for an owner themselves besides
(Services.require_owner); islands' functions are closed by bridge.py. Knows no panel.
"""

import functools
import inspect
from collections.abc import Callable

import gradio as gr

from llmdemo.ui import authentication
from llmdemo.ui.services import not_an_owner

GUESTS, OWNERS = "guests", "owners"


def for_guests(function: Callable) -> Callable:
    """Marks what guests may call too."""
    function.right = GUESTS  # type: ignore[attr-defined]
    return function


def for_owners(function: Callable) -> Callable:
    """Marks what only owners may call."""
    function.right = OWNERS  # type: ignore[attr-defined]
    return function


def right_of(function: Callable) -> str:
    """GUESTS or OWNERS, as it was marked; "" for what says nothing of who may call it."""
    if str(getattr(function, "__module__", "")).startswith("gradio."):
        return GUESTS  # Gradio's own: its login button
    return getattr(function, "right", "")


def close_to_guests(page: gr.Blocks) -> None:
    """After this, what is not marked with `for_guests` refuses guests, events and endpoints alike."""
    for block_function in page.fns.values():
        function = block_function.fn
        if function is not None and right_of(function) != GUESTS:
            block_function.fn = _owners_only(function)


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
    visitor = authentication.current()
    if visitor is not None and not visitor.is_owner:
        raise gr.Error(str(not_an_owner(visitor.policy)), print_exception=False)
