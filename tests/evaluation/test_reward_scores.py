"""A reward model at work: its numbers are the model's own on the rows it was trained on, alone or in a batch; as a judge; and
as what chooses best of n."""

import json

import pytest

from llmdemo.core.errors import UserError
from llmdemo.evaluation import run_rewards
from llmdemo.evaluation.reward_scores import RewardScorer
from llmdemo.models import catalog
from tests.waiting import over

RUN = "run-20260103-000000-abcdef"
PROMPTS = [[{"role": "user", "content": text}] for text in ("Hello", "Name a fruit, please.", "x")]
ANSWERS = ["Hi there.", "pear", "a longer answer with many more words in it"]


@pytest.fixture
def reward_model(home, tiny_model_folder):
    """The entry of a finished run of the task reward, with random weights."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = home.runs / RUN / "model"
    torch.manual_seed(3)
    names = {"id2label": {0: "reward"}, "label2id": {"reward": 0}}
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model_folder, **names)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.score.weight.data *= 50  # so that answers differ
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "origin.json").write_text(json.dumps({"task": "reward"}), encoding="utf-8")
    return catalog.resolve(home, RUN)


def test_a_number_is_the_models_own_on_the_row_of_training_whatever_else_is_in_the_batch(reward_model):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from llmdemo.data.encode import encode_preference

    model = AutoModelForSequenceClassification.from_pretrained(reward_model.path).eval()
    tokenizer = AutoTokenizer.from_pretrained(reward_model.path)
    scorer = RewardScorer(reward_model)
    together = scorer.scores(PROMPTS, ANSWERS)
    for turns, answer, value in zip(PROMPTS, ANSWERS, together, strict=True):
        row, _ = encode_preference({"messages": turns, "chosen": answer, "rejected": "z"}, tokenizer, None)
        with torch.no_grad():
            by_hand = model(torch.tensor([row.input_ids])).logits[0, 0]
        assert value == pytest.approx(float(by_hand), abs=1e-4) == scorer.scores([turns], [answer])[0]


def test_best_of_n_by_a_reward_model_is_the_answer_with_the_highest_number(home, settings, starter, reward_model):
    from llmdemo.arena import Arena

    arena = Arena(home, settings)
    lanes = [{"strategy": "best_of_n", "num_return_sequences": 6, "reward_model_id": RUN}]
    common = {"max_new_tokens": 12, "precision": "fp32", "lanes": lanes}
    *_, final = arena.compare("starter", "Hello", common)
    found = final["lanes"]["best_of_n"]["candidates"]
    values = RewardScorer(reward_model).scores([PROMPTS[0]] * 6, [one["text"] for one in found])
    assert [one["score"] for one in found] == pytest.approx(values, abs=1e-4)
    assert values == sorted(values, reverse=True) and len(set(values)) > 1
    assert final["settings"]["lanes"][0]["reward_model_id"] == RUN
    for other in ("starter", "nothing"):
        with pytest.raises(UserError, match="reward model"):
            list(arena.compare("starter", "Hello", {**common, "lanes": [{**lanes[0], "reward_model_id": other}]}))


def test_a_reward_model_judges_without_reading_twice(home, evaluations, add, models, reward_model):
    rows = [{"instruction": f"Say {n}.", "output": f"{n}"} for n in range(30)]
    info = add(rows)
    judge = {"kind": "reward", "model_id": RUN}
    config = {"dataset_id": info.dataset_id, "model_ids": list(models), "limit": 4, "max_new_tokens": 8, "judge": judge}
    started = evaluations.start(config)
    assert over(evaluations, started)["state"] == "completed"
    result, records = evaluations.result_with_records(started)
    assert result["judge"]["error"] is None and result["judge"]["grading"] == "reward"
    scorer = RewardScorer(reward_model)
    for record in records:
        turns = [{"role": "user", "content": record["instruction"]}]
        values = scorer.scores([turns] * 2, record["answers"])
        assert [each["result"] for each in record["opinions"]] == pytest.approx(values, abs=1e-4)
        if record["answers"][0] != record["answers"][1]:
            assert record["verdict"]["winner"] == int(values[1] > values[0])
    with pytest.raises(UserError, match="not a reward model"):
        evaluations.start({**config, "judge": {"kind": "reward", "model_id": models[1]}})


def test_a_copy_of_the_data_that_a_reward_model_learned_from_is_not_asked_whole(home, evaluations, add, reward_model):
    rows = [{"prompt": f"Say {n}.", "chosen": f"{n}", "rejected": f"no {n}"} for n in range(40)]
    own, copy = add(rows, "own"), add(rows, "copy")
    assert own.content_hash == copy.content_hash
    dataset = {"id": own.dataset_id, "content_hash": own.content_hash}
    (home.runs / RUN / "config.json").write_text(json.dumps({"dataset": dataset, "seed": 7, "eval_share": 0.2}))
    asked = []
    for info in (own, copy):
        spec = evaluations.checked({"dataset_id": info.dataset_id, "model_ids": [RUN]})
        asked.append(run_rewards.asked(home, spec).indices.tolist())
    assert asked[0] == asked[1] and len(asked[1]) == 8


def test_a_reward_model_is_right_by_category_as_often_as_its_numbers_say(evaluations, add, reward_model):
    from llmdemo.evaluation.intervals import wilson

    rows = [
        {
            "prompt": f"Say {n}.",
            "chosen": f"{n}" + f" {n}" * (n % 5),
            "rejected": f"no {n}",
            "subset": ["chat", "safety"][n % 3 == 0],
        }
        for n in range(30)
    ]
    info = add(rows)
    started = evaluations.start({"dataset_id": info.dataset_id, "model_ids": [RUN]})
    status = over(evaluations, started)
    assert (status["state"], status["kind"]) == ("completed", "reward"), status
    result, records = evaluations.result_with_records(started)
    assert result["records"] == len(records) == 30, "none of them was learned from: all are asked"
    scorer, right = RewardScorer(reward_model), {"chat": [], "safety": []}
    for row in rows:
        turns = [{"role": "user", "content": row["prompt"]}]
        chosen, rejected = scorer.scores([turns] * 2, [row["chosen"], row["rejected"]])
        right[row["subset"]].append(chosen > rejected)
    shares = {name: sum(each) / len(each) for name, each in right.items()}
    found = {each["name"]: each["values"][0] for each in result["categories"]}
    assert {name: found[name]["accuracy"] for name in shares} == shares
    assert result["mean"] == [pytest.approx(sum(shares.values()) / 2)]
    assert (found[""]["low"], found[""]["high"]) == wilson(found[""]["right"], 30)
    assert sum(found[name]["right"] for name in shares) == found[""]["right"]
    with pytest.raises(UserError):
        evaluations.start({"dataset_id": add([{"instruction": "a", "output": f"b{n}"} for n in range(9)], "chat").dataset_id,
                           "model_ids": [RUN]})  # fmt: skip
