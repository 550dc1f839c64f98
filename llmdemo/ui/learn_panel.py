"""The card that opens the train panel: what the chosen task does, its loss, and its numbers on a record. Knows no training."""

import gradio as gr

from llmdemo.learn import Learn
from llmdemo.ui import bridge
from llmdemo.ui.rights import for_owners
from llmdemo.ui.samples import with_sample
from llmdemo.ui.services import Services


def build(services: Services) -> gr.HTML:
    """The island; nothing is loaded before its numbers are asked for."""
    return bridge.island("learn", [LearnPages(services).numbers], elem_id="learn")


class LearnPages:
    """The function behind the island."""

    def __init__(self, services: Services):
        self._services, self._learn = services, Learn(services.home, services.runs)

    @for_owners
    def numbers(self, request: dict) -> dict:
        """Learn.numbers of the form's settings; adds the sample first where that was chosen."""
        asked = request.get("config")
        config = with_sample(self._services, asked if isinstance(asked, dict) else {})
        place = request.get("place")
        return self._learn.numbers(config, place if isinstance(place, int) else 0)
