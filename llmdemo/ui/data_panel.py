"""The data panel: add data, see what was found in it and every token the model will learn. Knows no file format."""

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from llmdemo import data
from llmdemo.core.sentences import pack, readable_size, say
from llmdemo.data.hub import PRESETS
from llmdemo.ui import bridge, downloads
from llmdemo.ui.adding_pages import AddingPages
from llmdemo.ui.data_pages import DataPages
from llmdemo.ui.data_tools_pages import DataToolsPages
from llmdemo.ui.generate_pages import GeneratePages
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services
from llmdemo.ui.words import t


@dataclass(frozen=True)
class DataPanel:
    """The widgets of this panel that other panels follow."""

    report: gr.HTML
    """Its "select" event asks to train on a data set."""


def build(services: Services) -> DataPanel:
    """The panel's widgets and what they do."""
    pages, adding = DataPages(services), AddingPages(services)
    with gr.Row(elem_classes="cols data-cols"):
        with gr.Column(elem_classes="stack data-main"):
            added = bridge.island("data-adding", adding.functions(), elem_id="data-adding")
            note = bridge.island("data-note", elem_id="data-note")
            report = bridge.island("data-report", pages.functions(), events=["select", "submit"], elem_id="data-report")
            with gr.Accordion(t("tools_title"), open=False, elem_classes="fold", elem_id="data-tools"):
                bridge.island("data-tools", DataToolsPages(services).functions())
        with gr.Column(elem_classes="stack data-aside"):
            with gr.Column(elem_classes="boxed add-data"):
                bridge.island("heading", value="data_add")
                bridge.island("data-drop", value=services.settings.max_upload_bytes, elem_id="data-file")
                _hub_form(services, adding, added)
                with gr.Accordion(t("generate_title"), open=False, elem_classes="fold", elem_id="data-generate"):
                    bridge.island("generate", GeneratePages(services).functions())
            bridge.island("data-side", elem_id="data-side")

    def export(asked: dict, folder: Path) -> Path | tuple[Path, str]:
        """The data set in a shape and a format; with a sentence where a spreadsheet would run some of its cells."""
        shape, format_ = str(asked.get("shape")), str(asked.get("format"))
        path = data.export_dataset(services.home, str(asked.get("dataset_id")), folder, shape, format_)
        formulas = data.formula_cells(path)
        return (path, say("data_export_formulas", n=formulas)) if formulas else path

    downloads.on_request(report.submit, export, note, "data-export")
    return DataPanel(report)


_HUB_KEYS = ("preset", "name", "config", "split", "limit")


def _hub_form(services: Services, adding: AddingPages, added: gr.HTML) -> None:
    """The fold that fetches from the hub; `added` is told what has begun."""
    choices = [(f"{preset.title} · {preset.rows:,} · {preset.licence}", preset.key) for preset in PRESETS]
    with gr.Accordion(t("data_hub"), open=False, elem_classes="fold"):
        preset = gr.Dropdown(choices, value=choices[0][1], label=t("data_hub_preset"), elem_id="hub-preset")
        about = bridge.island("facts", value=_about(choices[0][1]))
        name = gr.Textbox(label=t("data_hub_name"), placeholder="org/name", max_lines=1, elem_id="hub-name")
        with gr.Row(elem_classes="pair"):
            config = gr.Textbox(
                label=t("data_hub_config"), max_lines=1, max_length=100, min_width=80, elem_id="hub-config"
            )
            split = gr.Textbox(
                label=t("data_hub_split"), max_lines=1, max_length=100, min_width=80, elem_id="hub-split"
            )
        limit = gr.Number(2000, minimum=1, maximum=services.settings.max_rows, precision=0, label=t("data_hub_limit"))
        fetch = gr.Button(t("data_hub_add"), size="sm", elem_id="hub-fetch")
    preset.change(_about, preset, about, **bridge.QUIET)

    @for_owners
    def begin(*values):
        return {"begun": adding.begin_hub(dict(zip(_HUB_KEYS, values, strict=True)))}

    fetch.click(begin, [preset, name, config, split, limit], added, **bridge.QUIET)


@for_owners
def _about(key: str) -> list[str]:
    """What a person should know before fetching a preset, line by line."""
    preset = next(each for each in PRESETS if each.key == key)
    size = f"{readable_size(preset.megabytes * 1e6)} · " if preset.megabytes else ""
    return pack([f"{preset.hub_id} · {size}{preset.licence}", preset.note, preset.citation])


def open_train(panel: DataPanel, tabs: gr.Tabs) -> None:
    """The report's "Train on it" opens the train panel (its script has told the form which)."""
    panel.report.select(for_owners(lambda: gr.Tabs(selected="train")), None, tabs, **bridge.QUIET)
