"""Runs elsewhere as the page sees them: what they cost, what is refused at once, and the run that comes back."""

import json
import socket
import time

import pytest

from llmdemo.core.errors import UserError
from llmdemo.core.store import read_json
from llmdemo.elsewhere import Elsewhere, hub_jobs, worker
from llmdemo.jobs import Jobs
from llmdemo.models import catalog
from llmdemo.runs import Runs
from tests.elsewhere.test_worker import bundle
from tests.publish.conftest import TOKEN
from tests.waiting import over, until
from tests.workers import in_this_process


@pytest.fixture
def here(home, settings, monkeypatch):
    """The service, with its processes as calls in this one."""
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(worker.parcel, "app", lambda: b"app")

    jobs = Jobs(home, settings, in_this_process(worker.work, home))
    with Elsewhere(jobs, Runs(jobs)) as service:
        yield service


def test_hardware_is_named_with_its_price_an_hour_the_cheapest_first(here, hub):
    cheap, dear = here.hardware(TOKEN)
    assert cheap["name"] == "cpu-basic" and cheap["dollars_per_hour"] == pytest.approx(0.01, abs=1e-4)
    assert dear["gpu"] == "1 × T4, 16 GB" and dear["gpu_bytes"] == 16 * 10**9
    assert dear["dollars_per_hour"] == pytest.approx(0.4, abs=1e-3)


