"""The data panel: add data, see what was found in it and every token the model will learn. Knows no file format."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from llmdemo import data
from llmdemo.core.languages import languages
from llmdemo.core.sentences import pack
from llmdemo.data.columns import TASK_ROLES
from llmdemo.data.hub import PRESETS, add_from_hub
from llmdemo.models import catalog
from llmdemo.ui import bridge, downloads
from llmdemo.ui.background import with_progress
from llmdemo.ui.data_pages import DataPages
from llmdemo.ui.data_tools_pages import DataToolsPages
from llmdemo.ui.generate_pages import GeneratePages
from llmdemo.ui.rights import for_owners
from llmdemo.ui.samples import SAMPLE_NAME, add_sample, starter_tokenizer, tokenizer_of_ids
from llmdemo.ui.services import Services
from llmdemo.ui.uploads import name_of
from llmdemo.ui.words import say, t

_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
_ADD: dict[str, Any] = {**_QUIET, "concurrency_limit": 2, "concurrency_id": "add-data"}


@dataclass(frozen=True)
class DataPanel:
    """The widgets of this panel that other panels follow."""

    report: gr.HTML
    """Its value is {"dataset_id"} of the data set that was added last; its "select" event asks to train on one."""


@dataclass(frozen=True)
class _Widgets:
    """What a handler that adds data sets."""

    note: gr.HTML
    work: gr.HTML
    columns: gr.HTML
    report: gr.HTML
    held: gr.State
    """Files whose columns are not known yet."""

    def outputs(self, file: gr.File) -> list:
        """What `_shown` gives the values of."""
        return [self.note, self.work, self.columns, self.report, file, self.held]


def build(services: Services) -> DataPanel:
    """The panel's widgets and what they do."""
    pages = DataPages(services)
    with gr.Row(elem_classes="cols data-cols"):
        with gr.Column(elem_classes="stack data-main"):
            widgets = _Widgets(
                note=bridge.island("notice", elem_id="data-notice"),
                work=bridge.island("working", events=["click"], elem_id="data-working"),
                columns=bridge.island("data-columns", events=["submit", "click"], elem_id="data-columns"),
                report=bridge.island(
                    "data-report", pages.functions(), events=["select", "submit"], elem_id="data-report"
                ),
                held=gr.State(),
            )
            with gr.Accordion(t("tools_title"), open=False, elem_classes="fold", elem_id="data-tools"):
                bridge.island("data-tools", DataToolsPages(services).functions())
        with gr.Column(elem_classes="stack data-aside"):
            with gr.Column(elem_classes="boxed add-data"):
                bridge.island("heading", value="data_add")
                # Any kind of file may come: what is no data gets our own sentence, with what to do about it.
                file = gr.File(
                    label=t("data_drop"), show_label=False, height=132, file_count="multiple", elem_id="data-file"
                )
                bridge.island("kinds", value=services.settings.max_upload_bytes)
                sample = gr.Button(t("data_sample"), size="sm", elem_id="data-sample")
                hub = _hub_form(services)
                with gr.Accordion(t("generate_title"), open=False, elem_classes="fold", elem_id="data-generate"):
                    bridge.island("generate", GeneratePages(services).functions())
            bridge.island("data-side", elem_id="data-side")
    _connect(services, file, sample, widgets)
    _connect_hub(services, hub, widgets.work, widgets.outputs(file))

    def export(asked: dict, folder: Path) -> Path | tuple[Path, str]:
        """The data set in a shape and a format; with a sentence where a spreadsheet would run some of its cells."""
        shape, format_ = str(asked.get("shape")), str(asked.get("format"))
        path = data.export_dataset(services.home, str(asked.get("dataset_id")), folder, shape, format_)
        formulas = data.formula_cells(path)
        language = str(asked.get("language"))
        language = language if language in languages() else "en"
        return (path, say("data_export_formulas", language, n=f"{formulas:,}")) if formulas else path

    downloads.on_request(widgets.report.submit, export, widgets.note, "data-export")
    return DataPanel(widgets.report)


@dataclass(frozen=True)
class _Hub:
    """The fold that fetches from the hub."""

    preset: gr.Dropdown
    name: gr.Textbox
    config: gr.Textbox
    split: gr.Textbox
    limit: gr.Number
    fetch: gr.Button

    def asked(self) -> list:
        """What a fetch is told, in the order of _HUB_KEYS."""
        return [self.preset, self.name, self.config, self.split, self.limit]


def _hub_form(services: Services) -> _Hub:
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
    preset.change(_about, preset, about, **_QUIET)
    return _Hub(preset, name, config, split, limit, fetch)


@for_owners
def _about(key: str) -> list[str]:
    """What a person should know before fetching a preset, line by line."""
    preset = next(each for each in PRESETS if each.key == key)
    size = f"{preset.megabytes:,} MB · " if preset.megabytes else ""
    return pack([f"{preset.hub_id} · {size}{preset.licence}", preset.note, preset.citation])


_HUB_KEYS = ("preset", "name", "config", "split", "limit")


def _connect_hub(services: Services, hub: _Hub, work: gr.HTML, outputs: list) -> None:
    @for_owners
    def fetch(*values):
        yield from _fetching(services, dict(zip(_HUB_KEYS, values, strict=True)))

    fetched = hub.fetch.click(fetch, hub.asked(), outputs, **_ADD)
    work.click(None, None, None, cancels=[fetched], **_QUIET)


