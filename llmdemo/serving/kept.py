"""Texts of requests and what people said of the answers, in one SQLite file of the home folder. Knows no model and no HTTP.

Texts are kept only while an owner has turned that on: at most so many, for so many days, with secrets and e-mail
addresses masked (data/checks.py). Opinions (a thumb, a label that came later) hold no text and are always taken. Which
are removed first follows from the order in which they came, not from a clock that may be set back. What is removed is
overwritten in the file (secure_delete) and in its journal, which stays for that; a disk that writes elsewhere instead (an
SSD, a file system that copies on write) may hold it a while longer.
"""

import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from llmdemo.core import store
from llmdemo.core.errors import UserError
from llmdemo.data.checks import masked

MOST_TEXTS, MOST_DAYS = 100_000, 365
_MOST_OPINIONS = 100_000
_MOST_CHARACTERS = 200_000
"""Of one request's prompt and answers together: longer ones are not kept."""
_DAY = 86_400.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS texts (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL, place INTEGER NOT NULL, at REAL NOT NULL,
  name TEXT NOT NULL, model_id TEXT NOT NULL, kind TEXT NOT NULL,
  prompt TEXT NOT NULL, answers TEXT NOT NULL,  -- JSON
  beside_id TEXT, beside TEXT,                  -- the model on trial, and what it said to the same request
  thumb INTEGER, choice INTEGER NOT NULL DEFAULT 0, correction TEXT,
  better TEXT, verdict TEXT NOT NULL DEFAULT '', dataset_id TEXT,
  UNIQUE (id, place)
);
CREATE TABLE IF NOT EXISTS opinions (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL, place INTEGER NOT NULL, at REAL NOT NULL, name TEXT NOT NULL, model_id TEXT NOT NULL,
  thumb INTEGER, predicted TEXT, label TEXT,
  label_at REAL,  -- when the label was said, and `at` when the thumb was; NULL: both then, as earlier versions had it
  UNIQUE (id, place)
);
"""
CHAT, CLASSIFY = "chat", "classify"
THUMBS = {"up": 1, "down": -1}
STATES = {
    "new": "verdict = '' AND (thumb IS NOT NULL OR correction IS NOT NULL OR better IS NOT NULL)",
    "pairs": "beside IS NOT NULL AND better IS NULL",
    "all": "1",
    "taken": "verdict = 'take' AND dataset_id IS NULL",
    "left": "verdict = 'leave'",
    "done": "dataset_id IS NOT NULL",
}
"""What a list may hold: with an opinion and not reviewed; answered by two models and not compared; …"""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Keeping:
    """Whether texts are kept, and how many for how long."""

    on: bool = False
    most: int = 2000
    days: int = 30


@dataclass(frozen=True)
class Text:
    """One request with its answers, as it is kept."""

    id: str
    """What the caller knows it by: chatcmpl-…, classify-…"""
    place: int
    """Of a classifier's texts, which; 0 for a chat."""
    name: str
    model_id: str
    kind: str
    prompt: list[dict[str, str]] | str
    answers: list[str]
    at: float = 0.0
    number: int = 0
    beside_id: str | None = None
    beside: str | None = None
    thumb: int | None = None
    """1 or -1; None: nobody said."""
    choice: int = 0
    """Which of the answers the opinion is about."""
    correction: str | None = None
    better: str | None = None
    """Of a pair: now, beside or same; None: not compared."""
    verdict: str = ""
    """An owner's: take, leave or "" before the review."""
    dataset_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Before(NamedTuple):
    """What was said of an answer before, and when each was said last, in seconds since 1970; None: nothing was."""

    thumb: int | None = None
    label: str | None = None
    thumb_at: float | None = None
    label_at: float | None = None

    @property
    def up_or_down(self) -> str:
        """The thumb's name; "" for none."""
        return next((name for name, value in THUMBS.items() if value == self.thumb), "")


