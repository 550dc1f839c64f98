"""Which records a model is asked, in which order, and whether it has seen them in training. Knows no models' insides."""

from dataclasses import dataclass

import numpy as np

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.core.store import Home, child, read_json
from llmdemo.data.records import Records
from llmdemo.data.render import conversation
from llmdemo.settings.evaluation import Spec
from llmdemo.settings.schema import check
from llmdemo.settings.training import SPLIT_VERSION, TrainConfig

SEED, SHARE = 7, 0.1
"""Of a split for models that no run of this app made."""
_LONGEST_CHAIN = 8
_SPLIT = ("seed", "eval_share", "fold", "folds", "max_length", "split_version")


@dataclass(frozen=True)
class HeldOut:
    """The part of a data set that is asked."""

    records: Records
    train: np.ndarray
    """Indices to train on, int64."""
    indices: np.ndarray
    """Held-out indices in the order in which they are taken: a larger limit only adds to a smaller one's."""


def held_out(home: Home, spec: Spec) -> HeldOut:
    """The held-out part by the spec's split, in an order that its seed gives. Raises UserError if nothing is held out."""
    assert spec.eval_share is not None, "the service fills it in before a worker starts"
    records = data.open_records(home, spec.dataset_id)
    train, held = data.split(records, spec.split_seed, spec.eval_share, spec.fold, spec.folds, spec.split_version)
    if not len(held):
        raise UserError("err_none_can_be_asked", name=records.info.name, why=data.why_none(records, spec.eval_share))
    return HeldOut(records, train, _in_order(records, held, spec)[: spec.limit])


def _in_order(records: Records, held: np.ndarray, spec: Spec) -> np.ndarray:
    """As the run asked them, whose split this is; a run of the first version asked in the file's order, and was not followed."""
    if spec.split_version > 1:
        return data.in_order(records, held, spec.split_seed)
    return held[np.random.default_rng(spec.split_seed).permutation(len(held))]


def run_config(home: Home, model_id: str) -> dict | None:
    """The config of the run that made a model, or None for a model that no run made, or none that is here.

    Raises UserError where it is damaged: what was held out cannot be told then.
    """
    if not model_id.startswith("run-"):
        return None
    try:
        config = read_json(child(home.runs, model_id.partition("@")[0]) / "config.json")
        dataset = config.get("dataset") or {}
        split = {key: config.get(key) for key in _SPLIT}
        check(TrainConfig, split, "config.json")
        if not isinstance(dataset, dict):
            raise ValueError("dataset is no object")
    except OSError:
        return None
    except (ValueError, AttributeError, UserError) as error:
        why = error.message if isinstance(error, UserError) else str(error)[:100]
        raise UserError("err_run_settings_damaged", model_id=model_id, why=why) from error
    return config


def split_of(home: Home, model_ids: tuple[str, ...], dataset_id: str) -> dict:
    """{seed, eval_share, fold, folds, max_length, split_version} of the last of these models that was trained on this data.

    With it the held-out part is what the run itself held out, cut where the run cut it. Defaults where no run tells.
    """
    content = data.get_dataset(home, dataset_id).content_hash
    for model_id in reversed(model_ids):
        config = run_config(home, model_id) or {}
        if (config.get("dataset") or {}).get("content_hash") == content:
            return {
                "seed": _seed(config),
                "eval_share": float(config.get("eval_share") or SHARE),
                "fold": int(config.get("fold") or 0),
                "folds": int(config.get("folds") or 0),
                "max_length": int(config.get("max_length") or Spec.max_length),
                "split_version": int(config.get("split_version") or 1),
            }
    usual = {"seed": SEED, "eval_share": SHARE, "fold": 0, "folds": 0, "max_length": Spec.max_length}
    return usual | {"split_version": SPLIT_VERSION}


def _seed(config: dict) -> int:
    return SEED if config.get("seed") is None else int(config["seed"])


def own_dataset(home: Home, model_ids: tuple[str, ...], known: list | None = None) -> str | None:
    """The id of the data set that the last of these models with a run was trained on, or of another with the same records.

    None where no run made any of them, or its data is not here. `known`: the data sets, where the caller has them.
    """
    known = data.list_datasets(home) if known is None else known
    for model_id in reversed(model_ids):
        try:
            dataset: dict = (run_config(home, model_id) or {}).get("dataset") or {}
        except UserError:
            continue  # it is told where an evaluation of it starts
        same = [each.dataset_id for each in known if each.content_hash == dataset.get("content_hash")]
        if same:
            return dataset["id"] if dataset.get("id") in same else same[0]
    return None


def overlap(home: Home, model_id: str, held: HeldOut) -> dict:
    """{"seen", "of", "unknown"}: held-out records whose instruction (or text) stood in what the model was trained on.

    Follows a run to the runs that it started from, and to the data that it replayed. `unknown` names data sets that
    are gone, so that nobody can tell.
    """
    asked = held.records.prompts[held.indices]
    seen, unknown = np.zeros(len(asked), bool), []
    chain, damaged = _chain(home, model_id)
    unknown += damaged
    for config in chain:
        parts = [(str((config.get("dataset") or {}).get("id") or config.get("dataset_id")), True)]
        if config.get("replay_dataset_id"):
            parts.append((str(config["replay_dataset_id"]), False))
        for dataset_id, by_split in parts:
            try:
                seen |= np.isin(asked, _trained_prompts(home, dataset_id, config if by_split else None))
            except UserError:
                unknown.append(str((config.get("dataset") or {}).get("name") or dataset_id))
    return {"seen": int(seen.sum()), "of": len(asked), "unknown": unknown}


def _chain(home: Home, model_id: str) -> tuple[list[dict], list[str]]:
    """The configs of the run that made the model, of the run that made its base, and so on; ids of damaged ones, which end it."""
    found: list[dict] = []
    while len(found) < _LONGEST_CHAIN:
        try:
            config = run_config(home, model_id)
        except UserError:
            return found, [model_id]
        if config is None:
            break
        found.append(config)
        model_id = str(config.get("model_id") or "")
    return found, []


def _trained_prompts(home: Home, dataset_id: str, config: dict | None) -> np.ndarray:
    records = data.open_records(home, dataset_id)
    if config is None:
        return records.prompts
    share = config.get("eval_share")
    train, _ = data.split(
        records,
        _seed(config),
        SHARE if share is None else float(share),
        int(config.get("fold") or 0),
        int(config.get("folds") or 0),
        int(config.get("split_version") or 1),
    )
    return records.prompts[train]


@dataclass(frozen=True)
class Example:
    """One held-out record as it is asked."""

    index: int
    """In the data set's records."""
    row: int
    messages: list[dict]
    """The whole conversation, its last answer included: what the loss is taken of."""
    prompt: list[dict]
    """The turns before that answer."""
    reference: str
    """That answer."""
    alternatives: tuple[str, ...] = ()
    """Other right answers, where the data has them."""

    @property
    def references(self) -> list[str]:
        """All right answers, the one that is learned first."""
        return [self.reference, *self.alternatives]


def example(records: Records, index: int) -> Example:
    """Record `index` of a chat or preference data set; for the latter the preferred answer is the reference."""
    record = records[int(index)]
    messages = conversation(record)
    if "chosen" in record:
        messages.append({"role": "assistant", "content": record["chosen"]})
    last = max(place for place, turn in enumerate(messages) if turn["role"] == "assistant")
    others = tuple(record.get("alternatives", ())) if last == len(messages) - 1 else ()
    return Example(int(index), record["row"], messages[: last + 1], messages[:last], messages[last]["content"], others)
