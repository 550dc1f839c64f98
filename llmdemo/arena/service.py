"""Comparisons: a model, a prompt and settings in; events or whole states out. Joins models, data.encode and decoding.

Knows no widgets and no HTTP. Iterators compute in the thread that consumes them, except `Arena.stream`, which
decodes in a thread of its own so that a slow page does not slow the model.
"""

import contextvars
import logging
import queue
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

import torch

from llmdemo import decoding
from llmdemo.arena.batch import check_batch, run_batch
from llmdemo.arena.batch_turns import BatchTurns
from llmdemo.arena.cache import Loaded, ModelCache
from llmdemo.arena.comparison import begin, interleave, key_of
from llmdemo.arena.events import EventEncoder
from llmdemo.arena.prompt import Prompt, check_length
from llmdemo.arena.python_call import own_filters, plain_prompt, python_call, source_of
from llmdemo.arena.resolve import (
    assistant_ids,
    check_assistant,
    check_fork,
    draft_entry,
    resolved_of,
    rest_of,
)
from llmdemo.arena.response import ResponseAccumulator
from llmdemo.arena.reward_models import RewardModels, RewardScorer
from llmdemo.arena.shared import Batches, Leaving, SharedComparisons
from llmdemo.arena.surprise import mean_surprise
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.spaces import on_zero_gpu
from llmdemo.core.store import Home
from llmdemo.decoding import DecodeSettings
from llmdemo.models import catalog, load
from llmdemo.models.step_models import StepModels
from llmdemo.settings import Settings

_log = logging.getLogger(__name__)
_REMEMBERED_STOPS = 256
_KEPT_TOKENIZERS = 4
_MOST_MODELS = 2


@dataclass(frozen=True)
class Request:
    """One comparison, checked except for what only the models know."""

    model_ids: tuple[str, ...]
    """One, or two to set side by side."""
    prompt: Prompt
    settings: DecodeSettings
    prefix_ids: tuple[int, ...] = ()
    """Tokens that every lane goes on from, after the prompt: a fork."""
    run_id: str = field(default_factory=lambda: secrets.token_hex(6))
    """What `Arena.stop` is told."""
    prompts: tuple[str, ...] = ()
    """Many prompts, one after another, instead of `prompt`."""
    samples: int = 1
    """Answers of each sampling lane to each of `prompts`."""
    most_prompt_tokens: int = 8192
    """Longest prompt that is allowed, in tokens."""
    prompt_variable: str = ""
    """The environment variable that says so."""
    encoder: Callable[..., Any] = EventEncoder
    """Called with (tokenizer, the model's index): what makes events of steps."""
    shares: bool = True
    """Whether its events may be those of another request that asks the same."""
    trace: bool = True
    """Whether `encoder` needs more of a token than which it is."""
    surprise_of: int = 0
    """Of how many of the prompt's last tokens the first step tells how likely they were."""


