"""K-fold cross-validation: k training runs in the queue, each holding out another part, and an evaluation after them.

Imports no torch; knows nothing of what a run does.
"""

from llmdemo import prepare
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home, new_id
from llmdemo.evaluation.heldout import run_config


def start_folds(home: Home, runs, evaluations, config: dict, folds: int) -> str:
    """Queues `folds` runs with these settings and their evaluation; returns the evaluation's id.

    The runs share "group" {id, kind: "kfold", label} in their config. Raises UserError; then no run is left behind.
    """
    checked, info, entry = prepare.checked(home, {**config, "folds": folds, "fold": 0})
    if info.task != "classify":
        raise UserError("err_no_labels", name=info.name)
    if _has_learned(home, entry.id, info.content_hash):
        raise UserError("err_learned_already", title=entry.title, data=info.name)
    label = say("folds_of", folds=folds, name=info.name)
    group = {"id": new_id("group"), "kind": "kfold", "label": label[:100]}
    started: list[str] = []
    try:
        for fold in range(folds):
            name = f"{info.name[:80]} · fold {fold + 1} of {folds}"
            values = {**config, "folds": folds, "fold": fold, "name": name}
            started.append(prepare.start(home, runs, values, extra={"group": group}))
        return evaluations.start(
            {
                "dataset_id": info.dataset_id,
                "run_ids": started,
                "seed": checked.seed,
                "max_length": checked.max_length,
            }
        )
    except UserError:
        for run_id in started:
            runs.stop(run_id)
        raise


def _has_learned(home: Home, model_id: str, content_hash: str) -> bool:
    """Whether the run that made this model, or one that it goes back to, was on this data."""
    known = set()
    while model_id not in known and (config := run_config(home, model_id)):
        if (config.get("dataset") or {}).get("content_hash") == content_hash:
            return True
        known.add(model_id)
        model_id = str(config.get("model_id") or "")
    return False
