"""The named endpoints of data sets and models, for scripts and for the page. JSON in, JSON out; knows no widget."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.data.library import DatasetInfo
from llmdemo.models import catalog
from llmdemo.models.library import import_library
from llmdemo.ui.rights import for_guests, for_owners
from llmdemo.ui.samples import starter_tokenizer, tokenizer_of_ids
from llmdemo.ui.services import Services
from llmdemo.ui.uploads import name_of, uploaded

_PROBLEMS = 100


def endpoints(services: Services) -> list[Callable]:
    """The functions, each named as its endpoint."""

    @for_owners
    def add_dataset(
        file: gr.FileData,  # or a list: Gradio's MCP tools take a file sent as data for this type alone
        name: str = "",
        columns: dict | None = None,
        task: str = "",
        tokenizer: str = "",
    ) -> dict:
        """Adds an uploaded file as a data set: read, checked, measured. Returns what was kept, and why the rest was not.

        In Python: client.predict(file=handle_file("instructions.json"), name="mine", api_name="/add_dataset"). A list of
        files becomes one data set, whose source.files tells each one's first_row, rows, kept and problems.
        columns says which column is which where their names are not known: {"prompt": "question", "response": "reply"},
        {"text": …, "label": …}, {"text": …} or {"prompt": …, "chosen": …, "rejected": …}; also messages, input, system,
        history, tools, desired, split, alternatives (other right answers) and kind (each is held out in its share); only the
        last three may name a column that has another role too.
        task: "chat", "text", "classify", "preference", or "" for what the columns say. tokenizer: of rows that are token ids
        (input_ids, and labels, attention_mask), which are kept as they are, the id of the model whose tokenizer made them. Returns
        dataset_id, format, task, rows, kept, problems [{row, code, message}], unused [column or key], tokens
        {total, longest, mean} (null before a tokenizer is here), and everything else that is known of the data set.
        """
        return _added(services, file, name, columns, task, tokenizer)

    @for_owners
    def add_preference(name: str, prompt: str, chosen: str, rejected: str) -> dict:
        """Appends a pair of answers to the preference data set called `name`, which is made if there is none yet.

        Returns its dataset_id (each pair makes a new version), name, pairs, and added: 0 if the pair was there already.
        """
        import_library()
        from llmdemo.arena.preferences import Preferences

        picks = Preferences(services.home, services.settings)
        return picks.add(name, prompt, chosen, rejected, tokenizer=starter_tokenizer(services))

    @for_guests
    def list_models() -> list[dict]:
        """All models that can be trained or compared, each with its id first: the starter, finished runs, added ones."""
        return [_without_path(entry.to_dict()) for entry in catalog.list_models(services.home)]

    return [add_dataset, add_preference, list_models, *of_data_sets(services)]


def _added(services: Services, file, name: str, columns: dict | None, task: str, made_with: str) -> dict:
    files = [uploaded(each) for each in (file if isinstance(file, list) else [file])]
    tokenizer = starter_tokenizer(services)
    info = data.add_dataset(
        services.home,
        services.settings,
        [path for path, _ in files],
        str(name or name_of([given for _, given in files])),
        tokenizer=tokenizer,
        columns=columns or None,
        task=task or None,
        made_with=tokenizer_of_ids(services, made_with),
    )
    return info.to_dict()


def of_data_sets(services: Services) -> list[Callable]:
    """What is done with data sets that are there."""
    home = services.home

    @for_owners
    def list_datasets() -> list[dict]:
        """All data sets, the newest first, each with its dataset_id first."""
        return [_without_problems(info) for info in data.list_datasets(home)]

    @for_owners
    def rename_dataset(dataset_id: str, name: str) -> dict:
        """Gives a data set another name; returns what is known of it."""
        return data.rename_dataset(home, dataset_id, name).to_dict()

    @for_owners
    def delete_dataset(dataset_id: str) -> dict:
        """Deletes a data set for good; returns its dataset_id."""
        data.delete_dataset(home, dataset_id)
        return {"dataset_id": dataset_id}

    return [list_datasets, rename_dataset, delete_dataset, *_versions(services)]


def _versions(services: Services) -> list[Callable]:
    """What makes a new version of a data set, or a new one; runs keep the version that they were started with."""
    home = services.home

    @for_owners
    def dataset_problems(dataset_id: str, code: str = "", offset: int = 0) -> dict:
        """{problems [{row, code, message, action, excerpt}], total}: what was found in a data set, 100 from `offset` on, of one
        kind (code) or all."""
        found, total = data.problems(home, dataset_id, offset, _PROBLEMS, code)
        return {"problems": found, "total": total}

    @for_owners
    def filter_dataset(dataset_id: str, filters: list[str], preview: bool = False) -> dict:
        """A version that leaves out the records with these problems, by code, and no others; returns what is known of it.

        preview: nothing is made, and kept, how many records it would have, is all that is returned.
        """
        if preview:
            return {"kept": data.preview_filters(home, dataset_id, filters)["kept"]}
        return _without_problems(data.apply_filters(home, dataset_id, filters))

    @for_owners
    def edit_record(dataset_id: str, place: int, contents: list[str]) -> dict:
        """A version in which the record at `place` (from 0, among all, also those that are left out) says these texts: its turns
        in order, and after them chosen and rejected; or text and label. Returns what is known of it."""
        records = data.open_records(home, dataset_id, everything=True)
        if type(place) is not int or not 0 <= place < len(records):
            raise UserError("err_no_record_at", place=str(place)[:20], last=len(records) - 1)
        edited = _with_contents(records[place], contents)
        made = data.edit_record(home, dataset_id, place, edited, tokenizer=starter_tokenizer(services))
        return _without_problems(made)

    @for_owners
    def drop_records(dataset_id: str, places: list[int]) -> dict:
        """A version without the records at these places (as for /edit_record). Returns what is known of it."""
        made = data.drop_records(home, dataset_id, places, tokenizer=starter_tokenizer(services))
        return _without_problems(made)

    @for_owners
    def merge_datasets(dataset_ids: list[str], name: str = "") -> dict:
        """A data set with the kept records of several for the same task; by default it is named after them. Returns what is
        known of it."""
        name = name or " + ".join(data.get_dataset(home, dataset_id).name for dataset_id in dataset_ids)
        return _without_problems(data.merge_datasets(home, services.settings, dataset_ids, name))

    return [dataset_problems, filter_dataset, edit_record, drop_records, merge_datasets]


def turns(record: dict) -> list[dict]:
    """Any kind of record as [{role, content}], for reading."""
    if "text" in record:
        label = [{"role": "label", "content": str(record["label"])}] if record.get("label") is not None else []
        return [{"role": "text", "content": record["text"]}, *label]
    said = [{"role": turn["role"], "content": turn["content"] or ""} for turn in record["messages"]]
    return said + [{"role": role, "content": record[role]} for role in ("chosen", "rejected") if role in record]


def _with_contents(record: dict, contents: list[str]) -> dict:
    """The record with the texts of its `turns` replaced."""
    if not isinstance(contents, list) or len(contents) != len(turns(record)):
        raise UserError("err_record_changed")
    edited = {key: value for key, value in record.items() if key != "row"}
    if "text" in record:
        return edited | dict(zip(("text", "label"), contents, strict=False))
    asked = len(record["messages"])
    messages = [
        {**turn, "content": content} for turn, content in zip(record["messages"], contents[:asked], strict=True)
    ]
    return edited | {"messages": messages} | dict(zip(("chosen", "rejected"), contents[asked:], strict=False))


def _without_problems(info: DatasetInfo) -> dict[str, Any]:
    return {key: value for key, value in info.to_dict().items() if key != "problems"}


def _without_path(entry: dict) -> dict:
    """gradio_client takes every object with a "path" for a file and tries to download it."""
    return {key: value for key, value in entry.items() if key != "path"}
