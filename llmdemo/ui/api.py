"""The named endpoints that scripts call: JSON in, JSON out, and a sentence when something is wrong. Knows no widget.

Each does three things: take the arguments, make one call, return what it gives. The docstrings are what the API page
shows. The paths and keys are a contract (README): they only ever grow.
"""

import functools
import inspect
import secrets
from collections.abc import Callable, Iterator

import gradio as gr

from llmdemo import data, prepare
from llmdemo.core.errors import UserError
from llmdemo.models import catalog
from llmdemo.models.library import import_library
from llmdemo.settings.decoding import DecodeSettings
from llmdemo.settings.schema import document
from llmdemo.settings.training import TrainConfig
from llmdemo.ui import (
    authentication,
    bridge,
    circle_api,
    elsewhere_api,
    evaluate_api,
    experiments_api,
    generate_api,
    interpret_api,
    knowledge_api,
    maps_api,
    models_api,
    selection_api,
    serving_api,
    votes_api,
)
from llmdemo.ui.fair_queue import when_gone
from llmdemo.ui.rights import for_guests, for_owners
from llmdemo.ui.samples import starter_tokenizer, tokenizer_of_ids
from llmdemo.ui.services import Services
from llmdemo.ui.uploads import name_of, uploaded

_MOST_COMPARED = 100


def add_endpoints(services: Services) -> None:
    """Registers every endpoint in the current Blocks context."""
    _data_endpoints(services)
    _kept_data_endpoints(services)
    _add(*models_api.endpoints(services))
    _run_endpoints(services)
    _kept_run_endpoints(services)
    _add(*experiments_api.endpoints(services))
    _add(*elsewhere_api.endpoints(services))
    _add(*evaluate_api.endpoints(services))
    _add(*generate_api.endpoints(services))
    _add(*maps_api.endpoints(services))
    _add(*knowledge_api.endpoints(services))
    _add(*selection_api.endpoints(services))
    _add(*serving_api.endpoints(services))
    _add(*interpret_api.owners_endpoints(services))
    _add(*circle_api.endpoints(services))
    _vote_endpoints(services)
    _compare_endpoint(services)


