"""Evaluations as a whole: started, kept, stopped, resumed, with tiny models."""

from llmdemo.evaluation import answers


def chat_rows(count: int = 60) -> list[dict]:
    return [{"instruction": f"Add {n} and {n + 1} for me.", "output": f"{2 * n + 1}"} for n in range(count)]


SMALL = {"max_new_tokens": 6, "limit": 12, "eval_share": 0.3}


def test_two_models_are_compared_record_by_record(evaluations, over, add, models):
    info = add(chat_rows())
    evaluation_id = evaluations.start({"dataset_id": info.dataset_id, "model_ids": list(models), **SMALL})
    status = over(evaluation_id)
    assert status["state"] == "completed", status
    result, records = evaluations.result(evaluation_id), evaluations.records(evaluation_id)
    assert result["records"] == len(records) == 12
    figures = {figure["key"]: figure for figure in result["figures"]}
    assert figures.keys() >= {
        "loss",
        "perplexity",
        "bits_per_byte",
        "exact",
        "normalised",
        "rouge_l",
        "chrf",
        "tokens",
        "ended",
    }
    assert figures["loss"]["values"][0] != figures["loss"]["values"][1]
    low, value, high = (figures["loss"]["difference"][key] for key in ("low", "value", "high"))
    assert low <= value <= high
    assert status["titles"]["models"][0] and all(len(record["answers"]) == 2 for record in records)


def test_what_a_model_said_is_not_asked_again(evaluations, over, add, models, monkeypatch):
    info = add(chat_rows())
    first = evaluations.start({"dataset_id": info.dataset_id, "model_ids": ["starter"], **SMALL})
    assert over(first)["state"] == "completed"
    asked = []
    real = answers.greedy
    monkeypatch.setattr(
        answers, "greedy", lambda model, prompts, *rest: asked.extend(prompts) or real(model, prompts, *rest)
    )
    again = evaluations.start({"dataset_id": info.dataset_id, "model_ids": list(models), **SMALL, "limit": 14})
    assert over(again)["state"] == "completed"
    assert len(asked) == 2 + 14  # two more of the starter's, all of the other's
    assert evaluations.records(again)[0]["answers"][0] == evaluations.records(first)[0]["answers"][0]


def test_a_stop_keeps_what_was_done_and_resume_goes_on(evaluations, over, add, models, home, monkeypatch):
    info = add(chat_rows())
    monkeypatch.setattr(answers, "BATCH", 4)
    real, calls = answers.greedy, []

    def stop_at_the_second(model, prompts, *rest):
        calls.append(len(prompts))
        if len(calls) == 5:  # in the second model
            evaluations.stop(evaluation_id)
        return real(model, prompts, *rest)

    monkeypatch.setattr(answers, "greedy", stop_at_the_second)
    folder = {}
    monkeypatch.setattr(answers.Kept, "add", _spy(answers.Kept.add, folder))
    evaluation_id = evaluations.start({"dataset_id": info.dataset_id, "model_ids": list(models), **SMALL})
    evaluations._lock  # noqa: B018
    status = over(evaluation_id)
    assert status["state"] == "stopped"


def _spy(real, _):
    return real


def test_raw_text_gives_perplexities_only(evaluations, over, add, models):
    info = add([{"text": f"The quick brown fox number {n} jumps over {n * n} lazy dogs."} for n in range(40)])
    evaluation_id = evaluations.start(
        {"dataset_id": info.dataset_id, "model_ids": list(models), "limit": 8, "eval_share": 0.4}
    )
    assert over(evaluation_id)["state"] == "completed"
    assert [figure["key"] for figure in evaluations.result(evaluation_id)["figures"]] == [
        "loss",
        "perplexity",
        "bits_per_byte",
    ]
