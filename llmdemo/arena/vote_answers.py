"""The answers of a vote's contestants: one comparison a model, whole, so that neither speed nor beams tell who writes.

Knows no votes and no page.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmdemo.core.errors import UserError
from llmdemo.settings import Settings
from llmdemo.settings.decoding import DecodeSettings

if TYPE_CHECKING:
    from llmdemo.arena.service import Arena


@dataclass(frozen=True)
class Answers:
    """What the contestants say to one prompt."""

    texts: list[str | None]
    """One a contestant, None for who has failed."""
    error: str = ""
    """Why somebody has failed, a sentence; "" if nobody has."""


class Stopped(Exception):
    """The comparison was stopped before it had ended; nothing of it may be kept."""


def contestants_of(model_ids: tuple[str, ...], titles: dict[str, str], settings: DecodeSettings) -> list[dict]:
    """[{model_id, model, lane, strategy, settings}]: each lane of each model. Raises UserError for fewer than two."""
    found = [
        {"model_id": model_id, "model": titles[model_id], "lane": lane.name, "strategy": lane.strategy,
         "settings": {key: value for key, value in lane.to_dict().items() if key not in ("name", "strategy")}}
        for model_id in model_ids
        for lane in settings.lanes
    ]  # fmt: skip
    if len(found) < 2:
        raise UserError("err_vote_one_contestant")
    return found


def answer(
    arena: "Arena",
    contestants: list[dict[str, Any]],
    settings: dict[str, Any],
    prompt: str,
    limits: Settings | None = None,
    started: Callable[[str], None] = lambda run_id: None,
) -> Answers:
    """What all contestants say to `prompt`; `started` is told the id by which `Arena.stop` ends each comparison.

    A model that fails leaves out its contestants. Raises UserError when all do, Stopped when one was stopped.
    """
    said: dict[str, dict[str, Any]] = {}
    failures: list[UserError] = []
    for model_id in dict.fromkeys(each["model_id"] for each in contestants):
        run_id = secrets.token_hex(9)
        started(run_id)
        try:
            said[model_id] = _lanes(arena, model_id, prompt, settings, run_id, limits)
        except UserError as error:
            failures.append(error)
    if not said:
        raise failures[0]
    texts = [said.get(each["model_id"], {}).get(each["lane"]) for each in contestants]
    return Answers(texts, str(failures[0]) if failures else "")


def _lanes(arena: "Arena", model_id: str, prompt: str, settings: dict, run_id: str, limits) -> dict[str, str]:
    whole: dict[str, Any] = {}
    for state in arena.compare(model_id, prompt, settings, run_id=run_id, limits=limits):
        whole = state["lanes"]
    if not whole or any(lane["finish_reason"] is None for lane in whole.values()):
        raise Stopped
    return {name: lane["text"] for name, lane in whole.items()}
