"""What is served, to whom, and the way from a checked body to a generation. Joins registry, keys, lanes and the arena.

Knows no HTTP and no page. Made at the start of the app; the arena, which imports torch, only when somebody asks.
"""

import functools
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmdemo.access.api_keys import ApiKey, ApiKeys
from llmdemo.core.errors import UserError
from llmdemo.core.spaces import on_zero_gpu
from llmdemo.core.store import Home
from llmdemo.models import catalog
from llmdemo.serving import lanes, trials
from llmdemo.serving.bodies import (
    MOST_COMPLETION_LOGPROBS,
    MOST_TOP_LOGPROBS,
    ChatBody,
    ClassificationBody,
    CompletionBody,
    FeedbackBody,
    Sampling,
)
from llmdemo.serving.errors import ApiError, of_user_error
from llmdemo.serving.feedback import Feedback
from llmdemo.serving.generation import Generation, Slots, Timing
from llmdemo.serving.kept import CHAT, CLASSIFY, Kept, Text
from llmdemo.serving.monitor import Monitor
from llmdemo.serving.prompts import fitted, plain_messages, refuse_unsupported
from llmdemo.serving.registry import Registry, Served, checked_name
from llmdemo.serving.responses import Shape
from llmdemo.serving.shadow import Again, Shadow
from llmdemo.serving.thumbs import Thumbs
from llmdemo.serving.trials import side_by_side
from llmdemo.settings import Settings
from llmdemo.settings.schema import show

_SEEDS = 2**63
_MOST_SEED = 2**31


@dataclass(frozen=True)
class Asked:
    """One request, checked."""

    served: Served
    requests: list[Any]
    """The arena's, one a prompt."""
    shape: Shape
    number: int
    """Answers to each prompt."""
    keep: bool = False
    """Whether its texts may be kept, where an owner has turned that on."""
    shadow: Callable[[], Any] | None = None
    """Makes the arena's request for the model on trial, where it answers unseen."""


