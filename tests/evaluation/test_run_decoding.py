"""Strategies on held-out records: greedy is /evaluate's own answer, record by record; resumed, nothing is asked twice."""

import pytest

from llmdemo.core.errors import UserError
from llmdemo.evaluation import run_decoding
from llmdemo.settings.evaluation import Spec
from llmdemo.settings.evaluation_decoding import DecodingSpec
from tests.evaluation.test_service import SMALL, chat_rows
from tests.waiting import over

LANES = [
    "greedy",
    {"strategy": "sample", "draws": "same"},
    {"strategy": "best_of_n", "num_return_sequences": 1, "draws": "same"},
    {"strategy": "self_consistency", "num_return_sequences": 3},
    {"strategy": "beam", "num_beams": 2},
]
SETTINGS = {"max_new_tokens": 6, "seed": 3}


def started(evaluations, info, models, **more):
    decoding = {"lanes": LANES, "settings": SETTINGS, **more}
    return evaluations.start(
        {"dataset_id": info.dataset_id, "model_ids": list(models), "limit": 12, "eval_share": 0.3, "decoding": decoding}
    )


@pytest.mark.slow
def test_the_greedy_column_is_what_an_evaluation_says_record_by_record_and_one_answer_is_the_plain_lane(
    evaluations, add, models
):
    info = add(chat_rows())
    first = evaluations.start({"dataset_id": info.dataset_id, "model_ids": list(models), **SMALL})
    second = started(evaluations, info, models)
    assert over(evaluations, first)["state"] == "completed" and over(evaluations, second)["state"] == "completed", over(
        evaluations, second
    )
    plain, result = evaluations.records(first), evaluations.result(second)
    records = evaluations.records(second)
    assert [record["index"] for record in plain] == [record["index"] for record in records]
    for one, other in zip(plain, records, strict=True):
        for model in range(2):
            cell = other["cells"][model * len(LANES)]
            assert cell["text"] == one["answers"][model] and cell["correct"] == one["normalised"][model]
            assert other["cells"][model * 5 + 1]["text"] == other["cells"][model * 5 + 2]["text"]
            assert other["cells"][model * 5 + 3]["n"] == 3
    rows = result["table"]
    assert len(rows) == 10 and {row["n"] for row in rows} == {12}
    figures = {figure["key"]: figure for figure in evaluations.result(first)["figures"]}
    for model in range(2):
        assert rows[model * 5]["score"] == pytest.approx(figures["normalised"]["values"][model])
        assert all(row["seconds"] is not None and row["forwards"] <= 6 for row in rows)
    assert rows[4]["tokens"] == 2 * rows[4]["forwards"] and rows[3]["tokens"] > rows[1]["tokens"]


def test_answers_do_not_depend_on_whether_a_lane_is_decoded_alone(evaluations, add, models, monkeypatch):
    info = add(chat_rows())
    one = started(evaluations, info, models[:1])
    assert over(evaluations, one)["state"] == "completed"
    records = evaluations.records(one)
    assert [sum(cell["seconds"] is not None for cell in record["cells"]) for record in records] == [5] * 3 + [0] * 9

    from llmdemo.data import open_records
    from llmdemo.evaluation.answers import loaded
    from llmdemo.evaluation.heldout import example
    from llmdemo.models import catalog

    held = open_records(evaluations.jobs.home, info.dataset_id)
    settings = run_decoding.settings_of(DecodingSpec.from_value({"lanes": LANES, "settings": SETTINGS}))
    import torch

    with loaded(catalog.resolve(evaluations.jobs.home, "starter"), torch.float32) as (model, tokenizer):
        asking = run_decoding.Asking(model, tokenizer, settings)
        for record in records[:4]:
            got = asking.cells(example(held, record["index"]))
            assert [cell["text"] for cell in got] == [cell["text"] for cell in record["cells"]]
        examples = [example(held, record["index"]) for record in records]
        got = {one.index: [cell["text"] for cell in cells] for one, cells in asking.together(examples)}
        assert got == {record["index"]: [cell["text"] for cell in record["cells"]] for record in records}


def test_what_was_asked_once_is_not_asked_again(evaluations, add, models):
    info = add(chat_rows())
    assert over(evaluations, started(evaluations, info, models))["state"] == "completed"
    again = started(evaluations, info, models, checker="exact")
    assert over(evaluations, again)["state"] == "completed"
    kept = list((evaluations.jobs.home.root / "evaluations" / "kept").glob("decoding-*.jsonl"))
    assert len(kept) == 2 and all(len(path.read_text().splitlines()) == 12 for path in kept)
    assert evaluations.result(again)["checker"] == "exact"


