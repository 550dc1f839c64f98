"""Files that a panel's script asks for: made in a folder of their own, then downloaded by the browser. Knows no panel."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import gradio as gr

from llmdemo.ui import bridge

# The browser gets the file's address a moment after the handler has ended.
_CLICK = "() => setTimeout(() => document.querySelector('#{id}')?.click(), 300)"


def on_request(listen: Callable, make: Callable[[dict, Path], Path], note: gr.HTML, elem_id: str) -> None:
    """When the event of `listen` (an island's `submit`) comes, `make(its data, an empty folder)` gives the file.

    Errors show in `note`. The file goes into Gradio's cache, which is emptied by itself.
    """
    button = gr.DownloadButton(visible="hidden", elem_id=elem_id)

    def deliver(event: gr.EventData):
        try:
            data = event._data if isinstance(event._data, dict) else {}
            return {}, str(make(data, Path(tempfile.mkdtemp(prefix="download-"))))
        except Exception as error:  # the boundary to the page
            return bridge.notice(error), None

    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    listen(deliver, None, [note, button], **quiet).success(None, None, None, js=click(elem_id))


def click(elem_id: str) -> str:
    """JavaScript that presses the download button `elem_id` once its file is there."""
    return _CLICK.replace("{id}", elem_id)
