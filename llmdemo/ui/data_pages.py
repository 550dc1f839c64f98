"""What the data panel's script asks for: lists, one record as tokens, what was found. JSON in, JSON out; knows no widget."""

from llmdemo import data
from llmdemo.data.encode import encode_chat, encode_preference, encode_text
from llmdemo.data.tokens import token_view
from llmdemo.errors import UserError
from llmdemo.ui.services import Services

_TOKENS_SHOWN = 4096
_EXCERPT = 200
_FOUND = 500


class DataPages:
    """The functions behind the panel's islands, over one installation's data sets."""

    def __init__(self, services: Services):
        self._services = services

    def data_sets(self, _: dict) -> dict:
        """{"sets": [{dataset_id, name, rows, kept, task}]}, newest first."""
        keys = ("dataset_id", "name", "rows", "kept", "task")
        infos = [info.to_dict() for info in data.list_datasets(self._services.home)]
        infos.sort(key=lambda info: info["created"], reverse=True)
        return {"sets": [{key: info[key] for key in keys} for info in infos]}

    def report(self, request: dict) -> dict:
        """What was found in a data set: its info, the first problems with an excerpt of their record, numbers."""
        info = self._info(request).to_dict()
        return {
            "info": {key: value for key, value in info.items() if key != "problems"},
            "problems": info["problems"],
            "counts": info["counts"],
            "total": info["kept"],
            "advice": None,
            "lengths": [],
            "numbers": {},
        }

    def record(self, request: dict) -> dict:
        """Record `index` as turns, and as tokens when a tokenizer is here: {row, kind, turns, tokens, trained, length}."""
        info = self._info(request)
        records = data.open_records(self._services.home, info.dataset_id)
        index = min(max(int(request.get("index", 0)), 0), len(records) - 1)
        record = records[index]
        shown = {"row": record["row"], "kind": info.task, "turns": _turns(record), "tokens": None}
        tokenizer = self._tokenizer()
        if tokenizer is None or info.task == "classify":
            return shown
        loss_on = "all" if request.get("loss_on") == "all" else "response"
        return shown | _tokens(record, tokenizer, loss_on, request.get("max_length"))

    def search(self, request: dict) -> dict:
        """{"indices"}: the first records whose text holds `text`, whatever the case."""
        records = data.open_records(self._services.home, self._info(request).dataset_id)
        return {"indices": [int(index) for index in records.search(str(request.get("text", ""))[:200], _FOUND)]}

    def rename(self, request: dict) -> dict:
        self._services.require_owner()
        info = data.rename_dataset(self._services.home, self._id(request), str(request.get("name", "")))
        return {"name": info.name}

    def delete(self, request: dict) -> dict:
        self._services.require_owner()
        data.delete_dataset(self._services.home, self._id(request))
        return {}

    def findings(self, request: dict) -> dict:
        """{"text"}: every problem as JSON or CSV."""
        kind = "csv" if request.get("kind") == "csv" else "json"
        return {"text": data.report_text(self._services.home, self._id(request), kind)}

    def _id(self, request: dict) -> str:
        dataset_id = request.get("dataset_id")
        if not isinstance(dataset_id, str):
            raise UserError("No data set was named.", "Choose one from the list.")
        return dataset_id

    def _info(self, request: dict):
        return data.get_dataset(self._services.home, self._id(request))

    def _tokenizer(self):
        if self._services.starter.progress()["state"] != "ready":
            return None
        return self._services.tokenizers.get("starter")


def _turns(record: dict) -> list[dict]:
    """Any kind of record as [{role, content}], for reading."""
    if "text" in record:
        label = record.get("label")
        return [
            {"role": "text", "content": record["text"]},
            *([{"role": "label", "content": str(label)}] if label is not None else []),
        ]
    turns = [{"role": turn["role"], "content": turn["content"] or ""} for turn in record["messages"]]
    for role in ("chosen", "rejected"):
        if role in record:
            turns.append({"role": role, "content": record[role]})
    return turns


def _tokens(record: dict, tokenizer, loss_on: str, max_length: int | None) -> dict:
    """The record's tokens: {"tokens": [{id, text, trained, special, position}], "trained", "length", "truncated"}."""
    if "text" in record:
        encoded = encode_text(record["text"], tokenizer, max_length)[0]
    elif "chosen" in record:
        encoded = encode_preference(record, tokenizer, max_length)[0]
    else:
        encoded = encode_chat(record["messages"], tokenizer, max_length, loss_on)
    view = token_view(encoded, tokenizer)[:_TOKENS_SHOWN]
    return {
        "tokens": view,
        "trained": encoded.trained,
        "length": len(encoded.input_ids),
        "truncated": encoded.truncated,
    }
