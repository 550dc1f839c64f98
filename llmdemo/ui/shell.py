"""What stands around the panels: title, live status, the starter model's progress. Knows no panel."""

import gradio as gr

from llmdemo.ui import bridge
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


def header(services: Services) -> gr.HTML:
    """The title line with a live status and who is signed in, and the strip that shows the starter model arriving; what
    they say comes by page_stream.py."""

    @for_owners
    def retry(_: dict) -> dict:
        services.starter.start()
        return services.starter.progress()

    return bridge.island("header", [retry], elem_id="header")
