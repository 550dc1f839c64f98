"""Loads torch and transformers once, whichever thread asks first. Imports neither before it is called.

transformers fills its modules when they are first asked for. Two threads that ask at the same moment, as a page's first
questions do, can each find the other's half: "cannot import name 'AttentionInterface'".
"""

import threading

_lock = threading.Lock()


def import_library() -> None:
    """Returns when torch and the parts of transformers that load models are there. Takes seconds at the first call."""
    with _lock:
        import torch  # noqa: F401
        from transformers import AttentionInterface, AutoModelForCausalLM, AutoTokenizer  # noqa: F401

        import llmdemo.core.threads  # noqa: F401 - before any thread sets a number of its own