def test_own_prompts_are_asked_with_their_answers_or_with_a_checker_that_needs_none(evaluations, models):
    prompts = [{"prompt": "1+1?", "answer": 2}, {"prompt": "2+2?", "answer": "4"}]
    decoding = {"prompts": prompts, "checker": "number", "lanes": ["greedy", "mbr"], "settings": SETTINGS}
    first = evaluations.start({"decoding": decoding})
    second = evaluations.start(
        {"decoding": {**decoding, "prompts": ["Say a digit."], "checker": {"kind": "regex", "pattern": "\\d"}}}
    )
    for evaluation_id, count in ((first, 2), (second, 1)):
        assert over(evaluations, evaluation_id)["state"] == "completed", over(evaluations, evaluation_id)
        result = evaluations.result(evaluation_id)
        assert result["records"] == count and [row["n"] for row in result["table"]] == [count, count]
        assert list(result["table"][1]["pass_at"]) == ["1", "2", "4", "8"]
    assert evaluations.status(first)["titles"]["data"] == "own prompts"


def test_a_prompt_without_room_for_an_answer_is_answered_by_nothing(evaluations, models):
    decoding = {"prompts": [{"prompt": "x " * 3000, "answer": "x"}], "lanes": ["greedy", "beam"], "settings": SETTINGS}
    evaluation_id = evaluations.start({"decoding": decoding})
    assert over(evaluations, evaluation_id)["state"] == "completed", over(evaluations, evaluation_id)
    assert [cell["text"] for cell in evaluations.records(evaluation_id)[0]["cells"]] == ["", ""]
    assert evaluations.result(evaluation_id)["table"][0]["seconds"] is None


@pytest.mark.parametrize(
    "decoding",
    [
        {"lanes": ["luck"], "prompts": ["a"], "checker": {"kind": "regex", "pattern": "a"}},
        {"prompts": ["a"]},
        {"prompts": [{"prompt": ""}]},
        {"prompts": [{"prompt": "a", "answer": "b", "c": 1}]},
        {"prompts": "a"},
        {"prompts": [{"prompt": "a" * 30_000, "answer": "b"}]},
        {"prompts": ["a"] * 3000, "checker": {"kind": "contains", "text": "a"}},
        {"prompts": [{"prompt": "a", "answer": "b"}], "pass_at": [8]},
        {"prompts": [{"prompt": "a", "answer": "b"}], "pass_at": [0]},
        {"prompts": [{"prompt": "a", "answer": "b"}], "pass_at": "all"},
        {"prompts": [{"prompt": "a", "answer": "b"}], "settings": 3},
        {"prompts": [{"prompt": "a", "answer": "b"}], "lanes": [{"strategy": "mbr", "num_return_sequences": 10_000}]},
        {"prompts": [{"prompt": "a", "answer": "b"}], "lane": []},
        "greedy",
    ],
)
def test_what_cannot_be_is_a_sentence_before_there_is_a_job(evaluations, models, decoding):
    with pytest.raises(UserError) as caught:
        evaluations.start({"decoding": decoding})
    assert caught.value.hint and evaluations.list() == []


def test_data_without_answers_is_refused(evaluations, add, models):
    info = add([{"text": f"Some text {n}"} for n in range(40)], "texts")
    with pytest.raises(UserError, match="compared on data with answers"):
        evaluations.start({"dataset_id": info.dataset_id, "decoding": {"lanes": ["greedy"]}})


def test_a_spec_comes_back_from_its_json():
    spec = Spec.from_dict({"decoding": {"prompts": [{"prompt": "a", "answer": "b"}], "lanes": LANES, "pass_at": [2]}})
    assert Spec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize("odd", [{"lanes": 5}, {"settings": {"lanes": "greedy"}}, {"lanes": {"strategy": "greedy"}}])
def test_lanes_that_are_no_list_are_refused_with_a_sentence(odd):
    with pytest.raises(UserError, match="lanes is .*It must be a list"):
        DecodingSpec.from_value(odd)


def test_answers_vote_for_what_they_are_checked_for_unless_it_is_said():
    def voted_on(checker, **settings):
        lanes = [{"strategy": "self_consistency", "num_return_sequences": 2}]
        spec = DecodingSpec.from_value({"lanes": lanes, "checker": checker, "settings": settings})
        (lane,) = run_decoding.settings_of(spec).lanes
        return lane.vote_on

    assert [voted_on(checker) for checker in ("number", "exact", "normalised")] == ["number", "text", "text"]
    assert voted_on("exact", vote_on="number") == "number"


