"""The cards' numbers: which record, which models before and after, computed once and remembered. Knows no page.

"Before" is the model that training starts from, "after" the newest finished run from it on the same data.
"""

import gc
import threading
from collections import OrderedDict

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.jobs.states import COMPLETED
from llmdemo.models import catalog
from llmdemo.models.catalog import ModelEntry
from llmdemo.models.library import import_library
from llmdemo.settings.training import TrainConfig

_REMEMBERED = 128
_MOST_TOKENS = 512
_SHOWN = 10
_MATTER, _OF_PAIRS = ("loss_on", "seed", "eval_share"), ("preference_loss", "beta", "label_smoothing", "simpo_gamma")
"""The settings that change the numbers: of every task, of preferences."""
_SHORT = 160
"""Tokens up to which a record is preferred: it can be read."""
_TRIED = 40
_LARGE = 500_000_000
"""Parameters above which a model is loaded in its fast type and on the GPU where there is one."""


class Learn:
    """One for the app. Safe to use from any thread; one computation at a time."""

    def __init__(self, home: Home, runs):
        self._home, self._runs = home, runs
        self._known: OrderedDict[tuple, dict] = OrderedDict()
        self._lock = threading.Lock()

    def numbers(self, config: dict, place: int = 0) -> dict:
        """What the loss of `config` (a run's settings; its data set and model count) is on one of the data's records.

        `place` counts held-out records that are short enough to read, from 0. {"task", "record" (its row), "place",
        "places", "text", "before", "after" (None without a finished run), "run_id", "run_name", "beta"}; before and
        after: see `numbers.tokens`, `numbers.likeliest`, `numbers.preference`, each with the tokens' texts. Raises
        UserError.
        """
        info = data.get_dataset(self._home, str(config.get("dataset_id")))
        entry = catalog.resolve(self._home, str(config.get("model_id") or catalog.STARTER_ID))
        given = _settings(config, info.task)
        settings = TrainConfig.from_dict(given | {"dataset_id": info.dataset_id, "task": info.task})
        run = self._finished(info, entry)
        place = max(0, int(place))
        key = (
            info.content_hash,
            entry.id,
            entry.revision,
            run and run["run_id"],
            *(getattr(settings, name) for name in (*_MATTER, *_OF_PAIRS)),
            place,
        )
        with self._lock:
            if key not in self._known:
                self._known[key] = self._compute(info, entry, run, settings, place)
                while len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return self._known[key]

    def _finished(self, info, entry: ModelEntry) -> dict | None:
        """The newest completed run from this model on this data that still has its model."""
        for run in self._runs.list():
            if run["state"] == COMPLETED and run["model_id"]:
                try:
                    config = self._runs.config(run["run_id"])
                except UserError:
                    continue  # deleted meanwhile
                of = (config.get("dataset") or {}).get("content_hash"), (config.get("model") or {}).get("id")
                if of == (info.content_hash, entry.id):
                    return run
        return None

    def _compute(self, info, entry: ModelEntry, run: dict | None, settings: TrainConfig, place: int) -> dict:
        import_library()
        from llmdemo.core import threads
        from llmdemo.learn import tasks

        threads.use_all()

        records = data.open_records(self._home, info.dataset_id)
        task = tasks.TASKS[info.task](records, settings, _MOST_TOKENS, _SHOWN)
        chosen, place, places = _choose(records, task, entry, settings, place)
        after_entry = catalog.resolve(self._home, run["run_id"]) if run else None
        try:
            before, after = task.compute(chosen, entry, after_entry, _LARGE)
        except (MemoryError, RuntimeError) as error:
            raise UserError("err_learn_failed", error=str(error).splitlines()[0][:120]) from error
        finally:
            gc.collect()
        return {
            "task": info.task,
            "record": chosen["row"],
            "place": place,
            "places": places,
            "text": task.text(chosen),
            "before": before,
            "after": after,
            "run_id": run and run["run_id"],
            "run_name": run and run["name"],
            "beta": settings.beta,
        }


def _choose(records, task, entry: ModelEntry, settings: TrainConfig, place: int) -> tuple[dict, int, int]:
    """(record, place, places): a held-out record that can be read; the shortest that was looked at where none can."""
    _, held_out = data.split(records, settings.seed, settings.eval_share or 0.1)
    indices = held_out if len(held_out) else range(len(records))
    found = [records[int(index)] for index in indices[:_TRIED]]
    sized = [(task.length(record, entry), record) for record in found]
    trained = [(length, record) for length, record in sized if length]
    if not trained:
        raise UserError("err_learn_none")
    short = [record for length, record in trained if length <= _SHORT] or [min(trained, key=lambda pair: pair[0])[1]]
    return short[place % len(short)], place % len(short), len(short)


def _settings(config: dict, task: str) -> dict:
    """The settings that the numbers depend on."""
    names = (*_MATTER, *(_OF_PAIRS if task == "preference" else ()))
    return {key: config[key] for key in names if config.get(key) is not None}
