"""In which precision a run computes, and whether it keeps its activations or computes them again: as asked for, or as the
memory estimate says that it fits.

The decisions are kept in the run's folder, since each way rounds differently: a resumed run goes on as it began, whatever
else takes memory by then. Knows nothing of models.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import read_json, write_json
from llmdemo.settings.training import PRECISIONS, Precision, TrainConfig

_FILE, _PRECISION_FILE = "data-fit.json", "data-precision.json"
"""In the run's folder; as with all that begins with "data", a bundle with a checkpoint takes them along."""
PURE_NOTE = say("note_pure_bf16")
NOTE = say("note_checkpointing")


def decide(run_dir: Path, config: TrainConfig, predict: Callable[[TrainConfig], dict]) -> None:
    """Decides, unless that was done before; `predict` gives memory_estimate.report's figures for a config."""
    path = run_dir / _FILE
    if config.activation_checkpointing or path.is_file():
        return
    kept = predict(config)
    recomputed = kept if kept["fits"] else predict(replace(config, activation_checkpointing=True))
    saves = recomputed["predicted"]["total"] < kept["predicted"]["total"]
    write_json(path, {"activation_checkpointing": saves})


def decided(run_dir: Path, config: TrainConfig) -> bool:
    """Whether activations are computed again, after `decide`, in any of the run's processes."""
    return config.activation_checkpointing or bool(_read(run_dir / _FILE, "activation_checkpointing", (True, False)))


def decide_precision(
    run_dir: Path, config: TrainConfig, precisions: tuple[Precision, ...], predict: Callable[[TrainConfig], dict]
) -> None:
    """Decides what `auto` is, unless that was done before: the first of `precisions`, best first, that fits with its
    activations kept; else the first that fits without; else the last."""
    path = run_dir / _PRECISION_FILE
    if path.is_file():
        return
    recomputes = dict.fromkeys((config.activation_checkpointing, True))
    ways = [(precision, again) for again in recomputes for precision in precisions]
    chosen = precisions[-1]
    for precision, again in ways if len(precisions) > 1 else ():
        if predict(replace(config, precision=precision, activation_checkpointing=again))["fits"]:
            chosen = precision
            break
    write_json(path, {"precision": chosen})


def decided_precision(run_dir: Path) -> Precision:
    """After `decide_precision`, in any of the run's processes. Raises UserError, as `decided`, where the file is not ours."""
    return _read(run_dir / _PRECISION_FILE, "precision", tuple(name for name in PRECISIONS if name != "auto"))


def _read(path: Path, key: str, valid: tuple):
    # A run that came from elsewhere may bring anything.
    try:
        value = read_json(path)[key]
    except (ValueError, KeyError, TypeError, RecursionError):
        value = None
    if value not in valid:
        raise UserError("err_run_file_damaged", name=path.name)
    return value
