"""What the data panel's script asks for: lists, one record as tokens, what was found. JSON in, JSON out; knows no widget."""

from llmdemo import data
from llmdemo.data.codes import CODES
from llmdemo.data.export import FORMATS, SHAPES
from llmdemo.errors import UserError
from llmdemo.ui.samples import starter_tokenizer
from llmdemo.ui.services import Services

_TOKENS_SHOWN = 4096
_PROBLEMS_SHOWN = 200
_FOUND = 500


class DataPages:
    """The functions behind the panel's islands, over one installation's data sets."""

    def __init__(self, services: Services):
        self._services = services
        self._home = services.home

    def functions(self) -> list:
        """Those that the script may call."""
        return [
            self.data_sets, self.report, self.stats, self.record, self.problems, self.search, self.findings, self.preview,
            self.apply_filters, self.edit, self.drop, self.merge, self.rename, self.delete,
        ]  # fmt: skip

    def data_sets(self, _: dict) -> dict:
        """{"sets": [{dataset_id, name, rows, kept, task, version}]}, newest first."""
        keys = ("dataset_id", "name", "rows", "kept", "task", "version")
        infos = [info.to_dict() for info in data.list_datasets(self._home)]
        return {"sets": [{key: info[key] for key in keys} for info in infos]}

    def report(self, request: dict) -> dict:
        """What was found in a data set: its info, what each kind of problem is called, the first problems."""
        info = self._info(request)
        if info.tokens is None and (tokenizer := starter_tokenizer(self._services)) is not None:
            info = data.measure_tokens(self._home, info.dataset_id, tokenizer)
        values = info.to_dict()
        values.pop("problems")
        return {
            "info": values,
            "kinds": [
                {"code": code, "title": CODES[code].title, "count": count, "switchable": CODES[code].bit is not None}
                for code, count in info.counts.items()
                if count and code in CODES
            ],
            "shapes": SHAPES[info.task],
            "formats": FORMATS,
            **self.problems(request),
        }

    def stats(self, request: dict) -> dict:
        """All figures of data.stats; an epoch's time from the speed of the newest run here."""
        speeds = [run["tokens_per_second"] for run in self._services.runs.list() if run.get("tokens_per_second")]
        return data.stats(
            self._home, self._id(request), starter_tokenizer(self._services), speeds[0] if speeds else None
        )

    def problems(self, request: dict) -> dict:
        """{"problems", "total"}: those of one kind (`code`) or all, from `offset` on."""
        code = str(request.get("code") or "")
        found, total = data.problems(
            self._home, self._id(request), int(request.get("offset", 0)), _PROBLEMS_SHOWN, code
        )
        return {"problems": found, "total": total}

    def record(self, request: dict) -> dict:
        """Record `index` as turns, and as tokens when a tokenizer is here: {row, kind, turns, tokens, trained, length}."""
        info = self._info(request)
        records = data.open_records(self._home, info.dataset_id)
        index = min(max(int(request.get("index", 0)), 0), len(records) - 1)
        record = records[index]
        place = int(records.places[index])
        shown = {"row": record["row"], "place": place, "kind": info.task, "turns": _turns(record), "tokens": None}
        tokenizer = starter_tokenizer(self._services)
        if tokenizer is None:
            return shown
        loss_on = "all" if request.get("loss_on") == "all" else "response"
        return shown | _tokens(record, tokenizer, loss_on)

    def search(self, request: dict) -> dict:
        """{"indices"}: the first records whose text holds `text`, whatever the case."""
        records = data.open_records(self._home, self._id(request))
        return {"indices": [int(index) for index in records.search(str(request.get("text", ""))[:200])[:_FOUND]]}

    def preview(self, request: dict) -> dict:
        """{"kept"}: how many records these filters would leave."""
        return {"kept": data.preview_filters(self._home, self._id(request), _texts(request, "filters"))["kept"]}

    def apply_filters(self, request: dict) -> dict:
        """{"dataset_id"} of a version with these filters."""
        self._services.require_owner()
        return _made(data.apply_filters(self._home, self._id(request), _texts(request, "filters")))

    def edit(self, request: dict) -> dict:
        """{"dataset_id"} of a version in which the record at `place` says `contents`, turn by turn."""
        self._services.require_owner()
        dataset_id, place = self._id(request), int(request.get("place", -1))
        record = data.open_records(self._home, dataset_id, everything=True)[place]
        edited = _with_contents(record, _texts(request, "contents"))
        return _made(
            data.edit_record(self._home, dataset_id, place, edited, tokenizer=starter_tokenizer(self._services))
        )

    def drop(self, request: dict) -> dict:
        """{"dataset_id"} of a version without the record at `place`."""
        self._services.require_owner()
        place = int(request.get("place", -1))
        tokenizer = starter_tokenizer(self._services)
        return _made(data.drop_records(self._home, self._id(request), [place], tokenizer=tokenizer))

    def merge(self, request: dict) -> dict:
        """{"dataset_id"} of a data set with the kept records of several."""
        self._services.require_owner()
        ids = _texts(request, "dataset_ids")
        name = " + ".join(data.get_dataset(self._home, dataset_id).name for dataset_id in ids)
        return _made(data.merge_datasets(self._home, self._services.settings, ids, name))

    def rename(self, request: dict) -> dict:
        """{"name"} as it is kept."""
        self._services.require_owner()
        return {"name": data.rename_dataset(self._home, self._id(request), str(request.get("name", ""))).name}

    def delete(self, request: dict) -> dict:
        """Deletes it for good."""
        self._services.require_owner()
        data.delete_dataset(self._home, self._id(request))
        return {}

    def findings(self, request: dict) -> dict:
        """{"text"}: every problem as JSON or CSV."""
        pieces = data.report_csv if request.get("kind") == "csv" else data.report_json
        return {"text": "".join(pieces(self._home, self._id(request)))}

    def _id(self, request: dict) -> str:
        dataset_id = request.get("dataset_id")
        if not isinstance(dataset_id, str):
            raise UserError("No data set was named.", "Choose one from the list.")
        return dataset_id

    def _info(self, request: dict):
        return data.get_dataset(self._home, self._id(request))


