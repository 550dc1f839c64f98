"""Opinions over HTTP, a model on trial beside the served one, and classifiers: what is said of an answer reaches it."""

import shutil

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from llmdemo.core.errors import UserError
from llmdemo.serving import Serving, feedback
from llmdemo.serving.review import row_of
from llmdemo.serving.routes import routes

ASK = [{"role": "user", "content": "What is the capital of France?"}]
OTHER = "run-20260101-000000-abcdef"
CLASSIFIER, SECOND = "run-20260102-000000-abcdef", "run-20260103-000000-abcdef"


def ask(web, **body):
    answer = web.post("/v1/chat/completions", json={"model": "tiny", "messages": ASK, "max_tokens": 6, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def say(web, **body):
    return web.post("/v1/feedback", json=body)


@pytest.fixture
def other(home, tiny_tokenizer):
    """A run's model: the tokenizer of the served one, other weights."""
    from tests.conftest import make_llama

    folder = home.runs / OTHER / "model"
    make_llama(len(tiny_tokenizer), seed=9).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return OTHER


def test_a_thumb_is_counted_without_any_text_and_a_correction_needs_its_text(web, serving):
    id_ = ask(web)["id"]
    assert say(web, id=id_, thumb="up").json()["model"] == "tiny"
    refused = say(web, id=id_, correction="Paris.")
    assert refused.status_code == 409 and "not kept" in refused.json()["error"]["message"]
    assert not (serving.kept._folder / "keeping.json").exists()
    told = serving.figures()[0]["opinions"]
    assert (told["up"], told["down"]) == (1, 0)
    assert b'llmdemo_thumbs_total{model_id="starter",name="tiny",thumb="up"} 1.0' in serving.metrics.prometheus()


def test_a_thumb_sent_again_is_not_counted_again_and_another_takes_its_place(web, serving):
    id_ = ask(web)["id"]
    for thumb in ("up", "up", "down", "down"):
        assert say(web, id=id_, thumb=thumb).status_code == 200
    assert {key: serving.figures()[0]["opinions"][key] for key in ("up", "down")} == {"up": 0, "down": 1}
    points = serving.monitor.over_time()[0]["points"]
    assert [sum(point[key] for point in points) for key in ("up", "down")] == [0, 1]
    counted = serving.metrics.prometheus().decode()
    for thumb in ("up", "up_withdrawn", "down"):
        assert f'thumb="{thumb}"}} 1.0' in counted
    assert 'thumb="down_withdrawn"' not in counted


def test_a_correction_stands_beside_the_answer_that_it_is_about_streamed_or_not(web, serving):
    serving.kept.keep(True)
    whole = ask(web, n=2, temperature=1.0, seed=3)
    text = "".join(line for line in web.post("/v1/chat/completions", json={"model": "tiny", "messages": ASK, "max_tokens": 6, "stream": True}).text.splitlines())  # fmt: skip
    streamed = text.split('"id":"')[1].split('"')[0]
    assert say(web, id=whole["id"], index=1, correction="Paris.", thumb="down").status_code == 200
    assert say(web, id=streamed, correction="Lyon?").status_code == 200
    first, second = serving.kept.by_id(whole["id"], 1), serving.kept.by_id(streamed)
    assert (first.choice, first.thumb, first.correction) == (1, -1, "Paris.") and first.prompt == ASK
    assert first.answers == [choice["message"]["content"] for choice in whole["choices"]]
    assert second.answers == [ask(web)["choices"][0]["message"]["content"]]
    assert row_of(first, "preference") == {"prompt": ASK, "chosen": "Paris.", "rejected": first.answers[1]}


def test_each_answer_of_a_request_has_an_opinion_of_its_own(web, serving):
    serving.kept.keep(True)
    whole = ask(web, n=3, temperature=1.0, seed=3)
    for index, said in enumerate(({"thumb": "up"}, {"thumb": "down", "correction": "Paris."}, {"thumb": "up"})):
        assert say(web, id=whole["id"], index=index, **said).status_code == 200
    assert say(web, id=whole["id"], index=2, thumb="down").status_code == 200
    opinions = serving.figures()[0]["opinions"]
    assert (opinions["up"], opinions["down"]) == (1, 2)
    texts, total = serving.kept.page("tiny", "new")
    found = [(each.choice, each.thumb, each.correction) for each in sorted(texts, key=lambda each: each.place)]
    assert total == 3 and found == [(0, 1, None), (1, -1, "Paris."), (2, -1, None)]
    answers = [choice["message"]["content"] for choice in whole["choices"]]
    assert [row_of(each, "chat")["messages"][-1]["content"] for each in reversed(texts)] == [
        answers[0], "Paris.", answers[2]]  # fmt: skip
    serving.kept.review(serving.kept.by_id(whole["id"]).number, verdict="take")
    assert say(web, id=whole["id"], index=0, correction="Lyon.").status_code == 409
    assert say(web, id=whole["id"], index=1, correction="Nice.").status_code == 200


def test_a_request_with_store_false_or_of_raw_text_is_never_kept(web, serving):
    serving.kept.keep(True)
    ask(web, store=False)
    web.post("/v1/completions", json={"model": "tiny", "prompt": "The capital", "max_tokens": 4})
    assert serving.kept.counts("tiny")["all"] == 0
    ask(web, store=True)
    assert serving.kept.counts("tiny")["all"] == 1


BAD = [
    ({"id": "chatcmpl-nothing", "thumb": "up"}, 404, "answer_not_found"),
    ({"thumb": "up"}, 400, "missing_required_parameter"),
    ({"id": "ID"}, 400, "invalid_value"),
    ({"id": "ID", "thumb": "sideways"}, 400, "invalid_value"),
    ({"id": "ID", "thumb": "up", "index": 1}, 400, "invalid_value"),
    ({"id": "ID", "label": "spam"}, 400, "invalid_value"),
    ({"id": "ID", "thumb": "up", "stars": 5}, 400, "unknown_parameter"),
]


def test_an_opinion_of_nothing_is_refused_with_a_sentence(web):
    id_ = ask(web)["id"]
    for body, status, code in BAD:
        answer = say(web, **{key: id_ if value == "ID" else value for key, value in body.items()})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), body
        assert answer.json()["error"]["message"].endswith(".")


def test_a_key_that_opens_another_model_may_not_judge(web, serving):
    id_ = ask(web)["id"]
    serving.serve("starter", "second")
    only = serving.create_key("one", ["second"], None, False)["key"]
    answer = web.post("/v1/feedback", json={"id": id_, "thumb": "up"}, headers={"authorization": f"Bearer {only}"})
    assert answer.status_code == 404


def test_a_shadow_answers_the_same_request_unseen_and_an_owner_compares_the_pair(web, serving, other, arena):
    plain = ask(web, temperature=0.9, seed=4)
    serving.kept.keep(True)
    serving.begin_trial("tiny", other, "shadow")
    serving.join()
    seen = ask(web, temperature=0.9, seed=4)
    assert seen["choices"] == plain["choices"]
    serving.join()
    pair = serving.kept.page("tiny", "pairs")[0][0]
    alone = arena.compare(other, ASK[0]["content"], {"lanes": [{"strategy": "sample", "temperature": 0.9}], "max_new_tokens": 6, "seed": 4})  # fmt: skip
    *_, last = alone
    assert (pair.beside_id, pair.beside) == (other, last["lanes"]["sample"]["text"]) and pair.beside != pair.answers[0]
    serving.kept.review(pair.number, better="beside", verdict="take")
    chosen = row_of(serving.kept.get(pair.number), "preference")
    assert (chosen["chosen"], chosen["rejected"]) == (pair.beside, pair.answers[0])
    assert row_of(serving.kept.get(pair.number), "chat")["messages"][-1]["content"] == pair.beside
    told = serving.comparison(serving.registry.all()["tiny"], serving.figures())
    assert told["beside"]["requests"] == 1 and told["picks"]["beside"] == 1 and told["picks"]["liked"]["share"] == 1.0
    assert {record.outcome for record in serving.metrics.records() if record.model_id == other} == {"shadow"}


def test_a_model_that_is_gone_or_of_another_kind_is_no_trial_and_one_that_goes_hurts_no_caller(
    web, serving, other, home, classifier
):

    with pytest.raises(UserError, match="stand in"):
        serving.begin_trial("tiny", classifier)
    with pytest.raises(UserError):
        serving.begin_trial("nothing", other)
    serving.begin_trial("tiny", other, "shadow")
    serving.join()
    shutil.rmtree(home.runs / OTHER)
    ask(web)
    serving.join()
    assert serving.metrics.records()[-1].code == "model_gone"
    serving.promote("tiny")
    assert (
        web.post("/v1/chat/completions", json={"model": "tiny", "messages": ASK}).json()["error"]["code"]
        == "model_gone"
    )
    serving.roll_back("tiny")
    ask(web)
    with pytest.raises(UserError):  # there is nothing to go back to any more
        serving.roll_back("tiny")


# ---- classifiers


@pytest.fixture
def classifier(home, tiny_model_folder):
    """The id of a run whose model tells ham from spam, by chance."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder, torch_seed = home.runs / CLASSIFIER / "model", 3
    torch.manual_seed(torch_seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        tiny_model_folder, id2label={0: "spam", 1: "ham"}, label2id={"spam": 0, "ham": 1}
    )
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return CLASSIFIER


@pytest.fixture
def sorts(home, settings, classifier):
    """(a client, its Serving): the classifier is served as "sorts"."""
    from llmdemo.evaluation.use import Classifiers

    shutil.copytree(home.runs / classifier, home.runs / SECOND)
    classifiers = Classifiers(home, settings)
    serving = Serving(home, settings, lambda: None, lambda: classifiers)
    serving.serve(classifier, "sorts")
    key = serving.create_key("test", [], 1_000_000, False)["key"]
    with TestClient(Starlette(routes=routes(serving)), headers={"authorization": f"Bearer {key}"}) as client:
        yield client, serving


TEXTS = ["win a free prize now", "see you at lunch", "call this number for your reward"]


def test_a_classifiers_answer_is_transformers_own(sorts, home):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    web, _ = sorts
    told = web.post("/v1/classifications", json={"model": "sorts", "input": TEXTS}).json()
    folder = home.runs / CLASSIFIER / "model"
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for row, text in zip(told["data"], TEXTS, strict=True):
        with torch.inference_mode():
            shares = model(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0]
        assert row["probs"] == pytest.approx(shares.tolist(), abs=1e-5)
        assert row["label"] == model.config.id2label[int(shares.argmax())] and row["num_classes"] == 2
        assert row["probabilities"] == dict(zip(["spam", "ham"], row["probs"], strict=True))
    assert told["usage"]["prompt_tokens"] == sum(len(tokenizer(text)["input_ids"]) for text in TEXTS)
    one = web.post("/v1/classifications", json={"model": "sorts", "input": TEXTS[0]}).json()
    assert one["data"] == told["data"][:1]


def test_labels_that_come_later_are_the_classifiers_accuracy_and_records_of_the_next_data(sorts):
    web, serving = sorts
    serving.kept.keep(True)
    told = web.post("/v1/classifications", json={"model": "sorts", "input": TEXTS}).json()
    predicted = [row["label"] for row in told["data"]]
    wrong = "ham" if predicted[1] == "spam" else "spam"
    assert say(web, id=told["id"], index=0, label=predicted[0]).status_code == 200
    assert say(web, id=told["id"], index=1, label=wrong).status_code == 200
    assert say(web, id=told["id"], index=9, label="ham").status_code == 404
    assert say(web, id=told["id"], index=0, correction="ham").status_code == 400
    for label in (wrong, predicted[1], wrong):  # sent again, thought better of, and back
        assert say(web, id=told["id"], index=1, label=label).status_code == 200
    opinions = serving.figures()[0]["opinions"]
    assert (opinions["labelled"], opinions["right"]) == (2, 1)
    points = serving.monitor.over_time()[0]["points"]
    assert [sum(point[key] for point in points) for key in ("labelled", "right")] == [2, 1]
    texts, _ = serving.kept.page("sorts", "new")
    assert [row_of(text, "classify") for text in reversed(texts)] == [
        {"text": TEXTS[0], "label": predicted[0]},
        {"text": TEXTS[1], "label": wrong},
    ]
    assert row_of(texts[0], "chat") is None


def test_a_label_reaches_a_text_that_is_remembered_when_the_first_of_its_request_is_not(sorts, monkeypatch):
    web, serving = sorts
    monkeypatch.setattr(feedback, "MOST_RECENT", 2)
    told = web.post("/v1/classifications", json={"model": "sorts", "input": TEXTS}).json()
    assert [say(web, id=told["id"], index=at, label="ham").status_code for at in range(3)] == [404, 200, 200]


def test_a_classifier_is_refused_what_is_none_of_its_business(sorts):
    web, serving = sorts
    with pytest.raises(UserError, match="not answered a second time"):
        serving.begin_trial("sorts", SECOND, "shadow")
    refused = web.post("/v1/chat/completions", json={"model": "sorts", "messages": ASK})
    assert refused.status_code == 400 and refused.json()["error"]["code"] == "wrong_endpoint"
    for body in ({"input": ""}, {"input": ["a", " "]}, {"input": []}, {"input": "x" * 20_001}, {"input": "x", "n": 2}):
        answer = web.post("/v1/classifications", json={"model": "sorts", **body})
        assert answer.status_code == 400 and answer.json()["error"]["message"].endswith("."), body
