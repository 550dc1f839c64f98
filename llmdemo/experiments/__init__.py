"""Experiments: several runs that are started, watched and judged together. Knows no torch, no gradio and no worker's inside.

A race sets methods against each other on the same records; a search looks for the settings that learn best. The runs
are ordinary ones: they wait in the queue, and each can be stopped, opened or cloned by itself.
"""

from llmdemo.experiments.service import Experiments

__all__ = ["Experiments"]
