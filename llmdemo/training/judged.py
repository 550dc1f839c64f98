"""The held-out loss of a model's files, read and computed as the run's own last evaluation was. Knows no steps."""

import gc
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from llmdemo.models.catalog import ModelEntry
from llmdemo.settings.training import TrainConfig
from llmdemo.training import device as devices
from llmdemo.training import objectives
from llmdemo.training.batches import RunData


def judge_of(
    run_dir: Path,
    entry: ModelEntry,
    tokenizer,
    data: RunData,
    config: TrainConfig,
    precision: str,
    device: torch.device,
    items,
    before: Callable[[], None],
    last: bool = True,
) -> Callable[[Path], float | None]:
    """A function that gives the held-out loss of the model in a folder, or None where it is not a number.

    items: a few training items, on which the objective verifies its short ways. `before()` is called first, so that the
    trained model can give back its memory. last: whether to judge all that the run's last evaluation does, or only what is
    judged on the way, as the weights' own loss was.
    """

    def judge(folder: Path) -> float | None:
        before()
        kind = objectives.of(config.task)
        model = kind.load(replace(entry, path=folder), config, data, devices.weight_dtype(precision), device).eval()
        objective = kind(objectives.Place(model, tokenizer, config, precision, device), data)
        objective.verify(items)
        objective.begin(run_dir, items, lambda *_, **__: None, lambda: False)
        with torch.no_grad():
            model.eval()
            loss = objective.evaluate(last=last)[0].get("loss")
        del objective, model
        gc.collect()
        return loss if loss is not None and math.isfinite(loss) else None

    return judge
