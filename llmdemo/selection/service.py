"""What the page and the endpoints may ask: selections, suspicious labels, telling words. Imports no torch.

Selections read a map's vectors and losses where they need them; the rest takes seconds, so nothing here is a job.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from llmdemo import data, prepare
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home, new_id
from llmdemo.data.chosen import choose_records
from llmdemo.data.records import Records
from llmdemo.data.split import parts, split
from llmdemo.maps.service import Maps, ifd
from llmdemo.maps.worker import text_of
from llmdemo.selection import choose, features, labels
from llmdemo.settings.schema import show
from llmdemo.settings.selection import NEEDS_LOSSES, SelectionSpec

FOLDS = 5
_MOST_SUSPICIONS = 500
_MOST_INDICES = 1_000_000


class Selection:
    """Selections over one home folder. Safe to use from any thread; keeps nothing."""

    def __init__(self, home: Home, maps: Maps):
        self._home, self._maps = home, maps

    # -- selections

    def select(self, dataset_id: str, recipe: dict) -> data.DatasetInfo:
        """A new version by this recipe: the keys of SelectionSpec, and with method "chosen" `indices` of the kept records.

        Raises UserError for a recipe that cannot be, that needs a map, or that leaves nothing.
        """
        if not isinstance(recipe, dict):
            raise UserError("err_selection_no_object")
        values = dict(recipe)
        indices = values.pop("indices", None)
        spec = SelectionSpec.from_dict(values)
        records = data.open_records(self._home, dataset_id)
        train, held = split(records, spec.seed, spec.eval_share)
        if spec.method == "chosen":
            wanted = _indices(indices, len(records))
            chosen = np.intersect1d(train, wanted)
        else:
            chosen = train[self._choose(spec, records, train)]
        kept = spec.to_dict() | ({"indices": chosen.tolist()} if spec.method == "chosen" else {})
        change = say("data_change_selected", method=spec.method, n=len(chosen), of=len(train))
        return choose_records(self._home, dataset_id, chosen, held, change, kept | {"parent": dataset_id})

    def race(self, runs: Any, dataset_id: str, config: dict | None = None) -> list[str]:
        """Queues two runs with the same settings, on the selection and on what it was selected from; returns their ids.

        Both hold out the same records. Raises UserError for a data set that is no selection, for another seed or share than it
        was selected with, and as a start does.
        """
        info = data.get_dataset(self._home, dataset_id)
        recipe = info.source.get("selection")
        if not isinstance(recipe, dict) or not info.parent:
            raise UserError("err_no_selection", name=info.name)
        parent = data.get_dataset(self._home, str(recipe.get("parent")))
        held = {"seed": recipe.get("seed", 7), "eval_share": recipe.get("eval_share", 0.1), "folds": 0}
        for key, value in (config or {}).items():
            if key in held and value != held[key]:
                raise UserError("err_race_split", key=key, value=show(value), own=f"{held[key]:g}")
        same = {**(config or {}), **held}
        group = {"id": new_id("group"), "kind": "selection", "label": say("selection_race", name=info.name)[:100]}
        started: list[str] = []
        try:
            for each, name in (
                (info, say("selection_part", name=info.name)),
                (parent, say("selection_all", name=parent.name)),
            ):
                values = {**same, "dataset_id": each.dataset_id, "name": name[:100]}
                started.append(prepare.start(self._home, runs, values, extra={"group": group}))
        except UserError:
            for run_id in started:
                runs.stop(run_id)
            raise
        return started

    def _choose(self, spec: SelectionSpec, records: Records, train: np.ndarray) -> np.ndarray:
        """Places in `train` that stay."""
        if spec.method == "random":
            return choose.drawn(len(train), spec.number, spec.seed)
        if spec.method == "length":
            return choose.by_figure(_answer_lengths(records, train), spec.number, spec.order)
        found = self._map(spec, records)
        if spec.method in NEEDS_LOSSES:
            if found is None or "before" not in found:
                raise UserError("err_selection_needs_losses", method=spec.method)
            scores = found["before"][train]
            if spec.method == "ifd":
                return choose.by_ifd(ifd(scores), spec.number, spec.order)
            return choose.by_figure(scores[:, 0], spec.number, spec.order)
        if found is None:
            vectors = choose.by_words([text_of(records[int(n)])[:4000] for n in train], spec.seed)
        else:
            vectors = found["vectors"][train].astype(np.float32)
        if spec.method == "k_center":
            return choose.k_centre(vectors, spec.number)
        if spec.method == "lima":
            return choose.small_set(vectors, _answer_lengths(records, train), spec.number, spec.seed)
        if found is None:
            raise UserError("err_selection_needs_map")
        return choose.evenly(found["cluster"][train], spec.number, spec.seed)

    def _map(self, spec: SelectionSpec, records: Records) -> dict[str, np.ndarray] | None:
        """The arrays of the recipe's map, or of the newest; None where there is none."""
        map_id = spec.map_id or self._maps.newest(records.info.dataset_id)
        if not map_id:
            return None
        if self._maps.result(map_id)["content_hash"] != records.info.content_hash:
            raise UserError("err_selection_other_map", map_id=map_id)
        return self._maps.arrays(map_id)

    # -- classes

    def label_errors(self, dataset_id: str, tell: Callable[[float], None] = lambda share: None) -> dict[str, Any]:
        """{labels, records, suspicious, ranked [{index, place, row, label, suggested, own, other, text, suspicious}], joint}.

        ranked: the most suspicious first, 500 at most; own and other: out-of-fold probabilities of the label and of the
        likeliest other class. Raises UserError for data without labels, or too few records for 5 folds.
        """
        records, truth, names = self._classes(dataset_id)
        texts = [record["text"] for record in records]
        part = parts(records, 7, FOLDS)
        found = labels.suspicions(labels.out_of_fold(texts, truth, part, len(names), tell), truth)
        ranked = [
            {
                "index": int(index),
                "place": int(records.places[index]),
                "row": records[int(index)]["row"],
                "label": names[truth[index]],
                "suggested": names[found.suggested[index]],
                "own": round(float(found.own[index]), 4),
                "other": round(float(found.other[index]), 4),
                "text": texts[index][:300],
                "suspicious": bool(found.suspicious[index]),
            }
            for index in found.order[:_MOST_SUSPICIONS]
        ]
        suspicious = int(found.suspicious.sum())
        joint = found.joint.tolist()
        return {"labels": names, "records": len(texts), "suspicious": suspicious, "ranked": ranked, "joint": joint}

    def mend_labels(self, dataset_id: str, changes: object, drops: object) -> data.DatasetInfo:
        """A new version in which the records at these places have another label, or are gone.

        changes: {place: label}; drops: [place]. Raises UserError for places and labels that are none.
        """
        info = data.get_dataset(self._home, dataset_id)
        if info.task != "classify":
            raise UserError("err_no_labels", name=info.name)
        return data.mend_labels(self._home, dataset_id, _changes(changes, info.labels), _places(drops))

    def telling_words(self, dataset_id: str, tell: Callable[[float], None] = lambda share: None) -> dict[str, Any]:
        """{terms (features.table), models (features.small_models), trained, held_out}, on the usual split.

        Raises UserError for data without labels, or where nothing is held out.
        """
        records, truth, names = self._classes(dataset_id)
        texts = [record["text"] for record in records]
        train, held = split(records, 7, 0.1)
        if not len(held) or len(np.unique(truth[train])) < 2:
            raise UserError("err_features_no_split", n=len(texts))
        try:
            terms = features.table([texts[n] for n in train], truth[train], names)
        except ValueError as error:
            raise UserError("err_features_no_words") from error
        models = features.small_models(texts, truth, train, held, tell)
        return {"terms": terms, "models": models, "trained": len(train), "held_out": len(held)}

    def _classes(self, dataset_id: str) -> tuple[Records, np.ndarray, list[str]]:
        records = data.open_records(self._home, dataset_id)
        found = records.labels()
        if found is None:
            raise UserError("err_no_labels", name=records.info.name)
        names = sorted(set(found))
        if len(names) < 2:
            raise UserError("err_one_label", label=repr(names[0][:40] if names else ""))
        number = {name: place for place, name in enumerate(names)}
        return records, np.array([number[label] for label in found]), names


