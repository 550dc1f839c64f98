"""An OpenAI-compatible endpoint: bounded calls, every way to fail a sentence.

Knows nothing of what is asked, and of which addresses may be asked only who says so (endpoint_address). The key lives in
this object alone: it is in no message, no log and no file. Redirects are not followed, and nothing is decompressed: a few
bytes would become gigabytes.
"""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from llmdemo.core.sentences import say
from llmdemo.evaluation.endpoint_address import EndpointFailed, checked_key, checked_url

_MOST_BYTES = 2 * 2**20
_MOST_TOKENS = 600
_MOST_QUOTED = 200
_TRIES = 3
_LONGEST_PAUSE = 20.0


@dataclass(frozen=True)
class Said:
    """What the endpoint wrote."""

    text: str
    """"" where it gave an answer without one."""
    ended: bool
    """Whether it came to an end by itself; True where the endpoint does not tell."""
    logprobs: list[float] | None
    """Of each of its tokens, in nats; None where the endpoint gives none."""


class _Deadline:
    """Closes `client` once, unless the block is left within `seconds`; `missed` says whether it was not.

    httpx bounds each wait for bytes, not the call: headers that drip, or interim answers without end, would go on.
    """

    def __init__(self, client: httpx.Client, seconds: float):
        self._client, self._lock, self._left = client, threading.Lock(), False
        self.missed = False
        self._timer = threading.Timer(seconds, self._miss)
        self._timer.daemon = True

    def __enter__(self) -> "_Deadline":
        self._timer.start()
        return self

    def __exit__(self, *_) -> None:
        self._timer.cancel()
        with self._lock:
            self._left = True

    def _miss(self) -> None:
        with self._lock:
            if self._left:
                return
            self.missed = True
        self._client.close()


