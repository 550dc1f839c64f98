"""Moves memory into pages of 2 MB (Linux 6.1 and later), as weights want it that are read from end to end for each token.

In pages of 4 KB the processor looks up the next page's address every 4 KB; on a virtual machine a tenth of a decoding step's time was
that. Knows no tensor: packed weights do not say where they are, so it goes by what memory came into use.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_BLOCK, _PAGE = 2**21, 2**12
_MADV_COLLAPSE = 25


@contextmanager
def in_huge_pages() -> Iterator[None]:
    """Moves what was allocated inside the `with` and is in use at its end. Takes no more memory, since only blocks all of whose
    pages are in use are moved, and some 0.5 ms a block. Does nothing where the kernel cannot."""
    before = blocks_in_use()
    yield
    if before is not None:
        collapse((blocks_in_use() or set()) - before)


def blocks_in_use() -> set[int] | None:
    """Addresses of the 2 MB blocks of this process's own memory of which every page is present; None: it cannot be told."""
    found = set()
    try:
        with open("/proc/self/maps", encoding="utf-8") as maps, open("/proc/self/pagemap", "rb", buffering=0) as pages:
            if os.sysconf("SC_PAGESIZE") != _PAGE:
                return None
            for line in maps:
                fields = line.split()
                if fields[1] != "rw-p" or fields[5:] not in ([], ["[heap]"]):
                    continue
                first, end = (int(address, 16) for address in fields[0].split("-"))
                for block in range(-(-first // _BLOCK) * _BLOCK, end // _BLOCK * _BLOCK, _BLOCK):
                    # 8 bytes a page, the last one's highest bit is that of presence
                    highest = os.pread(pages.fileno(), _BLOCK // _PAGE * 8, block // _PAGE * 8)[7::8]
                    if len(highest) == _BLOCK // _PAGE and min(highest) >= 0x80:
                        found.add(block)
    except (OSError, ValueError, AttributeError):  # no Linux, or one that keeps these files from us
        return None
    return found


def collapse(blocks: set[int]) -> int:
    """How many of these blocks are each one page now; their contents stay as they are."""
    library, moved = ctypes.CDLL(None), 0
    for block in sorted(blocks):
        if library.madvise(ctypes.c_void_p(block), ctypes.c_size_t(_BLOCK), _MADV_COLLAPSE):
            break  # an older kernel, or no whole block is free
        moved += 1
    return moved
