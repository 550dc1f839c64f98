"""The watch over a job on the hub: what ends it is a sentence, nothing is begun twice, and the token is in no file."""

import io
import json
import time
import zipfile

import pytest

from llmdemo.core.events import read_events
from llmdemo.core.store import read_json, write_json
from llmdemo.elsewhere import worker
from llmdemo.jobs import JobFolder
from tests.publish.conftest import TOKEN

END = {"type": "end", "t": 2.0, "state": "completed", "reason": "", "message": "", "hint": ""}


def bundle(config: dict | None = None, **more: bytes) -> bytes:
    """A run without a model, as a job sends it back."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("config.json", json.dumps(config or {"method": "galore", "run": {"name": "sums"}}))
        packed.writestr(
            "events.jsonl",
            json.dumps({"type": "step", "t": 1.0, "step": 6, "loss": 2.5}) + "\n" + json.dumps(END) + "\n",
        )
        for name, data in more.items():
            packed.writestr(name, data)
    return content.getvalue()


@pytest.fixture
def folder(home, hub, monkeypatch):
    """The folder of a job that has not been begun, with little to send."""
    for pause in ("LOOK_SECONDS", "_LOG_PAUSE_SECONDS", "CANCEL_PAUSE_SECONDS"):
        monkeypatch.setattr(worker, pause, 0.05)
    monkeypatch.setattr(worker.parcel, "app", lambda: b"app")
    path = home.root / "elsewhere" / "elsewhere-20261129-100000-abcdef"
    path.mkdir(parents=True)
    config = {"method": "galore", "model_id": "starter", "dataset_id": "data-1"}
    (home.datasets / "data-1").mkdir()
    (home.datasets / "data-1" / "records.arrow").write_bytes(b"records" * 2000)
    write_json(path / "config.json", {"config": config, "flavor": "cpu-basic", "hours": 1.0, "wait_hours": 6})
    return JobFolder(path)


def end_of(folder, home, token=TOKEN) -> dict:
    assert worker.work(folder, home, token) == 0
    return read_events(folder.events)[0][-1]


def test_a_run_that_came_back_is_checked_and_has_an_id_of_its_own(folder, home, hub):
    hub.begins_as, hub.result = "COMPLETED", bundle()
    assert end_of(folder, home)["state"] == "completed"
    (run,) = (folder.path / worker.FETCHED).iterdir()
    about = read_json(run / "config.json")["run"]
    assert about["id"] == run.name and about["imported"] is True and about["name"] == "sums"
    (job,) = hub.jobs.values()
    repo = job["spec"]["environment"]["LLMDEMO_REPO"]
    assert hub.private[repo] is True and job["spec"]["timeoutSeconds"] == 3600 and job["spec"]["flavor"] == "cpu-basic"
    sent = hub.repos[repo]
    assert {"input/app.zip", "input/ask.json", "input/datasets/data-1/records.arrow"} <= sent.keys()


def test_the_token_is_a_secret_of_the_job_and_in_no_file(folder, home, hub):
    hub.begins_as, hub.result = "COMPLETED", bundle()
    end_of(folder, home)
    (job,) = hub.jobs.values()
    assert job["spec"]["secrets"] == {"HF_TOKEN": TOKEN} and TOKEN not in str({**job["spec"], "secrets": 0})
    files = [path for path in home.root.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in path.read_bytes() for path in files)
    assert not any(TOKEN.encode() in data for repo in hub.repos.values() for data in repo.values())


@pytest.mark.parametrize(
    ("stage", "message", "said"),
    [
        ("CANCELED", None, "was cancelled on the hub"),
        ("ERROR", "Job failed with exit code: 137", "exit code: 137"),
        ("COMPLETED", None, "there is no run in ann/llmdemo-"),
        ("DELETED", None, "DELETED"),
    ],
)
def test_a_job_that_sent_nothing_back_is_a_sentence_and_another_attempt_begins_another(
    folder, home, hub, stage, message, said
):
    hub.begins_as, hub.message = stage, message
    end = end_of(folder, home)
    assert end["state"] == "failed" and said in end["message"] and "begin another" in end["hint"]
    hub.begins_as, hub.result = "COMPLETED", bundle()
    uploads = list(hub.uploads)
    assert end_of(folder, home)["state"] == "completed" and len(hub.jobs) == 2
    assert hub.uploads == uploads, "what was sent is not sent again"


def test_a_job_that_never_starts_is_cancelled_so_that_it_cannot_cost_anything_later(folder, home, hub):
    write_json(folder.path / "config.json", {**folder.config(), "wait_hours": 0})
    end = end_of(folder, home)
    assert "has waited 0 hours for cpu-basic" in end["message"] and list(hub.jobs) == hub.cancelled


def test_a_stop_cancels_the_job_on_the_hub(folder, home, hub, monkeypatch):
    look = worker.HubJobs.look

    def stop_meanwhile(*asked):
        folder.stop.touch()
        return look(*asked)

    monkeypatch.setattr(worker.HubJobs, "look", stop_meanwhile)
    end = end_of(folder, home)
    assert end["state"] == "stopped" and hub.cancelled == list(hub.jobs)


def test_a_hub_that_is_busy_for_a_moment_is_asked_again_to_cancel(folder, home, hub, monkeypatch):
    """Else a machine would go on costing money that its owner has stopped."""
    cancel, tries = worker.HubJobs.cancel, []

    def busy_once(*asked):
        tries.append(asked)
        if len(tries) == 1:
            hub.refusals["/api/jobs"] = (503, "busy")
        else:
            hub.refusals.clear()
        return cancel(*asked)

    monkeypatch.setattr(worker.HubJobs, "cancel", busy_once)
    write_json(folder.path / "config.json", {**folder.config(), "wait_hours": 0})
    assert "has waited 0 hours" in end_of(folder, home)["message"] and list(hub.jobs) == hub.cancelled


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        ((402, "Payment required"), "no credits"),
        ((403, "Add credits to run jobs"), "no credits"),
        ((403, "Forbidden"), "may not run Jobs"),
        ((401, "Invalid credentials"), "does not know this token"),
        ((404, "Not found"), "no longer knows"),
    ],
)
def test_what_the_hub_refuses_is_a_sentence_with_what_to_do(folder, home, hub, refused, said):
    hub.refusals["/api/jobs"] = refused
    end = end_of(folder, home)
    assert end["state"] == "failed" and said in end["message"] and end["hint"] and not hub.jobs
    hub.refusals.clear()
    hub.begins_as, hub.result = "COMPLETED", bundle()
    assert end_of(folder, home)["state"] == "completed"


def test_a_hub_that_does_not_answer_for_a_while_ends_nothing(folder, home, hub, monkeypatch):
    hub.result = bundle()
    look, asked = worker.HubJobs.look, []

    def broken(*job):
        asked.append(time.monotonic())
        if len(asked) < 3:
            hub.refusals["/api/jobs/ann/"] = (503, "Service Unavailable")
        else:
            hub.refusals.clear()
            hub.jobs[job[1]]["stage"] = "COMPLETED"
        return look(*job)

    monkeypatch.setattr(worker.HubJobs, "look", broken)
    assert end_of(folder, home)["state"] == "completed" and len(asked) == 3


@pytest.mark.parametrize("known", ["hub_id", "tag"])
def test_another_attempt_finds_the_job_that_was_begun(folder, home, hub, monkeypatch, known):
    """By its id, or by its label where the attempt that began it ended before it knew the id."""
    hub.result, watch = bundle(), worker.Attempt._watch
    monkeypatch.setattr(worker.Attempt, "_watch", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        worker.work(folder, home, TOKEN)
    monkeypatch.setattr(worker.Attempt, "_watch", watch)
    if known == "tag":
        write_json(folder.path / worker.HUB, {**read_json(folder.path / worker.HUB), "hub_id": ""})
    for job in hub.jobs.values():
        job["stage"] = "COMPLETED"
    assert end_of(folder, home)["state"] == "completed" and len(hub.jobs) == 1


@pytest.mark.parametrize(
    "result",
    [
        b"no zip at all",
        bundle(**{"../../evil.py": b"x"}),
        bundle(**{"model/weights.bin": b"x"}),
        bundle({"method": "galore", "../x": 1}),
    ],
    ids=["no zip", "a path", "a pickle", "an odd setting"],
)
def test_a_hostile_bundle_is_refused_whole_and_stays_on_the_hub(folder, home, hub, result):
    hub.begins_as, hub.result = "COMPLETED", result
    end = end_of(folder, home)
    assert end["state"] == "failed" and end["message"] and "mistake" not in end["message"]
    assert not list((folder.path / worker.FETCHED).glob("*")) and not (folder.path / "fetched").exists()


def test_the_log_goes_on_where_its_connection_broke(folder, home, hub, monkeypatch, capfd):
    hub.begins_as, hub.result, tries = "COMPLETED", bundle(), []

    def lines(*job):
        tries.append(job)
        yield from ["one", worker.PREFIX + '{"step": 6}']
        if len(tries) == 1:
            raise ConnectionError
        yield "two"

    monkeypatch.setattr(worker.HubJobs, "lines", lines)
    assert end_of(folder, home)["state"] == "completed" and len(tries) == 2
    said = capfd.readouterr().out.splitlines()
    assert [line for line in said if line in ("one", "two")] == ["one", "two"]


def test_without_a_token_an_attempt_says_so_and_asks_nobody(folder, home, hub):
    assert "needs an access token" in end_of(folder, home, token="")["message"] and not hub.seen_tokens


def test_figures_in_the_output_are_believed_only_if_they_are_some():
    line = worker.PREFIX + json.dumps({"step": 3, "loss": "x", "eta_seconds": 1e999, "phase": "training", "evil": "y"})
    assert worker.figures_of(line.replace("Infinity", "1e999")) == {"step": 3.0, "phase": "training"}
    for odd in ("[1]", "{", "null", "[" * 100_000):
        assert worker.figures_of(worker.PREFIX + odd) == {}
