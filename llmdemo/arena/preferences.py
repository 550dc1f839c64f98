"""Which answer a person found better: pairs that grow a preference data set, for training with DPO. Knows no models.

A data set never changes once it is there, because runs are made from it: every pair makes the next version of it, and
the version before goes when nothing in the home folder speaks of it.
"""

import threading
from collections.abc import Iterable
from dataclasses import replace

from llmdemo.arena.prompt import Prompt
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home
from llmdemo.data.ingest import add_rows
from llmdemo.data.library import (
    DatasetInfo,
    clean_name,
    delete_dataset,
    folder_of,
    get_dataset,
    list_datasets,
    save_info,
)
from llmdemo.data.records import open_records
from llmdemo.data.rows import batches_of
from llmdemo.settings import Settings

DEFAULT_NAME = "Arena preferences"
_LONGEST_NOTE = 2**20
_lock = threading.Lock()  # of all instances: the next version is made from the newest
_MOST_PAIRS = 64
_COLUMNS = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}


class Preferences:
    """The pairs picked in one app. Any thread may call it."""

    def __init__(self, home: Home, settings: Settings):
        self._home = home
        self._settings = settings

    def sets(self) -> list[dict]:
        """The data sets that pairs can be added to: [{dataset_id, name, pairs}], the newest version of each name."""
        found: dict[str, dict] = {}
        for info in list_datasets(self._home):
            if info.task == "preference":
                found.setdefault(info.name, {"dataset_id": info.dataset_id, "name": info.name, "pairs": info.kept})
        return list(found.values())

    def add(self, name: str, prompt, chosen: str, rejected, tokenizer=None) -> dict:
        """Appends one pair, or one for each text of a list `rejected`; returns {dataset_id, name, pairs, added}.

        `prompt` is what Prompt.from_value takes; it must be a chat. A pair that is there already adds nothing. Raises
        UserError when the answers are empty or alike, or the name belongs to data of another kind.
        """
        return self._add(name, _pairs(prompt, chosen, rejected), tokenizer, say("data_change_preference"))

    def add_many(self, name: str, pairs: Iterable[tuple[str, str, str]], tokenizer=None) -> dict:
        """Appends pairs (prompt, chosen, rejected) in one new version; as `add`, else. Raises UserError without any."""
        rows = [row for pair in pairs for row in _pairs(*pair)]
        if not rows:
            raise UserError("err_no_pairs")
        return self._add(name, rows, tokenizer, say("data_change_votes"))

    def _add(self, name: str, rows: list[dict], tokenizer, change: str) -> dict:
        name = clean_name(str(name or "").strip() or DEFAULT_NAME)
        with _lock:
            before = self._newest(name)
            old = _rows(self._home, before) if before else []
            seen = {_key(row) for row in old}
            fresh = list({_key(row): row for row in rows if _key(row) not in seen}.values())
            info = before if before and not fresh else self._write(name, [*old, *fresh], before, tokenizer, change)
            return {"dataset_id": info.dataset_id, "name": info.name, "pairs": info.kept, "added": len(fresh)}

    def _newest(self, name: str) -> DatasetInfo | None:
        same = [info for info in list_datasets(self._home) if info.name == name]
        if same and same[0].task != "preference":
            raise UserError("err_no_preference_set", name=name)
        return same[0] if same else None

    def _write(self, name: str, rows: list[dict], before: DatasetInfo | None, tokenizer, change: str) -> DatasetInfo:
        source = {"arena": len(rows)}
        info = add_rows(
            self._home,
            self._settings,
            batches_of(rows),
            name,
            "arena",
            source,
            columns=_COLUMNS,
            task="preference",
            tokenizer=tokenizer,
            expected_rows=len(rows),
        )
        if before is None:
            return info
        info = replace(
            info,
            parent=before.dataset_id,
            family=before.family or before.dataset_id,
            version=before.version + 1,
            change=change,
        )
        save_info(folder_of(self._home, info.dataset_id), info)
        if "arena" in before.source and not _is_named(self._home, before.dataset_id):
            delete_dataset(self._home, before.dataset_id)
        return get_dataset(self._home, info.dataset_id)


def _pairs(prompt, chosen, rejected) -> list[dict]:
    asked = Prompt.from_value(prompt)
    if asked.raw is not None:
        raise UserError("err_preference_raw")
    others = [rejected] if isinstance(rejected, str) else rejected
    if not isinstance(others, (list, tuple)) or not 0 < len(others) <= _MOST_PAIRS:
        raise UserError("err_no_other_answer")
    better, worse = _answer(chosen), [_answer(text) for text in others]
    unlike = [text for text in dict.fromkeys(worse) if text.strip() != better.strip()]
    if not unlike:
        raise UserError("err_same_answers")
    turns = [dict(message) for message in asked.messages]
    return [{"prompt": turns, "chosen": better, "rejected": text} for text in unlike]


def _answer(text) -> str:
    if not isinstance(text, str) or not text.strip():
        raise UserError("err_empty_answer")
    return text.encode("utf-8", "replace").decode()


def _rows(home: Home, info: DatasetInfo) -> list[dict]:
    return [
        {"prompt": record["messages"], "chosen": record["chosen"], "rejected": record["rejected"]}
        for record in open_records(home, info.dataset_id, everything=True)
    ]


def _key(row: dict) -> tuple:
    turns = tuple((turn["role"], turn["content"].strip()) for turn in row["prompt"])
    return turns, row["chosen"].strip(), row["rejected"].strip()


def _is_named(home: Home, dataset_id: str) -> bool:
    """True if a run, an experiment or anything else in the home folder speaks of the data set."""
    needle = dataset_id.encode()
    for pattern in ("*/*/*.json", "*/*.json"):
        for file in home.root.glob(pattern):
            inside = file.relative_to(home.root).parts[0]
            if inside in (home.datasets.name, home.models.name, home.tmp.name):
                continue
            try:
                if file.stat().st_size <= _LONGEST_NOTE and needle in file.read_bytes():
                    return True
            except OSError:
                continue
    return False
