"""Inside the job: `python -m llmdemo.elsewhere.remote FOLDER` trains by the real worker and sends the run back as a bundle.

FOLDER holds input/ as parcel.py made it. The run's figures are printed as lines that worker.py understands. Before the
job's time is up the run is asked to stop, so that what it learned comes back with a checkpoint. The token is in the
environment of this process alone; the training's has none.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.events import every_event, read_events
from llmdemo.core.spaces import hub_endpoint
from llmdemo.core.store import Home, read_json, write_json
from llmdemo.runs import bundle
from llmdemo.runs.command import worker_command, worker_environment
from llmdemo.runs.folder import RunFolder

PREFIX = "llmdemo: "
"""Begins the lines that hold figures, as JSON."""
_EVERY_SECONDS = 2.0
_MOST_LOG_BYTES = 2**16
_LEAST_MARGIN, _MARGIN_SHARE = 300, 0.1
"""Of the job's time, what is left for the last checkpoint and the way back: seconds at least, a share at least."""
_TOLD = ("step", "total_steps", "loss", "eval_loss", "eta_seconds", "phase")


def main(work: Path) -> int:
    """0 when the run was completed. Whatever happened is in the bundle that is sent back."""
    began = time.monotonic()
    ask = read_json(work / "input" / "ask.json")
    home = Home(work / "home").prepare()
    folder = RunFolder(home.runs / ask["run_id"])
    folder.path.mkdir(exist_ok=True)
    try:
        config = _with_models(home, work, ask)
        shutil.copytree(work / "input" / "datasets", home.datasets, dirs_exist_ok=True)
        write_json(folder.path / "config.json", config)
        limit = ask["seconds"] - max(_LEAST_MARGIN, _MARGIN_SHARE * ask["seconds"]) if ask["seconds"] else None
        _train(folder, home, config, None if limit is None else began + max(60.0, limit))
    except UserError as error:
        _say(phase="failed")
        print(error.message, error.hint, flush=True)
        folder.note("start", pid=os.getpid())
        folder.note("end", state="failed", reason="bad_config", message=error.message, hint=error.hint)
    write_json(folder.path / "config.json", ask["config"])  # with the models' names of where it came from
    return _send_back(folder, work)


def _with_models(home: Home, work: Path, ask: dict) -> dict:
    """The run's settings with the models as they are found here; fetches those that are on the hub."""
    from llmdemo.models.hub import fetch
    from llmdemo.models.starter import fetch_starter

    config = dict(ask["config"])
    for key, model in ask["models"].items():
        _say(phase="model")
        if model["kind"] == "starter":
            fetch_starter(home)
        elif model["kind"] == "hub":
            config[key] = fetch(home, model["id"], token=os.environ.get("HF_TOKEN")).id
        else:
            config[key] = str((work / "input" / "models" / key).resolve())
    return config


def _train(folder: RunFolder, home: Home, config: dict, stop_at: float | None) -> None:
    """Runs the worker until it ends, and tells how far it is; asks it to stop at `stop_at` (time.monotonic)."""
    with open(folder.log, "ab") as log:
        worker = subprocess.Popen(
            worker_command(folder.path, config),
            cwd=folder.path,
            env=worker_environment(home.root, config),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        offset, printed = 0, 0
        while worker.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(_EVERY_SECONDS)
            offset, printed = _tell(folder, offset), _print_log(folder, printed)
            if stop_at is not None and time.monotonic() > stop_at:
                folder.stop.touch()
    folder.stop.unlink(missing_ok=True)
    _tell(folder, offset)
    _print_log(folder, printed)
    if not _ended(folder):  # killed: by the system, when memory ran out
        what = f"The worker ended with exit status {worker.returncode}."
        folder.note("end", state="failed", reason="worker_error", message=what, hint="")


def _print_log(folder: RunFolder, printed: int) -> int:
    """Prints what the worker's log has grown by since `printed` bytes; returns how long it is."""
    with open(folder.log, "rb") as log:
        log.seek(printed)
        grown = log.read(_MOST_LOG_BYTES)
    if grown:
        print(grown.decode("utf-8", "replace"), end="", flush=True)
    return printed + len(grown)


def _tell(folder: RunFolder, offset: int) -> int:
    """Prints the newest figures since `offset`; returns where to go on."""
    events, offset = read_events(folder.events, offset)
    known: dict = {}
    for event in events:
        known |= {key: event[key] for key in _TOLD if event.get(key) is not None}
    if known:
        _say(**known)
    return offset


def _ended(folder: RunFolder) -> bool:
    return any(event["type"] == "end" for event in every_event(folder.events))


def _say(**figures: object) -> None:
    print(PREFIX + json.dumps(figures), flush=True)


def _send_back(folder: RunFolder, work: Path) -> int:
    from huggingface_hub import HfApi

    done = any(event["type"] == "end" and event.get("state") == "completed" for event in every_event(folder.events))
    _say(phase="sending")
    path = bundle.export(folder, work / "run.zip", with_model=done, with_checkpoint=not done and folder.can_go_on())
    HfApi(endpoint=hub_endpoint(), token=os.environ["HF_TOKEN"]).upload_file(
        path_or_fileobj=str(path),
        path_in_repo=os.environ["LLMDEMO_RESULT"],
        repo_id=os.environ["LLMDEMO_REPO"],
        commit_message="The run",
    )
    _say(phase="sent")
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
