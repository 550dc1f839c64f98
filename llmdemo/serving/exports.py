"""Exports of finished models as GGUF: each is a job whose folder holds the file, a Modelfile and what it costs in loss.

Joins jobs and evaluations' held-out records. The writing is in export_worker.py, in a process of its own.
"""

import zipfile
from pathlib import Path
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import read_json
from llmdemo.jobs import Jobs, JobsOfKind, JobStatus, Kind, worker_of
from llmdemo.jobs.states import COMPLETED
from llmdemo.models import catalog
from llmdemo.settings.evaluation import Spec

QUANTISATIONS = ("f32", "f16", "q8_0", "q4_0")
"""As gguf_write.py has them, which imports torch."""
LOSS_RECORDS = 32
"""Held-out records on which an export's loss is taken."""


class Exports(JobsOfKind):
    """All exports of a home folder."""

    def __init__(self, jobs: Jobs, evaluations: Any):
        self._home, self._evaluations = jobs.home, evaluations
        kind = Kind(
            name="export",
            noun=say("noun_export"),
            prefix="export",
            folder="exports",
            command=worker_of("llmdemo.serving.export_worker"),
        )
        super().__init__(jobs, kind)

    def start(self, model_id: str, quantisation: str = "q8_0") -> str:
        """Queues the export of a finished run's model, or of another one that is here; its id. Raises UserError."""
        if quantisation not in QUANTISATIONS:
            raise UserError("err_quantisation", given=repr(str(quantisation)[:40]), known=QUANTISATIONS)
        entry = catalog.resolve(self._home, model_id)
        if not entry.writes:
            raise UserError("err_export_task", title=entry.title)
        config = {
            "model_id": entry.id,
            "quantisation": quantisation,
            "title": entry.title,
            "spec": self._spec(entry.id),
        }
        return self.jobs.start(self.kind, config, f"{entry.title} {quantisation}")

    def shown(self, status: JobStatus) -> dict[str, Any]:
        """{export_id, model_id, quantisation, state, done, total, stage ("measuring" or ""), message, hint}; once completed file, bytes, loss too."""
        job = self.kind.job_folder(self._home.root, status["job_id"])
        config = job.config()
        progress = status["figures"].get("progress") or {}
        told = {key: config.get(key) for key in ("model_id", "quantisation")}
        told |= {"state": status["state"], "done": progress.get("done", 0), "total": progress.get("total", 0)}
        told |= {"stage": progress.get("stage", "")} | {key: status[key] for key in ("message", "hint")}
        result = read_json(job.path / "result.json") if status["state"] == COMPLETED else {}
        return {"export_id": status["job_id"], **told, **result}

    def of_model(self, model_id: str) -> list[dict[str, Any]]:
        """The exports of one model, the newest first."""
        found = [self.shown(status) for status in self.jobs.all(self.kind)]
        return [each for each in found if each["model_id"] == model_id]

    def packed(self, export_id: str, folder: Path) -> Path:
        """A .zip in `folder` with the GGUF (stored, not packed), the Modelfile and a README. Raises UserError."""
        status = self.status(export_id)
        if status["state"] != COMPLETED:
            raise UserError("err_export_unfinished", state=status["state"])
        job = self.kind.job_folder(self._home.root, export_id)
        target = folder / f"{Path(status['file']).stem}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for name in (status["file"], "Modelfile", "README.md"):
                archive.write(job.path / name, name)
        return target

    def _spec(self, model_id: str) -> dict[str, Any] | None:
        """On which held-out records its loss is taken: those of its own run; None where there are none."""
        try:
            spec: Spec = self._evaluations.checked({"model_ids": [model_id], "limit": LOSS_RECORDS})
        except UserError:
            return None
        return spec.to_dict() if spec.kind == "answers" else None