class Arena:
    """One for the app. `load_model`, and `_decode`, which stands for the engine, are given in tests only. `keep`: see ModelCache."""

    def __init__(
        self,
        home: Home,
        settings: Settings,
        load_model: Callable | None = None,
        keep: Callable[[], Collection[str]] = lambda: (),
    ):
        self._home = home
        self._limits = settings
        self._decode: Callable | None = None
        self._cache = ModelCache(load_model or StepModels().load)
        self._rewards = RewardModels(home, self._cache)
        self._shared = SharedComparisons()
        self._batch_turns = BatchTurns(max(1, settings.max_decodings // 2))
        self._stopped: OrderedDict[str, None] = OrderedDict()
        self._stop_lock = threading.Lock()
        self._tokenizers: OrderedDict[tuple, object] = OrderedDict()
        self._tokenizer_lock = threading.Lock()
        self._closed = False
        self.watch: Callable[[Request, Callable], Callable] = lambda request, put: put  # counts what `stream` gives

    # ---- what a page or an endpoint calls ----

    def models(self) -> list[dict]:
        """The model menu: dicts of ModelEntry, of the models that write."""
        return [entry.to_dict() for entry in catalog.list_models(self._home) if entry.writes]

    def batch_request(
        self, model_id: str, prompts, settings=None, samples: int = 1, run_id: str | None = None, limits=None
    ) -> Request:
        """A Request for many prompts, each a chat of one turn; raises UserError that names what is wrong."""
        limits = limits or self._limits
        checked = DecodeSettings.from_dict(settings, limits)
        prompts = check_batch(prompts, samples, checked, limits.max_prompts, limits.variable("max_prompts"))
        request = self.request(model_id, prompts[0], settings, run_id=run_id, limits=limits)
        return replace(request, prompts=tuple(prompts), samples=samples)

    def request(
        self, model_ids, prompt, settings=None, prefix_ids=(), run_id: str | None = None, limits=None
    ) -> Request:
        """A Request from JSON values; raises UserError that names what is wrong. `limits`: Settings, if not the app's."""
        limits = limits or self._limits
        ids = (model_ids,) if isinstance(model_ids, str) else tuple(model_ids or ())
        if not 1 <= len(ids) <= _MOST_MODELS:
            raise UserError("err_models_given" if ids else "err_no_model_chosen", n=len(ids), most=_MOST_MODELS)
        if not all(type(token) is int and token >= 0 for token in prefix_ids):
            raise UserError("err_no_token_ids")
        checked = DecodeSettings.from_dict(settings, limits)
        is_id = isinstance(run_id, str) and 0 < len(run_id) <= 64
        return Request(
            ids,
            Prompt.from_value(prompt),
            checked,
            tuple(prefix_ids),
            most_prompt_tokens=limits.max_prompt_tokens,
            prompt_variable=limits.variable("max_prompt_tokens"),
            run_id=run_id if run_id and is_id else secrets.token_hex(6),
        )

    def compare(
        self, model_id: str, prompt, settings: dict | None = None, run_id: str | None = None, limits=None
    ) -> Iterator[dict]:
        """Whole states of one comparison, the last one final: {lanes: {name: {text, token_ids, logprobs, finish_reason,
        tokens_per_second, metrics, score for beams, masked (a share a token) where a lane is held to a form}}, seed, settings,
        seconds}. Raises UserError.
        """
        states = ResponseAccumulator()
        for batch in self.stream(self.request(model_id, prompt, settings, run_id=run_id, limits=limits), every=0.1):
            for event in batch:
                states.add(event)
            if states.error:
                raise states.error
            if states.begun:
                yield states.whole()

    def warm(self, model_id: str, precision: str = "auto", make_room: bool = True) -> None:
        """Loads the model and arranges its weights now, so that the first comparison need not wait. Raises UserError.

        Does nothing while another model is being loaded, nor, without `make_room`, where others would have to leave.
        """
        with self._cache.use_at_once(self._entry(model_id), precision, make_room) as loaded:
            if loaded is not None and loaded.lock.try_acquire():  # whoever holds it has prepared it
                loaded.preparing = True
                try:
                    decoding.prepare(loaded.model, precision)
                finally:
                    loaded.preparing = False
                    loaded.lock.release()

    def surprise(self, model_id: str, prompt: Prompt, most: int) -> float | None:
        """Mean −log p, in nats a token, of the last `most` tokens of a prompt; None while the model is not in memory, or in
        use. Raises UserError for a model that is gone."""
        entry = self._entry(model_id)
        if not self._cache.holds(entry, "auto"):
            return None
        with self._cache.use(entry) as loaded:
            return mean_surprise(loaded, prompt, most)

    def use_alone(self, model_id: str, seconds: float = 60) -> AbstractContextManager[Loaded]:
        """ModelCache.use_alone of a model by its id."""
        return self._cache.use_alone(self._entry(model_id), seconds)

    def stop(self, run_id: str) -> None:
        """Ends the run within one step; a run that has not begun yet ends before its first."""
        with self._stop_lock:
            self._stopped[str(run_id)[:64]] = None
            while len(self._stopped) > _REMEMBERED_STOPS:
                self._stopped.popitem(last=False)

    def close(self) -> None:
        """Ends every run within one step; new ones end before their first. For when the app ends."""
        self._closed = True

    def python(self, request: Request, guest: bool = False) -> str:
        """The request as a script for transformers, model by model; for a `guest` without this machine's paths. Raises
        UserError."""
        parts = [self._python_of(request, model_id, guest) for model_id in request.model_ids]
        return "\n\n".join(parts)

    def _python_of(self, request: Request, model_id: str, guest: bool) -> str:
        entry = catalog.resolve(self._home, model_id)
        dtype = "bfloat16" if request.settings.precision == "bf16" else "float32"
        tokenizer = self.tokenizer(entry)
        prompt = request.prompt
        if prompt.raw is None and not getattr(tokenizer, "chat_template", None):
            prompt = Prompt(raw=plain_prompt(prompt.messages, tokenizer))
        source = source_of(entry, guest)
        settings = replace(request.settings, resolved=resolved_of(request.settings, tokenizer, prompt))
        return python_call(source, dtype, prompt, settings, own_filters(entry.path))

    def tokenizer(self, entry: catalog.ModelEntry):
        """The model's tokenizer, as it is on the disk now; loading one takes most of a second, so the last are kept."""
        if entry.path is None:
            return load.load_tokenizer(entry)  # raises: it is not here yet
        files = [entry.path / name for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")]
        key = (entry.id, str(entry.path), *(file.stat().st_mtime_ns if file.is_file() else 0 for file in files))
        with self._tokenizer_lock:
            if key not in self._tokenizers:
                self._tokenizers[key] = load.load_tokenizer(entry)
                while len(self._tokenizers) > _KEPT_TOKENIZERS:
                    self._tokenizers.popitem(last=False)
            return self._tokenizers[key]

    def stream(self, request: Request, every: float = 1 / 15) -> Iterator[list[dict]]:
        """Batches of events, at most one each `every` seconds; the last holds `end`. Closing the iterator stops the run."""
        events: queue.SimpleQueue = queue.SimpleQueue()
        context = contextvars.copy_context()  # a GPU is lent on behalf of who asks
        pump = (self._pump, request, events.put)
        thread = threading.Thread(target=context.run, args=pump, daemon=True, name="arena")
        thread.start()
        ended = False
        try:
            for batch in _batches(events, every):
                ended = batch[-1]["type"] == "end"
                yield batch
        finally:
            if not ended:
                self.stop(request.run_id)

    def events(self, request: Request) -> Iterator[dict]:
        """The events of events.py, or batch.py's for many prompts, one by one; `end` last. Problems are in `end`, nothing is raised but bugs."""
        started = time.monotonic()
        state: dict[str, Any] = {"state": "done"}
        shared: dict[str, Any] = {}
        try:
            if request.prompts:
                yield from self._run_batch(request)
            else:
                shared = yield from self._run(request)
            if self._is_stopped(request):
                state = {"state": "stopped"}
        except UserError as error:
            state = {"state": "failed", "message": error.message, "hint": error.hint}
        except (MemoryError, torch.OutOfMemoryError):
            state = {
                "state": "failed",
                "message": say("end_memory_full"),
                "hint": say("arena_memory_hint"),
            }
        yield {"type": "end", "seconds": round(time.monotonic() - started, 3), **shared, **state}

    # ---- inside ----

    def _pump(self, request: Request, put: Callable) -> None:
        put = self.watch(request, put)
        try:
            for event in self.events(request):
                put(event)
        except Exception as error:  # a bug: the consumer's thread raises it, after the page has been told
            _log.exception("a comparison failed")
            message = say("arena_failed", kind=type(error).__name__)
            put({"type": "end", "state": "failed", "message": message, "hint": say("arena_failed_hint"), "seconds": 0})

    def _is_stopped(self, request: Request) -> bool:
        return self._closed or request.run_id in self._stopped

    def _run_batch(self, request: Request) -> Iterator[dict]:
        def events(prompt: str, settings: DecodeSettings) -> Iterator[dict]:
            if self._batch_turns.would_wait():
                yield {"type": "waiting"}
            with self._batch_turns.turn(lambda: self._is_stopped(request)) as has_turn:
                if has_turn:
                    one = replace(
                        request, prompt=Prompt.from_value(prompt), settings=settings, prompts=(), shares=False
                    )
                    yield from self.events(one)

        yield from run_batch(events, list(request.prompts), request.samples, request.settings)

    def _run(self, request: Request) -> Generator[dict, None, dict]:
        """The events; returns what `end` says of the time where somebody else asked the same first."""
        entries = [self._entry(model_id) for model_id in request.model_ids]
        drafts = {model_id: draft_entry(self._home, model_id) for model_id in assistant_ids(request.settings)}
        for entry in [*entries, *drafts.values()]:
            if not self._cache.holds(entry, request.settings.precision):
                yield {"type": "loading", "title": entry.title, "bytes": entry.bytes}
        with ExitStack() as stack:
            use = partial(self._cache.use, precision=request.settings.precision)
            models = [stack.enter_context(use(entry)) for entry in entries]
            assistants = {model_id: stack.enter_context(use(entry)) for model_id, entry in drafts.items()}
            prompts = self._checked(request, models, assistants)
            rewards = self._rewards.of(request.settings)
            key = key_of(request, models, prompts, assistants, rewards)
            compute = partial(self._compute, request, models, prompts, assistants, rewards)
            view = stack.enter_context(self._shared.watch(key, compute, partial(self._is_stopped, request)))
            yield from view.events
        return {"shared": True, "seconds": round(view.seconds, 3)} if view.is_shared else {}

    def _entry(self, model_id: str) -> catalog.ModelEntry:
        """The model with this id; a kept step gets a folder only where another process loads it. Raises UserError."""
        return (catalog.resolve if on_zero_gpu() else catalog.resolve_in_memory)(self._home, model_id)

    def _checked(self, request: Request, models: list[Loaded], assistants: dict[str, Loaded]) -> list[list[int]]:
        """The prompt's ids for each model. Raises UserError for what only the models know."""
        prompts = [request.prompt.encode(loaded.tokenizer) for loaded in models]
        for loaded, ids in zip(models, prompts, strict=True):
            length = len(ids) + len(request.prefix_ids)
            check_length(length, loaded.context, request.most_prompt_tokens, request.prompt_variable)
        check_fork(request.prefix_ids, [loaded.tokenizer for loaded in models])
        for loaded, draft in product(models, assistants.values()):
            check_assistant(loaded.entry.title, loaded.tokenizer, draft.entry.title, draft.tokenizer)
        return prompts

    def _compute(
        self,
        request: Request,
        models: list[Loaded],
        prompts: list[list[int]],
        assistants: dict[str, Loaded],
        rewards: dict[str, RewardScorer],
        leaving: Leaving,
    ) -> Batches:
        """Batches of events, one a step, for whoever asks (shared.py). `leaving`: who computes does not want to wait on."""
        with ExitStack() as stack:
            every = {id(loaded): loaded for loaded in [*models, *assistants.values()]}
            for loaded in sorted(every.values(), key=id):  # an order for all: no deadlock
                stack.enter_context(self._cache.keep(loaded))
                plain = decoding.is_plain(request.settings, request.trace)
                shares = partial(self._shares, loaded, request.settings.precision, plain)
                if loaded.lock.would_wait(shares()):
                    yield [{"type": "waiting", "preparing": loaded.preparing}]
                while not loaded.lock.acquire(shares, leaving):
                    yield []  # another viewer waits on
                stack.callback(loaded.lock.release)
            stop = request.settings.stop
            makers = [request.encoder(loaded.tokenizer, index, stop=stop) for index, loaded in enumerate(models)]
            yield [begin(request, models, prompts, makers)]
            runs = []
            for loaded, ids, maker in zip(models, prompts, makers, strict=True):
                said = len(request.prefix_ids)
                settings = rest_of(request.settings, loaded.tokenizer, request.prompt, said, rewards)
                told = replace(settings.resolved, trace=request.trace, surprise_of=request.surprise_of)
                settings = replace(settings, resolved=told)
                runs.append((maker, self._steps(loaded, [*ids, *request.prefix_ids], settings, assistants)))
            yield from interleave(runs)

    def _shares(self, loaded: Loaded, precision: str, plain: bool) -> bool:
        """Whether a comparison may run beside others: their steps are computed in one forward."""
        return self._decode is None and not on_zero_gpu() and decoding.shares_steps(loaded.model, precision, plain)

    def _steps(
        self, loaded: Loaded, ids: list[int], settings: DecodeSettings, assistants: dict[str, Loaded]
    ) -> Iterator:
        if self._decode:
            return self._decode(loaded.model, ids, settings)
        if on_zero_gpu():
            from llmdemo.arena import zero_gpu

            assert loaded.entry.path is not None, "only a model with a folder is loaded"
            return zero_gpu.decode(loaded.entry.path, settings.precision, ids, settings)
        drafts = {model_id: assistant.model for model_id, assistant in assistants.items()}
        return decoding.decode_lanes(loaded.model, ids, settings, assistants=drafts)


def _batches(events: queue.SimpleQueue, every: float) -> Iterator[list[dict]]:
    last = 0.0
    while True:
        batch = [events.get()]
        pause = last + every - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        while not events.empty():
            batch.append(events.get())
        last = time.monotonic()
        yield batch
        if batch[-1]["type"] == "end":
            return
