"""What is printed about requests, bounded: a visitor's nonsense must not fill a disk. Knows no request."""

import logging
import sys
import traceback
from types import SimpleNamespace

from llmdemo.access.rate_limits import Rates

LINES_A_MINUTE = 30
"""Of each kind: lines of our own, records of a library's logger, tracebacks."""
_rates = Rates(LINES_A_MINUTE)


def may_say(kind: str) -> bool:
    """Whether one more thing of this kind is printed; the last one of a minute says that others follow unprinted."""
    return not _rates.wait(kind)


def say(kind: str, line: str) -> None:
    """Prints one line to stderr, or nothing, when this minute has had its lines."""
    if may_say(kind):
        print(line[:500], file=sys.stderr, flush=True)


class BoundedLog(logging.Filter):
    """For a library's logger: so many records a minute."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno < logging.WARNING or may_say(f"log {record.name}")


def _print_exc(*_, **__) -> None:
    if may_say("traceback"):
        traceback.print_exc(file=sys.stderr)


BOUNDED_TRACEBACK = SimpleNamespace(print_exc=_print_exc)
"""Stands for the module traceback where Gradio prints an error of a handler."""
