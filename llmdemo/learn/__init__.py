"""Learn by doing: what the loss of a task is on one record of the visitor's own, before and after training.

Knows no page. Imports torch only when numbers are asked for.
"""

from llmdemo.learn.service import Learn

__all__ = ["Learn"]
