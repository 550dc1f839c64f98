"""How the app's and its workers' processes end: without the interpreter's own ending. Imports the standard library only.

With torch imported, Python takes a second or more of processor time to take its objects apart, several with a GPU, and
libraries' threads that are still in C++ then (a last forward pass, an import that warms up) would abort the process.
"""

import atexit
import logging
import os
import sys
import weakref
from typing import NoReturn


def leave(status: int) -> NoReturn:
    """Ends a process that has done its work and closed what it wrote. Nothing registered with atexit is called."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def leave_in_order(status: int) -> NoReturn:
    """The same once what is registered with atexit was called, but for what torch tidies of its own tables."""
    _forget_torchs()
    atexit._run_exitfuncs()
    leave(status)


def _forget_torchs() -> None:
    """torch prints a table of compile times for its log, and takes its operators apart one by one: together a second."""
    table = getattr(sys.modules.get("torch._dynamo.utils"), "dump_compile_times", None)
    if table:
        atexit.unregister(table)
    for final in list(getattr(weakref.finalize, "_registry", ())):
        found = final.peek()
        if found and getattr(found[1], "__module__", "") == "torch.library":
            final.atexit = False
