"""API keys: made by owners for programs, shown once, kept as hashes, limited, revocable. Knows no HTTP and no model.

A key has 256 random bits, so one SHA-256 is as good as a slow hash: nobody can try them all.
"""

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from llmdemo.access.rate_limits import Rates
from llmdemo.core import store
from llmdemo.core.errors import UserError

PREFIX = "sk-"
MOST_KEYS = 200
_MOST_REVOKED = 200
_MOST_NAME = 80
_MOST_RATE = 1_000_000
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key; the key itself is not kept."""

    key_id: str
    name: str
    digest: str
    """SHA-256 of the key, in hexadecimal digits."""
    models: tuple[str, ...] = ()
    """Names of the served models that it opens; empty: all of them."""
    requests_per_minute: int = 600
    monitor: bool = False
    """Whether it also opens the figures at /metrics."""
    created: float = 0.0
    """Seconds since 1970."""
    revoked: bool = False

    def opens(self, name: str) -> bool:
        """Whether the key may ask the served model `name`."""
        return not self.revoked and (not self.models or name in self.models)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, the id first, without the digest."""
        told = asdict(self)
        del told["digest"]
        return {**told, "models": list(self.models)}


class ApiKeys:
    """The keys in one file, which several apps on a home folder may change. Any thread may call it."""

    def __init__(self, file: Path):
        self._file = file
        self._lock = threading.Lock()
        self._known: tuple[tuple[int, int, int], dict[str, ApiKey]] | None = None
        self._rates: dict[int, Rates] = {}

    def create(
        self, name: str = "", models: Sequence[str] = (), requests_per_minute: int = 600, monitor: bool = False
    ) -> tuple[ApiKey, str]:
        """(what is kept, the key itself, which is nowhere else). Raises UserError for values that make no sense."""
        name, rate = _checked_name(name), _checked_rate(requests_per_minute)
        secret = PREFIX + secrets.token_urlsafe(32)
        key = ApiKey(
            store.new_id("key"), name, _digest(secret), tuple(models), rate, bool(monitor), round(time.time(), 3)
        )
        with self._changing() as keys:
            if sum(not other.revoked for other in keys.values()) >= MOST_KEYS:
                raise UserError("err_keys_many", most=MOST_KEYS)
            keys[key.key_id] = key
        return key, secret

    def revoke(self, key_id: str) -> ApiKey:
        """The key opens nothing from now on; harmless when done again. Raises UserError for an unknown id."""
        with self._changing() as keys:
            if key_id not in keys:
                raise UserError("err_key_unknown", key_id=repr(str(key_id)[:80]))
            keys[key_id] = replace(keys[key_id], revoked=True)
            return keys[key_id]

    def list(self) -> "list[ApiKey]":
        """All keys, the newest first; revoked ones too. Raises UserError when the file is damaged."""
        return sorted(self._read().values(), key=lambda key: key.created, reverse=True)

    def check(self, secret: str) -> ApiKey | None:
        """The key that this is, revoked or not; None for what is none. A damaged file opens nothing."""
        try:
            known = self._read()
        except UserError as error:
            log.error("no API key is accepted: %s", error)
            return None
        digest = _digest(secret)
        found = [key for key in known.values() if hmac.compare_digest(key.digest, digest)]
        return found[0] if found else None

    def wait(self, key: ApiKey) -> float:
        """Seconds until this key may ask again; 0 now, and then this counts as asked."""
        with self._lock:
            rates = self._rates.setdefault(key.requests_per_minute, Rates(key.requests_per_minute))
        return rates.wait(key.key_id)

    def _read(self) -> dict[str, ApiKey]:
        """The file's keys by id, read again only when the file has changed."""
        try:
            seen = self._file.stat()
        except FileNotFoundError:
            return {}
        stamp = seen.st_mtime_ns, seen.st_size, seen.st_ino
        with self._lock:
            if self._known is None or self._known[0] != stamp:
                self._known = stamp, _parsed(self._file)
            return dict(self._known[1])

    @contextmanager
    def _changing(self) -> Iterator[dict[str, ApiKey]]:
        """Gives the keys by id, to be changed; they are written at the end, whole, unless something was raised."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with store.locked(self._file.with_suffix(".lock")):
            keys = self._read()
            yield keys
            forgotten = [key.key_id for key in keys.values() if key.revoked][:-_MOST_REVOKED]
            kept = [asdict(key) for key in keys.values() if key.key_id not in forgotten]
            store.write_json(self._file, {"keys": kept})  # mkstemp's file: mode 0600


def _parsed(file: Path) -> dict[str, ApiKey]:
    try:
        listed = store.read_json(file)["keys"]
        keys = [ApiKey(**{**values, "models": tuple(values.get("models", ()))}) for values in listed]
        if not all(isinstance(key.digest, str) and len(key.digest) == 64 for key in keys):
            raise ValueError("a digest is missing")
        return {key.key_id: key for key in keys}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            "err_keys_damaged", error=type(error).__name__, file=file.name, folder=file.parent.name
        ) from error


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or len(name) > _MOST_NAME or any(ord(char) < 32 for char in name):
        raise UserError("err_key_name", given=repr(str(name)[:80]), most=_MOST_NAME)
    return name.strip().encode("utf-8", "replace").decode() or "key"


def _checked_rate(rate: object) -> int:
    if isinstance(rate, bool) or not isinstance(rate, int) or not 1 <= rate <= _MOST_RATE:
        raise UserError("err_key_rate", given=repr(str(rate)[:40]), most=_MOST_RATE)
    return rate
