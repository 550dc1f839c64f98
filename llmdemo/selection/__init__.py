"""Which records are worth learning from, and whose labels may be wrong. Texts, labels and vectors; no torch."""

from llmdemo.selection.service import Selection

__all__ = ["Selection"]
