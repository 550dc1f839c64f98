"""Imports without the garbage collector, which would look through all that was imported again and again.

torch, transformers and gradio make a million objects that stay. Importing them takes a sixth less CPU time without the
collector, and its later full collections leave them out. Knows nothing of what is imported.
"""

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Around imports that stay for the process's life: the collector pauses, and leaves out what is there at the end.

    Where all was imported before, it leaves out nothing: what is there may be garbage by then.
    """
    was_on, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            gc.freeze()
        if was_on:
            gc.enable()
