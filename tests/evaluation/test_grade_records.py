"""Judges that grade: an endpoint in form and out of it, a local model's feedback, a reward model, and the class's votes."""

import json

import pytest

from llmdemo.core.errors import UserError
from llmdemo.evaluation import grade_records, judge_local
from llmdemo.evaluation.judge_local import LocalWriter
from llmdemo.evaluation.judging import judge_all
from llmdemo.settings.judge import JudgeSpec
from tests.evaluation.conftest import at
from tests.waiting import over


def records(count=3, answers=("pear", "stone")):
    return [
        {
            "index": n,
            "prompt": f"Name fruit number {n}.",
            "instruction": f"Name fruit number {n}.",
            "reference": "apple",
            "answers": [f"{answer} {n}" for answer in answers],
            "long": [False] * len(answers),
        }
        for n in range(count)
    ]


def grades(body):
    said = body["messages"][1]["content"].split("###Response to evaluate:")[1]
    return f"Feedback: it is a fruit. [RESULT] {4 if said.strip().startswith('pear') else 2}"


def prefers_the_pear(body):
    said = body["messages"][1]["content"]
    return f"The pear. [RESULT] {'A' if said.index('pear') < said.index('stone') else 'B'}"


def test_each_answer_is_graded_by_itself_with_its_feedback_and_nothing_is_asked_twice(job, home, judge_server):
    judge_server.say = grades
    some, spec = records(), at(judge_server, grading="absolute")
    found = judge_all(job, home, spec, some)
    assert [each["mean"] for each in found["grades"]] == [4, 2] and found["grades"][0]["counts"] == [0, 0, 0, 3, 0]
    assert found["difference"] == {"value": -2.0, "low": -2.0, "high": -2.0}
    assert some[0]["opinions"][1] == {"result": 2, "feedback": "it is a fruit."}
    assert some[0]["verdict"]["winner"] == 0 and found["tally"]["losses"] == 3 and found["tally"]["agreement"] is None
    assert (found["asked"], found["off_form"]) == (6, 0) and len(judge_server.asked) == 6
    judge_all(job, home, spec, records())
    assert len(judge_server.asked) == 6


def test_one_models_answers_are_graded_without_another(job, home, judge_server):
    judge_server.say = grades
    some = records(answers=("pear",))
    found = judge_all(job, home, at(judge_server, grading="absolute", reference=False), some)
    assert found["tally"] is None and len(found["grades"]) == 1 and found["grades"][0]["mean"] == 4
    assert "verdict" not in some[0] or some[0]["verdict"] is None
    assert "###Reference" not in judge_server.asked[0]["messages"][1]["content"]


def test_the_better_one_must_be_so_in_both_orders(job, home, judge_server):
    judge_server.say = prefers_the_pear
    some = records()
    found = judge_all(job, home, at(judge_server, grading="relative"), some)
    assert found["tally"]["losses"] == 3 and found["tally"]["agreement"] == 1.0 and found["grades"] is None
    assert [each["result"] for each in some[0]["opinions"]] == [0, 0]
    judge_server.say = lambda body: "The first. [RESULT] A"
    found = judge_all(job, home, at(judge_server, grading="relative", criteria="other"), records())
    assert found["tally"]["ties"] == 3 and found["tally"]["agreement"] == 0.0


def test_answers_in_no_form_are_counted_shown_and_asked_again(job, home, judge_server):
    judge_server.say = lambda body: "I would give it a 4." if len(judge_server.asked) == 1 else grades(body)
    some = records()
    found = judge_all(job, home, at(judge_server, grading="absolute"), some)
    assert (found["off_form"], found["example"]) == (1, "I would give it a 4.")
    assert found["grades"][0]["n"] == 2 and not some[0]["verdict"]["clear"]
    again = judge_all(job, home, at(judge_server, grading="absolute"), records())
    assert again["off_form"] == 0 and len(judge_server.asked) == 7


def test_a_judge_that_never_keeps_to_the_form_is_given_up_and_quoted(job, home, judge_server):
    judge_server.say = lambda body: "I like it, <b>4</b> of 5."
    found = judge_all(job, home, at(judge_server, grading="absolute"), records(9))
    assert "I like it" in found["error"]["message"] and len(judge_server.asked) == 8
    assert found["off_form"] == 8 and found["grades"][0]["n"] == 0


