"""Made data against people's: who learns from what, what is held out, and that made data may lose."""

import json
import os
import shutil

import numpy as np
import pytest

from llmdemo import data, prepare
from llmdemo.core.errors import UserError
from llmdemo.core.json_lines import append_lines
from llmdemo.generation import DataRaces, Generations, race_worker
from llmdemo.generation.log import Log
from llmdemo.jobs import JobFolder, Jobs, process
from llmdemo.runs import Runs


@pytest.fixture
def races(home, settings, starter):
    """With workers that never come: what is started stays in the queue."""
    jobs = Jobs(home, settings, lambda *_: (os.getpid(), process.identity(os.getpid())))
    with DataRaces(jobs, Runs(jobs), Generations(jobs)) as service:
        yield service


@pytest.fixture
def add(home, settings, tmp_path):
    """add(rows, name, source) → DatasetInfo; source: {"generated": …} of a made one."""

    def of(rows, name, generated=None):
        source = {"generated": generated} if generated else {}
        return data.append.rows_as_dataset(home, settings, rows, name, "chat", source)

    return of


def turns(question, answer):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


TOPICS = ("river", "mountain", "engine", "violin", "harvest", "planet", "castle", "recipe", "market", "voyage")


def by_people(n=60):
    return [
        turns(f"Who first described the {TOPICS[k % 10]} {k} of {TOPICS[k // 10]}?", f"Person {k}.") for k in range(n)
    ]


def made(n=50):
    return [
        turns(f"Give number {k} a {TOPICS[k % 10]} name in {TOPICS[k // 10]} style.", f"Name {k}.") for k in range(n)
    ]


def texts(home, dataset_id, split):
    return {
        record["messages"][0]["content"]
        for record in data.open_records(home, dataset_id)
        if record.get("split") == split
    }


def test_three_runs_learn_from_as_many_records_and_hold_out_the_same_ones_of_people(races, add, home):
    people, own = add(by_people(), "people"), add(made(), "made", {"kind": "magpie"})
    started = races.start(own.dataset_id, people.dataset_id, 20)
    parts = races.status(started["job_id"])["spec"]["parts"]
    assert [(part["people"], part["made"]) for part in parts] == [(20, 0), (0, 20), (10, 10)]
    held = [texts(home, part["dataset_id"], "eval") for part in parts]
    assert held[0] == held[1] == held[2] and all(text.startswith("Who") for text in held[0])
    learned = [texts(home, part["dataset_id"], "train") for part in parts]
    assert [len(each) for each in learned] == [20, 20, 20] and all(text.startswith("Give") for text in learned[1])
    assert len(learned[2] & learned[0]) == len(learned[2] & learned[1]) == 10
    assert not held[0] & (learned[0] | learned[1] | learned[2])
    assert len(started["run_ids"]) == 3


def test_what_was_made_of_held_out_records_is_not_learned_from(races, add, home):
    """Paraphrases ask the same in other words, so no comparison of texts finds them: the job's log does."""
    people = add(by_people(), "people")
    held = set(map(int, data.split(data.open_records(home, people.dataset_id), 7, 0.1)[1]))
    folder = home.root / "generations" / "gen-20260101-000000-abcdef"
    folder.mkdir(parents=True)
    log = Log(folder / "records.jsonl")
    for place, row in enumerate(made(50)):
        log.add({"number": place, "source": place, "reason": "", **row})
    log.close()
    spec = {"kind": "paraphrases", "dataset_id": people.dataset_id, "job_id": folder.name}
    own = add(made(50), "reworded", spec)
    started = races.start(own.dataset_id, people.dataset_id, 40)
    parts = races.status(started["job_id"])["spec"]["parts"]
    forbidden = {made(50)[place]["messages"][0]["content"] for place in held if place < 50}
    assert forbidden and not forbidden & texts(home, parts[1]["dataset_id"], "train")
    how = [{"row": place + 1, "number": place, "source": place} for place in range(50)]
    kept = home.datasets / own.dataset_id / "made.jsonl"
    append_lines(kept, how)
    shutil.rmtree(folder)
    parts = races.status(races.start(own.dataset_id, people.dataset_id, 40)["job_id"])["spec"]["parts"]
    assert not forbidden & texts(home, parts[1]["dataset_id"], "train"), "the data set knows it without its job"
    kept.write_text("torn\n" + kept.read_text().partition("\n")[2])
    with pytest.raises(UserError, match="cannot be told"):
        races.start(own.dataset_id, people.dataset_id, 40)


def test_new_answers_to_held_out_prompts_are_not_learned_from(races, add, home):
    """Also where the model was told a system prompt, or answered the first of several questions."""
    rows = by_people()
    for row in rows[::2]:
        row["messages"] += turns("And who was the second to do so?", "Nobody knows.")["messages"]
    people = add(rows, "people")
    told = [{"role": "system", "content": "Be brief."}]
    own = add(
        [{"messages": [*(told if k % 3 else []), *row["messages"][:1], {"role": "assistant", "content": f"I, {k}."}]}
         for k, row in enumerate(rows)],
        "answered", {"kind": "answers", "dataset_id": people.dataset_id},
    )  # fmt: skip
    started = races.start(own.dataset_id, people.dataset_id, 40)
    made_part = races.status(started["job_id"])["spec"]["parts"][1]["dataset_id"]

    def asked(split):
        found = [each for each in data.open_records(home, made_part) if each.get("split") == split]
        return {next(turn["content"] for turn in each["messages"] if turn["role"] == "user") for each in found}

    assert asked("eval") and len(asked("train")) == 40 and not asked("eval") & asked("train")