def _fetching(services: Services, asked: dict, again: dict | None = None, **how) -> Iterator[tuple]:
    """As `_adding`, from the hub; `asked` by _HUB_KEYS. An empty name stands for the preset."""

    def text(key: str) -> str:
        return str(asked.get(key) or "").strip()[:200]

    hub_id = text("name") or text("preset")

    def call(progress, should_stop):
        services.require_owner()
        return add_from_hub(
            services.home,
            services.settings,
            hub_id,
            config=text("config") or None,
            split=text("split") or None,
            row_limit=int(asked.get("limit") or 0),
            tokenizer=starter_tokenizer(services),
            progress=progress,
            should_stop=should_stop,
            **how,
        )

    yield from _shown(hub_id, call, hub=asked, again=again)


def _connect(services: Services, file: gr.File, sample: gr.Button, widgets: _Widgets) -> None:
    @for_owners
    def add_file(paths: list[str] | None):
        yield from _adding(services, paths)

    @for_owners
    def add_mapped(paths: list[str] | None, event: gr.EventData):
        asked = event._data or {}
        how = {"columns": asked.get("columns"), "task": asked.get("task"), "again": asked.get("asked")}
        if isinstance(asked.get("hub"), dict):
            yield from _fetching(services, asked["hub"], **how)
        else:
            yield from _adding(services, paths, **how)

    @for_owners
    def use_sample():
        yield from _shown(SAMPLE_NAME, lambda *watch: add_sample(services, *watch))

    outputs = widgets.outputs(file)
    # These are not dropped where the one before has not quite ended; the sample is added once all the same.
    uploaded = file.upload(add_file, file, outputs, trigger_mode="multiple", **_ADD)
    mapped = widgets.columns.submit(add_mapped, widgets.held, outputs, **_ADD)
    sampled = sample.click(use_sample, None, outputs, trigger_mode="multiple", **_ADD)
    widgets.work.click(for_owners(lambda: {}), None, widgets.work, cancels=[uploaded, mapped, sampled], **_QUIET)
    widgets.columns.click(
        for_owners(lambda: ({}, {}, None)), None, [widgets.note, widgets.columns, widgets.held], **_QUIET
    )


def _adding(services: Services, paths: list[str] | None, again: dict | None = None, **how) -> Iterator[tuple]:
    if not paths:
        return
    name = name_of([Path(path).name for path in paths])
    columns = how.get("columns")
    made_with = str(columns.get("tokenizer") or "") if isinstance(columns, dict) else ""
    if made_with:  # of token ids nothing else is asked
        how = {**how, "columns": None}

    def call(progress, should_stop):
        services.require_owner()
        return data.add_dataset(
            services.home,
            services.settings,
            paths,
            name,
            tokenizer=starter_tokenizer(services),
            made_with=tokenizer_of_ids(services, made_with),
            progress=progress,
            should_stop=should_stop,
            **how,
        )

    models = [model.id for model in catalog.list_models(services.home)]
    yield from _shown(name, call, again=again, models=models, paths=paths)


def _shown(
    name: str,
    call,
    hub: dict | None = None,
    again: dict | None = None,
    models: list[str] | None = None,
    paths: list[str] | None = None,
) -> Iterator[tuple]:
    """Yields the values of (notice, working, columns, report, file, held) while `call(progress, should_stop)` adds data.

    The field is emptied at once, before the next file can be dropped: that one is added alone, and Gradio's field breaks
    where it is emptied while a file is on its way to it. Files are held while their columns are not known. The last
    values change nothing: Gradio sends them twice, the second time when the page may have gone on.

    `hub`: what was asked of the hub, so that it can be asked again once the columns are known. `again`: the form of
    columns as it was filled in, which comes back when they don't fit. `models`: whose tokenizers may have made token ids.
    `paths`: the files that are read, where any are.
    """
    file, same = None, gr.skip()
    try:
        for news in with_progress(call):
            if news[0] == "progress":
                share, what = news[1]
                yield {}, {"name": name, "share": share, "what": what}, {}, same, file, same
            else:
                yield {}, {}, {}, {"dataset_id": news[1].dataset_id}, same, same
            file = same
    except data.ColumnsNeeded as needed:
        asked = {
            "name": name,
            "columns": needed.columns,
            "guess": needed.guess,
            "task": needed.task,
            "roles": TASK_ROLES | {task: (*TASK_ROLES[task], *_optional(needed.guess)) for task in ("chat",)},
            "hub": hub,
        }
        yield {**bridge.notice(needed), "kind": "ask"}, {}, asked, same, same, paths
    except data.TokenizerNeeded as needed:
        guess = {"tokenizer": "starter"} if "starter" in (models or ()) else {}
        asked = {"name": name, "columns": models, "guess": guess, "task": "text", "roles": {"text": ("tokenizer",)}}
        yield {**bridge.notice(needed), "kind": "ask"}, {}, asked, same, same, paths
    except Exception as error:  # the boundary to the page
        kept = again if isinstance(again, dict) else {}
        yield bridge.notice(error), {}, kept, same, same, same
    yield (same,) * 6


def _optional(guess: dict[str, str]) -> list[str]:
    """Roles beyond those that a conversation needs, where the file seems to have them."""
    return [role for role in ("desired",) if role in guess]


def open_train(panel: DataPanel, tabs: gr.Tabs) -> None:
    """The report's "Train on it" opens the train panel (its script has told the form which)."""
    panel.report.select(for_owners(lambda: gr.Tabs(selected="train")), None, tabs, **_QUIET)