def test_a_local_judges_text_that_was_cut_off_is_no_grade(tiny_model_folder, monkeypatch):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llmdemo.decoding.prompts import Answer
    from llmdemo.evaluation.grading import Question, read_opinion

    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    ids = tokenizer("Good. [RESULT] 1", add_special_tokens=False)["input_ids"]
    monkeypatch.setattr(judge_local, "greedy", lambda *_, **__: [Answer(ids, True), Answer(ids, False)])
    writer = LocalWriter(AutoModelForCausalLM.from_pretrained(tiny_model_folder), tokenizer, 256, 8)
    asked = [Question(str(n), ({"role": "user", "content": "Which?"},)) for n in range(2)]
    assert [read_opinion(text, "absolute").result for text in writer.write(asked)] == ["1", ""]
    assert writer.write([Question("", ({"role": "user", "content": "word " * 300},))]) == [None]


def test_a_local_models_feedback_is_its_own_greedy_text(job, home, models, monkeypatch):
    monkeypatch.setattr(grade_records, "absolute", lambda pair, side, spec: _short(pair, side))
    found = judge_all(job, home, _local(), records(1))
    assert found["asked"] == 2 and found["off_form"] == 2 and found["error"] is None
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llmdemo.data.encode import encode_prompt

    folder = home.models / "starter"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    import torch

    ids = torch.tensor([encode_prompt([{"role": "user", "content": "pear 0"}], tokenizer)])
    said = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=16, pad_token_id=0)
    text = tokenizer.decode(said[0, ids.shape[1] :], skip_special_tokens=True)
    assert found["example"].removesuffix(" […]").strip() == text.strip()


def _short(pair, side):
    from llmdemo.evaluation.grading import Question

    return Question(pair.answers[side], ({"role": "user", "content": pair.answers[side]},))


def _local():
    return JudgeSpec.from_value({"kind": "model", "model_id": "starter", "grading": "absolute", "max_new_tokens": 16})


def test_a_judge_is_compared_with_the_classs_votes(evaluations, home, judge_server):
    folder = home.votes / "vote-20260101-000000-abcdef"
    folder.mkdir(parents=True)
    lanes = [{"model_id": "starter", "model": "S", "lane": lane, "strategy": "top_p", "settings": {}} for lane in "ab"]
    log = [
        {"type": "opened", "version": 1, "session_id": folder.name, "config": {"title": "", "prompts": ["p"] * 4},
         "settings": {}, "contestants": lanes, "salt": ""}
    ]  # fmt: skip
    for number in range(4):
        texts = [f"pear {number}", f"stone {number}"]
        log.append({"type": "answers", "prompt": number, "text": f"Fruit {number}?", "answers": texts})
        for voter in "vw":
            left, right = (0, 1) if voter == "v" else (1, 0)
            choice = "tie" if number == 3 else ("left" if (voter == "v") == (number < 2) else "right")
            log.append({"type": "pair", "pair": f"{number}{voter}", "voter": voter, "prompt": number,
                        "left": left, "right": right})  # fmt: skip
            log.append({"type": "vote", "pair": f"{number}{voter}", "choice": choice})
    (folder / "events.jsonl").write_text(
        "".join(json.dumps({"t": 1.0, **each}) + "\n" for each in log), encoding="utf-8"
    )
    judge_server.say = prefers_the_pear
    judge = {"kind": "endpoint", "url": judge_server.url, "model": "m", "grading": "relative"}
    started = evaluations.start({"vote_id": folder.name, "judge": judge})
    assert over(evaluations, started)["state"] == "completed"
    result, rows = evaluations.result_with_records(started)
    # the class: pear, pear, stone, neither; the judge: pear four times
    assert [row["majority"] for row in rows] == [0, 0, 1, 2] and rows[0]["votes"] == [2, 0, 0]
    assert result["agreement"]["table"] == [[2, 0, 0], [1, 0, 0], [1, 0, 0]]
    assert (result["agreement"]["share"], result["agreement"]["kappa"]) == (0.5, 0.0)
    assert result["agreement"]["voters"]["alpha"] == 1.0
    assert "###Reference" not in judge_server.asked[0]["messages"][1]["content"]
    for odd in ({"vote_id": folder.name}, {"vote_id": "vote-20260101-000000-000000", "judge": judge}):
        with pytest.raises(UserError):
            evaluations.start(odd)


def test_a_long_text_is_kept_with_its_result_and_says_what_was_left_out(job, home, judge_server):
    judge_server.say = lambda body: "word " * 10_000 + "[RESULT] 4"
    spec = at(judge_server, grading="absolute")
    first, again = (judge_all(job, home, spec, some := records(1)) and some for _ in range(2))
    assert len(judge_server.asked) == 2, "the second time it was read from what is kept"
    assert (
        [each["result"] for each in again[0]["opinions"]] == [each["result"] for each in first[0]["opinions"]] == [4, 4]
    )
    assert "30,010 characters left out" in again[0]["opinions"][0]["feedback"]
