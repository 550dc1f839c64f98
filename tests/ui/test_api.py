"""Every endpoint of the contract, called as scripts call it: through gradio_client, against a live server."""

import json

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from tests.waiting import until

CONTRACT = {
    "/add_dataset", "/list_datasets", "/list_models", "/list_runs", "/start_run", "/run_status", "/stop_run", "/resume_run",
    "/compare",
}  # fmt: skip
STATUS = {
    "state", "reason", "step", "total_steps", "loss", "eval_loss", "tokens_per_second", "eta_seconds", "peak_memory_bytes",
    "model_id",
}  # fmt: skip
SMALL = {"rank": 8, "max_length": 64, "max_steps": 4, "batch_size": 4, "precision": "fp32"}


@pytest.fixture(scope="module")
def client(server):
    client = Client(server, verbose=False)
    yield client
    client.close()


@pytest.fixture(scope="module")
def dataset_id(client, tmp_path_factory):
    records = [{"instruction": f"Add {n} and {n + 1}.", "input": "", "output": f"{2 * n + 1}"} for n in range(40)]
    path = tmp_path_factory.mktemp("upload") / "sums.json"
    path.write_text(json.dumps([*records, {"instruction": "And?", "input": "", "output": ""}]))
    return client.predict(file=handle_file(path), name="sums", api_name="/add_dataset")["dataset_id"]


def wait_for(client, run_id: str, *states: str, seconds: float = 120) -> dict:
    def status() -> dict | None:
        found = client.predict(run_id=run_id, api_name="/run_status")
        assert found["state"] != "failed", found["message"]
        return found if found["state"] in states else None

    return until(status, seconds, pause=0.4)  # a look is a whole call through the client, of some 40 ms of CPU


@pytest.mark.slow
def test_every_endpoint_of_the_contract_is_named_typed_and_documented(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert endpoints.keys() >= CONTRACT
    for name in CONTRACT:
        assert endpoints[name]["description"]
        assert all(parameter["parameter_name"] for parameter in endpoints[name]["parameters"])


def test_an_added_file_comes_back_with_what_was_found(client, dataset_id, tmp_path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps([{"instruction": "a", "output": "b"}, {"instruction": "c", "output": ""}]))
    info = client.predict(file=handle_file(path), name="", api_name="/add_dataset")
    assert (info["task"], info["rows"], info["kept"]) == ("chat", 2, 1)
    assert {"row", "code", "message"} <= info["problems"][0].keys()
    assert {"dataset_id", "format", "task", "rows", "kept", "problems", "unused", "tokens"} <= info.keys()
    assert {"total", "longest", "mean"} <= info["tokens"].keys()
    assert info["name"] == "one.json"


def test_a_list_of_files_becomes_one_data_set(client, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"instruction": "a few", "output": "two or three"}]))
    (tmp_path / "b.csv").write_text("prompt,response\nsome more,four or five\nnothing,\n")
    files = [handle_file(tmp_path / name) for name in ("a.json", "b.csv")]
    info = client.predict(file=files, api_name="/add_dataset")
    assert [(each["file"], each["rows"], each["kept"]) for each in info["source"]["files"]] == [
        ("a.json", 1, 1), ("b.csv", 2, 1)
    ]  # fmt: skip
    assert info["name"] == "a + 1" and (info["problems"][0]["file"], info["problems"][0]["file_row"]) == ("b.csv", 2)
    for odd in ([], [files[0], None], [[files[0]]]):
        with pytest.raises(AppError, match="upload|files"):
            client.predict(file=odd, api_name="/add_dataset")