def test_a_run_that_came_back_is_in_the_list_with_its_figures_and_is_there_once(here, hub, values):
    hub.begins_as, hub.result = "COMPLETED", bundle()
    job_id = here.start(values, "t4-small", TOKEN, hours=2)
    status = over(here, job_id)
    assert status["state"] == "completed" and status["most_dollars"] == pytest.approx(0.8, abs=0.01), status
    assert status["repo"].startswith("ann/") and status["url"].startswith(f"{hub.url}/jobs/ann/")
    here.collect()
    (run,) = here._runs.list()
    assert run["run_id"] == status["run_id"] and run["imported"] and run["loss"] == 2.5 and run["name"] == "sums"
    asked = json.loads(hub.repos[status["repo"]]["input/ask.json"])
    assert asked["models"]["model_id"]["kind"] == "sent" and asked["seconds"] == 7200
    assert asked["config"]["run"]["name"] == status["name"] == "galore · sums"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"flavor": "h9000"}, "no hardware called 'h9000'"),
        ({"flavor": "../x"}, "no hardware called"),
        ({"hours": 1000}, "1000 is not a valid number of hours"),
        ({"hours": float("nan")}, "not a valid number of hours"),
        ({"token": ""}, "needs an access token"),
        ({"token": "hf_expiredexpired"}, "does not know this token"),
        ({"values": {"dataset_id": "data-gone"}}, "data-gone"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(here, hub, values, changes, said):
    asked = {"values": values, "flavor": "cpu-basic", "token": TOKEN, "hours": 1.0} | changes
    with pytest.raises(UserError, match=said):
        here.start(**asked)
    assert not hub.repos and not here.list()


def test_without_a_network_it_says_so_within_two_seconds(here, values, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
    began = time.monotonic()
    for ask in (lambda: here.hardware(TOKEN), lambda: here.start(values, "cpu-basic", TOKEN)):
        with pytest.raises(UserError, match="127.0.0.1"):
            ask()
    assert time.monotonic() - began < 2 and not here.list()


@pytest.mark.slow
def test_a_job_that_failed_goes_on_with_a_token(here, hub, values):
    hub.refusals["/api/jobs/ann"] = (402, "Payment required")
    job_id = here.start(values, "cpu-basic", TOKEN)
    status = over(here, job_id)
    assert status["state"] == "failed" and "no credits" in status["message"] and status["can_resume"]
    hub.refusals.clear()
    hub.begins_as, hub.result = "COMPLETED", bundle()
    here.go_on(job_id, TOKEN)
    assert over(here, job_id)["run_id"] and len(here._runs.list()) == 1


def test_a_preset_that_is_not_here_is_fetched_there(here, hub, values):
    hub.begins_as, hub.result = "COMPLETED", bundle()
    job_id = here.start({**values, "model_id": "HuggingFaceTB/SmolLM2-1.7B"}, "t4-small", TOKEN)
    asked = json.loads(hub.repos[over(here, job_id)["repo"]]["input/ask.json"])
    assert asked["models"]["model_id"] == {"kind": "hub", "id": "HuggingFaceTB/SmolLM2-1.7B"}


def test_a_gated_preset_needs_a_token_that_it_is_given_to_before_anything_is_sent(here, hub, values):
    gated = {**values, "model_id": "meta-llama/Llama-3.2-1B"}
    hub.refusals["/api/models/meta-llama"] = (403, "Access to model meta-llama/Llama-3.2-1B is restricted")
    with pytest.raises(UserError, match="licence has not been accepted"):
        here.start(gated, "t4-small", TOKEN)
    assert not hub.repos and not here.list()
    hub.refusals["/api/models/meta-llama"] = (200, "")
    hub.begins_as, hub.result = "COMPLETED", bundle()
    job_id = here.start(gated, "t4-small", TOKEN)
    asked = json.loads(hub.repos[over(here, job_id)["repo"]]["input/ask.json"])
    assert asked["models"]["model_id"] == {"kind": "hub", "id": "meta-llama/Llama-3.2-1B"}


def test_several_gpus_are_used_where_the_hardware_has_them(here, hub, values, monkeypatch):
    from tests.elsewhere import jobs_hub

    four = {
        **jobs_hub.OFFERS[0],
        "name": "t4-x4",
        "accelerator": {**jobs_hub.OFFERS[0]["accelerator"], "quantity": "4"},
    }
    monkeypatch.setattr(jobs_hub, "OFFERS", [*jobs_hub.OFFERS, four])
    with pytest.raises(UserError, match="num_processes"):
        here.start({**values, "num_processes": 4}, "t4-small", TOKEN)
    hub.begins_as, hub.result = "COMPLETED", bundle()
    job_id = here.start({**values, "num_processes": 4}, "t4-x4", TOKEN)
    asked = json.loads(hub.repos[over(here, job_id)["repo"]]["input/ask.json"])
    assert asked["config"]["num_processes"] == 4


def test_offers_that_make_no_sense_are_a_sentence(here, hub, monkeypatch):
    from tests.elsewhere import jobs_hub

    for odd in (
        [{"name": "x"}],
        [{**jobs_hub.OFFERS[0], "unitCostUSD": -1}],
        [{**jobs_hub.OFFERS[0], "unitLabel": "year"}],
    ):
        monkeypatch.setattr(jobs_hub, "OFFERS", odd)
        with pytest.raises(UserError, match="does not understand the hub.s answer"):
            here.hardware(TOKEN)
    assert hub_jobs.address("ann", "x1") == f"{hub.url}/jobs/ann/x1"


@pytest.mark.slow
def test_the_jobs_script_trains_by_the_real_worker_and_the_run_is_back_though_the_app_was_restarted(
    hub, home, settings, values, tiny_model_folder, monkeypatch
):
    """The hub runs the job's own command as a process: it fetches what was sent, trains, and sends the run back."""
    hub.runs = True
    hub.folder.mkdir()
    monkeypatch.setenv("LLMDEMO_LOOK_SECONDS", "0.2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    jobs = Jobs(home, settings)
    with Elsewhere(jobs, Runs(jobs)) as first:
        job_id = first.start(values, "cpu-basic", TOKEN)
        until(lambda: hub.jobs or first.status(job_id)["state"] == "failed", pause=0.3)
    jobs = Jobs(home, settings)
    with Elsewhere(jobs, Runs(jobs)) as again:
        status = over(again, job_id, 200, pause=0.3)
        (job,) = hub.jobs.values()
        assert status["state"] == "completed", (status, job["lines"][-30:])
        run = again._runs.status(status["run_id"])
        assert run["state"] == "completed" and run["step"] == 6 and run["model_id"] == run["run_id"], run
        config = again._runs.config(run["run_id"])
        assert config["model_id"] == str(tiny_model_folder) and config["model"]["title"] == "tiny-llama"
        entry = catalog.resolve(home, run["run_id"])
        assert entry.writes and read_json(entry.path / "config.json")["model_type"] == "llama"
        assert again._runs.series(run["run_id"])["eval_loss"]["step"][-1] == 6
        assert status["progress"]["stage"] is None or status["progress"]["step"] == 6
    assert any(line.startswith(worker.PREFIX) for line in job["lines"])
    assert TOKEN not in "".join(job["lines"])
    assert not any(TOKEN.encode() in path.read_bytes() for path in home.root.rglob("*") if path.is_file())
    assert not any(TOKEN.encode() in path.read_bytes() for path in hub.folder.rglob("*") if path.is_file())
