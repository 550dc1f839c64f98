"""What a probe found, as its folder keeps it, and which records a run asks again by it. Knows no job that goes, and no model."""

from pathlib import Path
from typing import Any

import numpy as np

from llmdemo.core.errors import UserError
from llmdemo.core.events import every_event
from llmdemo.core.store import Home, object_or_empty
from llmdemo.knowledge.classes import CLASSES
from llmdemo.settings.knowledge import ProbeSpec

FOLDER, RECORDS, RESULT = "probes", "records.jsonl", "result.json"
_LINE = {"index": int, "class": str, "greedy": list, "sampled": int, "drawn": int, "answer": str}
_RESULT = {"content_hash": str, "asked": int, "records": int, "counts": dict}
"""What a line of records.jsonl and result.json hold at least, and of which type."""


def lines(path: Path) -> list[dict]:
    """What records.jsonl holds of each record; what is torn or damaged is passed over, and so asked again by a resume."""
    return [each for each in every_event(path) if each["type"] == "record" and _is_whole(each)]


def _is_whole(line: dict) -> bool:
    return all(isinstance(line.get(key), kind) for key, kind in _LINE.items()) and line["index"] >= 0


def finished(folder: Path) -> tuple[dict[str, Any], list[dict]]:
    """(what result.json tells, [{index, class, greedy, sampled, drawn, answer}] by index). Raises UserError before its end, and
    where not all that was found can be read."""
    found = object_or_empty(folder / RESULT)
    if not all(isinstance(found.get(key), kind) for key, kind in _RESULT.items()):
        raise UserError("err_probe_not_ready")
    by_index = {line["index"]: line for line in lines(folder / RECORDS) if line["index"] < found["records"]}
    if len(by_index) < found["asked"]:
        lost = found["asked"] - len(by_index)
        raise UserError("err_probe_damaged", probe=folder.name, n=lost, asked=found["asked"])
    return found, [{key: by_index[index][key] for key in _LINE} for index in sorted(by_index)]


def probe_for(home: Home, content_hash: str, model_id: str, probe_id: str = "") -> Path | None:
    """The folder of the probe that a run on this data from this model goes by; None where there is none, or "none" is asked.

    probe_id: one by name, of whatever model; "": the newest finished one of these records by this model. Raises UserError
    where the one that is named is not there, has not ended, or asked other records.
    """
    root = home.root / FOLDER
    if probe_id == "none":
        return None
    if probe_id:
        named = {folder.name: folder for folder in root.glob("probe-*")}.get(probe_id)
        if named is None:
            raise UserError("err_probe_unknown", probe=probe_id[:80])
        if finished(named)[0].get("content_hash") != content_hash:
            raise UserError("err_probe_of_other_data", probe=probe_id)
        return named
    for folder in sorted(root.glob("probe-*"), key=lambda each: each.name, reverse=True):
        asked = object_or_empty(folder / "config.json").get("spec")
        same = isinstance(asked, dict) and asked.get("model_id") == model_id
        if same and object_or_empty(folder / RESULT).get("content_hash") == content_hash:
            return folder
    return None


def asked_again(folder: Path, most: int) -> int:
    """How many records `drawn` gives of a probe, at most, as its result.json alone tells: 0 where that is damaged."""
    counts = object_or_empty(folder / RESULT).get("counts")
    known = counts.values() if isinstance(counts, dict) else ()
    return sum(min(count, 2 * most) for count in known if isinstance(count, int))


def longest_answer(folder: Path) -> int:
    """Tokens that the probe let an answer have."""
    asked = object_or_empty(folder / "config.json").get("spec")
    return ProbeSpec.from_dict(asked if isinstance(asked, dict) else {}).max_new_tokens


def drawn(found: list[dict], train: np.ndarray, held_out: np.ndarray, most: int, seed: int) -> list[dict]:
    """[{index, class, trained}]: at most `most` of each class that are learned from, and as many that are held out, the same
    for the same seed. train, held_out: indices of the data set's kept records."""
    random, chosen = np.random.default_rng([seed, 2]), []
    for name in CLASSES:
        members = [each["index"] for each in found if each["class"] == name]
        for part, trained in ((train, True), (held_out, False)):
            mine = np.intersect1d(members, part)
            some = np.sort(random.permutation(mine)[:most])
            chosen += [{"index": int(index), "class": name, "trained": trained} for index in some]
    return chosen
