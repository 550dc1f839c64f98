"""What a job's events say, so far: fed one event after the other, never reading one twice.

Knows nothing of files, processes or pages, and of no kind of job: a kind with events of its own subclasses `Digest`.
Events come from a file that anybody may have written, so each figure is checked for being one.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from llmdemo.core.sentences import Sentence
from llmdemo.jobs.states import FAILED, FINAL, REASONS, WORKER_ERROR

Event = dict[str, Any]
"""One line of events.jsonl: {"type", "t" (seconds since the epoch), …}."""
_MOST_TEXT = 8192
_MOST_NOTES = 20
_LARGEST = 2.0**53


@dataclass(frozen=True)
class End:
    """How an attempt ended: a state of FINAL, of REASONS where it failed, and two sentences."""

    state: str
    reason: str = ""
    message: str = ""
    hint: str = ""


class Digest:
    """The state of affairs after the events given to `feed`; `figures` holds what is shown of the job."""

    TYPES: ClassVar[frozenset[str]] = frozenset(["launch", "queued", "start", "phase", "progress", "note", "end"])
    """Types of events that have a method `_on_<type>`."""

    def __init__(self) -> None:
        self.attempt = 0
        self.started = False
        self.launched = False
        self.end: End | None = None
        self.worker_pid: int | None = None
        self.notes: list[str] = []
        self.figures: dict[str, Any] = {}

    def feed(self, event: Event) -> None:
        """Takes one event in; those of unknown types and without sense change nothing."""
        if event["type"] in self.TYPES:
            getattr(self, f"_on_{event['type']}")(event)

    def status(self) -> dict[str, Any]:
        """The newest figures, ready for JSON."""
        return {**self.figures, "notes": self.notes}

    def _on_launch(self, event: Event) -> None:
        self.attempt = int(number(event.get("attempt")) or self.attempt + 1)
        self._wait()
        self.launched = True

    def _on_queued(self, event: Event) -> None:
        self._wait()

    def _wait(self) -> None:
        self.started, self.launched, self.end, self.worker_pid = False, False, None, None
        self.figures |= {"phase": None, "eta_seconds": None, "progress": None}

    def _on_start(self, event: Event) -> None:
        self.started, self.end = True, None
        self.worker_pid = whole(event.get("pid"))

    def _on_phase(self, event: Event) -> None:
        self.figures |= {"phase": text(event.get("phase"), 64), "phase_done": whole(event.get("done"))}
        self.figures["phase_total"] = whole(event.get("total"))

    def _on_progress(self, event: Event) -> None:
        self.figures["progress"] = {key: plain(value) for key, value in event.items() if key not in ("type", "t")}
        self.figures["eta_seconds"] = number(event.get("eta_seconds"))

    def _on_note(self, event: Event) -> None:
        """Something that a person should know of the job, once however often it is said."""
        said = text(event.get("message"), 500)
        if said and said not in self.notes and len(self.notes) < _MOST_NOTES:
            self.notes.append(said)

    def _on_end(self, event: Event) -> None:
        state, reason = event.get("state"), event.get("reason")
        state = state if isinstance(state, str) and state in FINAL else FAILED
        reason = reason if isinstance(reason, str) and reason in REASONS else WORKER_ERROR
        message, hint = text(event.get("message"), 2000), text(event.get("hint"), 2000)
        self.end = End(state, reason if state == FAILED else "", message, hint)
        self.figures |= {"phase": None, "eta_seconds": None, "progress": None}


def number(value: object) -> float | None:
    """`value` as a float if it is a finite number, else None."""
    if type(value) is float or type(value) is int:  # no bool; and asked for each figure of each step
        return float(value) if -_LARGEST <= value <= _LARGEST else None
    return None


def whole(value: object) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def text(value: object, limit: int = _MOST_TEXT) -> str:
    """`value` as a text of at most `limit` characters that can be written as UTF-8."""
    if isinstance(value, Sentence) and len(value) <= limit:
        return value
    said = "" if value is None else value if isinstance(value, str) else str(value)
    said = said if said.isascii() else said.encode("utf-8", "replace").decode()  # halves of a surrogate pair
    return said if len(said) <= limit else said[: limit - 1] + "…"


def plain(value: object, depth: int = 3) -> Any:
    """`value` with nothing in it that JSON or a page cannot take: finite numbers, bounded texts, little depth."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if number(value) is not None else None
    if depth and isinstance(value, dict):
        return {text(key, 200): plain(each, depth - 1) for key, each in list(value.items())[:200]}
    if depth and isinstance(value, list):
        return [plain(each, depth - 1) for each in value[:200]]
    return text(value) if isinstance(value, str) else None
