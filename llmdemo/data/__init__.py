"""An upload becomes a checked, tokenised data set. Knows no torch, no transformers and no page."""

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
from llmdemo.data.ingest import add_dataset
from llmdemo.data.library import DatasetInfo, delete_dataset, get_dataset, list_datasets, rename_dataset
from llmdemo.data.measure import Stopped, measure_tokens
from llmdemo.data.records import Records, open_records, split
from llmdemo.data.tokens import token_view

__all__ = [
    "ColumnsNeeded",
    "DatasetInfo",
    "Encoded",
    "Records",
    "Stopped",
    "add_dataset",
    "delete_dataset",
    "encode_chat",
    "encode_classify",
    "encode_many",
    "encode_preference",
    "encode_prompt",
    "encode_text",
    "get_dataset",
    "list_datasets",
    "measure_tokens",
    "open_records",
    "rename_dataset",
    "split",
    "token_view",
]
