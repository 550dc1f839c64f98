"""What a served model's training data is like: its surprise at the prompts, their languages, topics and classes.

Measured once for each model, while nobody uses it, at an even sample of the records of its run; kept as figures beside
what is served. A model that no run here made, or whose data is gone, has none. Knows no requests.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmdemo import data
from llmdemo.core import store
from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.evaluation.heldout import own_dataset
from llmdemo.serving.mix import LEAST_TEXTS, Topics, language_of

SAMPLE = 100
"""Prompts at which the model's surprise is measured."""
TEXTS = 2000
"""Prompts of which the topics are made, and languages and classes counted."""
_BUSY_SECONDS = 1.0
"""Until it is tried again whether the model is free."""
_MOST_CHARACTERS = 4000
_MOST_FILES = 100
_MOST_TOPICS = 8
log = logging.getLogger(__name__)


def training_prompts(home: Home, model_id: str, most: int) -> list[dict[str, Any]]:
    """At most `most` records that a model was trained on, evenly spread: {"prompt": messages or a text, "text", "label"}.

    text: the last thing that a user says; label: of a classifier's record, else "". Empty where its data is not here.
    """
    dataset_id = own_dataset(home, (model_id,))
    if dataset_id is None:
        return []
    records = data.open_records(home, dataset_id)
    count = min(len(records), most)
    found = []
    for record in records.rows([number * len(records) // count for number in range(count)] if count else []):
        if "messages" in record:
            turns = [{"role": turn["role"], "content": turn["content"]} for turn in record["messages"]]
            while turns and turns[-1]["role"] == "assistant":
                turns.pop()
            if turns:
                found.append({"prompt": turns, "text": turns[-1]["content"], "label": ""})
        else:
            text = record["text"][:_MOST_CHARACTERS]
            found.append({"prompt": text, "text": text, "label": record.get("label") or ""})
    return found


class Baselines:
    """One for the app. `measure(model_id, prompt)` gives nats a token, or None while the model is in use."""

    def __init__(self, home: Home, measure: Callable[[str, Any], float | None]):
        self._home, self._measure = home, measure
        self._known: dict[str, dict[str, Any] | None] = {}
        self._begun: dict[str, tuple[list[dict[str, Any]], list[float]]] = {}
        self._topics: dict[str, Topics | None] = {}

    def of(self, model_id: str) -> dict[str, Any] | None:
        """{"surprise": mean, "surprises": each, "languages", "topics", "classes": {name: share}}; None where it is not
        measured (yet)."""
        if model_id not in self._known:
            try:
                self._known[model_id] = store.read_json(self._file(model_id))
            except (OSError, ValueError):
                self._known[model_id] = None
        return self._known[model_id]

    def step(self, model_id: str, writes: bool) -> float | None:
        """Measures one more prompt of a model that has no baseline yet: after how many seconds the next may follow, None
        where there is no more to do. Raises UserError."""
        if self.of(model_id) is not None:
            return None
        if model_id not in self._begun:
            prompts = training_prompts(self._home, model_id, TEXTS)
            few = prompts[:: max(1, len(prompts) // SAMPLE)][:SAMPLE] if writes else []
            self._begun[model_id] = (few, [])
        few, found = self._begun[model_id]
        if few:
            surprise = self._measure(model_id, few[-1]["prompt"])
            if surprise is None:
                return _BUSY_SECONDS
            found.append(surprise)
            few.pop()
            return 0.0
        self._end(model_id, found)
        return None

    def topics(self, model_id: str) -> Topics | None:
        """The topics of a model's training data, made at the first call; None where there is too little."""
        if model_id not in self._topics:
            while len(self._topics) >= _MOST_TOPICS:
                self._topics.pop(next(iter(self._topics)))
            try:
                texts = [record["text"] for record in training_prompts(self._home, model_id, TEXTS)]
                self._topics[model_id] = Topics(texts) if len(texts) >= LEAST_TEXTS else None
            except (UserError, ValueError, OSError) as error:
                log.info("%s has no topics: %s", model_id, error)
                self._topics[model_id] = None
        return self._topics[model_id]

    def _end(self, model_id: str, surprises: list[float]) -> None:
        prompts = training_prompts(self._home, model_id, TEXTS)
        texts, topics = [record["text"] for record in prompts], self.topics(model_id)
        mixes = {
            "languages": Counter(language_of(text) for text in texts),
            "topics": Counter(topics.of(texts) if topics else ()),
            "classes": Counter(record["label"] for record in prompts if record["label"]),
        }
        told = {key: _shares(counts) for key, counts in mixes.items()}
        mean = round(sum(surprises) / len(surprises), 4) if surprises else None
        made = {"model_id": model_id, "records": len(prompts), "surprise": mean}
        made |= {"surprises": [round(value, 4) for value in surprises], **told}
        self._known[model_id] = made
        del self._begun[model_id]
        if not prompts:
            return  # its data may come later: looked for again after a restart
        try:
            file = self._file(model_id)
            file.parent.mkdir(parents=True, exist_ok=True)
            store.write_json(file, made)
            for old in sorted(file.parent.glob("*.json"), key=lambda each: each.stat().st_mtime)[:-_MOST_FILES]:
                old.unlink(missing_ok=True)
        except OSError as error:
            log.warning("figures of a model's training data could not be written: %s", error)

    def _file(self, model_id: str) -> Path:
        return self._home.serving / "baselines" / f"{hashlib.sha256(model_id.encode()).hexdigest()[:24]}.json"


def _shares(counts: "Counter[str]") -> dict[str, float]:
    total = counts.total()
    return {name: round(count / total, 4) for name, count in counts.most_common(20)} if total else {}
