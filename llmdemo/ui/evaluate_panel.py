"""The evaluate panel: choose models and data, follow, read what came out; a box to use a classifier. Knows no metric."""

from pathlib import Path

import gradio as gr

from llmdemo.ui import bridge, downloads, evaluate_api
from llmdemo.ui.endpoints import of_endpoints
from llmdemo.ui.evaluate_pages import EvaluatePages
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services
from llmdemo.ui.words import t

_FILE_TYPES = [".txt", ".csv", ".tsv", ".json", ".jsonl", ".parquet", ".gz"]


def build(services: Services) -> None:
    """The panel's widgets and what they do."""
    pages = EvaluatePages(services)
    endpoints = of_endpoints(evaluate_api.endpoints(services))
    functions = [pages.choices, pages.folds, pages.benchmark, pages.keep_rubric, pages.drop_rubric, *endpoints]
    bridge.island("evaluate-form", functions, elem_id="evaluate-form")
    questions = gr.UploadButton(
        t("eval_bench_file"), file_types=_FILE_TYPES, size="sm", elem_id="evaluate-benchmark-file"
    )
    read = bridge.island("evaluate-benchmark", elem_id="evaluate-benchmark")
    with gr.Row(elem_classes="cols evaluate-cols"):
        with gr.Column(elem_classes="stack"):
            result = bridge.island(
                "evaluate-result",
                [pages.overview, pages.record, *endpoints],
                events=["submit"],
                elem_id="evaluate-result",
            )
        with gr.Column(elem_classes="stack"):
            bridge.island("evaluate-side", elem_id="evaluate-side")
            use = bridge.island("evaluate-use", [pages.choices, *endpoints], events=["select"], elem_id="evaluate-use")
            file = gr.UploadButton(t("eval_file"), file_types=_FILE_TYPES, size="sm", elem_id="evaluate-file")
            note = bridge.island("notice", elem_id="evaluate-notice")
    _connect(services, use, file, note)

    @for_owners
    def take(path: str | None) -> dict:
        try:
            assert path is not None, "the upload button sends a file"
            return {"benchmark": pages.benchmark_file(Path(path))}
        except Exception as error:  # the boundary to the page
            return {"error": bridge.notice(error)}

    questions.upload(take, questions, read, **bridge.QUIET)
    downloads.on_request(result.submit, pages.table, note, "evaluate-records-csv")


def _connect(services: Services, use: gr.HTML, file: gr.UploadButton, note: gr.HTML) -> None:
    """An uploaded file of texts comes back as a table, by the model that is chosen in the box."""
    chosen, button = gr.State(""), gr.DownloadButton(visible="hidden", elem_id="evaluate-csv")

    @for_owners
    def choose(event: gr.EventData) -> str:
        return str((event._data or {}).get("model_id") or "")

    @for_owners
    def table(path: str | None, model_id: str):
        try:
            services.require_owner()
            assert path is not None, "the upload button sends a file"
            with downloads.new_folder() as folder:
                return {}, str(services.classifiers.get().table(model_id, Path(path), folder))
        except Exception as error:  # the boundary to the page
            return bridge.notice(error), None

    use.select(choose, None, chosen, **bridge.QUIET)
    made = file.upload(table, [file, chosen], [note, button], **bridge.QUIET, concurrency_limit=1)
    made.success(None, None, None, js=downloads.click("evaluate-csv"))
