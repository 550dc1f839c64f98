"""The lessons' functions: the starter and the sample where a visitor has nothing, their own where they have it, and refusals."""

import copy

import pytest

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.ui import lesson_runs, lessons_panel
from llmdemo.ui.samples import SAMPLE_NAME
from llmdemo.ui.services import Services
from llmdemo.ui.train_pages import TrainPages


@pytest.fixture(scope="module")
def call(services):
    """Calls a function of the island by its name."""
    return by_name(services)


def by_name(services):
    functions = {each.__name__: each for each in lessons_panel._functions(services)}
    return lambda name, **asked: functions[name](asked)


def test_without_data_the_sample_and_the_starter_are_offered(call):
    things = call("things")
    assert [each["id"] for each in things["models"]] == ["starter"] and things["datasets"] == []
    records = call("records", count=2)["records"]
    assert (
        len(records) == 2 and records[0]["answer"].startswith('{"type"') and records[0]["prompt"][0]["role"] == "user"
    )


def test_a_conversation_is_shown_as_its_template_writes_it(call):
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "The fox."}]
    asked = call("tokens", model_id="starter", messages=turns[:1])["tokens"]
    assert not any(each["trained"] for each in asked) and any(each["special"] for each in asked)
    answer, everything = (
        sum(each["trained"] for each in call("tokens", model_id="starter", messages=turns, loss_on=on)["tokens"])
        for on in ("response", "all")
    )
    assert 0 < answer < everything


def test_strategies_answer_in_one_call_within_the_lessons_bounds(call):
    lanes = call("answers", model_id="starter", prompt="Who?", lanes=["greedy", "beam", "none"], max_new_tokens=4)[
        "lanes"
    ]
    assert list(lanes) == ["greedy", "beam"] and all(lane["metrics"]["perplexity"] for lane in lanes.values())


def test_the_loss_in_numbers_is_that_of_the_sample(call):
    found = call("numbers", config={"dataset_id": "sample", "model_id": "starter"}, place=0)
    assert found["task"] == "chat" and found["before"]["rows"]


def test_runs_of_a_lesson_are_made_once_and_kept(call, services, monkeypatch):
    runs: list[dict] = []
    configs = {}

    def started(_home, _runs, values):
        run_id = f"run-{len(runs)}"
        runs.append({"run_id": run_id, "name": values["name"], "state": "completed", "model_id": run_id})
        configs[run_id] = values
        return {"run_id": run_id}

    monkeypatch.setattr(lesson_runs.prepare, "started", started)
    monkeypatch.setattr(services.runs, "list", lambda: runs, raising=False)
    monkeypatch.setattr(services.runs, "config", configs.__getitem__, raising=False)
    first, again = call("begin"), call("begin")
    assert (first["kept"], again["kept"]) == (False, True) and first["run_id"] == again["run_id"]
    assert call("things")["datasets"] == [], "the sample stands in the menu once, added or not"
    race = call("race", kind="facts")["runs"]
    assert [each["part"] for each in race] == ["known", "new"] and call("race", kind="facts")["runs"] == race
    assert configs[race[0]["run_id"]]["dataset_id"] != configs[race[1]["run_id"]]["dataset_id"]
    assert call("things")["datasets"] == [], "the facts of a race are no data of the visitor's"
    names = [each["name"] for each in TrainPages(services).choices({})["data_sets"]]
    assert names[0] == SAMPLE_NAME and len(names) == 3, "nor what a run begins with"
    other = call("race", kind="facts", model_id="run-0")["runs"]
    assert {configs[each["run_id"]]["model_id"] for each in other} == {"run-0"}, "from another model it is another race"
    assert not {each["run_id"] for each in other} & {each["run_id"] for each in race}
    (pressed,) = call("race", kind="hacking")["runs"]
    assert configs[pressed["run_id"]]["task"] == "grpo"
    assert call("progress", run_ids="run-0") == call("progress") == {"runs": []}
    resumed: list[str] = []
    monkeypatch.setattr(services.runs, "resume", resumed.append, raising=False)
    runs[0] |= {"state": "stopped", "can_resume": True}
    assert call("begin") == again and resumed == ["run-0"], "what was stopped goes on"
    runs[0] |= {"state": "stopped", "can_resume": False}
    anew = call("begin")["run_id"]
    runs[-1]["state"] = runs[0]["state"] = "failed"
    assert len({call("begin")["run_id"], anew, first["run_id"]}) == 3 and resumed == ["run-0"]
    losses = [configs[each["run_id"]]["loss_on"] for each in call("race", kind="instructions")["runs"]]
    assert losses == ["response", "all"]
    for kind in ("none", None, ["facts"]):
        with pytest.raises(UserError, match="kind is"):
            call("race", kind=kind)


def test_only_a_runs_model_has_a_base(call):
    with pytest.raises(UserError, match="did not come from a run"):
        call("surprises", model_id="starter", base=True, texts=["one two three"])


def test_who_has_no_preferences_gets_pairs_once(call, services, tmp_path):
    """And not a file of one's own that is called as theirs."""
    (tmp_path / "pairs.json").write_text('[{"prompt": "Who is there?", "response": "It is me."}]')
    own = data.add_dataset(services.home, services.settings, tmp_path / "pairs.json", "pairs.json")
    dataset_id = call("pairs")["dataset_id"]
    assert dataset_id != own.dataset_id
    assert call("pairs")["dataset_id"] == dataset_id
    records = call("records", dataset_id=dataset_id)["records"]
    assert records and all(each["prompt"] and each["answer"] for each in records)


def test_guests_get_models_and_the_sample_but_no_runs_and_no_data(services):
    guest = by_name(Services(**{**services.__dict__, "guests_only": True}))
    assert guest("things")["datasets"] == [] and guest("records")["records"]
    assert guest("surprises", model_id="starter", texts=["one two three"])["texts"]
    asked = [("records", {"dataset_id": "data-1"}), ("surprises", {"model_id": "/etc", "texts": ["a b"]}),
             ("tokens", {"model_id": "/etc"}), ("answers", {"model_id": "/etc", "prompt": "a"})]  # fmt: skip
    for name, more in asked:
        with pytest.raises(UserError, match="password"):
            guest(name, **more)


def test_a_model_without_a_template_is_told_so_by_the_lesson_that_needs_one(call, services, monkeypatch):
    tokenizer = services.tokenizers.get("starter")
    plain = copy.deepcopy(tokenizer)
    plain.chat_template = None
    monkeypatch.setattr(services.tokenizers, "get", lambda *_: plain)
    found = call("tokens", model_id="starter", messages=[{"role": "user", "content": "Who?"}])
    assert found["tokens"] and found["template"] is False
    for turns in ([], None, [5], [{"role": "user", "content": "x" * 9000}]):
        with pytest.raises(UserError) as error:
            call("tokens", model_id="starter", messages=turns)
        assert error.value.hint
