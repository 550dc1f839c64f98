"""A long call in a thread, with its progress as a generator that a handler can pass on to the page. Knows no panel."""

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Progress = tuple[Literal["progress"], tuple[float | None, str]]
Result = tuple[Literal["result"], T]
_TICK_SECONDS = 0.25


def with_progress(call: Callable[..., T]) -> Iterator[Progress | Result[T]]:
    """Runs `call(progress, should_stop)` in a thread; yields ("progress", (share, what)) and at last ("result", value).

    `progress(share, what)`: the share that is done (0 to 1, None when that is not known) and what is being done.
    The errors of `call` are raised here. When the generator is closed (the person pressed Stop, or left the page),
    `should_stop()` turns true, and the thread ends by itself.
    """
    news: queue.Queue[tuple[str, Any]] = queue.Queue()
    stop = threading.Event()

    def work() -> None:
        try:
            news.put(("result", call(lambda share, what="": news.put(("progress", (share, what))), stop.is_set)))
        except BaseException as error:  # handed to the thread that waits, which raises it
            news.put(("error", error))

    context = contextvars.copy_context()  # who asked is known in the thread too
    threading.Thread(target=context.run, args=(work,), name="long-call", daemon=True).start()
    try:
        yield from _deliver(news)
    finally:
        stop.set()


def _deliver(news: queue.Queue[tuple[str, Any]]) -> Iterator[Any]:
    kind: str
    kind, value = "progress", (None, "")
    while True:
        yield kind, value
        kind, value = news.get()
        while kind == "progress":  # only the newest is worth showing
            try:
                kind, value = news.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                break
        if kind == "error":
            raise value
        if kind == "result":
            yield kind, value
            return
