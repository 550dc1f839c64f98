"""An OpenAI-compatible endpoint as the judge: one bounded call a verdict, every way to fail a sentence.

Knows nothing of rubrics. The key lives in this object alone: it is in no message, no log and no file. Only an owner of
the app may name an address; addresses that are nobody's to ask (cloud metadata, link-local) are refused all the same,
redirects are not followed, and a key does not travel unencrypted to another computer.
"""

import ipaddress
import json
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

from llmdemo.evaluation.judge import JudgeFailed

_MOST_BYTES = 2 * 2**20
_MOST_TOKENS = 600
_TRIES = 3
_LONGEST_PAUSE = 20.0
_NOBODYS = ("metadata.google.internal", "metadata", "instance-data")
_HINT = "Check the judge's address, its model and its key; everything else was evaluated and kept."


class EndpointJudge:
    """`complete(messages)` asks the endpoint. `close` it after use."""

    def __init__(
        self, url: str, model: str, key: str = "", timeout: float = 60.0, should_stop: Callable = lambda: False
    ):
        self._url, local = checked_url(url, bool(key))
        self._model, self._timeout, self._should_stop = model, timeout, should_stop
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=min(10.0, timeout)),
            follow_redirects=False,
            trust_env=not local,
        )

    def close(self) -> None:
        self._client.close()

    def complete(self, messages: list[dict]) -> str:
        """The endpoint's text; "" where it gave an answer without one. Raises JudgeFailed when it cannot be asked."""
        body = {
            "model": self._model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": _MOST_TOKENS,
            "seed": 0,
            "stream": False,
        }
        for attempt in range(_TRIES):
            status, headers, content = self._post(body)
            if status not in (429, 500, 502, 503, 504) or attempt + 1 == _TRIES:
                return self._text(status, content)
            self._pause(headers.get("retry-after", ""), attempt)
        return ""

    def _post(self, body: dict) -> tuple[int, dict, bytes]:
        """(status, headers, content). An answer that drips or never ends is cut off like one that never comes."""
        until, content = time.monotonic() + self._timeout, b""
        try:
            with self._client.stream("POST", self._url, json=body) as answer:
                for piece in answer.iter_bytes():
                    content += piece
                    if len(content) > _MOST_BYTES:
                        raise JudgeFailed("The judge's answer is larger than 2 MB.", _HINT)
                    if time.monotonic() > until:
                        raise httpx.ReadTimeout("slow")
                return answer.status_code, dict(answer.headers), content
        except httpx.TimeoutException as error:
            raise JudgeFailed(f"The judge did not answer within {self._timeout:g} seconds.", _HINT) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise JudgeFailed(f"The judge cannot be reached ({type(error).__name__}).", _HINT) from error

    def _text(self, status: int, content: bytes) -> str:
        if status in (401, 403):
            raise JudgeFailed(f"The judge refused the key (status {status}).", "Give a key that is valid there.")
        if 300 <= status < 400:
            raise JudgeFailed("The judge's address leads elsewhere, and redirects are not followed.", _HINT)
        if status == 404:
            raise JudgeFailed("The judge's address or its model is not known there (status 404).", _HINT)
        if status != 200:
            raise JudgeFailed(f"The judge answered with status {status}.", _HINT)
        try:
            text = json.loads(content)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise JudgeFailed("The judge's answer is not what an OpenAI-compatible endpoint says.", _HINT) from error
        return text if isinstance(text, str) else ""

    def _pause(self, asked: str, attempt: int) -> None:
        seconds = float(asked) if asked.isdecimal() else 2.0**attempt
        until = time.monotonic() + min(seconds, _LONGEST_PAUSE)
        while time.monotonic() < until and not self._should_stop():
            time.sleep(0.05)


def checked_url(url: str, with_key: bool) -> tuple[str, bool]:
    """(address of the chat completions, whether it is on this computer or network). Raises JudgeFailed."""
    parts = urlsplit(url.strip())
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if parts.scheme not in ("http", "https") or not host:
        raise JudgeFailed(f"{_shown(url)!r} is no address of a judge.", "Give one such as http://localhost:11434/v1.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise JudgeFailed(
            "The judge's address holds a password or a query.", "Give the plain address, and the key by itself."
        )
    addresses = _addresses(host, port or (443 if parts.scheme == "https" else 80))
    if host.lower().rstrip(".") in _NOBODYS or any(_is_nobodys(address) for address in addresses):
        raise JudgeFailed(f"{host} is no address that may be asked.", "Give a judge's address.")
    local = bool(addresses) and all(address.is_private or address.is_loopback for address in addresses)
    if with_key and parts.scheme == "http" and not local:
        raise JudgeFailed(
            "The key would travel unencrypted to another network.", "Give an address that begins with https."
        )
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    return (base if base.endswith("/chat/completions") else f"{base}/chat/completions"), local


def _addresses(host: str, port: int) -> list:
    try:
        return [
            ipaddress.ip_address(found[4][0].partition("%")[0])
            for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        ]
    except (OSError, ValueError, UnicodeError):
        return []  # behind a proxy this computer may not know the name; the call itself says so if nobody does


def _is_nobodys(address) -> bool:
    plain = getattr(address, "ipv4_mapped", None) or address
    if plain.is_loopback:
        return False
    return plain.is_link_local or plain.is_multicast or plain.is_unspecified or plain.is_reserved


def _shown(url: str) -> str:
    """The address without a password that may stand in it."""
    return url.strip().rpartition("@")[2][:80]
