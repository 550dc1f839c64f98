"""Makes one map in a process of its own: `python -m llmdemo.maps.worker <folder>`.

Vectors and losses are appended to files as they are made, chunk by chunk; a stop or a kill loses one chunk at most, and
resumed it goes on after the last whole one. The rest takes a minute or two and is made anew.
"""

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from llmdemo import data
from llmdemo.core.store import Home, write_atomic, write_json
from llmdemo.data.records import Records
from llmdemo.jobs import JobFolder
from llmdemo.jobs.worker import Worker, perform, run_process
from llmdemo.maps.service import POINTS, RESULT, RESUME
from llmdemo.models import catalog
from llmdemo.settings.maps import MapSpec

CHUNK = 128
_NEIGHBOURS_KEPT = 5
_CHARACTERS_OF_TOKEN = 12
"""No more than so many characters of a record are tokenised for a token that is read of it."""
_LOSS_LENGTH = 512
_LARGEST = 65504.0
"""Of float16, in which vectors are kept: some models have a few larger states, which would be infinite there."""


def work(folder: JobFolder, home: Home) -> int:
    """Does what the folder asks; writes POINTS and RESULT. 0 unless our mistake ended it."""

    def make(worker: Worker) -> None:
        spec = MapSpec.from_dict(folder.config()["spec"])
        records = data.open_records(home, spec.dataset_id)
        vectors = _vectors(worker, home, spec, records)
        before = _losses(worker, home, spec.model_id, records, "before") if spec.losses else None
        after = _losses(worker, home, spec.after_id, records, "after") if spec.after_id else None
        _place(worker, spec, records, vectors, {"before": before, "after": after})
        for file in folder.path.glob("*.rows"):  # a finished map needs them no more
            file.unlink()

    return perform(Worker(folder), make, RESUME)


def text_of(record: dict) -> str:
    """What a record is placed by: all its turns, or its text."""
    if "text" in record:
        return record["text"]
    turns = [turn["content"] or "" for turn in record["messages"] if turn["role"] != "system"]
    return "\n".join([*turns, record["chosen"]] if "chosen" in record else turns)


def _vectors(worker: Worker, home: Home, spec: MapSpec, records: Records) -> np.ndarray:
    worker.write("phase", phase="loading")
    from llmdemo.evaluation.answers import loaded  # brings torch: what is wrong with the settings is told before that
    from llmdemo.maps.embed import Embedder
    from llmdemo.models.load import best_device, load_causal, load_encoder, usable_pad, usual_dtype

    entry = catalog.resolve(home, spec.model_id)
    load = load_causal if entry.writes else load_encoder
    with loaded(entry, usual_dtype(entry, best_device()), load) as (model, tokenizer):
        pad = usable_pad(model, tokenizer)
        embedder = Embedder(model, tokenizer, spec.depth if entry.writes else 1.0, spec.max_tokens, pad)

        def made(part: list[dict]) -> np.ndarray:
            most = spec.max_tokens * _CHARACTERS_OF_TOKEN
            vectors = embedder.vectors([text_of(record)[:most] for record in part]).numpy()
            return vectors.clip(-_LARGEST, _LARGEST)

        return _chunks(worker, "embedding", worker.folder.path / "vectors.rows", records, made, np.dtype("<f2"))


def _losses(worker: Worker, home: Home, model_id: str, records: Records, name: str) -> np.ndarray:
    from llmdemo.evaluation.answers import loaded
    from llmdemo.maps.losses import scores
    from llmdemo.models.load import best_device, usable_pad, usual_dtype

    entry = catalog.resolve(home, model_id)
    with loaded(entry, usual_dtype(entry, best_device())) as (model, tokenizer):
        length = min(_LOSS_LENGTH, entry.context or _LOSS_LENGTH)
        pad = usable_pad(model, tokenizer)

        def made(part: list[dict]) -> np.ndarray:
            return scores(model, tokenizer, part, length, pad)

        return _chunks(worker, name, worker.folder.path / f"{name}.rows", records, made, np.dtype("<f8"))


def _chunks(worker: Worker, phase: str, path: Path, records: Records, made: Callable, kind: np.dtype) -> np.ndarray:
    """What `made(records)` gives for all records, (N, columns), appended to the file chunk by chunk.

    A header of 8 bytes holds the number of columns. What a kill has left of a chunk is made again.
    """
    total, began, fresh = len(records), time.monotonic(), 0
    columns, done = _whole(path, kind)
    with open(path, "r+b" if columns else "wb") as file:
        if columns:
            file.truncate(8 + done * columns * kind.itemsize)
            file.seek(0, os.SEEK_END)
        while done < total:
            pace = (time.monotonic() - began) / fresh if fresh else None
            left = None if pace is None else round(pace * (total - done))
            worker.progress(phase=phase, done=done, total=total, eta_seconds=left, force=done == 0)
            part = made(records[done : done + CHUNK]).astype(kind)
            if not columns:
                columns = part.shape[1]
                file.write(np.int64(columns).tobytes())
            file.write(part.tobytes())
            file.flush()
            done, fresh = done + len(part), fresh + len(part)
    gc.collect()
    return np.fromfile(path, kind, offset=8).reshape(-1, columns)


def _whole(path: Path, kind: np.dtype) -> tuple[int, int]:
    """(columns, whole rows) of what an earlier attempt left; (0, 0) for nothing."""
    size = path.stat().st_size if path.is_file() else 0
    if size < 8:
        return 0, 0
    columns = int(np.fromfile(path, np.int64, 1)[0])
    return columns, (size - 8) // (columns * kind.itemsize)


def _place(worker: Worker, spec: MapSpec, records: Records, vectors: np.ndarray, extra: dict) -> None:
    from llmdemo.maps import clusters, layout, neighbours

    def tell(phase: str) -> Callable[[float], None]:
        return lambda share: worker.progress(phase=phase, done=round(share * 100), total=100)

    tell("neighbours")(0.0)
    reduced = neighbours.reduced(vectors, spec.seed)
    found, cosines = neighbours.nearest(reduced.vectors, tell=tell("neighbours"))
    pairs, total = neighbours.pairs(found, cosines, spec.duplicates)
    tell("clusters")(0.0)
    labels, silhouette = clusters.clustered(reduced.vectors, spec.clusters, spec.seed)
    terms = clusters.telling_terms([text_of(record)[:2000] for record in records], labels)
    places = layout.placed(found, cosines, reduced.plane, spec.seed, tell("layout"))
    worker.check()
    arrays = {
        "places": places,
        "plane": reduced.plane,
        "cluster": labels,
        "density": neighbours.density(cosines),
        "neighbours": found[:, :_NEIGHBOURS_KEPT],
        "cosines": cosines[:, :_NEIGHBOURS_KEPT],
        "vectors": reduced.vectors.astype(np.float16),
        **{name: values for name, values in extra.items() if values is not None},
    }
    _save(worker.folder.path / POINTS, arrays)
    sizes = np.bincount(labels)
    result = {
        "dataset_id": spec.dataset_id,
        "content_hash": records.info.content_hash,
        "records": len(records),
        "clusters": [{"id": n, "size": int(sizes[n]), "terms": terms[n]} for n in range(len(sizes))],
        "silhouette": None if silhouette is None else round(silhouette, 4),
        "explained": round(reduced.explained, 4),
        "duplicates": [list(pair) for pair in pairs],
        "duplicates_total": total,
    }
    write_json(worker.folder.path / RESULT, result)


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    from io import BytesIO

    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomic(path, buffer.getvalue())


if __name__ == "__main__":
    run_process(work)