class Serving:
    """One for the app. `arena` and `classifiers` give the services that compute, made at their first use."""

    def __init__(self, home: Home, settings: Settings, arena: Callable[[], Any], classifiers: Callable[[], Any]):
        self._home, self._settings, self._arena, self._classifiers = home, settings, arena, classifiers
        self.keys = ApiKeys(home.serving / "keys.json")
        self.registry = Registry(home.serving / "served.json")
        self.slots = Slots(settings.max_serving, settings.max_serving_waiting)
        self._warming: list[threading.Thread] = []
        self.kept = Kept(home.serving)
        self.feedback = Feedback(self.kept)
        self.shadow = Shadow(arena, lambda: self.slots.running > 0, self._shadowed)
        self.monitor = Monitor(
            home, lambda *asked: self._arena().surprise(*asked), lambda: self.slots.running, lambda: self.slots.queued
        )
        self.metrics = self.monitor.metrics
        self.thumbs = Thumbs(self.kept, self.metrics)

    # ---- what owners do ----

    def serve(self, model_id: str, name: str = "", lane: Any = None) -> Served:
        """Serves a model under `name` (by default made of its id), decoding by `lane`; loads it in the background.

        What was served under the name is replaced: requests that have begun end with it, later ones get the new model.
        Raises UserError for an unknown model, a name that is none, a lane that makes no sense.
        """
        if on_zero_gpu():
            raise UserError("err_serve_zero_gpu")
        entry = catalog.resolve(self._home, model_id)
        if entry.task == "encode":
            raise UserError("err_serve_task", title=entry.title)
        name = checked_name(name or _name_of(entry.id))
        found = lanes.checked_lane(lane or "greedy", self._settings) if entry.writes else {}
        if lane and not entry.writes:
            raise UserError("err_serve_no_lane", title=entry.title)
        served = self.registry.put(name, entry.id, found)
        self._warm_in_background(entry)
        return served

    def join(self) -> None:
        """Waits until served models are loaded, the prompts of requests measured and models on trial have answered: nothing
        goes on in the background. For tests, which make models of their own while transformers can make one at a time."""
        for thread in self._warming:
            thread.join()
        self.shadow.join()
        self.monitor.join()

    def unserve(self, name: str) -> None:
        """Requests that have begun are answered to their end; later ones are told that there is no such model."""
        self.registry.remove(name)

    def begin_trial(self, name: str, model_id: str, mode: str = trials.SHARE, share: float = 0.5) -> Served:
        """Puts a second model beside a served one (trials.py). Raises UserError for what does not go together, such as a
        shadow of a classifier."""
        entry = catalog.resolve(self._home, model_id)

        def begun(served: Served) -> Served:
            now = catalog.resolve(self._home, served.model_id)
            if entry.writes != now.writes or entry.task == "encode":
                raise UserError("err_trial_task", title=entry.title, name=served.name)
            if mode == trials.SHADOW and not entry.writes:
                raise UserError("err_trial_unseen", name=served.name)
            return trials.begun(served, entry.id, mode, share)

        served = self.registry.change(name, begun)
        self._warm_in_background(entry)
        return served

    def promote(self, name: str) -> Served:
        """The model on trial takes the name; requests that have begun end with what they began with. Raises UserError."""
        return self.registry.change(name, trials.promoted)

    def end_trial(self, name: str) -> Served:
        """What is served goes on alone. Raises UserError where nothing was on trial."""
        return self.registry.change(name, trials.ended)

    def roll_back(self, name: str) -> Served:
        """The model that had the name before has it again. Raises UserError where there was none, or it is gone."""

        def back(served: Served) -> Served:
            changed = trials.rolled_back(served)
            catalog.resolve(self._home, changed.model_id)
            return changed

        served = self.registry.change(name, back)
        self._warm_in_background(catalog.resolve(self._home, served.model_id))
        return served

    def create_key(self, name: str, models: Sequence[str], requests_per_minute: int | None, monitor: bool) -> dict:
        """The key, shown this once: {key_id, key, …}. `models` must be served; empty: all. Raises UserError."""
        served = self.registry.all()
        if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
            raise UserError("err_key_models", given=show(models))
        unknown = next((model for model in models if model not in served), None)
        if unknown is not None:
            raise UserError("err_key_model", name=show(unknown), served=list(served) or ["–"])
        rate = self._settings.key_requests_per_minute if requests_per_minute is None else requests_per_minute
        key, secret = self.keys.create(name, models, rate, monitor)
        return {**key.to_dict(), "key": secret}

    def overview(self) -> dict:
        """{served: [… and whether its model is still there], keys: […]}"""
        return {
            "served": [{**served.to_dict(), **self._state(served)} for served in self.registry.all().values()],
            "keys": [key.to_dict() for key in self.keys.list()],
        }

    def figures(self, since: float = 0.0) -> list[dict[str, Any]]:
        """metrics.summary of each model version, with Monitor.told of what it is asked and its `opinions`."""
        told, opinions = self.metrics.summary(since), self.kept.opinions(since)
        return [
            {
                **one,
                **self.monitor.told(one["name"], one["model_id"]),
                "opinions": opinions.get((one["name"], one["model_id"])),
            }
            for one in told
        ]

    def comparison(self, served: Served, figures: list[dict[str, Any]]) -> dict[str, Any] | None:
        """side_by_side of what is served and the model on trial, with that one's title; None without a trial."""
        if served.trial is None:
            return None
        by_model = {one["model_id"]: one for one in figures if one["name"] == served.name}
        now, beside = served.model_id, served.trial["model_id"]
        picks = self.kept.picks(served.name, now, beside)
        title = self._state(trials.on_trial(served))["title"]
        return {"title": title, **served.trial, **side_by_side(by_model.get(now), by_model.get(beside), picks)}

    # ---- what requests do ----

    def models_of(self, key: ApiKey) -> list[Served]:
        """The served models that the key opens."""
        return [served for served in self.registry.all().values() if key.opens(served.name)]

    def served(self, key: ApiKey, asked: str) -> tuple[Served, dict | None]:
        """(the model that a request names, the lane in its name's suffix). Raises ApiError 404."""
        name, suffix = lanes.split_name(asked)
        known = {served.name: served for served in self.models_of(key)}
        if name not in known:
            names = ", ".join(known) or "none: an owner of the app must serve one"
            raise ApiError(
                404, f"This key opens no model {name[:80]!r}. It opens: {names}.", "model_not_found", "model"
            )
        return known[name], suffix

    def entry(self, served: Served) -> catalog.ModelEntry:
        """The served model as it is on the disk now. Raises ApiError 404 where it is gone."""
        try:
            return catalog.resolve(self._home, served.model_id)
        except UserError as error:
            raise ApiError(
                404,
                f"The model behind {served.name!r} cannot be used any more: {error} An owner of the app must serve another.",
                "model_gone",
                "model",
            ) from None

    def prepare(self, key: ApiKey, body: ChatBody | CompletionBody) -> Asked:
        """Checks what is asked. Reads files and tokenizes: not for an event loop. Raises ApiError."""
        named, suffix = self.served(key, body.model)
        served = trials.version_for(named, body.user)
        entry = self.entry(served)
        if not entry.writes:
            raise ApiError(
                400, f"{served.name!r} is a classifier. Ask POST /v1/classifications.", "wrong_endpoint", "model"
            )
        refuse_unsupported(body, self.kept.keeping().on)
        number, top = body.n or 1, _top_logprobs(body)
        if number > self._settings.max_lanes:
            raise ApiError(
                400,
                f"n is {number:,}; at most {self._settings.max_lanes} are possible (LLMDEMO_MAX_LANES). Ask several times.",
                "invalid_value",
                "n",
            )
        seed = secrets.randbelow(_MOST_SEED) if body.seed is None else body.seed % _SEEDS
        requests = self._requests(served, entry, suffix, body, seed, top)
        shape = Shape(isinstance(body, ChatBody), body.model, seed, top is not None)
        shadow = None
        if named.trial and named.trial["mode"] == trials.SHADOW:
            other = trials.on_trial(named)
            shadow = lambda: self._requests(other, self.entry(other), suffix, body, seed, None)[0]  # noqa: E731
        return Asked(served, requests, shape, number, body.store is not False, shadow)

    def start(self, asked: Asked) -> Generation:
        """Starts answering. Call it in the event loop that reads. Raises ApiError 429 when too many wait already."""

        def finished(generation: Generation) -> None:
            self.metrics.finished(asked.served, generation)
            if generation.error is None:
                self.monitor.answered(asked.served, asked.requests[0], generation.answers(), generation.surprise)
                if not generation.was_left:
                    self._answered(asked, generation)

        return Generation(self._arena(), asked.requests, self.slots, finished)

    def refused(self, asked: str, error: ApiError) -> None:
        """Counts a request that never reached the engine, by its model where there is one of that name."""
        served = self.registry.all().get(asked.partition(":")[0])
        known = (served.name, served.model_id) if served else ("", "")
        self.metrics.refused(*known, error.code, error.status >= 500)

    def opinion(self, key: ApiKey, body: FeedbackBody) -> Text:
        """Takes what somebody says of an answer; what it is about. The same said again is not counted. Raises ApiError."""
        text, before = self.feedback.take(body, key.opens)
        if body.thumb:
            self.metrics.opinion(text.name, text.model_id, body.thumb, before.up_or_down, before.thumb_at)
        if body.label is not None and body.label != before.label:
            was_right = None if before.label is None else before.label == text.answers[0]
            self.metrics.labelled(text.name, text.model_id, body.label == text.answers[0], was_right, before.label_at)
        return text

    def classify(
        self, key: ApiKey, body: ClassificationBody, texts: list[str]
    ) -> tuple[str, list[str], list[list[float]], int]:
        """(id, labels, a probability a label for each text, tokens read). Blocks. Raises ApiError."""
        named, suffix = self.served(key, body.model)
        served = trials.version_for(named, body.user)
        entry = self.entry(served)
        if entry.task != "classify" or suffix is not None:
            raise ApiError(
                400, f"{body.model[:80]!r} is no classifier. Ask POST /v1/chat/completions.", "wrong_endpoint", "model"
            )
        timing = Timing(time.monotonic())
        try:
            labels, shares, tokens = self._classifiers().classify(entry.id, texts)
        except UserError as error:
            problem = of_user_error(error, param="input")
            self.refused(body.model, problem)
            raise problem from None
        timing.began, timing.ended, timing.prompt_tokens = timing.asked, time.monotonic(), tokens
        self.metrics.timed(served, "answered", timing, None)
        id_ = "classify-" + secrets.token_hex(12)
        for place, (text, row) in enumerate(zip(texts, shares, strict=True)):
            best = labels[max(range(len(row)), key=row.__getitem__)]
            self.monitor.classified(served, text, best, max(row))
            self.feedback.answered(Text(id_, place, served.name, served.model_id, CLASSIFY, text, [best]))
        return id_, labels, shares, tokens

    def _answered(self, asked: Asked, generation: Generation) -> None:
        """A generation was read to its end: remembered for opinions, kept where that is on, and answered once more."""
        id_, prompt = asked.shape.common["id"], asked.requests[0].prompt
        whole = prompt.raw is None
        turns = [dict(turn) for turn in prompt.messages] if whole else ""
        count = len(asked.requests)
        answers = [text for number in range(count) for text in generation.answers(number)]
        served = asked.served
        self.feedback.answered(
            Text(id_, 0, served.name, served.model_id, CHAT, turns, answers), keep=whole and asked.keep
        )
        if asked.shadow is not None:
            trial = self.registry.all().get(served.name, served).trial
            if trial is not None:
                self.shadow.note(Again(id_, replace(served, model_id=trial["model_id"]), asked.shadow))

    def _shadowed(self, again: Again, answer: str | None, timing: Timing, error: ApiError | None) -> None:
        outcome = "shadow" if error is None else "failed" if error.status >= 500 else "refused"
        self.metrics.timed(again.served, outcome, timing, error)
        if answer is not None:
            self.kept.add_beside(again.id, again.served.model_id, answer)

    def _requests(
        self, served: Served, entry: catalog.ModelEntry, suffix: dict | None, body: Sampling, seed: int, top: int | None
    ) -> list[Any]:
        """The arena's requests, one a prompt."""
        from llmdemo.arena.service import Request  # it imports torch
        from llmdemo.serving.answer import AnswerEncoder, Wanted

        try:
            settings = lanes.settings_of(body, served.lane, suffix, seed, self._settings.max_new_tokens)
            wanted = Wanted(body.n or 1, top)
            prompts: list[Any] = [plain_messages(body.messages)] if isinstance(body, ChatBody) else _raw(body)
            arena, found = self._arena(), list[Request]()
            surprise_of = self.monitor.surprise.tokens()
            for prompt in prompts:
                request = arena.request(served.model_id, prompt, settings, limits=self._settings)
                request = fitted(request, arena.tokenizer(entry), entry.context, lanes.asked_tokens(body))
                encoder = functools.partial(AnswerEncoder, wanted)
                found.append(replace(request, encoder=encoder, trace=top is not None, surprise_of=surprise_of))
            return found
        except UserError as error:
            raise of_user_error(error) from None

    def _warm_in_background(self, entry: catalog.ModelEntry) -> None:
        if entry.writes:
            thread = threading.Thread(target=self._warm, args=(entry.id,), name="warm-served", daemon=True)
            self._warming = [*(each for each in self._warming if each.is_alive()), thread]
            thread.start()

    def _warm(self, model_id: str) -> None:
        try:
            self._arena().warm(model_id, make_room=False)
        except UserError:
            return  # said to who asks it

    def _state(self, served: Served) -> dict:
        try:
            entry = catalog.resolve(self._home, served.model_id)
        except UserError as error:
            return {"title": served.model_id, "task": "", "problem": str(error)}
        return {"title": entry.title, "task": entry.task, "problem": ""}


