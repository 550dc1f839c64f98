"""Models in memory: loaded once, one at a time, shared by all visitors; the least recently used one leaves first.

Knows nothing of prompts, strategies or pages. Loading blocks its thread: never call it on an event loop.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

from llmdemo.arena.readers_writer_lock import ReadersWriterLock
from llmdemo.core.errors import UserError
from llmdemo.core.spaces import on_zero_gpu
from llmdemo.models import steps
from llmdemo.models.catalog import ModelEntry
from llmdemo.models.load import best_device, usual_dtype

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_SHARE_OF_MEMORY = 0.4
_MOST_BUDGETS = 1.5
"""Models in use may exceed the budget, as nobody's run is ended for another's; so far and no further: decoding keeps a
copy of the weights beside each, in half the bytes or all of them, which is not counted here."""
_MOST_STEPS = 4
"""Models of kept steps that stay in memory unused: the one on the slider, its neighbours, and where it was before."""
_SAMPLES, _SAMPLE_BYTES = 64, 65536


@dataclass
class Loaded:
    """A model in memory. Whoever computes with it holds `lock`, shared where steps can be batched: two comparisons whose
    steps are not batched would only halve each other's speed."""

    model: Any  # a causal model of transformers
    tokenizer: Any
    entry: ModelEntry
    fingerprint: str
    content: Hashable = None
    """Equal for what answers alike: the entry, its files and the numbers that it computes with."""
    lock: ReadersWriterLock = field(default_factory=ReadersWriterLock)
    users: int = 0
    preparing: bool = False
    """Its weights are being arranged, with `lock` held, before anybody has asked for anything."""

    @property
    def bytes(self) -> int:
        return sum(p.numel() * p.element_size() for p in self.model.parameters())

    @property
    def context(self) -> int:
        """Longest sequence, in tokens; 0 if the model does not say."""
        return int(getattr(self.model.config.get_text_config(), "max_position_embeddings", 0) or 0)

    def facts(self) -> dict:
        """What a page or a trace says about it."""
        weight = next(self.model.parameters())
        return {
            "id": self.entry.id,
            "title": self.entry.title,
            "revision": self.entry.revision,
            "fingerprint": self.fingerprint,
            "dtype": str(weight.dtype).removeprefix("torch."),
            "device": str(weight.device),
            "context": self.context,
            "parameters": self.model.num_parameters(),
        }


