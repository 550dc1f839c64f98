"""What guests see of a run: nothing until its owner shows it, and then no settings, notes or paths."""

import json
from types import SimpleNamespace

import pytest

from llmdemo.core.errors import UserError
from llmdemo.ui import runs_api
from llmdemo.ui.endpoints import of_endpoints
from llmdemo.ui.watch_panel import watched
from tests.ui.conftest import by_name


@pytest.fixture
def installation(bench):
    """Services with one run that takes three steps of a fake worker and has ended."""
    runs = bench.open()
    run_id = runs.start({"steps": 3, "secret": "kept back"}, name="For the class")
    bench.wait(runs, run_id, "completed")
    runs.annotate(run_id, "My own note")
    yield SimpleNamespace(runs=runs, require_owner=lambda: None), run_id
    bench.close(runs)


def test_a_run_is_watched_only_while_its_owner_shows_it(installation):
    services, run_id = installation
    show = by_name(of_endpoints(runs_api.endpoints(services))).show_run
    for hidden in (run_id, "run-x", "../etc"):
        with pytest.raises(UserError, match="guests may watch"):
            watched(services, hidden)
    assert show({"run_id": run_id, "on": True}) == {"link": f"watch?run={run_id}"}
    assert watched(services, run_id)["status"]["name"] == "For the class"
    past_the_page = by_name(runs_api.endpoints(services)).show_run
    for hide in (lambda: show({"run_id": run_id, "on": False}), lambda: past_the_page(run_id, "false")):
        services.runs.show(run_id, True)
        hide()
        with pytest.raises(UserError, match="guests may watch"):
            watched(services, run_id)


def test_a_guest_is_told_figures_and_samples_once_and_never_settings_or_notes(installation):
    services, run_id = installation
    services.runs.show(run_id, True)
    first = watched(services, run_id)
    assert first["series"]["loss"]["value"] and "samples" in first
    told = json.dumps(first)
    assert "kept back" not in told and "My own note" not in told and str(services.runs.jobs.home.root) not in told
    assert watched(services, run_id, first["seen"]).keys() == {"status", "seen"}
