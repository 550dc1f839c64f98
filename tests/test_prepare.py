"""Settings become a run: defaults by task, what a data set and a model allow, what a batch will take."""

import json

import pytest

from llmdemo import data, prepare
from llmdemo.core.errors import UserError
from llmdemo.core.store import write_json
from llmdemo.data.ingest import add_dataset
from llmdemo.settings.training import METHODS, TASK_DEFAULTS, TASKS, data_tasks
from llmdemo.settings.training_defaults import METHOD_DEFAULTS
from tests.conftest import own_model

DATA_TASKS = tuple(task for task in TASKS if data_tasks(task)[0] == task)
"""Those that a data set is of."""


@pytest.fixture
def datasets(home, settings, tmp_path, tiny_tokenizer):
    """A data set of each task, by the task's name."""
    (tmp_path / "classify.tsv").write_text("".join(f"{'spam' if n % 3 else 'ham'}\tmessage {n}\n" for n in range(12)))
    (tmp_path / "text.txt").write_text("\n\n".join(f"A document about the number {n}." * 9 for n in range(6)))
    pairs = [{"prompt": f"Add {n}.", "chosen": "yes " * 9, "rejected": "no"} for n in range(6)]
    (tmp_path / "preference.json").write_text(json.dumps(pairs))
    chat = [{"instruction": f"Add {n}.", "output": "The sum."} for n in range(6)]
    (tmp_path / "chat.json").write_text(json.dumps(chat))
    found = {}
    for path in tmp_path.glob("*.*"):
        info = add_dataset(home, settings, path, path.stem, tokenizer=tiny_tokenizer)
        found[info.task] = info.dataset_id
    return found


@pytest.mark.parametrize("task", TASKS)
def test_each_task_and_method_have_their_defaults(task):
    for method in METHODS:
        values = prepare.defaults(method, task)
        assert values.items() >= METHOD_DEFAULTS[task][method].items()
        assert None not in (values["scale"], values["schedule"])
        assert values.items() >= TASK_DEFAULTS.get(task, {}).items()
    assert prepare.defaults("galore") == prepare.defaults("galore", "chat")


@pytest.mark.parametrize("task", DATA_TASKS)
def test_the_task_and_its_defaults_follow_the_data_set(home, datasets, tiny_model_folder, task):
    values = {"dataset_id": datasets[task], "model_id": str(tiny_model_folder), "max_steps": 3}
    config, info, _ = prepare.checked(home, values)
    assert config.task == info.task == task and config.max_steps == 3
    assert config.batch_size == prepare.defaults("galore", task)["batch_size"]
    other = next(name for name in DATA_TASKS if name != task)
    with pytest.raises(UserError, match=f"the data set {task} is {task!r}"):
        prepare.checked(home, {**values, "task": other})


def test_a_new_model_learns_from_raw_text_and_its_memory_is_told_before(home, datasets, tiny_model_folder):
    values = {"dataset_id": datasets["text"], "task": "pretrain", "model_size": "1M"}
    config, info, entry = prepare.checked(home, values)
    assert (config.task, info.task, entry.path) == ("pretrain", "text", None)
    assert config.batch_size == TASK_DEFAULTS["pretrain"]["batch_size"]
    small, large = (prepare.predict(home, {**values, "model_size": size}) for size in ("1M", "30M"))
    assert small["parameters"] < 1.2e6 < 29e6 < large["parameters"]
    assert small["ledger"]["needed"] < large["ledger"]["needed"] and small["notes"] == []
    runs = Kept({})
    prepare.start(home, runs, values)
    assert runs.started[0]["model"] == {
        "id": entry.id, "title": "Llama 1M, from scratch", "path": "", "revision": "",
    }  # fmt: skip
    with pytest.raises(UserError, match="A new model learns from raw text"):
        prepare.checked(home, {**values, "dataset_id": datasets["chat"]})
    with pytest.raises(UserError, match="is not the name of a model"):
        prepare.checked(home, {**values, "tokenizer_from": "nothing"})


@pytest.mark.parametrize("task", DATA_TASKS)
def test_what_a_batch_of_each_task_takes_is_predicted(home, datasets, tiny_model_folder, task):
    predicted = prepare.predict(home, {"dataset_id": datasets[task], "model_id": str(tiny_model_folder)})
    assert predicted["step_tokens"] > 0 and predicted["ledger"]["predicted"]["activations"] > 0
    assert predicted["steps"] == prepare.defaults("galore", task)["max_steps"]


def test_what_is_free_is_asked_for_each_time(home, datasets, tiny_model_folder, monkeypatch):
    from llmdemo.training import device

    asked = {"dataset_id": datasets["chat"], "model_id": str(tiny_model_folder), "rank": 4}
    found = []
    for free in (10**6, 10**12):
        monkeypatch.setattr(device, "available_bytes", lambda _, free=free: free)
        found.append(prepare.predict(home, asked)["ledger"])
    assert [(ledger["available"], ledger["fits"]) for ledger in found] == [(10**6, False), (10**12, True)]
    assert found[0]["predicted"] == found[1]["predicted"]


def test_a_classifier_is_no_beginning_for_a_chat(home, datasets, tiny_model_folder, tmp_path):
    from llmdemo.models.load import load_classifier

    model, tokenizer = load_classifier(tiny_model_folder, ["ham", "spam"], device="cpu")
    model.save_pretrained(tmp_path / "classifier")
    tokenizer.save_pretrained(tmp_path / "classifier")
    own_model(tmp_path / "classifier")
    values = {"dataset_id": datasets["chat"], "model_id": str(tmp_path / "classifier")}
    with pytest.raises(UserError, match="only classifies; the task 'chat' needs a model that writes"):
        prepare.checked(home, values)
    assert prepare.checked(home, {**values, "dataset_id": datasets["classify"]})[0].task == "classify"