class ModelCache:
    """Within one budget of bytes. `load(entry, dtype) -> (model, tokenizer)` is called at most once a model and precision while it stays in memory,
    and never for two at a time: the room for a load is made before it, and two could count on the same bytes."""

    def __init__(
        self, load: Callable, budget_bytes: int | None = None, keep: Callable[[], Collection[str]] = lambda: ()
    ):
        """`keep` gives the ids of models that leave after all others: those that are served."""
        self._load, self._keep = load, keep
        self._budget = budget_bytes or int(_SHARE_OF_MEMORY * _memory())
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._models: dict[tuple, Loaded] = {}  # in the order of use, the latest last
        self._beside = 0
        self._let_go: Callable[[], None] = lambda: None

    def holds(self, entry, precision: str) -> bool:
        with self._lock:
            return _key(entry, precision) in self._models

    @contextmanager
    def use(self, entry, precision: str = "auto") -> Iterator[Loaded]:
        """The loaded model, safe from eviction inside the `with`. Raises UserError when it cannot be loaded."""
        key = _key(entry, precision)
        loaded = self._take(key)
        if loaded is None:
            with self._turn:  # a second visitor waits here instead of loading it again
                loaded = self._take(key) or self._read(key, entry, precision)
        try:
            yield loaded
        finally:
            self._leave(loaded)

    @contextmanager
    def use_at_once(self, entry, precision: str = "auto", make_room: bool = True) -> Iterator[Loaded | None]:
        """As `use`, but None instead of waiting while something is being loaded; without `make_room` None too where
        the model does not fit into the budget beside those that are there."""
        key = _key(entry, precision)
        loaded = self._take(key)
        if loaded is None and self._turn.acquire(blocking=False):
            try:
                loaded = self._take(key)
                if loaded is None and (make_room or self._total() + expected_bytes(entry, precision) <= self._budget):
                    loaded = self._read(key, entry, precision)
            finally:
                self._turn.release()
        try:
            yield loaded
        finally:
            if loaded is not None:
                self._leave(loaded)

    @contextmanager
    def use_alone(self, entry, seconds: float) -> Iterator[Loaded]:
        """As `use`, with the model's lock held: nobody else computes with it meanwhile. Raises UserError where others have
        not done with it after `seconds`."""
        end = time.monotonic() + seconds
        with self.use(entry) as loaded:
            if not loaded.lock.acquire(should_stop=lambda: time.monotonic() > end):
                raise UserError("err_model_busy", title=loaded.entry.title)
            try:
                yield loaded
            finally:
                loaded.lock.release()

    @contextmanager
    def keep(self, loaded: Loaded) -> Iterator[None]:
        """Keeps a model that is in use from eviction, also after who uses it now has left."""
        with self._lock:
            loaded.users += 1
        try:
            yield
        finally:
            self._leave(loaded)

    @contextmanager
    def room_beside(self, title: str, needed: int, let_go: Callable[[], None]) -> Iterator[None]:
        """While the body loads a model of so many bytes that is kept elsewhere, nothing else is loaded; from then on it counts
        as one of these, in the place of an earlier one. `let_go` drops it where the room is needed. Raises UserError where
        there is none."""
        with self._turn:
            self._leave_beside()
            others = self._evict(needed)
            if others and others + needed > _MOST_BUDGETS * self._budget:
                raise UserError("err_no_room_beside", title=title)
            yield
            self._beside, self._let_go = needed, let_go

    def _leave_beside(self) -> None:
        self._beside = 0
        self._let_go()

    def _take(self, key) -> Loaded | None:
        with self._lock:
            loaded = self._models.pop(key, None)
            if loaded:
                self._models[key] = loaded
                loaded.users += 1
            return loaded

    def _leave(self, loaded: Loaded) -> None:
        with self._lock:
            loaded.users -= 1

    def _read(self, key, entry, precision) -> Loaded:
        """Loads it; for who has the turn. Raises UserError when there is no room for it."""
        needed = expected_bytes(entry, precision)
        others = self._evict(needed)
        if others and others + needed > _MOST_BUDGETS * self._budget:
            raise UserError("err_no_room_beside", title=entry.title)
        try:
            model, tokenizer = self._load(entry, _DTYPES.get(precision))
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise UserError("err_model_too_large", title=entry.title) from error
        content = (key, fingerprint(entry.path, entry.at_step), _other_files(entry.path))
        loaded = Loaded(model, tokenizer, entry, content[1], content, users=1)
        with self._lock:
            self._models[key] = loaded
            self._drop_steps()
        self._evict(0)
        return loaded

    def _drop_steps(self) -> None:
        """Keeps the kept steps that were used last: a slider through a run would fill the budget."""
        known = [key for key, loaded in self._models.items() if loaded.entry.at_step is not None]
        for key in known[:-_MOST_STEPS]:
            if self._models[key].users == 0:
                del self._models[key]

    def _evict(self, needed: int) -> int:
        """Drops what was used longest ago, and nobody uses now, until `needed` more bytes are within the budget; what is
        served only where that is not enough.

        Returns the bytes of those that stay.
        """
        kept = self._keep()
        with self._lock:
            for key, loaded in sorted(self._models.items(), key=lambda item: item[0][0] in kept):
                if needed + self._bytes() <= self._budget:
                    break
                if loaded.users == 0:
                    del self._models[key]
            if self._beside and needed + self._bytes() > self._budget:
                self._leave_beside()
            return self._bytes()

    def _total(self) -> int:
        with self._lock:
            return self._bytes()

    def _bytes(self) -> int:
        return self._beside + sum(loaded.bytes for loaded in self._models.values())


def fingerprint(folder: Path | None, at_step: int | None = None) -> str:
    """12 hex digits that tell one model from another: SHA-256 over the weight files' sizes and 64 samples of each.

    Reading all of a 7B model's bytes would take longer than loading it, and fine-tuning changes them everywhere.
    `at_step`: the kept step of the run whose model the folder is, where that is what was loaded.
    """
    digest = hashlib.sha256()
    files = sorted(folder.glob("*.safetensors")) if folder else []
    if folder and at_step is not None:
        files += [path for path in steps.files_at(folder.parent, at_step) if path.is_file()]
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}:{size};".encode())
        with open(file, "rb") as handle:
            for sample in range(_SAMPLES):
                handle.seek(max(0, size - _SAMPLE_BYTES) * sample // (_SAMPLES - 1))
                digest.update(handle.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:12]


def _other_files(folder: Path | None) -> str:
    """SHA-256 of what stands beside the weights: tokenizer, template, configuration."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()) if folder else []:
        if file.suffix in (".json", ".jinja", ".model", ".txt") and file.is_file():
            digest.update(f"{file.name}:{file.stat().st_size};".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def expected_bytes(entry, precision: str) -> int:
    """What its weights will take: a file of bf16 takes twice its size as fp32."""
    usual = torch.float32 if entry.at_step is not None else usual_dtype(entry, best_device())
    dtype = _DTYPES.get(precision) or usual
    return entry.parameters * dtype.itemsize or entry.bytes


def _key(entry, precision: str) -> tuple:
    return entry.id, entry.revision, changed(entry.path), precision if precision in _DTYPES else "auto"


def changed(folder: Path | None) -> float:
    """When the folder's weights were written: a model that was replaced under the same id is loaded anew."""
    try:
        return max((file.stat().st_mtime for file in folder.glob("*.safetensors")), default=0.0) if folder else 0.0
    except OSError:
        return time.time()


def _memory() -> int:
    if torch.cuda.is_available() and not on_zero_gpu():
        return torch.cuda.mem_get_info()[1]
    return psutil.virtual_memory().total
