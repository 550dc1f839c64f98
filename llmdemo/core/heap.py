"""What this process's C library does with memory that is freed."""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of mallopt's options (malloc.h)."""
_KEPT_BYTES, _OWN_PAGES_BYTES = 256 * 2**20, 32 * 2**20


def keep_freed() -> None:
    """Lets glibc keep up to 256 MB at the heap's end, and take blocks under 32 MB from the heap, for all of this process.

    A decoding step frees some megabytes that the next one asks for. glibc gives them back to the system in between, and each of
    their pages is then made anew: 5 % of the arena's time on a CPU. What the environment says about either stays as it is.
    """
    if any(name in os.environ for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")):
        return
    try:
        change = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # no glibc
        return
    change(_MMAP_THRESHOLD, _OWN_PAGES_BYTES)
    change(_TRIM_THRESHOLD, _KEPT_BYTES)
