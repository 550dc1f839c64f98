"""Loading torch and transformers from several threads at the same moment."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import threading
from llmdemo.models.library import import_library
failed = []
def ask():
    try:
        import_library()
        from llmdemo.training import memory_estimate
    except ImportError as error:
        failed.append(error)
threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(failed)
"""


@pytest.mark.slow
def test_threads_that_ask_first_at_the_same_moment_all_get_it():
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run(
        [sys.executable, "-c", CODE], cwd=root, capture_output=True, text=True, timeout=120, check=True
    )
    assert result.stdout.strip() == "[]"
