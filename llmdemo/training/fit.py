"""Whether a run keeps its activations or computes them again: as asked for, or because the ledger says they don't fit.

The decision is kept in the run's folder, since both ways round differently: a resumed run goes on as it began, whatever
else takes memory by then. Knows nothing of models.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from llmdemo.store import read_json, write_json
from llmdemo.training.config import TrainConfig

_FILE = "fit.json"
NOTE = (
    "The activations would not fit into memory: they are computed again in the backward pass, "
    "which takes about a third more time."
)


def decide(run_dir: Path, config: TrainConfig, predict: Callable[[TrainConfig], dict]) -> None:
    """Decides, unless that was done before; `predict` gives ledger.report's figures for a config."""
    path = run_dir / _FILE
    if config.activation_checkpointing or path.is_file():
        return
    kept = predict(config)
    recomputed = kept if kept["fits"] else predict(replace(config, activation_checkpointing=True))
    saves = recomputed["predicted"]["total"] < kept["predicted"]["total"]
    write_json(path, {"activation_checkpointing": saves})


def decided(run_dir: Path, config: TrainConfig) -> bool:
    """Whether activations are computed again, after `decide`, in any of the run's processes."""
    return config.activation_checkpointing or bool(read_json(run_dir / _FILE)["activation_checkpointing"])
