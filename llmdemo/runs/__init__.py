"""Training as a kind of job: what its events say, bundles, and what can be asked of runs.

Knows no torch and no gradio. `Runs` is all that others need.
"""

from llmdemo.runs.service import Runs

__all__ = ["Runs"]