def _data_endpoints(services: Services) -> None:
    @for_owners
    def add_dataset(
        file: gr.FileData | list[gr.FileData],
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
        history, tools, desired, split, alternatives (other right answers) and kind (each is held out in its share).
        task: "chat", "text", "classify", "preference", or "" for what the columns say. tokenizer: of rows that are token ids
        (input_ids, and labels, attention_mask), which are kept as they are, the id of the model whose tokenizer made them. Returns
        dataset_id, format, task, rows, kept, problems [{row, code, message}], unused [column or key], tokens
        {total, longest, mean} (null before a tokenizer is here), and everything else that is known of the data set.
        """
        services.require_owner()
        return _added(services, file, name, columns, task, tokenizer)

    _add(add_dataset)


def _kept_data_endpoints(services: Services) -> None:
    @for_owners
    def list_datasets() -> list[dict]:
        """All data sets, the newest first, each with its dataset_id first."""
        services.require_owner()
        return [
            {key: value for key, value in info.to_dict().items() if key != "problems"}
            for info in data.list_datasets(services.home)
        ]

    @for_owners
    def rename_dataset(dataset_id: str, name: str) -> dict:
        """Gives a data set another name; returns what is known of it."""
        services.require_owner()
        return data.rename_dataset(services.home, dataset_id, name).to_dict()

    @for_owners
    def delete_dataset(dataset_id: str) -> dict:
        """Deletes a data set for good; returns its dataset_id."""
        services.require_owner()
        data.delete_dataset(services.home, dataset_id)
        return {"dataset_id": dataset_id}

    @for_owners
    def add_preference(name: str, prompt: str, chosen: str, rejected: str) -> dict:
        """Appends a pair of answers to the preference data set called `name`, which is made if there is none yet.

        Returns its dataset_id (each pair makes a new version), name, pairs, and added: 0 if the pair was there already.
        """
        services.require_owner()
        import_library()
        from llmdemo.arena.preferences import Preferences

        picks = Preferences(services.home, services.settings)
        return picks.add(name, prompt, chosen, rejected, tokenizer=starter_tokenizer(services))

    @for_guests
    def list_models() -> list[dict]:
        """All models that can be trained or compared, each with its id first: the starter, finished runs, added ones."""
        return [_without_path(entry.to_dict()) for entry in catalog.list_models(services.home)]

    _add(list_datasets, rename_dataset, delete_dataset, add_preference, list_models)


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


def _run_endpoints(services: Services) -> None:
    runs = services.runs

    @for_owners
    @_takes(TrainConfig)
    def start_run(config: dict) -> dict:
        """Puts a training run in the queue and returns its run_id, and notes: what to know of it, in sentences. It goes on by itself.

        Every key of config but dataset_id has a default that works:
        """
        services.require_owner()
        return prepare.started(services.home, runs, config)

    @for_owners
    def run_status(run_id: str) -> dict:
        """How a run is: state, reason, step, total_steps, best_step, loss, eval_loss, tokens_per_second, eta_seconds,
        peak_memory_bytes, model_id; notes: what to know of it, in sentences; worker: what it takes, its records among it."""
        services.require_owner()
        return runs.status(run_id)

    @for_owners
    def list_runs() -> list[dict]:
        """All runs, the newest first, each with its run_id first and the keys of /run_status."""
        services.require_owner()
        services.elsewhere.collect()
        return runs.list()

    @for_owners
    def stop_run(run_id: str) -> dict:
        """Asks a run to write a checkpoint and end; returns its status. Harmless when pressed twice."""
        services.require_owner()
        return runs.stop(run_id)

    @for_owners
    def resume_run(run_id: str) -> dict:
        """Puts a stopped or failed run back in the queue; it goes on from its newest checkpoint. Returns its status."""
        services.require_owner()
        return runs.resume(run_id)

    _add(start_run, run_status, list_runs, stop_run, resume_run)


def _kept_run_endpoints(services: Services) -> None:
    """What is done with runs beside training them."""
    runs = services.runs

    @for_owners
    def clone_run(run_id: str) -> dict:
        """Starts a new run with the settings of this one, on the same data; returns the new run_id."""
        services.require_owner()
        return {"run_id": prepare.clone(services.home, runs, run_id)}

    @for_owners
    def delete_run(run_id: str) -> dict:
        """Deletes a run, its checkpoints and its model for good; returns its run_id."""
        services.require_owner()
        runs.delete(run_id)
        return {"run_id": run_id}

    @for_owners
    def rename_run(run_id: str, name: str = "", note: str | None = None) -> dict:
        """Gives a run another name, a note of what it was for, or both; "" and null leave them. Returns its status."""
        services.require_owner()
        if name:
            runs.rename(run_id, name)
        if note is not None:
            runs.annotate(run_id, str(note))
        return runs.status(run_id)

    @for_owners
    def compare_runs(run_ids: list[str]) -> dict:
        """In what runs (100 at most) differ: {settings: {setting: {run_id: value}}}, only those that are not alike; runs: their
        statuses."""
        services.require_owner()
        if not isinstance(run_ids, list) or not run_ids:
            raise UserError("err_no_runs")
        named = [str(run_id) for run_id in run_ids[:_MOST_COMPARED]]
        return {"settings": runs.differences(named), "runs": [runs.status(run_id) for run_id in named]}

    @for_owners
    def push_run(
        run_id: str, repo: str, token: str, private: bool = True, licence: str = "", language: str = "en"
    ) -> Iterator[dict]:
        """Pushes the model of a finished run to the Hugging Face hub, with a card; streams {state, sent, total, file}.

        repo: "name" or "owner/name"; token: an access token that may write, used once and kept nowhere; licence: as the
        hub writes it, by default the base model's; language: the card's, "en", "zh-TW" or another of the page's. The last state is done, with url and revision, or why it failed.
        """
        services.require_owner()
        services.pushes.start(
            run_id, repo, token or authentication.hub_token(), private=private, licence=licence, language=language
        )
        yield from services.pushes.follow(run_id)

    _add(clone_run, delete_run, rename_run, compare_runs, push_run)


def _compare_endpoint(services: Services) -> None:
    @for_guests
    @_takes(DecodeSettings)
    def compare(model_id: str, prompt: str, settings: dict | None = None) -> Iterator[dict]:
        """Answers one prompt with greedy, top-k, top-p and beam search at once; streams, and every yield is whole.

        Returns lanes {greedy, top_k, top_p, beam}, each with text, token_ids, logprobs, finish_reason and
        tokens_per_second; seed, settings as resolved, and seconds. `lanes` in settings lists strategies by name, or objects
        {"strategy", "name" and what differs}. A lane that json_schema, regex or choice hold to a form has `masked` too: the
        share of the model's probability that the form forbade at each token. Keys of settings:
        """
        arena = services.arena.get()
        if model_id not in [model["id"] for model in arena.models()]:
            services.require_owner()
        run_id = secrets.token_hex(9)
        with when_gone(lambda: arena.stop(run_id)):
            yield from arena.compare(model_id, prompt, settings, run_id=run_id, limits=services.limits())

    arena = {"concurrency_id": "arena", "concurrency_limit": services.settings.max_decodings}
    _add(compare, *interpret_api.endpoints(services), **arena)


def _vote_endpoints(services: Services) -> None:
    quick, decoding = votes_api.endpoints(services)
    _add(*quick)
    _add(*decoding, concurrency_id="arena", concurrency_limit=services.settings.max_decodings)


def _add(*functions: Callable, **options) -> None:
    for function in functions:
        gr.api(
            _said(function),
            api_name=function.__name__,
            api_description=inspect.getdoc(function),
            **{"concurrency_limit": 4, **options},
        )


def _takes(schema: type) -> Callable[[Callable], Callable]:
    """Ends a function's documentation with the keys of the settings that it takes."""

    def documented(function: Callable) -> Callable:
        function.__doc__ = f"{inspect.getdoc(function)}\n\n{document(schema)}"
        return function

    return documented


def _said(function: Callable) -> Callable:
    """`function`, but what goes wrong reaches the caller as one sentence, never as a traceback."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def stream(*arguments):
            try:
                yield from function(*arguments)
            except Exception as error:  # the boundary to the caller
                raise _spoken(error) from None
    else:

        @functools.wraps(function)
        def stream(*arguments):
            try:
                return function(*arguments)
            except Exception as error:  # the boundary to the caller
                raise _spoken(error) from None

    return stream


def _spoken(error: Exception) -> gr.Error:
    said = bridge.sentence(error)
    return gr.Error(f"{said['message']} {said['hint']}".strip(), print_exception=False)


def _without_path(entry: dict) -> dict:
    """gradio_client takes every object with a "path" for a file and tries to download it."""
    return {key: value for key, value in entry.items() if key != "path"}
