"""Progress of a download by others (pip, huggingface_hub), seen from the size of a folder."""

import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from llmdemo.core.store import folder_bytes


@contextmanager
def watch_growth(folder: Path, total: int, progress: Callable[[int, int], None], seconds: float = 0.3):
    """Calls progress(bytes in `folder`, total) every `seconds` while the block runs."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(seconds):
            progress(min(folder_bytes(folder), total), total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
