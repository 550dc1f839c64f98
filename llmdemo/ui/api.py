"""The named endpoints that scripts call: JSON in, JSON out, and a sentence when something is wrong. Knows no widget.

Each does three things: take the arguments, make one call, return what it gives. The docstrings are what the API page
shows. The paths and keys are a contract (README): they only ever grow.
"""

import functools
import inspect
import secrets
from collections.abc import Callable, Iterator

import gradio as gr

from llmdemo.settings.decoding import DecodeSettings
from llmdemo.ui import (
    bridge,
    circle_api,
    data_api,
    data_tools_api,
    elsewhere_api,
    evaluate_api,
    experiments_api,
    generate_api,
    interpret_api,
    models_api,
    runs_api,
    serving_api,
    votes_api,
)
from llmdemo.ui.endpoints import checked, takes
from llmdemo.ui.fair_queue import when_gone
from llmdemo.ui.rights import for_guests
from llmdemo.ui.services import Services

_OF_OWNERS = (
    data_api, models_api, runs_api, experiments_api, elsewhere_api, evaluate_api, generate_api, data_tools_api,
    serving_api, circle_api,
)  # fmt: skip


def add_endpoints(services: Services) -> None:
    """Registers every endpoint in the current Blocks context."""
    for part in _OF_OWNERS:
        _add(*part.endpoints(services))
    _add(*interpret_api.owners_endpoints(services))
    _vote_endpoints(services)
    _compare_endpoint(services)


def _compare_endpoint(services: Services) -> None:
    @for_guests
    @takes(DecodeSettings)
    def compare(model_id: str, prompt: str, settings: dict | None = None) -> Iterator[dict]:
        """Answers one prompt with greedy, top-k, top-p and beam search at once; streams, and every yield is whole.

        Returns lanes {greedy, top_k, top_p, beam}, each with text, token_ids, logprobs, finish_reason and
        tokens_per_second; seed, settings as resolved, and seconds. `lanes` in settings lists strategies by name, or objects
        {"strategy", "name" and what differs}. A lane that json_schema, regex or choice hold to a form has `masked` too: the
        share of the model's probability that the form forbade at each token. Keys of settings:
        """
        arena = services.arena.get()
        interpret_api.known_only(services, model_id)
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


def _said(function: Callable) -> Callable:
    """`function`, but what goes wrong, with its arguments too, reaches the caller as one sentence, never as a traceback."""
    call = checked(function)
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def stream(*arguments):
            try:
                yield from call(*arguments)
            except Exception as error:  # the boundary to the caller
                raise _spoken(error) from None
    else:

        @functools.wraps(function)
        def stream(*arguments):
            try:
                return call(*arguments)
            except Exception as error:  # the boundary to the caller
                raise _spoken(error) from None

    return stream


def _spoken(error: Exception) -> gr.Error:
    said = bridge.sentence(error)
    return gr.Error(f"{said['message']} {said['hint']}".strip(), print_exception=False)
