"""The arena on the page: one island that draws prompt, panes, card and beam tree (assets/arena/).

The page sends {model_ids, prompt, settings, prefix_ids, run_id} with the event "compare", or with "compare_many" and
`prompts` for a batch, and reads the stream called `run_id` (event_streams.py). Gradio's queue decides who computes, and
when; what is computed goes to the stream. A link with ?arena=… must open the arena's tab; the panel then fills itself
from it.
"""

import gradio as gr

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import pack
from llmdemo.models.library import import_library
from llmdemo.models.presets import speakers
from llmdemo.settings.decoding import described
from llmdemo.ui import authentication, bridge, interpret_api
from llmdemo.ui.fair_queue import BATCHES, MOST_BATCHES, when_gone
from llmdemo.ui.rights import for_guests, for_owners
from llmdemo.ui.samples import starter_tokenizer
from llmdemo.ui.services import Lazy, Services


def build(services: Services, guests: bool = False) -> None:
    """Builds the panel inside the current Blocks context; with `guests`, with the limits that guests have."""

    @for_guests
    def models(_: dict) -> dict:
        return {"models": _menu(services)}

    @for_guests
    def stop(data: dict) -> dict:
        services.arena.get().stop(str(data.get("run_id")))
        return {}

    @for_guests
    def warm(data: dict) -> dict:
        """Loads a model that is about to be used. What is wrong with it is said when it is used.

        Such a call passes the queue by: it must not hold its thread for another's load, and a guest's drops no model.
        """
        arena = services.arena.get()
        model_id, precision = str(data.get("model_id")), str(data.get("precision") or "auto")
        base, _, step = model_id.partition("@")
        owner = services.is_owner()
        if model_id in [model["id"] for model in arena.models() if model["ready"]]:
            arena.warm(model_id, precision, make_room=owner)
        elif owner and base.startswith("run-") and step.isdecimal():
            arena.warm(model_id, precision, make_room=False)
        return {}

    @for_guests
    def python(data: dict) -> dict:
        arena = services.arena.get()
        request = _request(arena, data)
        interpret_api.known_only(services, *request.model_ids)
        return {"code": arena.python(request, guest=not services.is_owner())}

    @for_guests
    def thumb(data: dict) -> dict:
        """What the visitor finds of an answer that they got: thumb "up", "down", or "" to take it back."""
        run_id, visitor = str(data.get("run_id")), authentication.current()
        if services.sessions.whose(run_id) != (visitor.identity if visitor else ""):
            raise UserError("err_not_your_session")
        return services.serving.thumbs.take(run_id, str(data.get("lane")), str(data.get("thumb")))

    allowed = services.settings.for_guests() if guests else services.settings
    known = {"settings": described(allowed), "picks": not guests, "speakers": [] if guests else speakers()}
    panel = bridge.island(
        "arena",
        [models, warm, stop, python, thumb, *interpret_api.for_the_card(services), *_picking(services)],
        value=pack({"known": known}),
        events=["compare", "compare_many"],
        elem_id="arena",
    )

    _connect(services, panel)


def _menu(services: Services) -> list[dict]:
    """The model menu and the reward models, from the disk, with the steps that runs kept, which are the owners'; imports no torch."""
    from llmdemo.models.catalog import list_models
    from llmdemo.models.presets import languages_of
    from llmdemo.models.steps import steps_of

    def steps(entry: dict) -> dict:
        own = entry["kind"] == "run" and "@" not in entry["id"] and services.is_owner()
        known = steps_of(services.home.runs / entry["id"]) if own else []
        return {"steps": known} if known else {}

    keep = ("id", "title", "kind", "ready", "note", "task")
    entries = [entry.to_dict() for entry in list_models(services.home) if entry.writes or entry.task == "reward"]
    return [
        {key: entry[key] for key in keep} | {"languages": languages_of(entry["id"])} | steps(entry) for entry in entries
    ]


def _picking(services: Services) -> tuple:
    """What the page asks about answers that a person found better."""

    def make():
        import_library()
        from llmdemo.arena.preferences import Preferences  # its package imports torch

        return Preferences(services.home, services.settings)

    picks = Lazy(make)

    @for_guests
    def preference_sets(_: dict) -> dict:
        """The data sets that a picked answer can be added to; none for guests."""
        return {"sets": picks.get().sets() if services.is_owner() else []}

    @for_owners
    def prefer(data: dict) -> dict:
        """A pair, or several, for a preference data set: {dataset_id, name, pairs, added}."""
        pair = (str(data.get("name") or ""), data.get("prompt"), data.get("chosen"), data.get("rejected"))
        return picks.get().add(*pair, tokenizer=starter_tokenizer(services))

    return preference_sets, prefer


def _connect(services: Services, panel: gr.HTML) -> None:
    """A comparison that the page asks for waits in the arena's line, a batch in a line of its own."""

    @for_guests
    def compare(event: gr.EventData) -> None:
        _answer(services, dict(event._data or {}), many=False)

    @for_guests
    def compare_many(event: gr.EventData) -> None:
        _answer(services, dict(event._data or {}), many=True)

    quiet = {**bridge.QUIET, "trigger_mode": "multiple"}
    panel.compare(compare, concurrency_limit=services.settings.max_decodings, concurrency_id="arena", **quiet)
    panel.compare_many(compare_many, concurrency_limit=MOST_BATCHES, concurrency_id=BATCHES, **quiet)


_WORDLESS = frozenset(("token", "beam", "step", "names", "best"))
"""Events without sentences, which are nearly all."""


def _answer(services: Services, data: dict, many: bool) -> None:
    """Computes what the page asks for and writes its events to the stream of its run_id. Raises gr.Error for a run_id that
    is another visitor's."""
    run_id = str(data.get("run_id"))

    def stop() -> None:
        services.arena.get().stop(run_id)

    with bridge.own_stream(services, run_id) as stream, when_gone(lambda: stream.page_has_gone(stop)):
        for events in _events(services, data, many):
            stream.add([event if event["type"] in _WORDLESS else pack(event) for event in events])


def _events(services: Services, data: dict, many: bool = False):
    """The run's batches of events; whatever is wrong with the request is its only event, an `end`."""
    try:
        arena = services.arena.get()
        limits = services.limits()
        request = _batch_request(arena, data, limits) if many else _request(arena, data, limits)
        interpret_api.known_only(services, *request.model_ids)
    except (UserError, TypeError) as error:
        yield [{"type": "end", "state": "failed", "seconds": 0, **bridge.sentence(error)}]
        return
    yield from arena.stream(request)


def _batch_request(arena, data: dict, limits=None):
    model_id = (list(data.get("model_ids") or ()) or [None])[0]
    return arena.batch_request(
        model_id, data.get("prompts"), data.get("settings"), data.get("samples") or 1, data.get("run_id"), limits=limits
    )


def _request(arena, data: dict, limits=None):
    keys = ("model_ids", "prompt", "settings", "prefix_ids", "run_id")
    values = {key: data.get(key) for key in keys}
    return arena.request(**{**values, "prefix_ids": values["prefix_ids"] or ()}, limits=limits)
