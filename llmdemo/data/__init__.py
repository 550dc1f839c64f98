"""An upload becomes a checked, tokenised data set. Knows no torch, no transformers and no page."""

from llmdemo.data.chosen import choose_records, mend_labels
from llmdemo.data.columns import ColumnsNeeded
from llmdemo.data.encode import (
    Encoded,
    encode_chat,
    encode_classify,
    encode_many,
    encode_preference,
    encode_prompt,
    encode_text,
)
from llmdemo.data.export import export_dataset, formula_cells
from llmdemo.data.ingest import add_dataset
from llmdemo.data.library import DatasetInfo, delete_dataset, get_dataset, list_datasets, rename_dataset
from llmdemo.data.measure import DEFAULT_MAX_LENGTH, Stopped, kept_lengths, measure_tokens, without_answer
from llmdemo.data.records import Records, open_records
from llmdemo.data.report import excerpt, problems, report_csv, report_json
from llmdemo.data.split import in_order, split, why_none
from llmdemo.data.stats import epoch_cost, recommend_loss, stats
from llmdemo.data.tokenised import MadeWith, TokenizerNeeded
from llmdemo.data.tokens import token_view, view_record
from llmdemo.data.versions import apply_filters, drop_records, edit_record, merge_datasets, preview_filters

__all__ = [
    "DEFAULT_MAX_LENGTH",
    "ColumnsNeeded",
    "DatasetInfo",
    "Encoded",
    "MadeWith",
    "Records",
    "Stopped",
    "TokenizerNeeded",
    "add_dataset",
    "apply_filters",
    "choose_records",
    "delete_dataset",
    "drop_records",
    "edit_record",
    "encode_chat",
    "encode_classify",
    "encode_many",
    "encode_preference",
    "encode_prompt",
    "encode_text",
    "epoch_cost",
    "excerpt",
    "export_dataset",
    "formula_cells",
    "get_dataset",
    "in_order",
    "kept_lengths",
    "list_datasets",
    "measure_tokens",
    "mend_labels",
    "merge_datasets",
    "open_records",
    "preview_filters",
    "problems",
    "recommend_loss",
    "rename_dataset",
    "report_csv",
    "report_json",
    "split",
    "stats",
    "token_view",
    "view_record",
    "why_none",
    "without_answer",
]
