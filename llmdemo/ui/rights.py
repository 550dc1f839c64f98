"""Who may call what of the page: each handler, endpoint and island's function says so with one of two decorators.

`close_to_guests` goes through all of them once the page is built, and is the only place that refuses; what says nothing is
closed too, and a test fails for it. What guests may call asks `Services.require_owner` itself where a request may go further
than theirs. Knows no panel.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import gradio as gr

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import pack

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


def close_to_guests(page: gr.Blocks, require_owner: Callable[[], None]) -> None:
    """After this, what is not marked with `for_guests` refuses whom `require_owner` refuses: events, endpoints and islands'
    functions alike."""
    for block_function in page.fns.values():
        function = block_function.fn
        if function is not None and right_of(function) != GUESTS:
            block_function.fn = _event(function, require_owner)
    for block in page.blocks.values():
        functions = getattr(block, "server_fns", [])
        for place, function in enumerate(functions):
            if right_of(function) != GUESTS:
                functions[place] = _island_function(function, require_owner)
                setattr(block, function.__name__, functions[place])  # where Gradio looks for it
        if given := getattr(block, "constructor_args", {}).get("server_functions"):
            # of these it makes the island anew for a session in which an event changes more than its value
            given[:] = [getattr(block, function.__name__) for function in given]


def _event(function: Callable, require_owner: Callable[[], None]) -> Callable:
    """The event or endpoint; it raises a gr.Error for a guest before it begins."""

    def refuse_guests() -> None:
        try:
            require_owner()
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def closed(*arguments, **named):
            refuse_guests()
            yield from function(*arguments, **named)
    else:

        @functools.wraps(function)
        def closed(*arguments, **named):
            refuse_guests()
            return function(*arguments, **named)

    return closed


def _island_function(function: Callable, require_owner: Callable[[], None]) -> Callable:
    """The function of an island; it answers {"error": {message, hint}} to a guest."""

    @functools.wraps(function)
    def closed(data: Any = None) -> Any:
        try:
            require_owner()
        except UserError as error:
            return {"error": pack({"message": error.message, "hint": error.hint})}
        return function(data)

    return closed
