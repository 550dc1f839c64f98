"""What a run may be called. Knows nothing of runs."""

import unicodedata

from llmdemo.errors import UserError

MOST = 100
_JOINERS = "\u200c\u200d"
"""Are not seen, but belong to words of Persian and of Indian languages, and to emoji of several parts."""


def default_name(config: dict) -> str:
    """For example "galore on receipts"."""
    config = config if isinstance(config, dict) else {}
    dataset = config.get("dataset")
    title = dataset.get("name") if isinstance(dataset, dict) else config.get("dataset_id")
    return " on ".join(str(part) for part in (config.get("method") or "run", title) if part)[:MOST]


def checked_name(name: str) -> str:
    """The name on one line, of 1 to 100 characters that can be seen. Raises UserError."""
    name = " ".join(str(name).split())
    if not 0 < len(name) <= MOST:
        raise UserError(f"A run's name has 1 to {MOST} characters; this one has {len(name)}.", "Choose another name.")
    for mark in name:
        if not mark.isprintable() and mark not in _JOINERS:
            what = f"U+{ord(mark):04X} {unicodedata.name(mark, '')}".strip()
            raise UserError(f"The name has a character that cannot be shown ({what}).", "Take it out of the name.")
    return name
