"""Which request an opinion is about: the latest answers by their ids, and what is kept of older ones. Takes thumbs,
corrections and labels that come later. Knows no HTTP.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from llmdemo.serving.bodies import FeedbackBody
from llmdemo.serving.errors import ApiError
from llmdemo.serving.kept import CLASSIFY, THUMBS, Before, Kept, Text

MOST_RECENT = 20_000
"""Answers whose ids are remembered, with the classes that were predicted and without any text."""


class Feedback:
    """One for the app. Any thread may call it."""

    def __init__(self, kept: Kept):
        self._kept = kept
        self._recent: OrderedDict[tuple[str, int], Text] = OrderedDict()
        self._lock = threading.Lock()

    def answered(self, text: Text, keep: bool = True) -> None:
        """An answer was given: remembered by its id, and with `keep` its texts too where an owner has turned that on."""
        known = text.answers if text.kind == CLASSIFY else [""] * len(text.answers)
        bare = Text(text.id, text.place, text.name, text.model_id, text.kind, "", known)
        with self._lock:
            self._recent[text.id, text.place] = bare
            while len(self._recent) > MOST_RECENT:
                self._recent.popitem(last=False)
        if keep:
            self._kept.add(text)

    def take(self, body: FeedbackBody, opens: Callable[[str], bool]) -> tuple[Text, Before]:
        """Takes an opinion; what it is about, and what was said of that answer before. `opens(name)`: whether who says it may
        ask that model. Raises ApiError."""
        text = replace(self._about(body, opens), place=body.index)
        if body.thumb is None and body.correction is None and body.label is None:
            raise ApiError(400, "Nothing is said: give thumb (up or down), correction or label.", "invalid_value")
        if text.kind == CLASSIFY and body.correction is not None or text.kind != CLASSIFY and body.label is not None:
            right, wrong = ("label", "correction") if text.kind == CLASSIFY else ("correction", "label")
            what = "a classifier" if text.kind == CLASSIFY else "no classifier"
            raise ApiError(400, f"{text.name!r} is {what}: send {right} instead of {wrong}.", "invalid_value", wrong)
        thumb = THUMBS[body.thumb] if body.thumb else None
        correction = body.label if text.kind == CLASSIFY else body.correction
        beside_a_text = self._kept.correct(text.id, text.place, thumb, correction)
        if body.correction is not None and not beside_a_text:
            if self._kept.by_id(text.id, text.place) is not None:
                sentence = "The correction was not taken: an owner of the app has reviewed this request already."
                raise ApiError(409, sentence, "already_reviewed", "correction")
            raise ApiError(
                409,
                "The correction was not taken: the texts of this request are not kept. An owner of the app can turn that on.",
                "texts_not_kept",
                "correction",
            )
        return text, self._kept.opinion(text, thumb, body.label)

    def _about(self, body: FeedbackBody, opens: Callable[[str], bool]) -> Text:
        with self._lock:
            # Of a classifier's many texts the first may be forgotten before the others.
            whole = self._recent.get((body.id, 0)) or self._recent.get((body.id, body.index))
            place = body.index if whole is not None and whole.kind == CLASSIFY else 0
            found = self._recent.get((body.id, place))
        if found is None and whole is None:
            found = self._kept.by_id(body.id, 0)
            if found is not None and found.kind == CLASSIFY:
                found = self._kept.by_id(body.id, body.index)
        if found is None or not opens(found.name):
            raise ApiError(
                404,
                f"No answer {body.id[:80]!r} with the index {body.index} is known to this key. Known are the last "
                f"{MOST_RECENT:,} since the app's start, and those whose texts are kept.",
                "answer_not_found",
                "id",
            )
        if found.kind != CLASSIFY and body.index >= len(found.answers):
            raise ApiError(
                400,
                f"index is {body.index}, and this request has {len(found.answers)} answers.",
                "invalid_value",
                "index",
            )
        return found
