"""Models in memory: loaded once, shared by all visitors, the least recently used one leaves first.

Knows nothing of prompts, strategies or pages. Loading blocks its thread: never call it on an event loop.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch

from llmdemo.arena.gate import Gate
from llmdemo.errors import UserError
from llmdemo.public.spaces import on_zero_gpu

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_SHARE_OF_MEMORY = 0.4
_SAMPLES, _SAMPLE_BYTES = 64, 65536


@dataclass
class Loaded:
    """A model in memory. Whoever computes with it goes through `gate`: two runs that share no steps would only halve each
    other's speed."""

    model: object
    tokenizer: object
    entry: object
    fingerprint: str
    gate: Gate = field(default_factory=Gate)
    users: int = 0

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
    """`load(entry, dtype) -> (model, tokenizer)` is called at most once a model and precision while it stays in memory."""

    def __init__(self, load: Callable, budget_bytes: int | None = None):
        self._load = load
        self._budget = budget_bytes or int(_SHARE_OF_MEMORY * _memory())
        self._lock = threading.Lock()
        self._loading: dict[tuple, threading.Lock] = {}
        self._models: dict[tuple, Loaded] = {}  # in the order of use, the latest last

    def holds(self, entry, precision: str) -> bool:
        with self._lock:
            return _key(entry, precision) in self._models

    @contextmanager
    def use(self, entry, precision: str = "auto") -> Iterator[Loaded]:
        """The loaded model, safe from eviction inside the `with`. Raises UserError when it cannot be loaded."""
        key = _key(entry, precision)
        with self._lock:
            gate = self._loading.setdefault(key, threading.Lock())
        with gate:  # a second visitor waits here instead of loading it again
            loaded = self._take(key) or self._read(key, entry, precision)
        try:
            yield loaded
        finally:
            with self._lock:
                loaded.users -= 1

    def forget(self, model_id: str) -> None:
        """Drops a model that is gone or has changed; a run that uses it still ends well."""
        with self._lock:
            self._models = {key: value for key, value in self._models.items() if key[0] != model_id}

    def _take(self, key) -> Loaded | None:
        with self._lock:
            loaded = self._models.pop(key, None)
            if loaded:
                self._models[key] = loaded
                loaded.users += 1
            return loaded

    def _read(self, key, entry, precision) -> Loaded:
        self._evict(entry.bytes)
        try:
            model, tokenizer = self._load(entry, _DTYPES.get(precision))
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise UserError(
                f"{entry.title} does not fit into memory.", "Choose a smaller model, or precision bf16."
            ) from error
        loaded = Loaded(model, tokenizer, entry, fingerprint(entry.path), users=1)
        with self._lock:
            self._models[key] = loaded
        self._evict(0)
        return loaded

    def _evict(self, needed: int) -> None:
        """Drops what was used longest ago, and nobody uses now, until `needed` more bytes are within the budget."""
        with self._lock:
            total = needed + sum(loaded.bytes for loaded in self._models.values())
            for key, loaded in list(self._models.items()):
                if total <= self._budget:
                    return
                if loaded.users == 0:
                    total -= loaded.bytes
                    del self._models[key]


def fingerprint(folder: Path | None) -> str:
    """12 hex digits that tell one model from another: SHA-256 over the weight files' sizes and 64 samples of each.

    Reading all of a 7B model's bytes would take longer than loading it, and fine-tuning changes them everywhere.
    """
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")) if folder else []:
        size = file.stat().st_size
        digest.update(f"{file.name}:{size};".encode())
        with open(file, "rb") as handle:
            for sample in range(_SAMPLES):
                handle.seek(max(0, size - _SAMPLE_BYTES) * sample // (_SAMPLES - 1))
                digest.update(handle.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:12]


def _key(entry, precision: str) -> tuple:
    return entry.id, entry.revision, _changed(entry.path), precision if precision in _DTYPES else "auto"


def _changed(folder: Path | None) -> float:
    """When the folder's weights were written: a model that was replaced under the same id is loaded anew."""
    try:
        return max((file.stat().st_mtime for file in folder.glob("*.safetensors")), default=0.0) if folder else 0.0
    except OSError:
        return time.time()


def _memory() -> int:
    if torch.cuda.is_available() and not on_zero_gpu():
        return torch.cuda.mem_get_info()[1]
    return psutil.virtual_memory().total
