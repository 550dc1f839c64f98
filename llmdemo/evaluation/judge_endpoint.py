"""An OpenAI-compatible endpoint as the judge: one bounded call a verdict, every way to fail a sentence.

Knows nothing of rubrics, and of which addresses may be asked only who says so (judge_address). The key lives in this
object alone: it is in no message, no log and no file. Redirects are not followed, and nothing is decompressed: a few
bytes would become gigabytes.
"""

import json
import threading
import time
from collections.abc import Callable, Sequence

import httpx

from llmdemo.core.sentences import say
from llmdemo.evaluation.judge import JudgeFailed
from llmdemo.evaluation.judge_address import checked_key, checked_url

_MOST_BYTES = 2 * 2**20
_MOST_TOKENS = 600
_MOST_QUOTED = 200
_TRIES = 3
_LONGEST_PAUSE = 20.0
_HINT = say("judge_hint")


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


class EndpointJudge:
    """`complete(messages)` asks the endpoint. `close` it after use."""

    def __init__(
        self, url: str, model: str, key: str = "", timeout: float = 60.0, should_stop: Callable = lambda: False
    ):
        self._key = checked_key(key)
        self._url, local = checked_url(url, bool(self._key))
        self._model, self._timeout, self._should_stop = model, timeout, should_stop
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
        """The endpoint's text of at most so many tokens; "" where it gave an answer without one. Raises JudgeFailed when it cannot be asked."""
        body = {
            "model": self._model,
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": most,
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
        with _Deadline(self._client, self._timeout) as deadline:
            try:
                found = self._read(body)
            except JudgeFailed:
                raise
            except Exception as error:  # what a client says that is closed under it is not one kind of error
                if deadline.missed or isinstance(error, httpx.TimeoutException):
                    raise self._late() from error
                if isinstance(error, (httpx.HTTPError, httpx.InvalidURL, OSError)):
                    raise JudgeFailed(say("judge_unreached", kind=type(error).__name__), _HINT) from error
                raise
        if deadline.missed:
            raise self._late()
        return found

    def _read(self, body: dict) -> tuple[int, dict, bytes]:
        with self._client.stream("POST", self._url, json=body) as answer:
            if answer.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
                raise JudgeFailed(say("judge_compressed"), _HINT)
            content = bytearray()
            for piece in answer.iter_raw():
                content += piece
                if len(content) > _MOST_BYTES:
                    raise JudgeFailed(say("judge_large"), _HINT)
            return answer.status_code, dict(answer.headers), bytes(content)

    def _late(self) -> JudgeFailed:
        return JudgeFailed(say("judge_late", seconds=f"{self._timeout:g}"), _HINT)

    def _text(self, status: int, content: bytes) -> str:
        if status in (401, 403):  # not in its own words: they may hold a part of the key
            raise JudgeFailed(say("judge_refused", status=status), say("judge_refused_hint"))
        if 300 <= status < 400:
            raise JudgeFailed(say("judge_redirect"), _HINT)
        said = self._quoted(content)
        if status == 404:
            raise JudgeFailed(say("judge_404", said=said), _HINT)
        if status != 200:
            raise JudgeFailed(say("judge_status", status=status, said=said), _HINT)
        try:
            text = json.loads(content)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise JudgeFailed(say("judge_odd"), _HINT) from error
        return text.encode("utf-8", "replace").decode() if isinstance(text, str) else ""  # half a pair is no text

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
