"""The job's work, on a tiny model: what is kept becomes a data set, also after a stop."""

import json
import shutil

import pytest

from llmdemo import data
from llmdemo.core.json_lines import read_lines
from llmdemo.generation import make, worker
from llmdemo.generation.make import Made

LINES = [
    ("Add two and three, please.", "Five."),
    ("Name a colour of the sky.", "Blue."),
    ("Say a word in French.", "Oui."),
]


@pytest.fixture
def writes(monkeypatch):
    """writes(reasons): the model's records are LINES in turn, numbered, with these reasons for leaving them out."""

    def of(reasons=lambda number: ""):
        def conversations(self, batch):
            found = []
            for number, source in batch:
                asked, answer = LINES[number % 3]
                turns = [{"role": "user", "content": f"{asked} ({number})"}, {"role": "assistant", "content": answer}]
                found.append(Made(number, source, turns, reason=reasons(number)))
            return found

        monkeypatch.setattr(make.Maker, "conversations", conversations)

    return of


def result(folder) -> dict:
    return json.loads((folder.path / worker.RESULT).read_text())


def test_kept_records_become_a_data_set_that_says_how_it_was_made(home, starter, job, done, writes):
    writes(lambda number: "short" if number % 4 == 0 else "")
    folder = job(number=30, name="Made", system="Be brief.")
    assert done(folder)["state"] == "completed"
    found = result(folder)
    info = data.get_dataset(home, found["dataset_id"])
    assert found["kept"] == info.records == 30 and info.name == "Made" and info.task == "chat"
    assert found["reasons"]["short"] == found["made"] - 30 and 0 < found["seconds_each"] < 60
    assert info.source["generated"]["system"] == "Be brief." and info.source["generated"]["seed"] == 7
    lines = [json.loads(line) for line in (folder.path / worker.RECORDS).read_text().splitlines()]
    assert [line["number"] for line in lines] == list(range(found["made"])), "those left out are there as well"


def test_a_data_set_and_its_versions_tell_how_each_row_was_made_when_the_job_is_gone(
    home, starter, job, done, writes, monkeypatch
):
    writes(lambda number: "short" if number % 4 == 0 else "")
    folder = job(number=6)
    done(folder)
    info = data.get_dataset(home, result(folder)["dataset_id"])
    shutil.rmtree(folder.path)
    filtered = data.apply_filters(home, info.dataset_id, [])
    dropped = data.drop_records(home, info.dataset_id, [0])
    for each in {info.dataset_id, filtered.dataset_id, dropped.dataset_id}:
        lines = list(read_lines(home.datasets / each / "made.jsonl"))
        assert [(line["row"], line["number"]) for line in lines] == list(enumerate([1, 2, 3, 5, 6, 7], 1))
        assert all(line.keys() >= {"drawn", "perplexity", "cut"} and "messages" not in line for line in lines)
        told = data.get_dataset(home, each).source["generated"]
        assert told["reasons"] == {"short": 2} and told["made"] == 8


def test_a_stop_keeps_what_was_made_and_a_resume_goes_on_from_it(home, starter, job, done, writes, monkeypatch):
    writes()
    folder = job(number=60)
    whole = make.Maker.conversations

    def stopping(self, batch):
        if batch[0][0] >= worker.BATCH:
            raise worker.Stopped
        return whole(self, batch)

    monkeypatch.setattr(make.Maker, "conversations", stopping)
    assert done(folder)["state"] == "stopped"
    first = result(folder)
    assert first["kept"] == worker.BATCH and data.get_dataset(home, first["dataset_id"]).records == worker.BATCH
    monkeypatch.setattr(make.Maker, "conversations", whole)
    assert done(folder)["state"] == "completed"
    second = data.get_dataset(home, result(folder)["dataset_id"])
    assert second.records == 60 and second.parent == first["dataset_id"] and second.version == 2
    asked = [record["messages"][0]["content"] for record in data.open_records(home, second.dataset_id)]
    assert len(set(asked)) == 60, "nothing was made twice"


def test_a_model_that_gives_nothing_of_use_ends_with_a_sentence(starter, job, done, writes):
    writes(lambda number: "repeats")
    end = done(job(number=500))
    assert end["state"] == "failed" and "64 ending in a loop" in end["message"] and "temperature" in end["hint"]


def test_answers_are_written_to_the_prompts_of_another_set(home, settings, starter, job, done, tmp_path, monkeypatch):
    rows = [{"instruction": f"Add {n} and one.", "output": "old"} for n in range(5)]
    (tmp_path / "sums.json").write_text(json.dumps(rows))
    info = data.add_dataset(home, settings, tmp_path / "sums.json", "sums")

    def answers(self, batch):
        return [Made(n, at, [*at.prompt, {"role": "assistant", "content": f"new {n}"}]) for n, at in batch]

    monkeypatch.setattr(make.Maker, "answers", answers)
    folder = job(kind="answers", dataset_id=info.dataset_id, number=3)
    assert done(folder)["state"] == "completed"
    made = [*data.open_records(home, result(folder)["dataset_id"])]
    assert [[turn["content"] for turn in record["messages"]] for record in made] == [
        [f"Add {n} and one.", f"new {n}"] for n in range(3)
    ]


def test_the_real_model_writes_records(home, starter, job, done):
    """Tiny random weights: whatever they say, each attempt has a line with its text and, where it was left out, a reason."""
    folder = job(number=1, max_prompt_tokens=8, max_new_tokens=8)
    done(folder)
    lines = [json.loads(line) for line in (folder.path / worker.RECORDS).read_text().splitlines()]
    assert lines and all(line["messages"][0]["content"] or line["reason"] for line in lines)
    assert all(line["reason"] in ("", *make.REASONS) for line in lines)