class Endpoint:
    """`chat` and `complete_text` ask the endpoint. `close` it after use."""

    def __init__(
        self,
        url: str,
        model: str,
        key: str = "",
        timeout: float = 60.0,
        should_stop: Callable = lambda: False,
        hint: str = say("judge_hint"),
    ):
        """`hint`: what to do where it cannot be asked, in a sentence."""
        self._key = checked_key(key)
        self._url, local = checked_url(url, bool(self._key))
        self._model, self._timeout, self._should_stop, self._hint = model.strip(), timeout, should_stop, hint
        headers = {"Accept-Encoding": "identity"}
        self._client = httpx.Client(
            headers=headers | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
            timeout=httpx.Timeout(timeout, connect=min(10.0, timeout)),
            follow_redirects=False,
            trust_env=not local,
        )

    def close(self) -> None:
        self._client.close()

    def complete(self, messages: Sequence[dict], most: int = _MOST_TOKENS) -> str:
        """The likeliest text of at most so many tokens; "" where it gave an answer without one. Raises EndpointFailed."""
        return self.chat(messages, max_tokens=most, temperature=0, seed=0).text

    def chat(self, messages: Sequence[dict], **settings: Any) -> Said:
        """The next turn of a conversation. `settings`: temperature, max_tokens, seed, … Raises EndpointFailed."""
        return self._said(self._url, {"messages": list(messages), **settings}, _chat_text)

    def complete_text(self, prompt: str, **settings: Any) -> Said:
        """How a plain text goes on (…/completions), as chat. Raises EndpointFailed."""
        address = f"{self._url.removesuffix('/chat/completions')}/completions"
        return self._said(address, {"prompt": prompt, **settings}, _plain_text)

    def _said(self, url: str, asked: dict, text_of: Callable[[dict], Any]) -> Said:
        body = {"model": self._model, "stream": False, **asked}
        for attempt in range(_TRIES):
            status, headers, content = self._post(url, body)
            if status not in (429, 500, 502, 503, 504) or attempt + 1 == _TRIES or self._should_stop():
                break
            self._pause(headers.get("retry-after", ""), attempt)
        return self._read_answer(status, content, text_of)

    def _post(self, url: str, body: dict) -> tuple[int, dict, bytes]:
        """(status, headers, content). An answer that drips or never ends is cut off like one that never comes."""
        with _Deadline(self._client, self._timeout) as deadline:
            try:
                found = self._read(url, body)
            except EndpointFailed:
                raise
            except Exception as error:  # what a client says that is closed under it is not one kind of error
                if deadline.missed or isinstance(error, httpx.TimeoutException):
                    raise self._late() from error
                if isinstance(error, (httpx.HTTPError, httpx.InvalidURL, OSError)):
                    raise EndpointFailed(say("endpoint_unreached", kind=type(error).__name__), self._hint) from error
                raise
        if deadline.missed:
            raise self._late()
        return found

    def _read(self, url: str, body: dict) -> tuple[int, dict, bytes]:
        with self._client.stream("POST", url, json=body) as answer:
            if answer.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
                raise EndpointFailed(say("endpoint_compressed"), self._hint)
            content = bytearray()
            for piece in answer.iter_raw():
                content += piece
                if len(content) > _MOST_BYTES:
                    raise EndpointFailed(say("endpoint_large"), self._hint)
            return answer.status_code, dict(answer.headers), bytes(content)

    def _late(self) -> EndpointFailed:
        return EndpointFailed(say("endpoint_late", seconds=f"{self._timeout:g}"), self._hint)

    def _read_answer(self, status: int, content: bytes, text_of: Callable[[dict], Any]) -> Said:
        if status in (401, 403):  # not in its own words: they may hold a part of the key
            raise EndpointFailed(say("endpoint_refused", status=status), say("endpoint_refused_hint"))
        if 300 <= status < 400:
            raise EndpointFailed(say("endpoint_redirect"), self._hint)
        said = self._quoted(content)
        if status == 404:
            raise EndpointFailed(say("endpoint_404", said=said), self._hint)
        if status != 200:
            raise EndpointFailed(say("endpoint_status", status=status, said=said), self._hint)
        try:
            choice = json.loads(content)["choices"][0]
            text, ended = text_of(choice), choice.get("finish_reason") != "length"
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise EndpointFailed(say("endpoint_odd"), self._hint) from error
        text = text.encode("utf-8", "replace").decode() if isinstance(text, str) else ""  # half a pair is no text
        return Said(text, ended, _logprobs(choice.get("logprobs")))

    def _quoted(self, content: bytes) -> str:
        """What the endpoint says of its failure, as the end of a sentence, without the key; "" where it says nothing."""
        try:
            error = json.loads(content)["error"]
            said = error["message"] if isinstance(error, dict) else error
        except (ValueError, LookupError, TypeError, RecursionError):
            return ""
        if not isinstance(said, str):
            return ""
        said = "".join(character for character in " ".join(said.split()) if character.isprintable())
        said = said.replace(self._key, "…") if self._key else said
        if not said:
            return ""
        return f": “{said[:_MOST_QUOTED]}{'…' if len(said) > _MOST_QUOTED else ''}”"

    def _pause(self, asked: str, attempt: int) -> None:
        seconds = float(asked) if asked.isdecimal() else 2.0**attempt
        until = time.monotonic() + min(seconds, _LONGEST_PAUSE)
        while time.monotonic() < until and not self._should_stop():
            time.sleep(0.05)


def _chat_text(choice: dict) -> Any:
    return choice["message"]["content"]


def _plain_text(choice: dict) -> Any:
    return choice["text"]


def _logprobs(value: Any) -> list[float] | None:
    """Of a chat's {"content": [{"logprob"}]}; None for anything else."""
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, list) or not content:
        return None
    found = [each.get("logprob") if isinstance(each, dict) else None for each in content]
    numbers = [
        float(each) for each in found if isinstance(each, int | float) and not isinstance(each, bool) and each <= 0
    ]
    return numbers if len(numbers) == len(found) else None
