"""Compares the runs of a race of data in a process of its own: `python -m llmdemo.generation.race_worker <folder>`.

How likely each model holds the held-out answers, in nats a token, with the interval of each and, paired record by record, of
its difference from the run on people's records: also where the made data lose.
"""

from typing import Any

from llmdemo import data
from llmdemo.core.store import Home, write_json
from llmdemo.generation.race import RESULT, RESUME
from llmdemo.jobs import JobFolder
from llmdemo.jobs.worker import Worker, perform, run_process
from llmdemo.models import catalog

_MOST_HELD_OUT = 200
_BATCH = 16


def work(folder: JobFolder, home: Home) -> int:
    """Writes result.json {held_out, rows [{part, people, made, run_id, loss {mean, low, high}, difference {value, low, high}}]};
    part "before" is the model that all began with; 0 unless our mistake ended it. Negative differences are better."""

    def compare(worker: Worker) -> None:
        spec = folder.config()["spec"]
        records = data.open_records(home, spec["parts"][0]["dataset_id"])
        held = [record for record in records if record.get("split") == "eval"][:_MOST_HELD_OUT]
        before = {"part": "before", "people": 0, "made": 0, "run_id": None, "model_id": spec["model_id"]}
        parts = [before, *({**part, "model_id": part["run_id"]} for part in spec["parts"])]
        losses = []
        for place, part in enumerate(parts):
            done = place * len(held)
            losses.append(
                _losses(worker, home, part["model_id"], held, spec["max_length"], done, len(parts) * len(held))
            )
        write_json(folder.path / RESULT, {"held_out": len(held), "rows": _rows(parts, losses, int(spec["seed"]))})

    return perform(Worker(folder), compare, RESUME)


def _losses(worker: Worker, home: Home, model_id: str, held: list[dict], most: int, done: int, total: int):
    """float64 (N, 2): the summed loss of each record's answers in nats, and their tokens."""
    import numpy as np
    import torch

    from llmdemo.evaluation.answers import loaded
    from llmdemo.maps.losses import scores

    found = []
    with loaded(catalog.resolve(home, model_id), torch.float32) as (model, tokenizer):
        pad = tokenizer.pad_token_id or 0
        for start in range(0, len(held), _BATCH):
            worker.progress(force=True, done=done + start, total=total)
            part = scores(model, tokenizer, held[start : start + _BATCH], most, pad, alone=False)
            found.append(np.stack([part[:, 0] * part[:, 2], part[:, 2]], axis=1))
    return np.concatenate(found)


def _rows(parts: list[dict], losses: list, seed: int) -> list[dict[str, Any]]:
    """Over the records that every model could be asked; differences from part "people", which is the second."""
    import numpy as np

    from llmdemo.evaluation.intervals import Ratio, difference, interval

    both = np.all([np.isfinite(each).all(axis=1) & (each[:, 1] > 0) for each in losses], axis=0)
    ratios = [Ratio(each[both, 0], each[both, 1]) for each in losses]
    return [
        {key: part.get(key) for key in ("part", "people", "made", "run_id")}
        | {"loss": interval(ratio, seed), "difference": None if place == 1 else difference(ratios[1], ratio, seed)}
        for place, (part, ratio) in enumerate(zip(parts, ratios, strict=True))
    ]


if __name__ == "__main__":
    run_process(work)
