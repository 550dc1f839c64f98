"""The downloaded folder with a chat page runs alone, and says in a browser and by its endpoint what the model says."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from llmdemo.core.store import Home
from llmdemo.models import catalog
from llmdemo.publish.space import packed
from tests.browser.conftest import new_context
from tests.browser.steps import until
from tests.waiting import free_port, page_of

pytestmark = pytest.mark.slow
RUN = "run-20260101-000000-abcdef"
QUESTION = "What is the capital of France?"


@pytest.fixture
def folder(tmp_path, tiny_model_folder):
    """A finished run's model, downloaded and unpacked."""
    home = Home(tmp_path / "home").prepare()
    shutil.copytree(tiny_model_folder, home.runs / RUN / "model")
    (home.runs / RUN / "model" / "origin.json").write_text('{"base": "/secret/place"}')
    with zipfile.ZipFile(packed(catalog.resolve(home, RUN), "mine", tmp_path / "mine.zip")) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "mine"


@pytest.fixture
def space(folder, tmp_path):
    """The address of its page, run with none of this project on the path."""
    port = str(free_port())
    known = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    env = {**known, "GRADIO_SERVER_PORT": port, "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=env, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}/"
        page_of(url, process, 90)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def expected(folder, most: int) -> str:
    """transformers' own greedy answer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (kind.from_pretrained(folder / "model") for kind in (AutoModelForCausalLM, AutoTokenizer))
    turns = [{"role": "user", "content": QUESTION}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    whole = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=most)
    return tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)


def test_the_downloaded_folder_runs_alone_and_answers_as_the_model_does(folder, space, browser):
    from gradio_client import Client

    assert not (folder / "model" / "origin.json").exists()
    said = Client(space, verbose=False).predict(QUESTION, "", 12, 0, 1, api_name="/chat")
    assert said == expected(folder, 12)
    context = new_context(browser, viewport={"width": 390, "height": 800})
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(space)
    page.get_by_role("textbox").first.fill(QUESTION)
    page.keyboard.press("Enter")
    page.get_by_text(QUESTION).first.wait_for()
    until(page, "document.querySelector('[data-testid=bot]')?.innerText.trim().length > 3")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert errors == []
    context.close()
