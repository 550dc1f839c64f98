"""Signed cookies: who has signed in, and a guest's number. Knows no passwords and no page.

The key is made at the first start and kept in the home folder, so that a restart signs nobody out. A session also
carries the account's stamp, so that a changed or removed password ends it, and a number, so that signing out does. The
numbers of those that were signed out are kept beside the key, or a restart would bring them back.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from itsdangerous import BadData, URLSafeTimedSerializer

from llmdemo.core import store

SESSION_SECONDS = 7 * 24 * 3600
GUEST_SECONDS = 30 * 24 * 3600
_MOST_SIGNED_OUT = 10_000
log = logging.getLogger(__name__)


class SessionCookies:
    """Makes and reads the two cookies' values. `stamp(name)` is what a session of that account is tied to, or None.

    `kept` is the file of the sessions that were signed out; without one they are known until the app ends.
    """

    def __init__(self, key: bytes, stamp: Callable[[str], str | None], kept: Path | None = None):
        self._sessions = URLSafeTimedSerializer(key, salt="llmdemo session")
        self._guests = URLSafeTimedSerializer(key, salt="llmdemo guest")
        self._stamp = stamp
        self._kept = kept
        self._signed_out = _read_signed_out(kept) if kept else {}
        """Session's number → when its cookie is over anyway, in seconds since 1970."""
        self._lock = threading.Lock()

    def session(self, name: str) -> str:
        """The value of a session cookie for the account `name`."""
        return self._sessions.dumps([name, self._stamp(name), secrets.token_urlsafe(9)])

    def name(self, value: str) -> str:
        """The account whose session this is; "" for a forged, old, or signed-out one."""
        known = _read(self._sessions, value, SESSION_SECONDS)
        if not isinstance(known, list) or len(known) != 3 or known[2] in self._signed_out:
            return ""
        name, stamp, _ = known
        return name if isinstance(name, str) and stamp and stamp == self._stamp(name) else ""

    def sign_out(self, value: str) -> None:
        """From now on this session counts as over, after a restart too. Writes a file: not for an event loop."""
        known = _read(self._sessions, value, SESSION_SECONDS)
        if not isinstance(known, list) or len(known) != 3:
            return
        with self._lock:
            self._signed_out = _current({**self._signed_out, str(known[2]): time.time() + SESSION_SECONDS})
            try:
                if self._kept:
                    store.write_json(self._kept, self._signed_out)
            except OSError as error:
                log.warning("who signed out cannot be kept in %s: %s", self._kept, error)

    def new_guest(self) -> str:
        """The value of a cookie that tells one guest from another."""
        return self._guests.dumps(secrets.token_urlsafe(9))

    def guest(self, value: str) -> str:
        """The number in a guest's cookie; "" when it was not made here."""
        known = _read(self._guests, value, GUEST_SECONDS)
        return known if isinstance(known, str) else ""


def secret_key(path: Path) -> bytes:
    """The signing key kept at `path`, readable by this user only; made when there is none. Raises OSError."""
    try:
        key = path.read_bytes()
        if len(key) >= 32:
            return key
    except FileNotFoundError:
        pass
    store.write_atomic(path, secrets.token_bytes(32))  # mkstemp's file: mode 0600
    return path.read_bytes()


def _read_signed_out(path: Path) -> dict[str, float]:
    try:
        known = store.read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("who signed out cannot be read from %s: %s", path, error)
        return {}
    known = known if isinstance(known, dict) else {}
    return _current({number: end for number, end in known.items() if isinstance(end, int | float)})


def _current(known: dict[str, float]) -> dict[str, float]:
    """Those whose cookies are not over yet; the latest ones, where there are too many."""
    now = time.time()
    return dict([(number, end) for number, end in known.items() if end > now][-_MOST_SIGNED_OUT:])


def _read(serializer: URLSafeTimedSerializer, value: str, seconds: int) -> Any:
    try:
        return serializer.loads(value, max_age=seconds) if value else None
    except BadData:
        return None
