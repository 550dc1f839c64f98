"""The whole way, by endpoints and HTTP alone: served → asked → judged → reviewed → a new version of the data → a run →
on trial beside the old model → promoted → brought back."""

import httpx
import pytest
from gradio_client import Client

from tests.waiting import over


@pytest.fixture(scope="module")
def owner(server) -> Client:
    return Client(server, verbose=False)


@pytest.fixture(scope="module")
def ask(owner, server, services):
    owner.predict("starter", "mine", "greedy", api_name="/serve_model")
    services.serving.join()
    key = owner.predict("app", [], None, False, api_name="/create_key")["key"]
    with httpx.Client(base_url=f"{server}v1", headers={"authorization": f"Bearer {key}"}, timeout=60) as web:

        def ask_(path: str, **body):
            return web.post(path, json=body)

        yield ask_


def answered(ask, question: str, **more) -> dict:
    messages = [{"role": "user", "content": question}]
    answer = ask("/chat/completions", model="mine", messages=messages, max_tokens=4, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def version(owner, ask, services, tmp_path_factory):
    """A version of a data set with what was said of two answers, and its parent."""
    rows = tmp_path_factory.mktemp("rows") / "sums.jsonl"
    lines = [f'{{"instruction": "Add {n} and {n}.", "output": "{2 * n}"}}' for n in range(12)]
    rows.write_text("\n".join(lines))
    parent = services_add(services, rows)
    owner.predict(True, 100, 7, api_name="/keep_texts")
    good, bad, unsaid, private = (answered(ask, q) for q in ("One?", "Two?", "Three?", "Four?"))
    assert ask("/feedback", id=good["id"], thumb="up").status_code == 200
    assert ask("/feedback", id=bad["id"], thumb="down", correction="Two it is. Ask ann@mail.org").status_code == 200
    answered(ask, "Not to be kept?", store=False)
    told = owner.predict("mine", "new", 0, api_name="/kept_texts")
    assert told["counts"]["all"] == 4 and [text["thumb"] for text in told["texts"]] == [-1, 1]
    for text in told["texts"]:
        owner.predict(text["number"], "take", None, None, api_name="/review_text")
    made = owner.predict("mine", "chat", parent, "", api_name="/feedback_dataset")
    owner.predict(False, 100, 7, api_name="/keep_texts")
    return made, parent


def services_add(services, path) -> str:
    from llmdemo import data

    return data.add_dataset(services.home, services.settings, path, "sums").dataset_id


@pytest.mark.slow
def test_what_was_reviewed_is_a_version_of_the_data_with_the_correction_in_the_answers_place(version, services, owner):
    from llmdemo import data

    made, parent = version
    assert (made["parent"], made["version"], made["name"], made["kept"]) == (parent, 2, "sums", 14)
    records = list(data.open_records(services.home, made["dataset_id"]))
    assert [turn["content"] for turn in records[-1]["messages"]] == ["Two?", "Two it is. Ask [e-mail]"]
    assert records[-2]["messages"][0]["content"] == "One?" and records[0]["messages"][-1]["content"] == "0"
    assert len(data.list_datasets(services.home)) == 2, "nothing is left of the way there"
    with pytest.raises(Exception, match="No request of mine"):  # each goes into a data set once
        owner.predict("mine", "chat", parent, "", api_name="/feedback_dataset")


@pytest.mark.slow
def test_the_next_run_starts_from_it_stands_beside_the_old_model_and_is_promoted_or_brought_back(
    version, owner, ask, services
):
    made, _ = version
    config = {
        "dataset_id": made["dataset_id"],
        "model_id": "starter",
        "method": "adamw",
        "max_steps": 2,
        "batch_size": 2,
    }
    run_id = owner.predict({**config, "max_length": 64, "eval_share": 0}, api_name="/start_run")["run_id"]
    status = over(services.runs, run_id, 90, pause=0.1)
    assert status["state"] == "completed", status
    old = answered(ask, "Who are you?", seed=1)

    owner.predict("mine", run_id, "share", 0.5, api_name="/begin_trial")
    services.serving.join()
    prints = {answered(ask, "Who are you?", seed=1, user=f"user {n}")["system_fingerprint"] for n in range(12)}
    assert len(prints) == 2 and old["system_fingerprint"] in prints
    new = owner.predict("mine", api_name="/promote_trial")
    assert (new["model_id"], new["before"]) == (run_id, "starter")
    assert answered(ask, "Who are you?", seed=1)["system_fingerprint"] != old["system_fingerprint"]
    assert owner.predict("mine", api_name="/roll_back")["model_id"] == "starter"
    assert answered(ask, "Who are you?", seed=1)["choices"] == old["choices"]