def _raw(body: Sampling) -> list[dict[str, str]]:
    assert isinstance(body, CompletionBody)
    return [{"raw": text} for text in ([body.prompt] if isinstance(body.prompt, str) else body.prompt)]


def _name_of(model_id: str) -> str:
    """A name to serve under: a folder's last part, a hub repository's name, a run's id."""
    last = model_id.rstrip("/").rpartition("/")[2].partition("@")[0]
    return "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in last)[:64].lstrip(
        "._-"
    )


def _top_logprobs(body: Sampling) -> int | None:
    """How many alternatives are wanted a token; None for no log-probabilities. Raises ApiError for more than there are."""
    if isinstance(body, ChatBody):
        if body.top_logprobs and not body.logprobs:
            raise ApiError(400, "top_logprobs needs logprobs: true.", "invalid_value", "top_logprobs")
        most, name, top = MOST_TOP_LOGPROBS, "top_logprobs", (body.top_logprobs or 0) if body.logprobs else None
    else:
        assert isinstance(body, CompletionBody)
        most, name, top = MOST_COMPLETION_LOGPROBS, "logprobs", body.logprobs
    if top is not None and top > most:
        raise ApiError(400, f"{name} is {top:,}; at most {most} are kept of a step.", "invalid_value", name)
    return top
