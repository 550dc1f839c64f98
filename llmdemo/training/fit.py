"""Whether a run keeps its activations or computes them again: as asked for, or because the ledger says they don't fit.

The decision is kept in the run's folder, since both ways round differently: a resumed run goes on as it began, whatever
else takes memory by then. Knows nothing of models.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from llmdemo.store import read_json, write_json
from llmdemo.training.config import TrainConfig

NOTE = (
    "The activations would not fit into memory: they are computed again in the backward pass, "
    "which takes about a third more time."
)


def decide(run_dir: Path, config: TrainConfig, predict: Callable[[TrainConfig], dict]) -> bool:
    """Whether activations are computed again; `predict` gives ledger.report's figures for a config."""
    path = run_dir / "fit.json"
    if config.activation_checkpointing:
        return True
    if not path.is_file():
        kept = predict(config)
        recomputed = kept if kept["fits"] else predict(replace(config, activation_checkpointing=True))
        saves = recomputed["predicted"]["total"] < kept["predicted"]["total"]
        write_json(path, {"activation_checkpointing": saves})
    return bool(read_json(path)["activation_checkpointing"])
