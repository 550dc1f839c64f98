"""An experiment tracker beside our own events, through Accelerate's `log_with`: TensorBoard or trackio, if chosen.

What the run reports goes to both. A tracker that fails is left out from then on: a run never ends because of it.
Imports no torch; knows events by their names and no page.
"""

import importlib.util
import logging
import os
from collections.abc import Callable
from pathlib import Path

from llmdemo.core.errors import UserError

PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "trackio": ("trackio",)}
"""By tracker, the packages of which one must be installed."""
PROJECT = "llmdemo"
_KINDS = {"step": "", "eval": "eval/"}
"""The events that are passed on, and what their figures are prefixed with."""
_NOT_FIGURES = ("step", "records")
log = logging.getLogger(__name__)


def require_installed(name: str) -> None:
    """Raises UserError unless the tracker `name` ("none" always) can be used here."""
    packages = PACKAGES.get(name, ())
    if packages and not any(importlib.util.find_spec(package) for package in packages):
        raise UserError("err_no_tracker", name=name, package=packages[0])


def accelerator_options(name: str, run_dir: Path) -> dict:
    """What accelerate.Accelerator is made with so that its trackers can be started; {} for none."""
    if name == "none":
        return {}
    require_installed(name)
    return {"log_with": name, "project_dir": str(run_dir / "tracker")}


def tracked(report: Callable, accelerator, name: str, run_dir: Path, config: dict) -> Callable:
    """`report`, which from now on also logs the figures of steps and evaluations to the tracker.

    TensorBoard's files lie in the run's folder, trackio's database in the home folder (TRACKIO_DIR, unless it is set).
    """
    if name == "none":
        return report
    os.environ.setdefault("TRACKIO_DIR", str(run_dir.parents[1] / "trackio"))
    plain = {key: value for key, value in config.items() if isinstance(value, str | int | float | bool)}
    options = {"trackio": {"name": run_dir.name, "resume": "allow"}}
    working = _guarded(lambda: accelerator.init_trackers(PROJECT, config=plain, init_kwargs=options), name)

    def report_and_log(kind: str, **fields) -> None:
        nonlocal working
        report(kind, **fields)
        if working and kind in _KINDS:
            figures = {f"{_KINDS[kind]}{key}": value for key, value in fields.items() if _is_figure(key, value)}
            working = _guarded(lambda: accelerator.log(figures, step=fields.get("step")), name)

    return report_and_log


def finish(accelerator, name: str) -> None:
    """Writes what the tracker still holds."""
    if name != "none":
        _guarded(accelerator.end_training, name)


def _is_figure(key: str, value) -> bool:
    return key not in _NOT_FIGURES and isinstance(value, int | float) and not isinstance(value, bool)


def _guarded(act: Callable, name: str) -> bool:
    """Whether `act()` succeeded; what somebody else's tracker raises goes into the log and no further."""
    try:
        act()
    except Exception:
        log.exception("the tracker %s failed; the run goes on without it", name)
        return False
    return True