def _made(info) -> dict:
    return {"dataset_id": info.dataset_id}


def _texts(request: dict, key: str) -> list[str]:
    """The request's list of texts under `key`; raises UserError for anything else."""
    values = request.get(key)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise UserError(f"{key} is not a list of texts.", "Reload the page and try again.")
    return values


def _with_contents(record: dict, contents: list[str]) -> dict:
    """The record with the texts of its turns, in the order of `_turns`, replaced."""
    turns = _turns(record)
    if len(contents) != len(turns):
        raise UserError("The record has changed meanwhile.", "Reload the page and try again.")
    edited = {key: value for key, value in record.items() if key != "row"}
    if "text" in record:
        return edited | dict(zip(("text", "label"), contents, strict=False))
    asked = len(record["messages"])
    messages = [
        {**turn, "content": content} for turn, content in zip(record["messages"], contents[:asked], strict=True)
    ]
    return edited | {"messages": messages} | dict(zip(("chosen", "rejected"), contents[asked:], strict=False))


def _turns(record: dict) -> list[dict]:
    """Any kind of record as [{role, content}], for reading."""
    if "text" in record:
        label = [{"role": "label", "content": str(record["label"])}] if record.get("label") is not None else []
        return [{"role": "text", "content": record["text"]}, *label]
    turns = [{"role": turn["role"], "content": turn["content"] or ""} for turn in record["messages"]]
    return turns + [{"role": role, "content": record[role]} for role in ("chosen", "rejected") if role in record]


def _tokens(record: dict, tokenizer, loss_on: str) -> dict:
    """The record's tokens: {"tokens": [{id, text, trained, special, position, eos}], "trained", "length", "truncated"}.

    Empty where the model's chat template refuses the conversation.
    """
    try:
        encoded = _encoded(record, tokenizer, loss_on)
    except UserError as error:
        return {"refused": f"{error.message} {error.hint}".strip()}
    return {
        "tokens": data.token_view(encoded, tokenizer, _TOKENS_SHOWN),
        "trained": encoded.trained,
        "length": encoded.length or len(encoded.input_ids),
        "truncated": encoded.truncated,
    }


def _encoded(record: dict, tokenizer, loss_on: str):
    longest = 512
    if "label" in record:
        return data.encode_classify(record["text"], tokenizer, longest)
    if "text" in record:
        return data.encode_text(record["text"], tokenizer, None)[0]
    if "chosen" in record:
        return data.encode_preference(record, tokenizer, longest)[0]
    return data.encode_chat(record["messages"], tokenizer, longest, loss_on)