def test_the_thoughts_of_peoples_answers_are_raced_with_them(races, add, home):
    rows = by_people()
    for row in rows:
        row["messages"][1]["reasoning_content"] = "I remember that."
    people, own = add(rows, "people"), add(made(), "made", {"kind": "magpie"})
    part = races.status(races.start(own.dataset_id, people.dataset_id, 20)["job_id"])["spec"]["parts"][0]
    found = list(data.open_records(home, part["dataset_id"]))
    assert found and all(each["reasoning"] == [None, "I remember that."] for each in found)


def test_tools_and_other_answers_are_raced_with_their_records(races, add, home):
    rows, tool = by_people(), {"type": "function", "function": {"name": "look_up"}}
    for row in rows:
        row |= {"tools": [tool], "other_answers": ["Somebody."]}
    people, own = add(rows, "people"), add([{**row, "tools": [tool]} for row in made()], "made", {"kind": "magpie"})
    for part in races.status(races.start(own.dataset_id, people.dataset_id, 20)["job_id"])["spec"]["parts"]:
        found = list(data.open_records(home, part["dataset_id"]))
        assert found and all(json.loads(each["tools"]) == [tool] for each in found)
        assert sum("alternatives" in each for each in found) == len(found) - part["made"]


def test_a_race_that_cannot_start_leaves_nothing_behind(races, add, home, monkeypatch):
    people, own = add(by_people(), "people"), add(made(), "made", {"kind": "magpie"})
    with pytest.raises(UserError, match="batch_size"):
        races.start(own.dataset_id, people.dataset_id, 20, {"batch_size": 0})

    def full(*_, **__):
        raise UserError("err_data_race_same")

    monkeypatch.setattr(prepare, "start", full)
    with pytest.raises(UserError, match="versions of one"):
        races.start(own.dataset_id, people.dataset_id, 20)
    assert {each.dataset_id for each in data.list_datasets(home)} == {own.dataset_id, people.dataset_id}


def test_paraphrases_whose_rows_were_numbered_anew_cannot_be_told_apart(races, add, home, settings):
    people = add(by_people(), "people")
    own = add(made(), "reworded", {"kind": "paraphrases", "dataset_id": people.dataset_id, "job_id": "gen-1"})
    more = data.append.append_rows(
        home, settings, own.dataset_id, [turns("What is new here?", "This is.")], "chat", "x"
    )
    (home.root / "generations" / "gen-1").mkdir(parents=True)
    Log(home.root / "generations" / "gen-1" / "records.jsonl").close()
    with pytest.raises(UserError, match="cannot be told"):
        races.start(more.dataset_id, people.dataset_id, 40)


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("twice", "versions of one"),
        ("people first", "No model made"),
        ("few", "at least 4 of each"),
        ("number", "number"),
    ],
)
def test_data_that_cannot_race_is_a_sentence(races, add, case, told):
    people, own = add(by_people(12 if case == "few" else 60), "people"), add(made(), "made", {"kind": "magpie"})
    ids = {"twice": (own, own), "people first": (people, own)}.get(case, (own, people))
    with pytest.raises(UserError, match=told):
        races.start(ids[0].dataset_id, ids[1].dataset_id, 3 if case == "number" else 20)


def test_the_difference_is_paired_and_says_when_made_data_lose():
    """Planted: made costs each record 0.3 nats a token more than people's, though records differ by far more than that."""
    draw = np.random.default_rng(0)
    tokens = draw.integers(5, 30, 80).astype(float)
    people = draw.normal(3, 1, 80)
    parts = [{"part": name, "people": 1, "made": 1} for name in ("before", "people", "made", "both")]
    shifts = (1.0, 0.0, 0.3, -0.2)
    losses = [np.stack([(people + shift + draw.normal(0, 0.02, 80)) * tokens, tokens], 1) for shift in shifts]
    losses[0][3] = np.nan  # a record that one of them could not be asked counts for none
    rows = race_worker._rows(parts, losses, 7)
    assert rows[1]["difference"] is None
    for row, shift in zip(rows, shifts, strict=True):
        if row["part"] != "people":
            assert row["difference"]["value"] == pytest.approx(shift, abs=0.01)
            assert row["difference"]["low"] < shift < row["difference"]["high"]
            assert row["difference"]["high"] - row["difference"]["low"] < 0.05, "unpaired it would be 0.5"


def test_the_models_of_the_runs_are_compared_with_the_one_before(races, add, home):
    """The runs' models are copies of the first here: no difference can be found."""
    people, own = add(by_people(), "people"), add(made(), "made", {"kind": "magpie"})
    started = races.start(own.dataset_id, people.dataset_id, 20)
    folder = JobFolder(races.path_of(started["job_id"]))
    for run_id in started["run_ids"]:
        shutil.copytree(home.models / "starter", home.runs / run_id / "model", dirs_exist_ok=True)
    assert race_worker.work(folder, home) == 0
    result = json.loads((folder.path / race_worker.RESULT).read_text())
    assert result["held_out"] == 6 and [row["part"] for row in result["rows"]] == ["before", "people", "made", "both"]
    assert all(row["difference"]["value"] == 0 for row in result["rows"] if row["difference"])
    assert races.status(started["job_id"])["result"] == result
