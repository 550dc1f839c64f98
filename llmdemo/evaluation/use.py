"""A finished classifier in use: one text with reasons, or a file of texts as a table. Imports torch.

The classifier that was used last stays in memory. Knows nothing of widgets.
"""

import csv
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from llmdemo.arena.cache import ModelCache
from llmdemo.core import threads
from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.data.files import open_batches
from llmdemo.data.format_detection import detect_format, shown_name
from llmdemo.data.report import safe_cell
from llmdemo.data.rows import BadRow
from llmdemo.evaluation import classifier
from llmdemo.evaluation.answers import chunks
from llmdemo.evaluation.class_metrics import softmax
from llmdemo.models import catalog
from llmdemo.settings import Settings

MOST_TEXTS = 5000
_MOST_CHARACTERS = 20_000
_NAMES = ("text", "message", "sentence", "content", "review", "body", "comment", "prompt", "instruction")
_BUDGET = 2 * 2**30
_PART = 256
_MOST_TOKENS = 512


class Classifiers:
    """One for the app. `explain` one text, or write the `table` of a file."""

    def __init__(self, home: Home, settings: Settings):
        self._home, self._settings = home, settings
        self._cache = ModelCache(classifier.load, _BUDGET)

    def explain(self, model_id: str, text: str) -> dict:
        """See classifier.explain. Raises UserError for a model that does not classify, or a text of no or many words."""
        if not isinstance(text, str) or len(text) > _MOST_CHARACTERS:
            raise UserError("err_text_too_long", most=_MOST_CHARACTERS)
        threads.use_all()
        with self._cache.use(self._entry(model_id)) as loaded, loaded.lock:
            return classifier.explain(loaded.model, loaded.tokenizer, text)

    def classify(self, model_id: str, texts: list[str]) -> tuple[list[str], list[list[float]], int]:
        """(labels, a probability a label for each text, tokens read). Raises UserError as `explain` does."""
        long = next((text for text in texts if len(text) > _MOST_CHARACTERS), None)
        if long is not None:
            raise UserError("err_text_of_many_too_long", n=len(long), most=_MOST_CHARACTERS)
        if not texts or not all(text.strip() for text in texts):
            raise UserError("err_no_texts_to_classify")
        threads.use_all()
        with self._cache.use(self._entry(model_id)) as loaded, loaded.lock:
            labels = classifier.labels_of(loaded.model)
            shares = softmax(classifier.logits_of(loaded.model, loaded.tokenizer, texts, _MOST_TOKENS))
            tokens = sum(map(len, loaded.tokenizer(texts, truncation=True, max_length=_MOST_TOKENS)["input_ids"]))
        return labels, [[float(share) for share in row] for row in shares], tokens

    def table(self, model_id: str, path: Path, folder: Path) -> Path:
        """A .csv in `folder` with text, label and probabilities for each of the first 5,000 texts of a file.

        Takes what data sets are made of: a column named text (or like it), else the one with the longest texts; of a
        text file each line. Cells that a spreadsheet would run are made harmless. Raises UserError.
        """
        threads.use_all()
        entry = self._entry(model_id)
        texts = read_texts(path, self._settings)
        target = folder / f"{Path(shown_name(path.name)).stem[:60]}-classified.csv"
        with self._cache.use(entry) as loaded, loaded.lock, open(target, "w", encoding="utf-8-sig", newline="") as file:
            labels = classifier.labels_of(loaded.model)
            writer = csv.writer(file)
            writer.writerow(["text", "label", "probability", *(safe_cell(f"p({label})") for label in labels)])
            for part in chunks(texts, _PART):
                for text, shares in zip(
                    part, softmax(classifier.logits_of(loaded.model, loaded.tokenizer, part, _MOST_TOKENS)), strict=True
                ):
                    best = int(shares.argmax())
                    writer.writerow(
                        [safe_cell(text), safe_cell(labels[best]), f"{shares[best]:.4f}", *(f"{p:.4f}" for p in shares)]
                    )
        return target

    def _entry(self, model_id: str):
        entry = catalog.resolve(self._home, model_id)
        if entry.task != "classify":
            raise UserError("err_no_classifier", title=entry.title)
        return entry


def read_texts(path: Path, settings: Settings) -> list[str]:
    """The first 5,000 texts of a file of any kind that data sets are read from. Raises UserError when there are none."""
    format_, encoding = detect_format(path, settings.max_upload_bytes)
    found: list[str] = []
    with closing(open_batches(path, format_, encoding, settings.max_rows)) as batches:
        for text in _texts(batches, format_ == "text"):
            if text.strip():
                found.append(text[:_MOST_CHARACTERS])
            if len(found) >= MOST_TEXTS:
                break
    if not found:
        raise UserError("err_no_texts", name=shown_name(path.name))
    return found


def _texts(batches, by_line: bool) -> Iterator[str]:
    column = None
    for batch in batches:
        rows = [row for row in batch.rows if not isinstance(row, BadRow)]
        column = column or _column(rows)
        for row in rows:
            text = row if isinstance(row, str) else row.get(column)
            if isinstance(text, str):
                yield from text.splitlines() if by_line else (text,)


def _column(rows: list) -> str | None:
    """The column that holds the texts: by its name, else by length."""
    sizes: dict[str, int] = {}
    for row in rows:
        for name, value in row.items() if isinstance(row, dict) else ():
            if isinstance(value, str):
                sizes[name] = sizes.get(name, 0) + len(value)
    named = [name for wanted in _NAMES for name in sizes if name.strip().casefold() == wanted]
    return named[0] if named else max(sizes, key=lambda name: sizes[name], default=None)
