"""What the tests of jobs and of runs share: a home folder, quick settings, the fake worker, waiting for a state."""

import dataclasses
import sys
from pathlib import Path

import pytest

from llmdemo.core.store import Home
from llmdemo.jobs import Jobs, process, service
from llmdemo.jobs.states import ALIVE
from llmdemo.runs import Runs
from llmdemo.settings import Settings
from tests.waiting import until

FAKE = Path(__file__).parents[1] / "runs" / "fake_worker.py"


def fake_command(run_dir: Path, config: dict) -> list[str]:
    launcher = ["launch"] if config.get("launcher") else []
    return [sys.executable, "-S", str(FAKE), *launcher, str(run_dir)]


class Bench:
    """A home folder with quick settings on which apps (Runs objects) can be opened and closed."""

    def __init__(self, root: Path):
        self.home = Home(root).prepare()
        self.settings = Settings(home=root, min_free_bytes=0, stop_grace_seconds=0.4, term_grace_seconds=0.3)
        self.opened: list[Runs] = []
        self.fake_command = fake_command

    def open(self, command=fake_command, **settings) -> Runs:
        app = Runs(Jobs(self.home, dataclasses.replace(self.settings, **settings)), command)
        self.opened.append(app)
        return app

    def close(self, app: Runs) -> None:
        self.opened.remove(app)
        app.close()

    def wait(self, app: Runs, run_id: str, *states: str, seconds: float = 20.0) -> dict:
        """The status once the run is in one of `states`."""
        return until(
            lambda: (status := app.status(run_id))["state"] in states and status,
            seconds,
            f"{run_id} {states}: {app.status(run_id)}",
        )

    def processes(self, run_id: str) -> dict[int, str]:
        """What lives of the run, found as an outsider would: by its token or by its folder on a command line."""
        from llmdemo.runs.folder import RunFolder

        known = RunFolder(self.home.runs / run_id).process()
        return process.group(known.get("pid"), known.get("identity", ""), known.get("token", ""), known.get("members"))

    def tidy(self) -> None:
        for app in self.opened:
            for status in app.list():
                if status["state"] in ALIVE:
                    process.send(self.processes(status["run_id"]), 9)
            app.close()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(service, "_BUSY_SECONDS", 0.05)  # the tests' runs last milliseconds
    monkeypatch.setattr(service, "_IDLE_SECONDS", 0.2)
    bench = Bench(tmp_path / "home")
    yield bench
    bench.tidy()
