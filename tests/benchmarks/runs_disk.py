"""Faults of the disk, for runs_faults.py: a small tmpfs that is full, or read-only. Needs root and Linux."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from runs_common import (
    FAKE_CONFIG,
    fake_command,
    fake_weights,
    family,
    fingerprint,
    open_runs,
    wait_final,
    wait_until,
    whole_checkpoints,
)

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.runs import Runs


def full_disk(args) -> dict:
    """A tmpfs with a little less free space each time, so that every kind of write meets the end of it."""
    if not may_mount():
        return {"left out": "needs root on Linux, for a small tmpfs"}
    counts, problems = Counter(), []
    for kib in range(0, 560, args.disk_step):
        with tmpfs(4 * 2**20) as root:
            Home(root).prepare()
            app = open_runs(root, fake_command)
            filler = fill(root, kib * 1024)
            outcome, run_id = "refused with a sentence", None
            try:
                run_id = app.start(FAKE_CONFIG | {"step_seconds": 0.001, "checkpoint_seconds": 0})
                status = wait_final(app, run_id, 20)
                outcome = f"{status['state']} {status['reason']}".strip()
                if status["state"] not in ("completed", "failed") or status["reason"] not in ("", "disk_full"):
                    problems.append(f"{kib} KiB: {outcome}: {status['message']}")
                if not whole_checkpoints(root / "runs" / run_id):
                    problems.append(f"{kib} KiB: a checkpoint is not whole")
            except UserError:
                pass
            counts[outcome] += 1
            filler.unlink()
            problems += [f"{kib} KiB: {each}" for each in resumes_well(app, root, run_id)]
            app.close()
    return {**dict(sorted(counts.items())), "problems": problems}


def resumes_well(app: Runs, root: Path, run_id: str | None) -> list[str]:
    """With space again: the run goes on to the right weights."""
    run_id = run_id or app.start(FAKE_CONFIG | {"step_seconds": 0.001, "checkpoint_seconds": 0})
    if app.status(run_id)["state"] == "failed":
        app.resume(run_id)
    status = wait_final(app, run_id, 20)
    good = json.dumps({"weights": fake_weights(FAKE_CONFIG["steps"])}).encode()
    if status["state"] != "completed" or fingerprint(root / "runs" / run_id) != hashlib.sha256(good).hexdigest():
        return [f"with space again it ended as {status['state']}: {status['message']}"]
    return []


def read_only(args) -> dict:
    """The home folder becomes read-only while a run goes, and can be written again."""
    if not may_mount():
        return {"left out": "needs root on Linux, for a small tmpfs"}
    problems, told = [], ""
    with tmpfs(16 * 2**20) as root:
        Home(root).prepare()
        app = open_runs(root, fake_command)
        run_id = app.start(FAKE_CONFIG | {"steps": 10_000})
        wait_until(lambda: app.status(run_id)["step"] > 5, 20)
        remounted = subprocess.run(["mount", "-o", "remount,ro", str(root)], capture_output=True).returncode == 0
        if not remounted:  # files are open for writing: a bind mount on top refuses new writes all the same
            subprocess.run(["mount", "--bind", str(root), str(root)], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", str(root)], check=True)
        for attempt in (lambda: app.start({}), lambda: Home(root).prepare(), lambda: open_runs(root, fake_command)):
            try:
                attempt()
                problems.append("a read-only home folder was not noticed")
            except UserError as error:
                told = str(error)
        if app.status(run_id)["step"] < 5:
            problems.append("the run can no longer be seen")
        if remounted:
            subprocess.run(["mount", "-o", "remount,rw", str(root)], check=True)
        else:
            subprocess.run(["umount", str(root)], check=True)
        app.stop(run_id)
        status = wait_final(app, run_id, 20)
        if status["state"] not in ("stopped", "failed") or family(root / "runs" / run_id):
            problems.append(f"afterwards: {status['state']}")
        app.close()
    return {"told": told, "afterwards": f"{status['state']} {status['reason']}".strip(), "problems": problems}


def may_mount() -> bool:
    return sys.platform.startswith("linux") and os.geteuid() == 0 and shutil.which("mount") is not None


@contextmanager
def tmpfs(size: int):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def fill(root: Path, leave: int) -> Path:
    """A file that leaves `leave` bytes of free space."""
    filler = root / "filler"
    filler.write_bytes(b"\0" * max(0, shutil.disk_usage(root).free - leave))
    return filler
