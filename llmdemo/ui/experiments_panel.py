"""The section below a run: races and searches. Its form stands in the train form, drawn by the same script. Knows no run."""

import gradio as gr

from llmdemo.ui import bridge
from llmdemo.ui.experiments_pages import ExperimentsPages
from llmdemo.ui.services import Services


def build(services: Services) -> gr.HTML:
    """The island; its "select" event asks to try the best run's model in the arena."""
    pages = ExperimentsPages(services)
    return bridge.island("experiments", pages.functions(), events=["select"], elem_id="experiments")
