"""The lens and attribution as endpoints and for the arena's card. JSON in, JSON out; knows no widget."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmdemo.core.errors import UserError
from llmdemo.ui import authentication
from llmdemo.ui.rights import for_guests, for_owners
from llmdemo.ui.services import Lazy, Services

if TYPE_CHECKING:
    from llmdemo.arena.cache import Loaded
    from llmdemo.interpret.service import Interpret

_MOST_CALLS, _MOST_OF_ONE = 16, 4
"""Guests' calls of islands at once, in all and of one guest. They wait for the model, each in one of the 40 threads that answer
every call of the page; a script's calls wait in the queue."""


def endpoints(services: Services) -> tuple[Callable, ...]:
    """The functions, which wait for a place in the arena; ui.api registers them."""

    @for_guests
    def lens(
        model_id: str,
        prompt: str,
        position: int = -1,
        beside: str = "",
        prefix_ids: list[int] | None = None,
        token: int | None = None,
        window: int = 1,
        top: int = 5,
    ) -> dict:
        """What each layer of a model would say after a position of the prompt (the logit lens), base beside tuned.

        position counts the tokens of the prompt and of prefix_ids, the answer's first tokens, from 0, or from the end where
        negative; window: as many positions up to it; top: the likeliest tokens of each. beside: another model's id, or
        "base" for the one that a run started from. token: an id to follow. Returns positions [{position, id, text}], models
        [{id, title, dtype, layers, decided, answer, rows, followed}] and names {id: text}. rows: [layer][position] = [[id,
        probability], …], the last layer's being the model's own; decided: the first layer, from 1, from which on its answer
        stays the likeliest token; followed: [layer] = [probability, rank from 0].
        """
        return _inside(services, model_id, beside).lens(
            model_id, prompt, position, beside, prefix_ids, token, window, top
        )

    @for_guests
    def attribute(
        model_id: str,
        prompt: str,
        token: str = "",
        method: str = "gradient_x_input",
        prefix_ids: list[int] | None = None,
    ) -> dict:
        """How much each token of the prompt adds to a token that follows it.

        token: its text, or "" for the likeliest; prefix_ids: the answer's tokens before it. method: gradient_x_input,
        integrated_gradients (of log p, against a prompt of a token that says nothing; total and gap tell what the scores
        should add up to, and by what share they miss it) or attention_rollout. Returns method, token {id, text,
        probability}, tokens [{id, text, special, score}], total, gap and parts.
        """
        return _inside(services, model_id).attribute(model_id, prompt, token, method, prefix_ids)

    return lens, attribute


def owners_endpoints(services: Services) -> tuple[Callable, ...]:
    """Those that read an owner's runs."""
    changes = run_changes(services)

    @for_owners
    def weight_changes(run_id: str, start: int = 0) -> dict:
        """How far training moved each weight matrix of a finished run: a part that takes some seconds, from the start'th on.

        Returns total, start, next (null after the last part) and matrices [{name, layer, kind, shape, relative (norm of the
        change by that of the weight before), effective_rank (exp of the entropy of its singular values), sketched, inside
        (share of the change, squared, in the subspace that GaLore had last), by_chance (that share for a random one)}].
        """
        return changes(run_id, start)

    return (weight_changes,)


def run_changes(services: Services) -> Callable[[str, int], dict]:
    """(run_id, start) → RunChanges.part, made at its first use, as it imports torch."""

    def make():
        from llmdemo.interpret.run_changes import RunChanges

        return RunChanges(services.home)

    made = Lazy(make)
    return lambda run_id, start: made.get().part(run_id, start)


def for_the_card(services: Services) -> tuple[Callable, ...]:
    """The same as functions of an island, for so many guests' calls at once; they raise UserError for more."""

    @for_guests
    def lens(asked: dict) -> dict:
        model_id, beside = str(asked.get("model_id")), str(asked.get("beside") or "")
        names = ("prefix_ids", "token", "window", "top")
        more = {name: asked[name] for name in names if asked.get(name) is not None}
        with place_for(model_id):
            return _inside(services, model_id, beside).lens(model_id, asked.get("prompt"), beside=beside, **more)

    @for_guests
    def attribute(asked: dict) -> dict:
        model_id, method = str(asked.get("model_id")), str(asked.get("method"))
        with place_for(model_id):
            return _inside(services, model_id).attribute(
                model_id, asked.get("prompt"), asked.get("token"), method, asked.get("prefix_ids")
            )

    return lens, attribute


_calls: Counter[str] = Counter()
_calls_lock = threading.Lock()


@contextmanager
def place_for(model_id: str) -> Iterator[None]:
    """One of the places for guests' calls. Raises UserError at once where none is free, or the guest has their share."""
    visitor = authentication.current()
    if visitor is None or visitor.is_owner:
        yield
        return
    who = visitor.identity
    with _calls_lock:
        if _calls.total() >= _MOST_CALLS or _calls[who] >= _MOST_OF_ONE:
            raise UserError("err_model_busy", title=model_id[:80])
        _calls[who] += 1
    try:
        yield
    finally:
        with _calls_lock:
            _calls[who] -= 1
            if not _calls[who]:
                del _calls[who]


@contextmanager
def alone(services: Services, model_id: str) -> Iterator["Loaded"]:
    """The loaded model that nobody else computes with meanwhile, within the places of `place_for`. Raises UserError."""
    known_only(services, model_id)
    with place_for(model_id), services.arena.get().use_alone(model_id) as loaded:
        yield loaded


def known_only(services: Services, *model_ids: str) -> None:
    """Raises UserError for a guest who names a model that is not in the menu, such as a folder of this machine."""
    known = [model["id"] for model in services.arena.get().models()]
    if any(each not in known for each in model_ids):
        services.require_owner()


def _inside(services: Services, *model_ids: str) -> "Interpret":
    """Raises UserError for a guest who names a model that is not in the menu."""
    arena = services.arena.get()
    from llmdemo.interpret.service import BASE, Interpret

    known_only(services, *(each for each in model_ids if each not in ("", BASE)))
    return Interpret(services.home, arena.use_alone)