class Kept:
    """The file. Any thread, and any app on the home folder, may call it."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time):
        self._folder, self._clock = folder, clock
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    # ---- whether

    def keeping(self) -> Keeping:
        """What an owner has chosen; nothing is kept where that cannot be read."""
        return self._chosen() or Keeping()

    def _chosen(self) -> Keeping | None:
        """What an owner has chosen; None where it cannot be read, so that nothing is removed by bounds that nobody chose."""
        try:
            keeping = Keeping(**store.read_json(self._folder / "keeping.json"))
            bounds = (keeping.most, keeping.days)
            if not isinstance(keeping.on, bool) or any(type(bound) is not int for bound in bounds):
                raise ValueError(f"odd bounds {bounds}")
            return keeping
        except FileNotFoundError:
            return Keeping()
        except (OSError, ValueError, TypeError) as error:
            log.error("no texts are kept: keeping.json cannot be read (%s)", error)
            return None

    def keep(self, on: bool, most: int = Keeping.most, days: int = Keeping.days) -> Keeping:
        """Turns it on or off; what is there already goes by its age and the bound. Raises UserError for odd bounds."""
        for key, value, top in (("most", most, MOST_TEXTS), ("days", days, MOST_DAYS)):
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= top:
                raise UserError("err_keeping", key=key, given=repr(str(value)[:40]), most=top)
        self._folder.mkdir(parents=True, exist_ok=True)
        keeping = Keeping(bool(on), most, days)
        store.write_json(self._folder / "keeping.json", asdict(keeping))
        self._sweep(keeping)
        return keeping

    def forget(self) -> None:
        """Removes all texts; opinions, which are figures, stay."""
        with self._changing() as db:
            gone = db.execute("DELETE FROM texts").rowcount
        self._wipe_journal(gone)

    # ---- what comes from requests

    def add(self, text: Text) -> bool:
        """Keeps a request where that is on; whether it was kept. A full disk or a damaged file lose the text, not the
        answer."""
        keeping = self.keeping()
        parts = [turn["content"] for turn in text.prompt] if isinstance(text.prompt, list) else [text.prompt]
        if not keeping.on or sum(map(len, [*parts, *text.answers])) > _MOST_CHARACTERS:
            return False
        clean = masked([*parts, *text.answers])
        prompt: Any = clean[0]
        if isinstance(text.prompt, list):
            prompt = [{**turn, "content": said} for turn, said in zip(text.prompt, clean, strict=False)]
        row = (text.id, text.place, self._clock(), text.name, text.model_id, text.kind, _json(prompt))
        try:
            with self._changing() as db:
                db.execute(
                    "INSERT OR IGNORE INTO texts (id, place, at, name, model_id, kind, prompt, answers) VALUES (?,?,?,?,?,?,?,?)",
                    (*row, _json(clean[len(parts) :])),
                )
            self._sweep(keeping)
            return True
        except (sqlite3.Error, OSError, UserError) as error:
            log.warning("a request's text was not kept: %s", error)
            return False

    def add_beside(self, id_: str, model_id: str, answer: str) -> None:
        """What the model on trial said to a request that is kept."""
        try:
            self._update("id = ? AND place = 0", (id_,), beside_id=model_id, beside=masked([answer])[0])
        except (sqlite3.Error, OSError, UserError) as error:
            log.warning("an answer of the model on trial was not kept: %s", error)

    def opinion(self, text: Text, thumb: int | None, label: str | None) -> Before:
        """Takes an opinion of an answer, in place of an earlier one, which this returns; the same said again changes nothing,
        nor when it was said, and a thumb nothing of the label, nor the reverse. `text` needs no texts, but answers[choice]
        of a classifier, its predicted label; its place is the answer's."""
        predicted = text.answers[text.choice] if text.kind == CLASSIFY else None
        with self._changing() as db:
            db.execute("BEGIN IMMEDIATE")  # no other app takes one between reading and writing
            before = self._before(db, text.id, text.place)
            now, thumb_at, label_at = self._clock(), before.thumb_at, before.label_at
            thumb, thumb_at = (before.thumb, thumb_at) if thumb in (None, before.thumb) else (thumb, now)
            label, label_at = (before.label, label_at) if label in (None, before.label) else (label, now)
            if (thumb, label) == (before.thumb, before.label):
                return before
            at = now if thumb_at is None else thumb_at
            db.execute(
                "INSERT INTO opinions (id, place, at, name, model_id, thumb, predicted, label, label_at)"
                " VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (id, place) DO UPDATE SET thumb = excluded.thumb,"
                " label = excluded.label, at = excluded.at, label_at = excluded.label_at",
                (text.id, text.place, at, text.name, text.model_id, thumb, predicted, label, label_at),
            )
            db.execute(f"DELETE FROM opinions WHERE number <= (SELECT max(number) FROM opinions) - {_MOST_OPINIONS}")
        return before

    def withdraw(self, id_: str) -> Before:
        """Takes an opinion back, and returns it."""
        with self._changing() as db:
            before = self._before(db, id_, 0)
            db.execute("DELETE FROM opinions WHERE id = ? AND place = 0", (id_,))
        return before

    def _before(self, db: sqlite3.Connection, id_: str, place: int) -> Before:
        said = "thumb, label, CASE WHEN thumb THEN at END, CASE WHEN label IS NOT NULL THEN coalesce(label_at, at) END"
        found = db.execute(f"SELECT {said} FROM opinions WHERE id = ? AND place = ?", (id_, place)).fetchone()
        return Before(*found) if found else Before()

    def correct(self, id_: str, place: int, thumb: int | None, correction: str | None) -> bool:
        """Puts thumb and correction beside a kept text; whether there is one that no owner has reviewed: what an owner has
        taken stays as it was reviewed. Of a chat's answers `place` is the one that is spoken of, and each after the first
        gets a text of its own, with the same prompt, when something is said of it."""
        values: dict[str, Any] = {} if place else {"choice": 0}  # an older version put another answer there
        values |= {"thumb": thumb} if thumb is not None else {}
        values |= {"correction": masked([correction])[0]} if correction is not None else {}
        if place:
            self._apart(id_, place)
        return self._update("id = ? AND place = ? AND verdict = ''", (id_, place), **values) > 0

    def _apart(self, id_: str, place: int) -> None:
        """A text for the answer `place` of a chat, as its first one's was kept; nothing where there is one, or none to copy."""
        same = "id, at, name, model_id, kind, prompt, answers"
        with self._changing() as db:
            db.execute(
                f"INSERT OR IGNORE INTO texts (place, choice, {same}) SELECT ?, ?, {same} FROM texts"
                " WHERE id = ? AND place = 0 AND kind = ?",
                (place, place, id_, CHAT),
            )

    # ---- what owners see

    def get(self, number: int) -> Text:
        """A kept text by its number. Raises UserError where it has gone."""
        found = self._select("number = ?", (number,))
        if not found:
            raise UserError("err_kept_gone")
        return found[0]

    def by_id(self, id_: str, place: int = 0) -> Text | None:
        found = self._select("id = ? AND place = ?", (id_, place))
        return found[0] if found else None

    def page(self, name: str, state: str = "new", offset: int = 0, size: int = 20) -> tuple[list[Text], int]:
        """(texts of a served name in a state, the newest first, how many there are in all). Raises UserError."""
        if state not in STATES:
            raise UserError("err_kept_state", given=repr(str(state)[:40]), known=list(STATES))
        if keeping := self._chosen():
            self._sweep(keeping)
        where, values = f"name = ? AND {STATES[state]}", (name,)
        return self._select(f"{where} ORDER BY number DESC LIMIT ? OFFSET ?", (*values, size, offset)), self._count(
            where, values
        )

    def counts(self, name: str) -> dict[str, int]:
        """How many texts of a served name are in each state."""
        return {state: self._count(f"name = ? AND {where}", (name,)) for state, where in STATES.items()}

    def review(self, number: int, **values: Any) -> Text:
        """Sets verdict, better, correction or choice of a text. Raises UserError where it has gone."""
        if values.get("correction") is not None:
            values["correction"] = masked([values["correction"]])[0]
        if not self._update("number = ?", (number,), **values):
            raise UserError("err_kept_gone")
        return self.get(number)

    def used(self, numbers: list[int], dataset_id: str) -> None:
        """These have become records of a data set."""
        for number in numbers:
            self._update("number = ?", (number,), dataset_id=dataset_id)

    def opinions(self, since: float = 0.0) -> dict[tuple[str, str], dict[str, int]]:
        """{(name, model id): {up, down, labelled, right}} of the opinions since a time."""
        rows = self._query(
            "WITH said AS (SELECT name, model_id, predicted, CASE WHEN at > ?1 THEN thumb END AS thumb,"
            " CASE WHEN coalesce(label_at, at) > ?1 THEN label END AS label FROM opinions)"
            " SELECT name, model_id, sum(thumb = 1), sum(thumb = -1), count(label), sum(label = predicted) FROM said"
            " WHERE thumb IS NOT NULL OR label IS NOT NULL GROUP BY name, model_id",
            (since,),
        )
        keys = ("up", "down", "labelled", "right")
        return {(row[0], row[1]): dict(zip(keys, (value or 0 for value in row[2:]), strict=True)) for row in rows}

    def picks(self, name: str, model_id: str, beside_id: str) -> dict[str, int]:
        """{now, beside, same}: how often an owner found which answer better, of these two models."""
        rows = self._query(
            "SELECT better, count(*) FROM texts WHERE name = ? AND model_id = ? AND beside_id = ? AND better IS NOT NULL"
            " GROUP BY better",
            (name, model_id, beside_id),
        )
        return {"now": 0, "beside": 0, "same": 0, **dict(rows)}

    # ---- the file

    def _select(self, where: str, values: tuple) -> list[Text]:
        names = list(Text.__dataclass_fields__)
        rows = self._query(f"SELECT {', '.join(names)} FROM texts WHERE {where}", values)
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [
            Text(**{**row, "prompt": json.loads(row["prompt"]), "answers": json.loads(row["answers"])}) for row in found
        ]

    def _count(self, where: str, values: tuple) -> int:
        return self._query(f"SELECT count(*) FROM texts WHERE {where}", values)[0][0]

    def _update(self, where: str, values: tuple, **changes: Any) -> int:
        columns = ", ".join(f"{name} = ?" for name in changes)
        with self._changing() as db:
            return db.execute(f"UPDATE texts SET {columns} WHERE {where}", (*changes.values(), *values)).rowcount

    def _query(self, sql: str, values: tuple) -> list[tuple]:
        if not (self._folder / "requests.sqlite").exists():
            return [(0,)] if sql.startswith("SELECT count(*) FROM texts") else []
        with self._lock:
            return self._db().execute(sql, values).fetchall()

    def _sweep(self, keeping: Keeping) -> None:
        """Removes what is too old, or beyond the bound; of these the ones that came first."""
        if not (self._folder / "requests.sqlite").exists():
            return
        oldest = self._clock() - keeping.days * _DAY
        with self._changing() as db:
            gone = db.execute("DELETE FROM texts WHERE at < ?", (oldest,)).rowcount
            gone += db.execute(
                "DELETE FROM texts WHERE number <= (SELECT number FROM texts ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (keeping.most,),
            ).rowcount
        self._wipe_journal(gone)

    def _wipe_journal(self, gone: int) -> None:
        """Overwrites the journal, which holds what was in the file before the last change, where rows are gone."""
        journal = self._folder / "requests.sqlite-journal"
        if not gone or not journal.is_file():
            return
        with self._lock:
            db = self._db()
            db.execute("BEGIN EXCLUSIVE")  # no other app is amid a change, which would need its journal
            try:
                with open(journal, "r+b") as file:
                    file.write(bytes(journal.stat().st_size))
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                db.execute("COMMIT")

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._db() as connection:
            yield connection

    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / "requests.sqlite"
            connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
            path.chmod(0o600)
            settings = "PRAGMA journal_mode=PERSIST; PRAGMA synchronous=OFF; PRAGMA secure_delete=ON;"
            try:
                connection.executescript(settings + _SCHEMA)
                if "label_at" not in [row[1] for row in connection.execute("PRAGMA table_info(opinions)")]:
                    connection.execute("ALTER TABLE opinions ADD COLUMN label_at REAL")
            except sqlite3.OperationalError:
                raise  # locked, or the disk is full: another time it may be well
            except sqlite3.DatabaseError as error:
                raise UserError("err_kept_damaged", file=path.name, folder=self._folder.name) from error
            self._connection = connection
        return self._connection


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
