"""Models of a run at its kept steps, in memory: made from what training/steps.py kept without a folder in between.

What all steps of a run share is read once: its tokenizer, the outline of its model, the tensors that it did not train,
and what the trained ones are told from. Knows no ids and no cache of models.
"""

import copy
import threading
import weakref
from pathlib import Path

import torch
from torch import nn

from llmdemo.models import load
from llmdemo.models.catalog import ModelEntry
from llmdemo.models.steps import FOLDER, INDEX, KeptSteps, made_at, told_of_damage


class StepModels:
    """Loads any model, as load.load_causal does, and those of kept steps in less time: of the run used last, it keeps what
    its steps share, until another model is loaded: it is as much memory as a model, or more, that no cache counts."""

    def __init__(self) -> None:
        self._run: _Run | None = None
        self._lock = threading.Lock()

    def load(self, entry: ModelEntry, dtype: torch.dtype | None = None):
        """(model in eval mode, tokenizer) as load_causal; of an entry with `at_step`, in float32 if `dtype` is None. Models
        of one run share the tensors that the run did not train: nobody may write to them. Raises UserError."""
        if entry.at_step is None:
            with self._lock:
                self._run = None
            return load.load_causal(entry, dtype)
        assert entry.path is not None, "a kept step has the folder of its run's model"
        run_dir = entry.path.parent
        with self._lock, told_of_damage(run_dir, entry.at_step):
            key = _changed(run_dir), dtype
            if self._run is None or self._run.key != key:
                self._run = None  # both need not be in memory
                self._run = _Run(key, run_dir, entry, dtype or torch.float32)
            found = self._run.at(entry.at_step)
        return found or load.load_causal(made_at(run_dir, entry.at_step), dtype)


class _Run:
    """What the steps of a run share."""

    def __init__(self, key: tuple, run_dir: Path, entry: ModelEntry, dtype: torch.dtype):
        self.key = key
        self._steps = KeptSteps(run_dir)
        self._dtype = dtype
        assert entry.path is not None
        self._outline, self._tokenizer = load.load_causal(entry.path, dtype)
        self._known = dict(self._outline.named_parameters(remove_duplicate=False))
        self._shapes = {name: tuple(each.shape) for name, each in self._known.items()}
        self._emptied: set[str] = set()

    @torch.no_grad()
    def at(self, step: int):
        """(model, tokenizer) at a kept step; None where the names in the files are not those in the model."""
        weights = self._steps.weights(step)
        fit = all(self._shapes.get(name) == value.shape for name, value in weights.items())
        if not fit or self._emptied - set(weights):
            return None
        memo: dict[int, nn.Parameter] = {id(each): each for each in self._known.values()}
        for name, value in weights.items():
            parameter = self._known[name]
            own = torch.from_numpy(value).to(parameter.device, self._dtype)
            memo[id(parameter)] = nn.Parameter(own, requires_grad=False)
            parameter.data = own.new_empty(0)  # the outline needs no numbers of its own here
        self._emptied |= set(weights)
        model = copy.deepcopy(self._outline, memo)
        model.outline = weakref.ref(self._outline)  # what was found out of one's forward is true of the others'
        return model, self._tokenizer


def _changed(run_dir: Path) -> tuple:
    """When the files that all steps are told from were written."""
    files = [run_dir / FOLDER / INDEX, *sorted((run_dir / "model").glob("*.safetensors"))]
    return (run_dir, *(file.stat().st_mtime_ns for file in files))
