"""Maps of data sets: what the page and the endpoints may ask. Imports no torch; each is a job of its own."""

import base64
from typing import Any

import numpy as np

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import object_or_empty
from llmdemo.data.split import split
from llmdemo.jobs import Jobs, JobsOfKind, JobStatus, model_kind
from llmdemo.models import catalog
from llmdemo.prepare import defaults
from llmdemo.settings.maps import MapSpec

POINTS, RESULT = "points.npz", "result.json"
RESUME = say("map_resume")
_GRID = 65535


class Maps(JobsOfKind):
    """All maps of a home folder. Safe to use from any thread."""

    def __init__(self, jobs: Jobs):
        self._home = jobs.home
        super().__init__(jobs, model_kind("map", say("noun_map"), "map", "maps", "llmdemo.maps.worker", RESUME))

    def start(self, values: dict) -> str:
        """Puts it in the queue and returns its job_id. values: the keys of MapSpec. Raises UserError."""
        spec = MapSpec.from_dict(values)
        info = data.get_dataset(self._home, spec.dataset_id)
        entry = catalog.resolve(self._home, spec.model_id)
        if (spec.losses or spec.after_id) and info.task == "classify":
            raise UserError("err_map_no_losses", name=info.name)
        for each in (
            entry if spec.losses else None,
            catalog.resolve(self._home, spec.after_id) if spec.after_id else None,
        ):
            if each is not None and not each.writes:
                raise UserError("err_generation_writes", model=each.title)
        return self.jobs.start(self.kind, {"spec": spec.to_dict(), "model_title": entry.title}, info.name)

    def shown(self, status: JobStatus) -> dict[str, Any]:
        """{job_id, name, state, message, hint, created, spec, model, progress {phase, done, total, eta_seconds}, ready}."""
        told = self.told(status, ("phase", "done", "total", "eta_seconds"))
        return {**told, "ready": (self.path_of(status["job_id"]) / RESULT).is_file()}

    def newest(self, dataset_id: str) -> str:
        """The newest finished map of this data set; "" where there is none."""
        content = data.get_dataset(self._home, dataset_id).content_hash
        for each in self.list():
            if each["ready"] and self.result(each["job_id"])["content_hash"] == content:
                return each["job_id"]
        return ""

    def result(self, job_id: str) -> dict[str, Any]:
        """What the worker wrote beside the points: {dataset_id, content_hash, clusters [{id, size, terms}], silhouette,
        explained, duplicates [[record, record, cosine]], duplicates_total, records}. Raises UserError before it is done."""
        result = object_or_empty(self.path_of(self.own(job_id)) / RESULT)
        if not result:
            raise UserError("err_map_not_ready")
        return result

    def arrays(self, job_id: str) -> dict[str, np.ndarray]:
        """The arrays of POINTS by name, a row a record. Raises UserError before it is done."""
        self.result(job_id)
        with np.load(self.path_of(job_id) / POINTS, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def points(self, job_id: str) -> dict[str, Any]:
        """`result` and, for a page, each record's figures as base64 of little-endian arrays.

        places, plane: uint16 (N, 2) over the map's square; cluster: uint8; density: uint8, 0 … 255; held_out: uint8;
        loss, ifd, change: float32 with NaN where there is none, "" where the map has none at all; index among kept records.
        """
        result, arrays = self.result(job_id), self.arrays(job_id)
        held = np.zeros(result["records"], np.uint8)
        held[self._held_out(result)] = 1
        shown: dict[str, Any] = dict(result)
        shown["places"], shown["plane"] = _packed(_square(arrays["places"])), _packed(_square(arrays["plane"]))
        shown["cluster"] = _packed(arrays["cluster"].astype(np.uint8))
        shown["density"] = _packed(np.round(arrays["density"] * 255).astype(np.uint8))
        shown["held_out"] = _packed(held)
        before, after = arrays.get("before"), arrays.get("after")
        shown["loss"] = "" if before is None else _packed(before[:, 0].astype("<f4"))
        shown["ifd"] = "" if before is None else _packed(ifd(before).astype("<f4"))
        has_both = before is not None and after is not None
        shown["change"] = _packed((after[:, 0] - before[:, 0]).astype("<f4")) if has_both else ""  # type: ignore[index]
        return shown

    def whole(self, job_id: str) -> dict[str, Any]:
        """`result` with "points" [{index, x, y, pca, cluster, density, held_out, loss, ifd, loss_after}] and "neighbours":
        of each record its five nearest, [[record, cosine], …]. For scripts."""
        result, arrays = self.result(job_id), self.arrays(job_id)
        held = set(self._held_out(result).tolist())
        before, after = arrays.get("before"), arrays.get("after")
        hard = None if before is None else ifd(before)
        points = [
            {
                "index": index,
                "x": round(float(arrays["places"][index, 0]), 4),
                "y": round(float(arrays["places"][index, 1]), 4),
                "pca": [round(float(value), 4) for value in arrays["plane"][index]],
                "cluster": int(arrays["cluster"][index]),
                "density": round(float(arrays["density"][index]), 4),
                "held_out": index in held,
                "loss": None if before is None else _number(before[index, 0]),
                "ifd": None if hard is None else _number(hard[index]),
                "loss_after": None if after is None else _number(after[index, 0]),
            }
            for index in range(result["records"])
        ]
        near, cosines = arrays["neighbours"].tolist(), arrays["cosines"].tolist()
        beside = [
            [[other, round(cosine, 4)] for other, cosine in zip(*row, strict=True)]
            for row in zip(near, cosines, strict=True)
        ]
        return {**result, "points": points, "neighbours": beside}

    def _held_out(self, result: dict) -> np.ndarray:
        """Those that a run with the default settings holds out; none where the data set is gone."""
        try:
            records = data.open_records(self._home, result["dataset_id"])
        except UserError:
            return np.zeros(0, np.int64)
        usual = defaults("galore", records.task)
        return split(records, usual["seed"], usual["eval_share"])[1]


def ifd(scores: np.ndarray) -> np.ndarray:
    """float64 (N,): loss of the answer after its question over its loss alone (arXiv 2308.12032). scores: losses.scores."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(scores[:, 1] > 0, scores[:, 0] / scores[:, 1], np.nan)


def _square(places: np.ndarray) -> np.ndarray:
    """uint16 (N, 2): the places in a square, both directions to the same scale."""
    low, high = places.min(0), places.max(0)
    size = float((high - low).max()) or 1.0
    return np.round((places - (low + high) / 2) / size * _GRID + _GRID / 2).clip(0, _GRID).astype("<u2")


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _number(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None
