"""The train panel: choose, predict, start; then the run as it goes. Knows no optimizer and no process."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from llmdemo.store import child
from llmdemo.ui import bridge
from llmdemo.ui.services import Services
from llmdemo.ui.train_pages import TrainPages


@dataclass(frozen=True)
class TrainPanel:
    """The widgets that other panels follow."""

    run: gr.HTML
    """Its "select" event asks to try a finished run's model in the arena."""


def build(services: Services) -> TrainPanel:
    """The panel's widgets and what they do."""
    pages = TrainPages(services)
    bridge.island("train-form", [pages.choices, pages.predict, pages.start, pages.add_model], elem_id="train-form")
    with gr.Row(elem_classes="cols train-cols"):
        with gr.Column(elem_classes="stack"):
            run = bridge.island(
                "train-run",
                [pages.overview, pages.stop, pages.resume, pages.cancel, pages.clone, pages.delete, pages.reorder,
                 pages.compare, pages.log],
                events=["select", "submit"],
                elem_id="train-run",
            )  # fmt: skip
        with gr.Column(elem_classes="stack"):
            bridge.island("train-side", elem_id="train-side")
    note = bridge.island("notice", elem_id="train-notice")
    bundle = gr.DownloadButton(visible="hidden", elem_id="train-bundle")
    _connect(services, run, note, bundle)
    return TrainPanel(run)


def _connect(services: Services, run: gr.HTML, note: gr.HTML, bundle: gr.DownloadButton) -> None:
    def export(event: gr.EventData):
        """Writes the run's bundle where Gradio may serve it from; its download starts by itself."""
        try:
            services.require_owner()
            run_id = str((event._data or {}).get("run_id"))
            child(services.home.runs, run_id)
            folder = Path(tempfile.mkdtemp(prefix="bundle-"))
            return {}, str(services.runs.export_bundle(run_id, folder / f"{run_id}.zip", with_model=True))
        except Exception as error:  # the boundary to the page
            return bridge.notice(error), None

    made = run.submit(export, None, [note, bundle], api_visibility="private", show_progress="hidden")
    made.success(None, None, None, js="() => setTimeout(() => document.querySelector('#train-bundle')?.click(), 300)")


def open_arena(panel: TrainPanel, tabs: gr.Tabs) -> None:
    """ "Try it in the Arena" opens that panel; its script is told which model by the page's own message."""
    panel.run.select(lambda: gr.Tabs(selected="arena"), None, tabs, api_visibility="private", show_progress="hidden")
