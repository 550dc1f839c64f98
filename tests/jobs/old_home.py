"""Unpacks old_home.json: a home folder made by the version before jobs were one system (table of version 2).

It holds runs (finished, stopped, failed, lost, waiting; one of them pruned), evaluations in each state, and experiments
(completed, cancelled, unfinished), all made by workers without a model.
"""

import json
import sqlite3
from pathlib import Path

from llmdemo.core.store import Home

FINISHED, STOPPED = "run-20261129-011243-864f56", "run-20261129-011243-186730"
FAILED, LOST = "run-20261129-011244-c6dc39", "run-20261129-011246-e10bed"
PRUNED = "run-20261129-011244-b7c4ed"
QUEUE = [f"run-20261129-011246-{each}" for each in ("5b8485", "3a9f10", "540df6", "a89c82")]
EVALUATIONS = {
    state: f"eval-20261129-01090{index}-aaaaa{index}"
    for index, state in enumerate(["completed", "stopped", "failed", "queued", "running"])
}
EXPERIMENTS = {
    "completed": "exp-20261129-011244-18b125",
    "cancelled": "exp-20261129-011245-0147fa",
    "unfinished": "exp-20261129-011246-33a485",
}


def unpack(home: Home, with_table: bool = True) -> None:
    """Makes the old folders in `home`, and the old table unless it was lost."""
    old = json.loads(Path(__file__).with_name("old_home.json").read_text(encoding="utf-8"))
    for name, content in old["files"].items():
        path = home.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    if with_table:
        table = sqlite3.connect(home.database)
        table.executescript("\n".join(old["sql"]))
        table.execute(f"PRAGMA user_version = {old['user_version']}")
        table.close()
