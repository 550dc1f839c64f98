"""The train panel: choose, predict, start; then the run as it goes. Knows no optimizer and no process."""

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from llmdemo.core.spaces import disk_lasts, on_zero_gpu
from llmdemo.core.store import child
from llmdemo.ui import bridge, downloads, elsewhere_panel, learn_panel, push_panel, serving_panel
from llmdemo.ui.experiments_pages import ExperimentsPages
from llmdemo.ui.model_pages import ModelPages
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services
from llmdemo.ui.train_pages import TrainPages
from llmdemo.ui.words import t


@dataclass(frozen=True)
class TrainPanel:
    """The widgets that other panels follow."""

    run: gr.HTML
    """Its "select" event asks to try a finished run's model in the arena."""
    experiments: gr.HTML
    """Its "select" event asks the same for the best run of a race or a search."""


def build(services: Services) -> TrainPanel:
    """The panel's widgets and what they do."""
    pages, models = TrainPages(services), ModelPages(services)
    if notes := _notes_of_the_place(services):
        bridge.island("facts", value=notes, elem_id="train-place")
    learn_panel.build(services)
    of_models = [models.presets, models.preset_costs, models.architecture]
    bridge.island("train-form", [*pages.of_form(), *of_models], elem_id="train-form")
    with gr.Row(elem_classes="cols train-cols"):
        with gr.Column(elem_classes="stack"):
            # beside the form that they were started in
            of_experiments = ExperimentsPages(services).functions()
            experiments = bridge.island("experiments", of_experiments, events=["select"], elem_id="experiments")
            run = bridge.island("train-run", pages.of_runs(), events=["select", "submit"], elem_id="train-run")
        with gr.Column(elem_classes="stack"):
            bridge.island("train-side", elem_id="train-side")
            serving_panel.build(services)
            push_panel.build(services)
            elsewhere_panel.build(services)
            opened = gr.UploadButton(t("runs_import"), file_types=[".zip"], size="sm", elem_id="train-import")
    note = bridge.island("notice", elem_id="train-notice")

    def bundle(asked: dict, folder: Path) -> Path:
        """The run as a .zip that another installation can open; `what`: figures, model or checkpoint goes with it."""
        services.require_owner()
        run_id, what = str(asked.get("run_id")), asked.get("what")
        child(services.home.runs, run_id)
        path = folder / f"{run_id}.zip"
        return services.runs.export_bundle(
            run_id, path, with_model=what == "model", with_checkpoint=what == "checkpoint"
        )

    @for_owners
    def open_bundle(path: str | None):
        """A run from another installation, shown with the others."""
        try:
            services.require_owner()
            assert path is not None, "the upload button sends a file"
            return {}, {"run_id": services.runs.import_bundle(Path(path))}
        except Exception as error:  # the boundary to the page
            return bridge.notice(error), gr.skip()

    opened.upload(open_bundle, opened, [note, run], **bridge.QUIET)
    downloads.on_request(run.submit, bundle, note, "train-bundle")
    return TrainPanel(run, experiments)


def _notes_of_the_place(services: Services) -> list[dict]:
    """What is different where the app runs, or was mended at its start, each as {"word": its key}; mostly nothing."""
    notes = []
    if on_zero_gpu():
        notes.append({"word": "place_zero_gpu"})
    if not disk_lasts(services.home.root):
        notes.append({"word": "place_disk"})
    if services.runs.remade:
        notes.append({"word": "runs_remade"})
    return notes


def open_arena(panel: TrainPanel, tabs: gr.Tabs) -> None:
    """ "Try it in the Arena" opens that panel; its script is told which model by the page's own message."""
    for island in (panel.run, panel.experiments):
        island.select(for_owners(lambda: gr.Tabs(selected="arena")), None, tabs, **bridge.QUIET)
