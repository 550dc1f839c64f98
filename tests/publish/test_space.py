"""The folder with a chat page: what it says of itself, errors, and what a Space gets. tests/browser/test_space.py runs it."""

from types import SimpleNamespace

import pytest

from llmdemo.jobs import JobFolder, Jobs
from llmdemo.models import catalog
from llmdemo.publish import Pushes, worker
from llmdemo.publish.space import app_files

TOKEN = "hf_goodgoodgoodgood"
RUN = "run-20260101-000000-abcdef"


@pytest.fixture
def entry(home, tiny_model_folder):
    import shutil

    shutil.copytree(tiny_model_folder, home.runs / RUN / "model")
    (home.runs / RUN / "model" / "origin.json").write_text('{"base": "/secret/place"}')
    return catalog.resolve(home, RUN)


def test_what_cannot_be_drawn_from_ends_with_an_error_and_holds_no_place(entry, tmp_path):
    """A Space answers one visitor at a time: an answer that never ended would be the last."""
    import threading

    import gradio

    (tmp_path / "model").symlink_to(entry.path)
    app = {"__name__": "app", "__file__": str(tmp_path / "app.py")}
    exec(compile(app_files(entry, "mine")["app.py"], "app.py", "exec"), app)  # noqa: S102 - it is our own text
    ended = []

    def ask():
        with pytest.raises(gradio.Error, match="RuntimeError"):
            list(app["answer"]("Hello", [], temperature=1e-40))  # logits by that are infinite
        ended.append(True)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(10)
    assert ended
    *_, whole = app["answer"]("Hello", [], max_new_tokens=40)
    first = next(growing := app["answer"]("Hello", [], max_new_tokens=40))
    growing.close()  # its reader has gone: the model does not compute on
    for thread in threading.enumerate():
        if thread.name.endswith("(generate)"):
            thread.join(10)
    assert whole.startswith(first)


@pytest.mark.parametrize("writes", [True, False])
def test_a_title_from_outside_stays_a_text_in_every_file(writes, entry):
    evil = 'x"""\nimport os; os.system("touch /tmp/evil")\n"""{title}\n---\nsdk: docker'
    files = app_files(SimpleNamespace(writes=writes, task="chat"), evil)
    compile(files["app.py"], "app.py", "exec")
    assert b"\nimport os; os" not in files["app.py"] and b"\nsdk: docker" not in files["README.md"]
    assert files["README.md"].startswith(b'---\ntitle: "x import os')


def test_one_click_makes_a_private_space_with_model_and_page(entry, home, settings, hub):
    runs = SimpleNamespace(
        status=lambda run_id: {"name": "My run", "run_id": run_id}, config=lambda run_id: {"model": {"id": "starter"}}
    )
    jobs = Jobs(home, settings)
    pushes = Pushes(jobs, runs)
    started = {}
    pushes.jobs.start = lambda kind, config, name, secret, fill: started.update(config=config, fill=fill)
    pushes.start(RUN, "chat", TOKEN, space=True)
    folder = home.root / "pushes" / "push-test"
    folder.mkdir(parents=True)
    started["fill"](folder)
    import json

    (folder / "config.json").write_text(json.dumps(started["config"]))
    assert worker.work(JobFolder(folder), home, TOKEN) == 0
    stored = hub.repos["ann/chat"]
    assert hub.kinds["ann/chat"] == ("space", "gradio") and hub.private["ann/chat"] is True
    assert {"app.py", "requirements.txt", "README.md", "model/config.json", "model/model.safetensors"} <= set(stored)
    assert "model/origin.json" not in stored and b'app_file: "app.py"' in stored["README.md"]
    assert json.loads((folder / "result.json").read_text())["url"].endswith("/spaces/ann/chat")
    jobs.close()
