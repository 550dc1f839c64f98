"""Evaluations of kind "reward": how often reward models give the preferred answer the higher number, by kind of record.

As RewardBench reports it (arXiv 2403.13787): an accuracy for each category that the data name (chat, safety, reasoning, …)
and their mean, in which each category counts the same. Joins what the other modules know apart.
"""

from typing import Any

import numpy as np

from llmdemo import data
from llmdemo.core.store import Home
from llmdemo.data.render import conversation
from llmdemo.evaluation.answers import chunks, identity
from llmdemo.evaluation.folder import Kept
from llmdemo.evaluation.heldout import HeldOut, held_out, run_config
from llmdemo.evaluation.intervals import Ratio, difference, wilson
from llmdemo.evaluation.job import Job
from llmdemo.evaluation.reward_scores import RewardScorer
from llmdemo.evaluation.run_models import notes
from llmdemo.models import catalog
from llmdemo.settings.evaluation import Spec

_BATCH = 16


def run_rewards(job: Job, home: Home, spec: Spec) -> dict[str, Any]:
    """The result: {models, categories, mean, difference, notes, …}; records.jsonl is written too. Raises UserError, Stopped.

    categories: {name, n, values [{right, accuracy, low, high (95 %, Wilson), margin}, a model each]}, the one of all records
    first, with the name "". mean: of the other categories' accuracies, a model each; None where there are none. difference:
    of the second model's accuracy to the first's. A pair whose numbers are equal, or that a template refuses, is not right.
    """
    held = asked(home, spec)
    entries = [catalog.resolve(home, model_id) for model_id in spec.model_ids]
    job.plan([("reward", entry.title) for entry in entries])
    scores = []
    for entry in entries:
        job.next_phase()
        scores.append(_scores(job, home, entry, held))
    margins = np.array(
        [[c - r if c is not None and r is not None else 0.0 for c, r in side] for side in scores]
    )  # [m, N]
    places, names = held.records.kinds()
    kinds = [names[place] for place in places[held.indices]] if names else [""] * len(held.indices)
    job.folder.write_records(_records(held, kinds, scores))
    tables = [_category("", np.ones(len(kinds), bool), margins)]
    for name in sorted(set(kinds) - {""}):
        tables.append(_category(name, np.array([kind == name for kind in kinds]), margins))
    of_kinds = [[each["values"][side]["accuracy"] for each in tables[1:]] for side in range(len(entries))]
    right = (margins > 0).astype(float)
    ones = np.ones(margins.shape[1])
    return {
        "kind": "reward",
        "models": [{"id": entry.id, "title": entry.title, "identity": identity(entry)} for entry in entries],
        "data": {"name": held.records.info.name, "content_hash": held.records.info.content_hash},
        "records": len(held.indices),
        "categories": tables,
        "mean": [float(np.mean(side)) for side in of_kinds] if len(tables) > 1 else None,
        "difference": difference(Ratio(right[0], ones), Ratio(right[1], ones), spec.split_seed)
        if len(entries) == 2
        else None,
        "notes": notes(home, spec, held, entries),
        "seed": spec.seed,
    }


def asked(home: Home, spec: Spec) -> HeldOut:
    """The held-out pairs; of data that none of the models was made from, as of a benchmark, all of them."""
    held = held_out(home, spec)
    configs = [run_config(home, model_id) or {} for model_id in spec.model_ids]
    learned = {(config.get("dataset") or {}).get("content_hash") for config in configs}
    if held.records.info.content_hash in learned:  # the same records may be here under another id too
        return held
    order = data.in_order(held.records, np.arange(len(held.records)), spec.split_seed)
    return HeldOut(held.records, np.zeros(0, np.int64), order[: spec.limit])


def _scores(job: Job, home: Home, entry, held: HeldOut) -> list[tuple[float | None, float | None]]:
    """(preferred, other) of each pair; kept, so that no pair is read twice."""
    kept = Kept(home, "pairs", {"model": identity(entry), "data": held.records.info.content_hash})
    wanted = [int(index) for index in held.indices]
    missing = [index for index in wanted if index not in kept.lines]
    done = len(wanted) - len(missing)
    job.tell(done, len(wanted))
    if missing:
        scorer = RewardScorer(entry)
        for part in chunks(missing, _BATCH):
            records = [held.records[index] for index in part]
            turns = [conversation(record) for record in records for _ in range(2)]
            answers = [record[key] for record in records for key in ("chosen", "rejected")]
            found = scorer.scores(turns, answers)
            kept.add([{"id": index, "scores": found[2 * place : 2 * place + 2]} for place, index in enumerate(part)])
            done += len(part)
            job.tell(done, len(wanted), fresh=len(part))
    return [tuple(kept.lines[index]["scores"]) for index in wanted]


def _category(name: str, members: np.ndarray, margins: np.ndarray) -> dict[str, Any]:
    """members (N,) bool, margins (models, N)."""
    values = []
    for side in margins[:, members]:
        right, n = int((side > 0).sum()), len(side)
        low, high = wilson(right, n) or (None, None)
        values.append({"right": right, "accuracy": right / n, "low": low, "high": high, "margin": float(side.mean())})
    return {"name": name, "n": int(members.sum()), "values": values}


def _records(held: HeldOut, kinds: list[str], scores: list[list[tuple]]) -> list[dict[str, Any]]:
    found = []
    for place, index in enumerate(held.indices):
        record = held.records[int(index)]
        turns = conversation(record)
        found.append(
            {
                "index": int(index),
                "row": record["row"],
                "prompt": turns[-1]["content"] if turns else "",
                "kind": kinds[place],
                "chosen": record["chosen"],
                "rejected": record["rejected"],
                "rewards": [list(side[place]) for side in scores],
            }
        )
    return found
