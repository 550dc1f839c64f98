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
from llmdemo.settings.training import TrainConfig, data_tasks

_REMEMBERED = 128
_MOST_TOKENS = 512
_SHOWN = 10
_MATTER = ("loss_on", "seed", "eval_share")
"""The settings that change the numbers of every task."""
_OF_TASK = {
    "preference": ("preference_loss", "beta", "label_smoothing", "simpo_gamma"),
    "kto": ("beta", "desired_weight", "undesired_weight"),
    "grpo": (
        "policy_loss", "reward", "reward_text", "reward_model_id", "second_reward", "second_share", "reward_tokens",
        "pass_reward", "rollouts", "max_new_tokens", "rollout_temperature", "kl_weight", "clip_low", "clip_high",
    ),
}  # fmt: skip
"""Those of one task."""
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

        The task is the data's, or what else is to be learned from it: `goal`, as the form says. `place` counts held-out
        records that are short enough to read, from 0. {"task", "record" (its row), "place", "places", "text", "before",
        "after" (None without a finished run), "run_id", "run_name", "beta"}; before and after: see `numbers`, of tokens,
        likeliest, preference, reward, kto or policy. Raises UserError.
        """
        info = data.get_dataset(self._home, str(config.get("dataset_id")))
        entry = catalog.resolve(self._home, str(config.get("model_id") or catalog.STARTER_ID))
        task = _task(config, info)
        given = _settings(config, task)
        settings = TrainConfig.from_dict(given | {"dataset_id": info.dataset_id, "task": task})
        run = self._finished(info, entry, task)
        place = max(0, int(place))
        key = (
            info.content_hash,
            entry.id,
            entry.revision,
            run and run["run_id"],
            task,
            *(getattr(settings, name) for name in (*_MATTER, *_OF_TASK.get(task, ()))),
            place,
        )
        with self._lock:
            if key not in self._known:
                self._known[key] = self._compute(info, entry, run, settings, place)
                while len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return self._known[key]

    def _finished(self, info, entry: ModelEntry, task: str) -> dict | None:
        """The newest completed run of this task from this model on this data that still has its model."""
        for run in self._runs.list():
            if run["state"] == COMPLETED and run["model_id"]:
                try:
                    config = self._runs.config(run["run_id"])
                except UserError:
                    continue  # deleted meanwhile
                of = (config.get("dataset") or {}).get("content_hash"), (config.get("model") or {}).get("id")
                if of == (info.content_hash, entry.id) and config.get("task", info.task) == task:
                    return run
        return None

    def _compute(self, info, entry: ModelEntry, run: dict | None, settings: TrainConfig, place: int) -> dict:
        import_library()
        from llmdemo.core import threads
        from llmdemo.learn.reward_tasks import ALL_TASKS

        threads.use_all()

        records = data.open_records(self._home, info.dataset_id)
        task = ALL_TASKS[settings.task](self._home, records, settings, _MOST_TOKENS, _SHOWN)
        chosen, place, places = _choose(records, task, entry, settings, place)
        after_entry = catalog.resolve(self._home, run["run_id"]) if run else None
        try:
            before, after = task.compute(chosen, entry, after_entry, _LARGE)
        except (MemoryError, RuntimeError) as error:
            raise UserError("err_learn_failed", error=str(error).splitlines()[0][:120]) from error
        finally:
            gc.collect()
        return {
            "task": settings.task,
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
    found = [{**records[int(index)], "index": int(index)} for index in indices[:_TRIED]]
    sized = [(task.length(record, entry), record) for record in found]
    trained = [(length, record) for length, record in sized if length]
    if not trained:
        raise UserError("err_learn_none")
    short = [record for length, record in trained if length <= _SHORT] or [min(trained, key=lambda pair: pair[0])[1]]
    return short[place % len(short)], place % len(short), len(short)


def _task(config: dict, info) -> str:
    """What is to be learned: `goal`, where the data can teach it and it has a card of its own, else the data's task."""
    goal = config.get("goal")
    fits = goal in ("reward", "kto", "grpo") and info.task in data_tasks(goal)
    return str(goal) if fits else info.task


def _settings(config: dict, task: str) -> dict:
    """The settings that the numbers depend on."""
    names = (*_MATTER, *_OF_TASK.get(task, ()))
    return {key: config[key] for key in names if config.get(key) is not None}
