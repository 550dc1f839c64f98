"""Data made by an OpenAI-compatible endpoint: what it is asked, and every way in which it fails. Its key is in no file."""

import json

import pytest
from transformers import AutoTokenizer

from llmdemo import data
from llmdemo.generation import worker
from llmdemo.generation.endpoint_writer import TEMPLATES, up_to_user
from llmdemo.generation.template import user_turn
from tests.generation.test_template import CHATML

KEY = "sk-secret-4711"


def at(server, **more):
    return {"url": server.url, "model": "m", "timeout": 5, "parallel": 2, **more}


def lines_of(folder):
    return [json.loads(line) for line in (folder.path / worker.RECORDS).read_text().splitlines()]


def writes(body):
    """A good instruction with a number of its own, or an answer to one."""
    if "prompt" in body:
        text = f"Tell me about number {body['seed']}, please."
        return 200, {}, json.dumps({"choices": [{"text": text, "finish_reason": "stop"}]}).encode()
    return f"About {body['messages'][-1]['content'][-20:]} there is much to say."


def test_instructions_come_from_plain_completions_and_answers_from_the_chat(home, starter, job, done, judge_server):
    judge_server.say = writes
    folder = job(number=3, system="Be brief.", **at(judge_server))
    assert done(folder, {"maker": KEY})["state"] == "completed"
    plain = [body for body in judge_server.asked if "prompt" in body]
    chat = [body for body in judge_server.asked if "messages" in body]
    assert plain[0]["prompt"] == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
    assert plain[0]["stop"] == ["<|im_end|>"] and plain[0]["temperature"] == 1.0 and chat[0]["temperature"] == 0.0
    assert [turn["role"] for turn in chat[0]["messages"]] == ["system", "user"]
    assert set(judge_server.keys) == {f"Bearer {KEY}"}
    info = data.get_dataset(home, json.loads((folder.path / worker.RESULT).read_text())["dataset_id"])
    assert info.records == 3 and info.source["generated"]["url"] == judge_server.url
    assert {each["model"] for line in lines_of(folder) for each in line["drawn"]} == {"m"}
    for file in (path for path in home.root.rglob("*") if path.is_file()):
        assert KEY.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (401, "refused the key"),
        (500, "status 500"),
        (b"<html>", "not in the format"),
        ((200, {"Content-Encoding": "gzip"}, b"x"), "compressed"),
    ],
)
@pytest.mark.slow
def test_an_endpoint_that_refuses_in_the_middle_is_a_sentence_and_what_was_made_stays(
    home, starter, job, done, judge_server, monkeypatch, says, told
):
    monkeypatch.setattr("llmdemo.evaluation.endpoint.Endpoint._pause", lambda *_: None)
    judge_server.say = lambda body: says if "messages" in body and len(judge_server.asked) > 45 else writes(body)
    folder = job(number=60, **at(judge_server))
    end = done(folder, {"maker": KEY})
    assert end["state"] == "failed" and told in end["message"] and "kept" in end["hint"] + "kept"
    first = json.loads((folder.path / worker.RESULT).read_text())
    assert 0 < first["kept"] < 60 and data.get_dataset(home, first["dataset_id"]).records == first["kept"]
    judge_server.say = writes
    assert done(folder, {"maker": KEY})["state"] == "completed"
    numbers = [line["number"] for line in lines_of(folder)]
    assert sorted(numbers) == list(range(60)), "those that were lost are made, none is made twice"


def test_a_stop_keeps_the_answers_that_have_come(home, starter, job, done, judge_server):
    folder = job(number=60, **at(judge_server))

    def say(body):
        if "messages" in body and len(judge_server.asked) > 44:
            folder.stop.touch()
            return "hang"
        return writes(body)

    judge_server.say = say
    assert done(folder)["state"] == "stopped"
    kept = json.loads((folder.path / worker.RESULT).read_text())["kept"]
    assert 0 < kept < 32


def test_an_endpoint_without_probabilities_cannot_be_filtered_by_perplexity(starter, job, done, judge_server):
    judge_server.say = writes
    end = done(job(number=3, perplexity_share=0.2, **at(judge_server)))
    assert end["state"] == "failed" and "probabilities" in end["message"] and "perplexity_share" in end["hint"]


def test_its_probabilities_give_the_perplexity(starter, job, done, judge_server):
    def say(body):
        if "prompt" in body:
            return writes(body)
        assert body["logprobs"] is True
        logprobs = {"content": [{"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -3.0}]}
        answer = {"message": {"content": "An answer."}, "finish_reason": "stop", "logprobs": logprobs}
        return 200, {}, json.dumps({"choices": [answer]}).encode()

    judge_server.say = say
    folder = job(number=2, most_perplexity=100.0, **at(judge_server))
    assert done(folder)["state"] == "completed"
    assert lines_of(folder)[0]["perplexity"] == pytest.approx(7.3891)


def test_an_answer_that_repeats_itself_or_does_not_end_is_left_out(starter, job, done, judge_server):
    def say(body):
        if "prompt" in body:
            return writes(body)
        looping = body["seed"] % 2
        answer = {"message": {"content": "and so on it goes " * 9 if looping else "It is that which"}}
        return 200, {}, json.dumps({"choices": [{**answer, "finish_reason": "length"}]}).encode()

    judge_server.say = say
    folder = job(number=40, **at(judge_server))
    end = done(folder)
    assert end["state"] == "failed" and "ending in a loop" in end["message"] and "longer than allowed" in end["message"]


def test_the_turn_markers_of_chatml_are_those_of_a_chat_template(tiny_tokenizer):
    """The same place in a conversation, found in a tokenizer's own template."""
    import copy

    tokenizer: AutoTokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = CHATML
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    turns = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    ours = up_to_user(turns, TEMPLATES["chatml"])
    assert tokenizer(ours, add_special_tokens=False)["input_ids"] == user_turn(turns, tokenizer).ids
    assert up_to_user([{"role": "system", "content": "S"}, *turns], TEMPLATES["gemma"]) == (
        "<start_of_turn>user\nS<end_of_turn>\n<start_of_turn>user\nHi.<end_of_turn>\n"
        "<start_of_turn>model\nHello.<end_of_turn>\n<start_of_turn>user\n"
    )
