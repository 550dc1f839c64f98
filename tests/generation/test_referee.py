"""Which of two answers a judge, a reward model or a checker takes, end to end: from the fake endpoint to the data set."""

import json

import pytest

from llmdemo import data
from llmdemo.generation import worker
from llmdemo.generation.writers import LocalWriter, Text

QUESTIONS = 12


@pytest.fixture
def prompts(home, settings, tmp_path):
    """The id of a data set whose right answers are numbers."""
    rows = [{"instruction": f"Add {n} and one, please.", "output": f"{n + 1}"} for n in range(QUESTIONS)]
    (tmp_path / "sums.json").write_text(json.dumps(rows))
    return data.add_dataset(home, settings, tmp_path / "sums.json", "sums").dataset_id


@pytest.fixture
def says(monkeypatch):
    """says(first, second): what the local model writes as the first and as the second answer to number n."""

    def of(first, second):
        def answers(self, conversations, sampling):
            say = first if sampling.temperature == 0 else second
            numbers = [int("".join(c for c in turns[-1]["content"] if c.isdigit())) for turns in conversations]
            return [Text(say(n), True, logprobs=[-1.0]) for n in numbers]

        monkeypatch.setattr(LocalWriter, "answers", answers)

    return of


def judged_by(server, **more):
    return {"kind": "endpoint", "url": server.url, "model": "m", "timeout": 5, **more}


def likes(word):
    """A judge that gives the answer with this word the higher score, whichever place it has."""

    def say(body):
        asked = body["messages"][1]["content"]
        a = asked.index("###Response A") < asked.index(word) < asked.index("###Response B")
        return "Well. [RESULT] A: 5, B: 2" if a else "[RESULT] A: 1, B: 4"

    return say


def made(folder):
    result = json.loads((folder.path / worker.RESULT).read_text())
    lines = [json.loads(line) for line in (folder.path / worker.RECORDS).read_text().splitlines()]
    return result, lines


def test_pairs_by_an_endpoints_judge_become_a_preference_data_set(
    home, starter, job, done, prompts, says, judge_server
):
    says(lambda n: f"It is a pear {n}.", lambda n: f"It is a stone {n}.")
    judge_server.say = likes("stone")
    folder = job(kind="pairs", dataset_id=prompts, number=10, judge=judged_by(judge_server))
    assert done(folder)["state"] == "completed"
    result, lines = made(folder)
    info = data.get_dataset(home, result["dataset_id"])
    assert (info.task, info.records, result["kept"]) == ("preference", 10, 10)
    records = [*data.open_records(home, info.dataset_id)]
    assert all("stone" in record["chosen"] and "pear" in record["rejected"] for record in records)
    assert lines[0]["judged"]["orders"] == [[1.0, 4.0], [2.0, 5.0]] and lines[0]["source"] == 0
    assert "Reference answer" in judge_server.asked[0]["messages"][1]["content"]


def test_a_judge_that_prefers_a_place_makes_no_pair_and_is_counted(starter, job, done, prompts, says, judge_server):
    says(lambda n: f"pear {n}", lambda n: f"stone {n}")
    judge_server.say = lambda body: "[RESULT] A: 5, B: 2"
    folder = job(kind="pairs", dataset_id=prompts, number=10, judge=judged_by(judge_server))
    end = done(folder)
    assert end["state"] == "failed" and f"{QUESTIONS} where the judge's choice changed" in end["message"]
    assert "temperatures" in end["hint"] and made(folder)[0]["reasons"] == {"order": QUESTIONS}


def test_ties_alone_are_a_sentence(starter, job, done, prompts, says, judge_server):
    says(lambda n: f"pear {n}", lambda n: f"stone {n}")
    judge_server.say = lambda body: "[RESULT] A: 3, B: 3"
    end = done(job(kind="pairs", dataset_id=prompts, number=10, judge=judged_by(judge_server)))
    assert end["state"] == "failed" and f"{QUESTIONS} ties" in end["message"]


def test_a_judge_that_says_nothing_usable_is_given_up_and_what_was_made_stays(
    home, starter, job, done, prompts, says, judge_server
):
    says(lambda n: f"It is a pear {n}.", lambda n: f"It is a stone {n}.")
    judge_server.say = lambda body: likes("stone")(body) if len(judge_server.asked) <= 6 else "I like both."
    folder = job(kind="pairs", dataset_id=prompts, number=10, judge=judged_by(judge_server), parallel=1)
    end = done(folder)
    assert end["state"] == "failed" and "could not be used" in end["message"]
    result, _ = made(folder)
    assert result["kept"] == 3 and data.get_dataset(home, result["dataset_id"]).records == 3
    assert result["reasons"]["unclear"] >= 8


