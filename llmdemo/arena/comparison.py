"""What one comparison says: its first event, its steps' events, and which comparisons are the same. Knows no lock."""

import platform
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
import transformers

from llmdemo import __version__, decoding
from llmdemo.arena.cache import Loaded, changed
from llmdemo.arena.events import EventEncoder
from llmdemo.evaluation.reward_scores import RewardScorer

if TYPE_CHECKING:
    from llmdemo.arena.service import Request


def key_of(
    request: "Request",
    models: Sequence[Loaded],
    prompts: list[list[int]],
    assistants: dict[str, Loaded],
    rewards: Mapping[str, RewardScorer],
) -> Hashable | None:
    """Equal for comparisons that say the same: models by content, prompt, prefix and settings, the seed among them. None
    for what is not shared: each prompt of a batch, and what others than a page are told."""
    if request.encoder is not EventEncoder or not request.shares:
        return None
    loaded = tuple(each.content for each in [*models, *assistants.values()])
    asked = repr((request.prompt.to_dict(), prompts, request.prefix_ids, request.settings))
    choosing = tuple((model_id, changed(scorer.entry.path)) for model_id, scorer in rewards.items())
    return loaded, tuple(assistants), choosing, asked


def begin(
    request: "Request", models: Sequence[Loaded], prompts: list[list[int]], makers: Sequence[EventEncoder]
) -> dict:
    """The event `begin` of events.py."""
    lanes, texts = [], []
    biased = {"biased": True} if request.settings.bad_words or request.settings.logit_bias else {}
    for index, maker in enumerate(makers):
        for lane in request.settings.lanes:
            texts = maker.begin_lane(lane.name, request.prefix_ids)
            lanes.append({"id": maker.lane_id(lane.name), "model": index, **lane.to_dict(), **biased})
    return {
        "type": "begin",
        "models": [
            {**loaded.facts(), "forward": decoding.describe(loaded.model, request.settings.precision)}
            for loaded in models
        ],
        "lanes": lanes,
        "prompt": request.prompt.to_dict(),
        "prompt_tokens": [len(ids) for ids in prompts],
        "settings": request.settings.to_dict(),
        "seed": request.settings.seed,
        "prefix": [[makers[0].mention(token), text] for token, text in zip(request.prefix_ids, texts, strict=True)],
        "versions": _versions(),
    }


def interleave(runs: Sequence[tuple]) -> Iterator[list[dict]]:
    """Each step's events; one step of each model in turn, so that two models stream side by side.

    `runs`: (EventEncoder, its model's steps). Closing the iterator closes the steps.
    """
    waiting = list(runs)
    try:
        while waiting:
            for run in list(waiting):
                maker, steps = run
                step = next(steps, None)
                if step is not None:
                    yield maker.events(step)
                if step is None or step.done:
                    waiting.remove(run)
    finally:
        for _, steps in runs:
            steps.close()


def _versions() -> dict:
    return {
        "llmdemo": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }
