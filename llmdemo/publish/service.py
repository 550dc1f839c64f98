"""Pushes of finished runs: one at a time a run, in a thread, with progress. Joins runs, data sets, card and transfer."""

import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from llmdemo.data import get_dataset
from llmdemo.errors import UserError
from llmdemo.models import catalog, starter
from llmdemo.publish.card import Facts, card
from llmdemo.publish.curves import draw_curves
from llmdemo.publish.push import MARKER, Stopped, push
from llmdemo.store import Home, child

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.\-]{0,40}")
_OWN = ("README.md", "curves.png", "training.json", MARKER, "origin.json")
log = logging.getLogger(__name__)


class Pushes:
    """All pushes of this app. Any thread may call it; a token lives only as long as its push."""

    def __init__(self, home: Home, runs):
        self._home, self._runs = home, runs
        self._states: dict[str, dict] = {}
        self._stops: dict[str, threading.Event] = {}
        self._lock = threading.Condition()

    def start(self, run_id: str, repo: str, token: str, *, private: bool = True, licence: str = "") -> dict:
        """Begins to push the model of a finished run; returns its state. Raises UserError when it cannot begin."""
        files = self._files(run_id, _checked_licence(licence))
        with self._lock:
            if self._states.get(run_id, {}).get("state") == "going":
                return dict(self._states[run_id])
            self._states[run_id] = {"state": "going", "sent": 0, "total": 0, "file": ""}
            stop = self._stops[run_id] = threading.Event()
        work = (run_id, files, str(repo).strip(), token, private is not False, stop)
        threading.Thread(target=self._work, args=work, name="push", daemon=True).start()
        return self.state(run_id)

    def stop(self, run_id: str) -> dict:
        """Breaks the push off; what has been sent stays there."""
        with self._lock:
            if run_id in self._stops:
                self._stops[run_id].set()
        return self.state(run_id)

    def state(self, run_id: str) -> dict:
        """{"state": none | going | done | failed | stopped, sent, total, file, url, revision, message, hint}."""
        with self._lock:
            return dict(self._states.get(run_id, {"state": "none"}))

    def follow(self, run_id: str, every: float = 1.0) -> Iterator[dict]:
        """The states of a push until it is over, at most one each `every` seconds."""
        while True:
            with self._lock:
                state = dict(self._states.get(run_id, {"state": "none"}))
                if state["state"] == "going":
                    self._lock.wait(every)
            yield state
            if state["state"] != "going":
                return

    def licence(self, run_id: str) -> str:
        """The licence that the base model's is known to be; "other" where it is not known."""
        return "apache-2.0" if self._base(self._runs.config(run_id)) == starter.REPOSITORY else "other"

    def _work(self, run_id: str, files: dict, repo: str, token: str, private: bool, stop: threading.Event) -> None:
        def progress(sent: int, total: int, name: str) -> None:
            self._set(run_id, state="going", sent=sent, total=total, file=name)

        try:
            made = push(files, repo, token, private=private, progress=progress, should_stop=stop.is_set)
            self._set(run_id, state="done", **made)
        except Stopped:
            self._set(run_id, state="stopped", message="Stopped.", hint="Push again: what was sent is not sent again.")
        except UserError as error:
            self._set(run_id, state="failed", message=error.message, hint=error.hint)
        except Exception as error:  # the end of a thread: whatever it was must be said, without the token
            log.error("a push failed: %s", type(error).__name__)
            message = f"The push failed ({type(error).__name__})."
            self._set(run_id, state="failed", message=message, hint="Try again.")

    def _set(self, run_id: str, **state) -> None:
        with self._lock:
            self._states[run_id] = {**self._states.get(run_id, {}), **state}
            self._lock.notify_all()

    def _files(self, run_id: str, licence: str) -> dict[str, Path | bytes]:
        """The model's files, and what tells of its run."""
        folder = child(self._home.runs, str(run_id)) / "model"
        status = self._runs.status(run_id)
        catalog.resolve(self._home, run_id)  # raises unless its model is whole
        facts = self._facts(run_id, status)
        base = self._base(facts.config)
        files: dict[str, Path | bytes] = {
            path.name: path for path in sorted(folder.iterdir()) if path.is_file() and path.name not in _OWN
        }
        training = {"run": run_id, "config": _public(facts.config), "curves": facts.curves, "samples": facts.samples}
        files["training.json"] = json.dumps(training, ensure_ascii=False, indent=1).encode()
        files["curves.png"] = draw_curves(facts.curves)
        files["README.md"] = card(facts, licence or self.licence(run_id), base).encode()
        files[MARKER] = json.dumps({"run": run_id}).encode()
        return files

    def _facts(self, run_id: str, status: dict) -> Facts:
        config = self._runs.config(run_id)
        return Facts(
            name=status["name"],
            config=config,
            status=status,
            curves=self._runs.series(run_id, 400),
            samples=self._runs.samples(run_id),
            dataset=self._data(str((config.get("dataset") or {}).get("id"))),
        )

    def _data(self, dataset_id: str) -> dict:
        try:
            info = get_dataset(self._home, dataset_id)
        except UserError:
            return {}
        source = info.source or {}
        known = {"rows": info.rows, "kept": info.kept, "source": source.get("hub") or source.get("file")}
        return known | {key: source.get(key) for key in ("licence", "citation")}

    def _base(self, config: dict) -> str:
        """The hub's name of the base model; "" where it has none."""
        model_id = str((config.get("model") or {}).get("id", ""))
        if model_id == catalog.STARTER_ID:
            return starter.REPOSITORY
        return model_id.partition("@")[0] if re.fullmatch(r"[\w.-]+/[\w.-]+(@.+)?", model_id) else ""


def _public(config: dict) -> dict:
    """The settings without paths of this computer."""
    model = {key: value for key, value in (config.get("model") or {}).items() if key != "path"}
    if str(model.get("id", "")).startswith(("/", "~")) or ":\\" in str(model.get("id", "")):
        model["id"] = Path(str(model["id"])).name
    return {**config, "model": model, **({"model_id": model["id"]} if "model_id" in config and "id" in model else {})}


def _checked_licence(licence: str) -> str:
    licence = str(licence or "").strip().lower()
    if licence and not _LICENCE.fullmatch(licence):
        raise UserError(
            f"{licence[:60]!r} is no name of a licence.", 'Take one as the hub writes it: "apache-2.0", "mit", "other".'
        )
    return licence
