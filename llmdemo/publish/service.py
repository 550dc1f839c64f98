"""Pushes of finished runs to the hub: each is a job with a process of its own. Joins runs, data sets and the card."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.languages import languages
from llmdemo.core.sentences import say
from llmdemo.core.store import read_json
from llmdemo.data import get_dataset
from llmdemo.jobs import Jobs, JobsOfKind, JobStatus, hub_kind
from llmdemo.jobs.states import COMPLETED, FINAL
from llmdemo.models import catalog, starter
from llmdemo.publish.adapter import packed_adapter
from llmdemo.publish.card import Facts, card
from llmdemo.publish.curves import draw_curves
from llmdemo.publish.portable import commands, findings
from llmdemo.publish.push import MARKER
from llmdemo.publish.space import app_files, file_name, packed

CARD = "card"
"""The folder, inside the job's, with what goes beside the model's files."""
RESUME = say("resume_push")
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.\-]{0,40}")
_AT_ONCE = 4
_STOP_SECONDS = 8.0
_NOTHING = {"sent": 0, "total": 0, "file": ""}


class Pushes(JobsOfKind):
    """All pushes of a home folder, known by the run whose model they send. A token lives only as long as its push."""

    def __init__(self, jobs: Jobs, runs):
        self._home, self._runs = jobs.home, runs
        kind = hub_kind("push", say("noun_push"), "pushes", "llmdemo.publish.worker", _AT_ONCE, _STOP_SECONDS, RESUME)
        super().__init__(jobs, kind)

    def start(
        self,
        run_id: str,
        repo: str,
        token: str,
        *,
        private: bool = True,
        licence: str = "",
        space: bool = False,
        language: str = "en",
    ) -> dict:
        """Begins to push the model of a finished run with a card in this language, or a Space with it and a chat page;
        returns its state. Raises UserError when it cannot begin."""
        if language not in languages():
            raise UserError("err_card_language", language=repr(language)[:40], names=list(languages()))
        licence = _checked_licence(licence)
        files = self._page(run_id, licence) if space else self._card(run_id, licence, language)
        if not str(token or "").strip():
            raise UserError("err_push_no_token")

        def fill(folder: Path) -> None:
            (folder / CARD).mkdir()
            for name, content in files.items():
                (folder / CARD / name).write_bytes(content)

        last = self._last(run_id)
        if last and last["state"] not in FINAL:
            return self.state(run_id)
        config = {"run_id": run_id, "repo": str(repo).strip(), "private": private is not False, "space": space}
        self.jobs.start(self.kind, config, run_id, secret=str(token), fill=fill)
        if last:  # of each run the last push is known
            self.delete(last["job_id"])
        return self.state(run_id)

    def stop(self, run_id: str) -> dict:
        """Breaks the push of a run off; what has been sent stays there."""
        if last := self._last(run_id):
            self.jobs.stop(last["job_id"])
        return self.state(run_id)

    def state(self, run_id: str) -> dict:
        """{"state": none | going | done | failed | stopped, sent, total, file, url, revision, message, hint}."""
        last = self._last(run_id)
        return self.shown(last) if last else {"state": "none"}

    def shown(self, status: JobStatus) -> dict:
        """The state of a push."""
        if status["state"] not in FINAL:
            progress = status["figures"].get("progress") or {}
            return {"state": "going", **{key: progress.get(key, empty) for key, empty in _NOTHING.items()}}
        if status["state"] == COMPLETED:
            return {
                "state": "done",
                **read_json(self.kind.job_folder(self._home.root, status["job_id"]).path / "result.json"),
            }
        return {key: status[key] for key in ("state", "message", "hint")}

    def _last(self, run_id: str) -> JobStatus | None:
        """The newest push of a run's model; a push is named like its run."""
        return next((status for status in self.jobs.all(self.kind) if status["name"] == run_id), None)

    def follow(self, run_id: str, every: float = 1.0) -> Iterator[dict]:
        """The states of a push until it is over, one each `every` seconds."""
        while True:
            state = self.state(run_id)
            yield state
            if state["state"] != "going":
                return
            time.sleep(every)

    def licence(self, run_id: str) -> str:
        """The licence that the base model's is known to be; "other" where it is not known."""
        return "apache-2.0" if self._base(self._runs.config(run_id)) == starter.REPOSITORY else "other"

    def _page(self, run_id: str, licence: str) -> dict[str, bytes]:
        """What stands beside the model in a Space. Raises UserError for a run without a model."""
        entry = catalog.resolve(self._home, run_id)
        marker = {MARKER: json.dumps({"run": run_id}).encode()}
        return app_files(entry, self._runs.status(run_id)["name"], licence or self.licence(run_id)) | marker

    def packed(self, run_id: str, folder: Path) -> Path:
        """A .zip in `folder` with the model and an app.py that runs alone. Raises UserError for a run without a model."""
        entry = catalog.resolve(self._home, run_id)
        title = str(self._runs.status(run_id)["name"])
        return packed(entry, title, folder / f"{file_name(title)}.zip")

    def adapter(self, run_id: str, folder: Path) -> Path:
        """A .zip in `folder` with a LoRA run's adapters by themselves. Raises UserError for another run."""
        return packed_adapter(self._home, run_id, folder, file_name(str(self._runs.status(run_id)["name"])))

    def elsewhere(self, run_id: str, repo: str = "") -> dict:
        """{"findings": what other servers would stumble over, "commands": {server: command}, "name"} of a run's model."""
        entry = catalog.resolve(self._home, run_id)
        assert entry.path is not None, "a resolved model has a folder"
        name = file_name(str(self._runs.status(run_id)["name"]))
        told = [finding.to_dict() for finding in findings(entry.path)]
        return {"findings": told, "commands": commands(name, repo or f"USER/{name}", not entry.writes), "name": name}

    def _card(self, run_id: str, licence: str, language: str) -> dict[str, bytes]:
        """What goes beside the model's files, and tells of its run. Raises UserError for a run without a model."""
        status = self._runs.status(run_id)
        catalog.resolve(self._home, run_id)  # raises unless its model is whole
        facts = self._facts(run_id, status)
        base = self._base(facts.config)
        training = {"run": run_id, "config": _public(facts.config), "curves": facts.curves, "samples": facts.samples}
        return {
            "training.json": json.dumps(training, ensure_ascii=False, indent=1).encode(),
            "curves.png": draw_curves(facts.curves),
            "README.md": card(facts, licence or self.licence(run_id), base, language).encode(),
            MARKER: json.dumps({"run": run_id}).encode(),
        }

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
        raise UserError("err_no_licence", licence=repr(licence[:60]))
    return licence