def test_feedback_in_prometheus_form_chooses_too(starter, job, done, prompts, says, judge_server):
    says(lambda n: f"It is a pear {n}.", lambda n: f"It is a stone {n}.")

    def relative(body):
        asked = body["messages"][1]["content"]
        first = asked.index("stone") < asked.index("pear")
        return f"Stones are better. [RESULT] {'A' if first else 'B'}"

    judge_server.say = relative
    folder = job(kind="pairs", dataset_id=prompts, number=3, judge=judged_by(judge_server, grading="relative"))
    assert done(folder)["state"] == "completed"
    _, lines = made(folder)
    assert lines[0]["judged"]["winner"] == 1 and lines[0]["judged"]["feedback"] == ["Stones are better."] * 2


def test_a_lowest_grade_leaves_out_answers_that_a_judge_grades_below_it(
    starter, job, done, prompts, says, judge_server
):
    says(lambda n: f"It is number {n}.", lambda n: "")
    judge_server.say = lambda body: (
        "Good. [RESULT] 4" if "number 3." in body["messages"][1]["content"] else "Bad. [RESULT] 2"
    )
    folder = job(kind="answers", dataset_id=prompts, number=5, judge=judged_by(judge_server), least_grade=3)
    assert done(folder)["state"] == "completed"
    result, lines = made(folder)
    assert (result["kept"], result["reasons"]) == (1, {"grade": QUESTIONS - 1})
    kept = next(line for line in lines if not line["reason"])
    assert kept["judged"]["grades"] == [4] and kept["judged"]["feedback"] == ["Good."]
    assert "Reference Answer" not in judge_server.asked[0]["messages"][1]["content"]


def test_a_checker_takes_the_answer_that_is_right(home, starter, job, done, prompts, says):
    says(lambda n: f"The sum is {n + 1}.", lambda n: f"The sum is {n + (1 if n < 4 else 2)} !")
    folder = job(kind="pairs", dataset_id=prompts, number=10, checker="number")
    assert done(folder)["state"] == "completed"
    result, lines = made(folder)
    assert (result["kept"], result["reasons"]["tie"]) == (QUESTIONS - 4, 4), "both right is a tie"
    assert lines[-1]["judged"]["right"] == [True, False]


def test_a_local_judge_that_cannot_read_the_rubric_is_a_sentence(starter, job, done, prompts, says):
    """The tiny judge's context is too short for it."""
    says(lambda n: f"pear {n}", lambda n: f"stone {n}")
    end = done(job(kind="pairs", dataset_id=prompts, number=3, judge={"kind": "model", "model_id": "starter"}))
    assert end["state"] == "failed" and "could not be used" in end["message"] and "long prompts" in end["hint"]


def test_a_model_that_is_needed_twice_is_loaded_once(starter, home):
    from contextlib import ExitStack

    import torch

    from llmdemo.models import catalog

    entry = catalog.resolve(home, starter)
    with ExitStack() as stack:
        load = worker.held_by(stack)
        models = [stack.enter_context(load(entry, torch.float32))[0] for _ in range(2)]
        assert models[0] is models[1]


def test_a_stop_while_the_judge_is_asked_loses_only_the_batch_on_its_way(
    home, starter, job, done, prompts, says, judge_server
):
    says(lambda n: f"It is a pear {n}.", lambda n: f"It is a stone {n}.")
    folder = job(kind="pairs", dataset_id=prompts, number=12, judge=judged_by(judge_server), parallel=2)

    def say(body):
        if len(judge_server.asked) > 2 * worker.JUDGED_BATCH:
            folder.stop.touch()
            return "hang"
        return likes("stone")(body)

    judge_server.say = say
    assert done(folder)["state"] == "stopped"
    assert made(folder)[0]["kept"] >= worker.JUDGED_BATCH
    folder.stop.unlink()
    judge_server.say = likes("stone")
    assert done(folder)["state"] == "completed"
    second = made(folder)[0]
    assert second["kept"] == 12 and data.get_dataset(home, second["dataset_id"]).version == 2


def test_the_real_model_writes_pairs_and_paraphrases(starter, job, done, prompts, judge_server):
    """Tiny random weights: whatever they say, each attempt has a line, with a reason where it was left out."""
    judge_server.say = lambda body: "[RESULT] A: 4, B: 2"
    for kind in ("pairs", "paraphrases"):
        extra = {"judge": judged_by(judge_server)} if kind == "pairs" else {}
        folder = job(kind=kind, dataset_id=prompts, number=4, max_new_tokens=8, **extra)
        done(folder)
        _, lines = made(folder)
        assert len(lines) == QUESTIONS or not lines[-1]["reason"]
        for path in folder.path.iterdir():
            path.unlink()
        folder.path.rmdir()
