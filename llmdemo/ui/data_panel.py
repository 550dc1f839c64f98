"""The data panel: add data, see what was found in it and every token the model will learn. Knows no file format."""

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from llmdemo import data
from llmdemo.ui import bridge
from llmdemo.ui.background import with_progress
from llmdemo.ui.data_pages import DataPages
from llmdemo.ui.samples import add_sample, starter_tokenizer
from llmdemo.ui.services import Services
from llmdemo.ui.words import WORDS, t

_FILE_TYPES = [".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt", ".gz"]


@dataclass(frozen=True)
class DataPanel:
    """The widgets of this panel that other panels follow."""

    report: gr.HTML
    """Its value is {"dataset_id"} of the data set that was added last; its "select" event asks to train on one."""


def build(services: Services) -> DataPanel:
    """The panel's widgets and what they do."""
    pages = DataPages(services)
    with gr.Row(elem_classes="cols data-cols"):
        with gr.Column(elem_classes="stack data-main"):
            note = bridge.island("notice", elem_id="data-notice")
            work = bridge.island("working", elem_id="data-working")
            report = bridge.island(
                "data-report",
                [pages.data_sets, pages.report, pages.record, pages.search, pages.rename, pages.delete, pages.findings],
                events=["select"],
                elem_id="data-report",
            )
        with gr.Column(elem_classes="stack data-aside"):
            with gr.Column(elem_classes="boxed add-data"):
                bridge.island("heading", value="data_add")
                sources = _sources(services)
            bridge.island("data-side", elem_id="data-side")
    _connect(services, sources, note, work, report)
    return DataPanel(report)


@dataclass(frozen=True)
class _Sources:
    file: gr.File
    sample: gr.Button
    preset: gr.Dropdown
    name: gr.Textbox
    limit: gr.Number
    fetch: gr.Button


def _sources(services: Services) -> _Sources:
    file = gr.File(label=t("data_drop"), file_types=_FILE_TYPES, show_label=False, height=132, elem_id="data-file")
    bridge.island("kinds", value=services.settings.max_upload_bytes)
    sample = gr.Button(t("data_sample"), size="sm", elem_id="data-sample")
    with gr.Accordion(t("data_hub"), open=False, elem_classes="fold"):
        presets = [(f"{preset.title} · {preset.rows:,} · {preset.licence}", preset.id) for preset in data.presets()]
        preset = gr.Dropdown(presets, value=presets[0][1], label=t("data_hub_preset"), elem_id="data-preset")
        name = gr.Textbox(label=t("data_hub_name"), placeholder="org/name", max_lines=1)
        limit = gr.Number(2000, minimum=1, maximum=services.settings.max_rows, precision=0, label=t("data_hub_limit"))
        fetch = gr.Button(t("data_hub_add"), size="sm", elem_id="data-fetch")
    return _Sources(file, sample, preset, name, limit, fetch)


def _connect(services: Services, sources: _Sources, note: gr.HTML, work: gr.HTML, report: gr.HTML) -> None:
    shown = [note, work, report]

    def add_file(path: str | None):
        if path:
            yield from _adding(services, Path(path), Path(path).name)

    def use_sample():
        yield from _shown("sample", lambda progress, should_stop: _sample(services, progress, should_stop))

    def add_from_hub(preset: str, name: str, limit: float):
        yield from _fetching(services, name.strip() or preset, int(limit))

    options = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 2}
    uploaded = sources.file.upload(add_file, sources.file, shown, **options)
    uploaded.then(lambda: None, outputs=sources.file, api_visibility="private", show_progress="hidden")
    sampled = sources.sample.click(use_sample, None, shown, **options)
    fetched = sources.fetch.click(add_from_hub, [sources.preset, sources.name, sources.limit], shown, **options)
    work.click(lambda: [{"kind": "info", "message": WORDS["data_stopped"][0]}, {}], None, [note, work],
               cancels=[uploaded, sampled, fetched], api_visibility="private")  # fmt: skip


def _sample(services: Services, progress, should_stop):
    services.require_owner()
    return add_sample(services, progress, should_stop)


def _adding(services: Services, path: Path, name: str):
    def call(progress, should_stop):
        services.require_owner()
        return data.add_dataset(
            services.home, services.settings, path, name,
            tokenizer=starter_tokenizer(services), progress=progress, should_stop=should_stop,
        )  # fmt: skip

    yield from _shown(name, call)


def _fetching(services: Services, name: str, limit: int):
    def call(progress, should_stop):
        services.require_owner()
        return data.add_from_hub(
            services.home, services.settings, name, limit=limit,
            tokenizer=starter_tokenizer(services), progress=progress, should_stop=should_stop,
        )  # fmt: skip

    yield from _shown(name, call)


def _shown(name: str, call):
    """Yields the values of (notice, working, report) while `call` runs."""
    try:
        for kind, value in with_progress(call):
            if kind == "progress":
                yield {}, {"name": name, "share": value[0], "what": value[1]}, gr.skip()
            else:
                yield {}, {}, {"dataset_id": value.dataset_id}
    except Exception as error:  # the boundary to the page
        yield bridge.notice(error), {}, gr.skip()


def open_train(panel: DataPanel, tabs: gr.Tabs) -> None:
    """The report's "Train on it" opens the train panel (its script has told the form which)."""
    panel.report.select(lambda: gr.Tabs(selected="train"), None, tabs, api_visibility="private", show_progress="hidden")