def test_that_nothing_can_be_held_out_is_said_before_the_run_and_at_its_start(
    home, settings, tmp_path, tiny_model_folder
):
    rows = [{"instruction": "Say hi", "output": f"Hi {n}!"} for n in range(20)]
    (tmp_path / "hi.json").write_text(json.dumps(rows))
    values = {"dataset_id": data.add_dataset(home, settings, tmp_path / "hi.json", "hi").dataset_id}
    values["model_id"] = str(tiny_model_folder)
    note = prepare.predict(home, values)["notes"][0]
    assert "Nothing is held out: all 20 records ask the same" in note

    class Runs:
        def start(self, config, name=None):
            return config["dataset_id"]

    assert prepare.started(home, Runs(), values) == {"run_id": values["dataset_id"], "notes": [note]}


def test_records_that_the_chosen_length_leaves_out_are_told_before_the_run(
    home, settings, tmp_path, tiny_model_folder, tiny_tokenizer
):
    rows = [{"instruction": f"word{n} " * (60 if n < 12 else 2), "output": f"Answer {n}."} for n in range(30)]
    (tmp_path / "long.json").write_text(json.dumps(rows))
    info = add_dataset(home, settings, tmp_path / "long.json", "long", tokenizer=tiny_tokenizer)
    values = {"dataset_id": info.dataset_id, "model_id": str(tiny_model_folder)}
    assert prepare.predict(home, values)["notes"] == []
    note = prepare.predict(home, {**values, "max_length": 48})["notes"][0]
    assert "About 12 records will be left out: within 48 tokens" in note


def test_where_records_are_held_out_there_is_nothing_to_say(home, datasets, tiny_model_folder):
    for task in DATA_TASKS:
        assert prepare.predict(home, {"dataset_id": datasets[task], "model_id": str(tiny_model_folder)})["notes"] == []


def test_what_a_probes_questions_take_of_a_run_is_told_before_it(home, datasets, tiny_model_folder):
    info = data.get_dataset(home, datasets["chat"])
    folder = home.root / "probes" / "probe-20260101-000000-abcdef"
    folder.mkdir(parents=True)
    model_id = str(tiny_model_folder)
    write_json(folder / "config.json", {"spec": {"dataset_id": info.dataset_id, "model_id": model_id}})
    write_json(folder / "result.json", {"content_hash": info.content_hash, "counts": {"highly": 2, "unknown": 50}})
    values = {"dataset_id": info.dataset_id, "model_id": model_id}
    asked, unasked = (prepare.predict(home, {**values, "probe_id": each}) for each in ("", "none"))
    assert (asked["asked"], unasked["asked"]) == (26, 0)
    assert "up to 26 questions" in asked["notes"][0] and unasked["notes"] == []  # 12 of each part of a class, at most
    assert asked["work"].tokens > 1.05 * unasked["work"].tokens
    long = prepare.predict(home, {**values, "max_steps": 100_000, "eval_steps": 0})
    assert long["notes"] == [], "so little is not worth a word"


def test_more_processes_than_gpus_are_refused_at_the_start(home, datasets, tiny_model_folder, monkeypatch):
    values = {"dataset_id": datasets["chat"], "model_id": str(tiny_model_folder), "num_processes": 3}
    assert prepare.checked(home, values)[0].num_processes == 3
    monkeypatch.setattr(prepare, "gpus", lambda: ["0", "1"])
    with pytest.raises(UserError, match="num_processes is 3, and there are 2 GPUs"):
        prepare.checked(home, values)


class Kept:
    """A run that is known by its config, and what is started."""

    def __init__(self, config: dict):
        self.known, self.started = config, None

    def config(self, run_id: str) -> dict:
        return self.known

    def status(self, run_id: str) -> dict:
        return {"name": "first"}

    def start(self, config: dict, name: str | None = None) -> str:
        self.started = (config, name)
        return "run-new"


def test_a_clone_is_checked_as_a_start_is_and_finds_its_data_by_content(home, datasets, tiny_model_folder):
    config = {"dataset_id": datasets["chat"], "model_id": str(tiny_model_folder), "rank": 8, "task": "chat"}
    config |= {"best_by": "last", "patience": 3}
    first = Kept({})
    prepare.start(home, first, config)
    runs = Kept({**first.started[0], "dataset_id": "data-elsewhere"})
    assert prepare.clone(home, runs, "run-old") == "run-new"
    cloned, name = runs.started
    assert (cloned["dataset_id"], cloned["rank"], name) == (datasets["chat"], 8, "first (copy)")
    assert (cloned["best_by"], cloned["patience"]) == ("last", 3)
    runs.known["dataset"]["content_hash"] = "gone"
    with pytest.raises(UserError, match="is not here"):
        prepare.clone(home, runs, "run-old")


@pytest.mark.parametrize("key", ["replay_dataset_id", "forgetting_dataset_id"])
def test_another_data_set_that_is_not_here_is_refused_at_the_start(home, datasets, tiny_model_folder, key):
    values = {"dataset_id": datasets["text"], "model_id": str(tiny_model_folder), key: "data-none"}
    with pytest.raises(UserError, match="no data set data-none"):
        prepare.checked(home, values)
    prepare.checked(home, {**values, "dataset_id": datasets["chat"]})  # where it has no effect
