"""Beside a served model: texts are kept, a request is corrected and taken, becomes data, and a second model is promoted."""

import shutil

import httpx
import pytest
from gradio_client import Client

from llmdemo.core.store import Home
from tests.conftest import make_llama, make_tokenizer, own_model

pytestmark = pytest.mark.slow
OTHER = "run-20260101-000000-abcdef"


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_model_folder):
    home = tmp_path_factory.mktemp("circle") / "home"
    own_model(shutil.copytree(tiny_model_folder, home / "models" / "starter"), Home(home))
    tokenizer = make_tokenizer()
    make_llama(len(tokenizer), seed=9).save_pretrained(home / "runs" / OTHER / "model")
    tokenizer.save_pretrained(home / "runs" / OTHER / "model")
    return home


def test_requests_become_a_version_of_data_and_a_model_on_trial_is_promoted(home, app_on, open_page):
    with app_on(home) as url:
        owner = Client(url, verbose=False)
        owner.predict("starter", "mine", "greedy", api_name="/serve_model")
        key = owner.predict("app", [], None, False, api_name="/create_key")["key"]

        def ask(path, **body):
            answer = httpx.post(f"{url}v1{path}", json=body, headers={"authorization": f"Bearer {key}"}, timeout=60)
            assert answer.status_code == 200, answer.text
            return answer.json()

        page = open_page(url)
        page.get_by_role("tab", name="Train").click()
        box = page.locator("#train-serving")
        box.get_by_text("Serve to other programs").click()
        box.get_by_text("Learn from requests").click()
        box.get_by_label("Store the texts of requests").check()
        box.get_by_label("for days").wait_for()
        asked = {"model": "mine", "messages": [{"role": "user", "content": "Two?"}], "max_tokens": 8}
        told = ask("/chat/completions", **asked)
        ask("/feedback", id=told["id"], thumb="down")

        box.get_by_text("thumb down").wait_for()  # it comes by itself
        box.locator("select[data-key=circle-state]").select_option("all")
        box.get_by_label("Answer to learn").fill("Two it is.")
        box.get_by_role("button", name="Take").click()
        box.get_by_text("corrected").wait_for()
        box.get_by_role("button", name="Make a version with 1").click()
        box.get_by_text("Version 1 of mine has been created, with 1 record.").wait_for()

        box.get_by_role("button", name="Start the trial").click()
        box.get_by_role("button", name="Promote it").click()
        box.get_by_role("button", name="Serve it instead?").click()
        box.get_by_role("button", name="Back to").wait_for()
        served = owner.predict(api_name="/list_served")["served"][0]
        assert (served["model_id"], served["before"]) == (OTHER, "starter")
        box.get_by_role("button", name="Revoke: app").click()
        box.get_by_role("button", name="Revoke it?").click()
        box.get_by_text("No keys yet").wait_for()
        refused = httpx.post(f"{url}v1/chat/completions", json=asked, headers={"authorization": f"Bearer {key}"})
        assert refused.status_code == 401 and "revoked" in refused.text
        assert page.errors == [] and page.foreign == []