def test_columns_can_be_told_and_what_has_no_use_comes_back(client, tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text("ask me,tell me,mood\n" + "".join(f"question {n},an answer {n},fine {n}\n" for n in range(9)))
    with pytest.raises(AppError, match="columns 'ask me', 'tell me', 'mood' are not known"):
        client.predict(file=handle_file(path), name="", api_name="/add_dataset")
    with pytest.raises(AppError, match="There is no column 'x'"):
        client.predict(file=handle_file(path), columns={"prompt": "x", "response": "tell me"}, api_name="/add_dataset")
    with pytest.raises(AppError, match="not a role that a column"):
        client.predict(file=handle_file(path), columns={"wish": "ask me"}, api_name="/add_dataset")
    asked = {"prompt": "ask me", "response": "tell me"}
    info = client.predict(file=handle_file(path), columns=asked, name="told", api_name="/add_dataset")
    assert (info["task"], info["kept"], info["unused"]) == ("chat", 9, ["mood"])
    info = client.predict(file=handle_file(path), columns={"text": "tell me"}, task="text", api_name="/add_dataset")
    assert info["task"] == "text" and info["unused"] == ["ask me", "mood"]


def test_the_lists_give_each_id_first(client, dataset_id):
    assert next(iter(client.predict(api_name="/list_datasets")[0])) == "dataset_id"
    models = client.predict(api_name="/list_models")
    assert next(iter(models[0])) == "id" and models[0]["id"] == "starter"
    assert isinstance(client.predict(api_name="/list_runs"), list)


@pytest.mark.slow
def test_a_run_starts_trains_and_leaves_a_model(client, dataset_id, real_starts):
    run_id = client.predict(config={"dataset_id": dataset_id, **SMALL}, api_name="/start_run")["run_id"]
    status = wait_for(client, run_id, "completed")
    assert status.keys() >= STATUS
    assert status["step"] == status["total_steps"] == 4 and status["loss"] > 0
    assert status["model_id"] in {model["id"] for model in client.predict(api_name="/list_models")}
    assert next(iter(client.predict(api_name="/list_runs")[0])) == "run_id"


@pytest.mark.slow
def test_a_run_stops_and_resumes(client, dataset_id):
    config = {"dataset_id": dataset_id, **SMALL, "max_steps": 100_000}
    run_id = client.predict(config=config, api_name="/start_run")["run_id"]
    wait_for(client, run_id, "running")
    assert client.predict(run_id=run_id, api_name="/stop_run")["state"] in ("stopping", "stopped")
    wait_for(client, run_id, "stopped")
    assert client.predict(run_id=run_id, api_name="/resume_run")["state"] in ("queued", "starting", "running")
    wait_for(client, run_id, "running")
    client.predict(run_id=run_id, api_name="/stop_run")
    wait_for(client, run_id, "stopped")


def test_a_comparison_streams_whole_states_and_ends_with_one(client):
    settings = {"max_new_tokens": 6, "num_beams": 3, "seed": 3}
    states = list(client.submit("starter", "What is two plus two?", settings, api_name="/compare"))
    assert states
    for state in states:
        assert state.keys() >= {"lanes", "seed", "settings", "seconds"}
        assert state["lanes"].keys() == {"greedy", "top_k", "top_p", "beam"}
    for name, lane in states[-1]["lanes"].items():
        assert lane.keys() >= {"text", "token_ids", "logprobs", "finish_reason", "tokens_per_second"}
        assert lane["finish_reason"] in ("eos", "length")
        assert len(lane["token_ids"]) == len(lane["logprobs"]) >= 1
        assert ("score" in lane) == (name == "beam")
    assert states[-1]["seed"] == 3 and states[-1]["settings"]["num_beams"] == 3


def test_the_last_state_is_what_predict_returns(client):
    arguments = ("starter", "Hello", {"max_new_tokens": 3})
    assert set(client.predict(*arguments, api_name="/compare")["lanes"]) == {"greedy", "top_k", "top_p", "beam"}


WRONG = {
    "unknown run": ("/run_status", {"run_id": "run-none"}, "run"),
    "an id that is a path": ("/run_status", {"run_id": "../../etc/passwd"}, "id"),
    "no dataset_id": ("/start_run", {"config": {}}, "dataset_id"),
    "an unknown key": ("/start_run", {"config": {"dataset_id": "data-x", "lr": 1}}, "lr"),
    "a rank of zero": ("/start_run", {"config": {"dataset_id": "data-x", "rank": 0}}, "rank"),
    "an unknown data set": ("/start_run", {"config": {"dataset_id": "data-none"}}, "data set"),
    "a config that is text": ("/start_run", {"config": "everything"}, "object"),
    "an unknown model": ("/compare", {"model_id": "nobody", "prompt": "a", "settings": {}}, "model"),
    "a negative top_k": ("/compare", {"model_id": "starter", "prompt": "a", "settings": {"top_k": -1}}, "top_k"),
    "a number for a text": ("/run_status", {"run_id": 5}, "run_id is 5. It must be text."),
    "a list for an object": ("/compare", {"model_id": "starter", "prompt": "a", "settings": [1]}, "settings is [1]"),
    "no file": ("/add_dataset", {"file": None, "name": "x"}, "upload"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_sentence(client, case):
    endpoint, arguments, said = WRONG[case]
    with pytest.raises(AppError) as caught:
        client.predict(api_name=endpoint, **arguments)
    message = str(caught.value)
    assert said.lower() in message.lower()
    assert "Traceback" not in message and "the app made a mistake" not in message.lower() and 'File "' not in message


def test_a_file_on_the_server_is_no_upload(client, services):
    secret = services.home.root / "runs.sqlite"
    import httpx

    raw = {"data": [{"path": str(secret), "meta": {"_type": "gradio.FileData"}}, "x"]}
    answer = httpx.post(f"{client.src}gradio_api/call/add_dataset", json=raw)
    assert answer.status_code == 403 and "have not uploaded" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["runs.sqlite", "models/starter/config.json"])
def test_the_home_folder_is_not_served(client, services, path):
    import httpx

    for prefix in ("gradio_api/file=", "file="):
        assert httpx.get(f"{client.src}{prefix}{services.home.root / path}").status_code in (403, 404)
    assert httpx.get(f"{client.src}gradio_api/file=/etc/passwd").status_code == 403
    assert httpx.get(f"{client.src}gradio_api/file=app.py").status_code in (403, 404)
    assert httpx.get(f"{client.src}monitoring").status_code in (403, 404)


def test_a_pair_of_answers_makes_and_grows_a_preference_data_set(client):
    made = client.predict("picks", "Why?", "Because.", "No.", api_name="/add_preference")
    again = client.predict("picks", "Why not?", "Because.", "No.", api_name="/add_preference")
    assert (made["pairs"], again["pairs"]) == (1, 2)
    ids = [info["dataset_id"] for info in client.predict(api_name="/list_datasets") if info["name"] == "picks"]
    assert ids == [again["dataset_id"]]