def _answer_lengths(records: Records, indices: np.ndarray) -> np.ndarray:
    """float64 (n,): characters of each record's answers, or of its text."""

    def length(record: dict) -> int:
        if "text" in record:
            return len(record["text"])
        own = len(record.get("chosen") or "")
        return own + sum(len(turn["content"] or "") for turn in record["messages"] if turn["role"] == "assistant")

    return np.array([length(records[int(index)]) for index in indices], np.float64)


def _indices(values: object, count: int) -> np.ndarray:
    if not isinstance(values, list) or not values or len(values) > _MOST_INDICES:
        raise UserError("err_selection_no_indices")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
            raise UserError("err_selection_index", value=str(value)[:20], last=count - 1)
    return np.unique(np.array(values, np.int64))


def _changes(values: object, known: list[str]) -> dict[int, str]:
    """{place: label} of an object whose keys may be texts, as JSON's are."""
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError("err_labels_no_changes")
    found = {}
    for place, label in values.items():
        if not str(place).isdecimal() or label not in known:
            raise UserError("err_labels_change", place=str(place)[:20], label=repr(str(label)[:40]), names=known[:20])
        found[int(place)] = label
    return found


def _places(values: object) -> list[int]:
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(each, int) and not isinstance(each, bool) for each in values):
        raise UserError("err_labels_no_drops")
    return values
