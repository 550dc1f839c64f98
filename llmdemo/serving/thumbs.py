"""What people find of the arena's answers: a thumb up or down, which may be taken back; counted by model version.

An answer is known by the comparison's id, which its page made up at random, and its lane; the latest are remembered, without
any text. Who may say something is decided in ui/.
"""

import sqlite3
import threading
from collections import OrderedDict
from dataclasses import dataclass

from llmdemo.core.errors import UserError
from llmdemo.serving.kept import CHAT, THUMBS, Kept, Text
from llmdemo.serving.metrics import ARENA, Metrics

MOST_ANSWERS = 20_000


@dataclass
class _Answer:
    model_id: str
    thumb: str = ""
    """up, down, or "": nobody said."""


class Thumbs:
    """One for the app. Any thread may call it."""

    def __init__(self, kept: Kept, metrics: Metrics):
        self._kept, self._metrics = kept, metrics
        self._answers: OrderedDict[tuple[str, str], _Answer] = OrderedDict()
        self._lock = threading.Lock()

    def answered(self, run_id: str, lane: str, model_id: str) -> None:
        """A lane of the comparison called `run_id` has ended; `lane`: its id among the comparison's events."""
        with self._lock:
            self._answers[run_id, lane] = _Answer(model_id)
            while len(self._answers) > MOST_ANSWERS:
                self._answers.popitem(last=False)

    def take(self, run_id: str, lane: str, thumb: str) -> dict[str, str]:
        """{"thumb": what is kept now}: `thumb` is up, down or "", which takes an earlier one back. The same said twice counts
        once. Raises UserError for an answer that is not known, and where the opinion cannot be kept."""
        if thumb not in ("", *THUMBS):
            raise UserError("err_thumb", given=repr(str(thumb)[:40]))
        with self._lock:
            answer = self._answers.get((run_id, lane))
            if answer is None:
                raise UserError("err_thumb_unknown", most=MOST_ANSWERS)
            if thumb == answer.thumb:
                return {"thumb": thumb}
            id_ = f"{run_id}/{lane}"
            try:
                if thumb:
                    text = Text(id_, 0, ARENA, answer.model_id, CHAT, "", [""])
                    said_at = self._kept.opinion(text, THUMBS[thumb], None).thumb_at
                else:
                    said_at = self._kept.withdraw(id_).thumb_at
            except (sqlite3.Error, OSError) as error:
                raise UserError("err_thumb_not_kept", why=str(error)) from error
            before, answer.thumb = answer.thumb, thumb
        self._metrics.opinion(ARENA, answer.model_id, thumb, before, said_at)
        return {"thumb": thumb}