def test_a_judge_checks_what_each_lane_chose_and_equal_answers_once(evaluations, models, judge_server):
    def say(body):
        asked = body["messages"][-1]["content"]
        assert "Reference Answer" not in asked  # there is none to show
        return f"Feedback: so so. [RESULT] {5 if 'Name a bird' in asked else 3}"

    judge_server.say = say
    evaluation_id = evaluations.start(
        {
            "decoding": {
                "prompts": ["Name a bird.", "Name a fish."],
                "lanes": [
                    "greedy",
                    {"strategy": "best_of_n", "num_return_sequences": 3},
                    {"strategy": "beam", "num_beams": 1},
                ],
                "checker": {"kind": "judge", "grade": 5},
                "settings": SETTINGS,
            },
            "judge": {"kind": "endpoint", "url": judge_server.url, "model": "m"},
        },
        "secret",
    )
    assert over(evaluations, evaluation_id)["state"] == "completed", over(evaluations, evaluation_id)
    result, records = evaluations.result(evaluation_id), evaluations.records(evaluation_id)
    assert [row["score"] for row in result["table"]] == [0.5, 0.5, 0.5] and result["judge"]["error"] is None
    assert [[cell["correct"] for cell in record["cells"]] for record in records] == [[True] * 3, [False] * 3]
    assert {cell["n"] for record in records for cell in record["cells"]} == {1}  # what a lane has chosen, no more
    assert records[0]["cells"][0]["opinion"] == {"result": 5, "feedback": "so so."}
    texts = {(record["index"], cell["text"]) for record in records for cell in record["cells"]}
    assert len(judge_server.asked) == len(texts) < 6 and set(judge_server.keys) == {"Bearer secret"}


@pytest.mark.parametrize(("limit", "most", "asked"), [(0, 2, 2), (0, None, 3), (1, 2, 1), (2, 9, 2)])
def test_no_more_records_are_asked_than_the_judge_may_grade(evaluations, models, limit, most, asked):
    judge = {"kind": "model", "model_id": models[0]} | ({"limit": most} if most else {})
    decoding = {"prompts": ["Name a bird.", "Name a fish.", "Name a tree."], "lanes": ["greedy"], "checker": "judge"}
    spec = evaluations.checked({"decoding": decoding, "judge": judge, "limit": limit})
    examples, _ = run_decoding._examples(None, spec)
    assert [each.prompt[0]["content"] for each in examples] == decoding["prompts"][:asked]


def test_a_judge_that_checks_held_out_records_bounds_the_usual_number(evaluations, models, add):
    given = {
        "dataset_id": add(chat_rows()).dataset_id,
        "model_ids": [models[0]],
        "decoding": {"lanes": ["greedy"], "checker": "judge"},
    }
    for judge, limit, asked in (({}, 0, 104), ({"limit": 3}, 0, 3), ({"limit": 500}, 0, 104), ({"limit": 3}, 2, 2)):
        judge |= {"kind": "model", "model_id": models[0]}
        assert evaluations.checked({**given, "judge": judge, "limit": limit}).limit == asked


def test_a_record_with_an_answer_that_the_judge_gave_no_grade_counts_for_no_lane(evaluations, models, judge_server):
    judge_server.say = lambda body: "hm" if "Name a fish" in body["messages"][-1]["content"] else "Good. [RESULT] 4"
    decoding = {"prompts": ["Name a bird.", "Name a fish."], "lanes": ["greedy", "sample"], "settings": SETTINGS}
    evaluation_id = evaluations.start(
        {
            "decoding": {**decoding, "checker": "judge"},
            "judge": {"kind": "endpoint", "url": judge_server.url, "model": "m"},
        }
    )
    assert over(evaluations, evaluation_id)["state"] == "completed", over(evaluations, evaluation_id)
    result = evaluations.result(evaluation_id)
    assert [(row["score"], row["n"]) for row in result["table"]] == [(1.0, 1), (1.0, 1)]
    assert result["judge"]["off_form"] in (1, 2) and {"code": "unchecked", "n": 1, "of": 2} in result["notes"]


def test_a_judge_without_anything_to_judge_is_refused_and_so_is_a_checker_without_a_judge(evaluations, models):
    judge = {"kind": "model", "model_id": models[0]}
    with pytest.raises(UserError, match="nothing to judge"):
        evaluations.start({"decoding": {"prompts": [{"prompt": "1+1?", "answer": "2"}]}, "judge": judge})
    with pytest.raises(UserError, match="no judge was chosen"):
        evaluations.start({"decoding": {"prompts": ["Say a digit."], "checker": "judge"}})
