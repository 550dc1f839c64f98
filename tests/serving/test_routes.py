"""Served models over HTTP: answers are the arena's, errors are OpenAI's, and who leaves stops the decoding."""

import asyncio
import json
import shutil
import threading

import pytest

from tests.serving.callers import SlowSteps, asgi

ASK = [{"role": "user", "content": "What is the capital of France?"}]


def ask(web, path="/v1/chat/completions", **body):
    body = {"model": "tiny", "messages": ASK, "max_tokens": 12, **body}
    if path == "/v1/completions":
        body = {"prompt": "The capital of", **{key: value for key, value in body.items() if key != "messages"}}
    return web.post(path, json=body)


def chunks(answer) -> list[dict]:
    """The JSON of a stream's events, the last of which must be [DONE]."""
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def arena_lane(arena, lane, seed=7, prompt="What is the capital of France?", **settings):
    """The arena's final state of one lane, by its name."""
    *_, last = arena.compare("starter", prompt, {"lanes": [lane], "max_new_tokens": 12, "seed": seed, **settings})
    return next(iter(last["lanes"].values()))


LANES = [
    ("tiny", {}, "greedy"),
    ("tiny:greedy", {"temperature": 0.9}, "greedy"),
    ("tiny:beam3", {}, {"strategy": "beam", "num_beams": 3}),
    ("tiny:top_p0.8", {}, {"strategy": "top_p", "top_p": 0.8}),
    ("tiny:top_k5", {"temperature": 1.3}, {"strategy": "top_k", "top_k": 5, "temperature": 1.3}),
    ("tiny", {"temperature": 0.7, "top_p": 0.9}, {"strategy": "sample", "temperature": 0.7, "top_p": 0.9}),
    ("tiny", {"temperature": 0}, "greedy"),
    ("tiny", {"lane": {"strategy": "min_p", "min_p": 0.1}}, {"strategy": "min_p", "min_p": 0.1}),
    ("tiny", {"frequency_penalty": 1.5}, {"strategy": "greedy", "frequency_penalty": 1.5}),
    ("tiny:mirostat", {}, "mirostat"),
    ("tiny:mbr4", {}, {"strategy": "mbr", "num_return_sequences": 4}),
]


@pytest.mark.parametrize("model, extra, lane", LANES)
@pytest.mark.slow
def test_an_answer_is_the_arenas_token_for_token(web, arena, model, extra, lane):
    """The log-probabilities tell one token from another, also where two spell the same."""
    expected = arena_lane(arena, lane, seed=11)
    answer = ask(web, model=model, seed=11, logprobs=True, **extra)
    assert answer.status_code == 200, answer.text
    choice = answer.json()["choices"][0]
    assert choice["message"]["content"] == expected["text"]
    assert answer.json()["usage"]["completion_tokens"] >= len(expected["token_ids"])
    said = [token["logprob"] for token in choice["logprobs"]["content"]]
    ended = expected["finish_reason"] == "eos"
    kept = expected["logprobs"][: len(expected["logprobs"]) - ended]
    assert said == pytest.approx(kept, abs=2e-5) and len(said) > 0
    assert choice["finish_reason"] == ("stop" if ended else "length")


def test_a_stream_says_what_the_whole_answer_says(web):
    for extra in ({}, {"temperature": 1.0, "n": 3}, {"model": "tiny:beam4"}, {"stop": ["e"]}, {"logprobs": True}):
        whole = ask(web, seed=3, **extra).json()
        streamed = chunks(ask(web, seed=3, stream=True, stream_options={"include_usage": True}, **extra))
        assert streamed[-1]["usage"] == whole["usage"] and streamed[-1]["choices"] == []
        for choice in whole["choices"]:
            own = [part["choices"][0] for part in streamed[:-1] if part["choices"][0]["index"] == choice["index"]]
            assert "".join(part["delta"].get("content", "") for part in own) == choice["message"]["content"]
            assert own[0]["delta"]["role"] == "assistant" and own[-1]["finish_reason"] == choice["finish_reason"]
            if extra.get("logprobs"):
                tokens = [token for part in own if part["logprobs"] for token in part["logprobs"]["content"]]
                assert tokens == choice["logprobs"]["content"]


def test_a_completion_goes_on_from_raw_text_with_log_probabilities(web, arena):
    expected = arena_lane(arena, "greedy", prompt={"raw": "The capital of"})
    choice = ask(web, "/v1/completions", logprobs=2).json()["choices"][0]
    assert choice["text"] == expected["text"]
    logprobs = choice["logprobs"]
    sizes = {len(logprobs[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")}
    assert len(sizes) == 1 and all(len(top) <= 2 for top in logprobs["top_logprobs"])
    assert logprobs["token_logprobs"] == pytest.approx(expected["logprobs"][: len(logprobs["tokens"])], abs=2e-5)


def test_several_prompts_and_answers_are_counted_through(web):
    answer = ask(web, "/v1/completions", prompt=["One two", "Three"], n=2, temperature=1.0, seed=5).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["choices"][0]["text"] != answer["choices"][1]["text"]
    alone = ask(web, "/v1/completions", prompt="Three", n=2, temperature=1.0, seed=5).json()
    assert [choice["text"] for choice in answer["choices"][2:]] == [choice["text"] for choice in alone["choices"]]


def test_n_answers_of_a_strategy_that_does_not_draw_are_the_same_and_those_of_beams_are_the_best(web, arena):
    texts = [choice["message"]["content"] for choice in ask(web, n=3).json()["choices"]]
    assert len(texts) == 3 and len(set(texts)) == 1
    beams = ask(web, model="tiny:beam4", n=3).json()["choices"]
    assert len({choice["message"]["content"] for choice in beams}) == 3
    assert (
        len({choice["message"]["content"] for choice in ask(web, model="tiny:best_of_n4", n=2).json()["choices"]}) == 2
    )
    assert beams[0]["message"]["content"] == arena_lane(arena, {"strategy": "beam", "num_beams": 4})["text"]


def test_a_stop_sequence_is_never_shown_not_even_its_beginning(web):
    text = ask(web, max_tokens=24).json()["choices"][0]["message"]["content"]
    stop = text[5:9]
    for stream in (False, True):
        answer = ask(web, max_tokens=24, stop=[stop, "\0never"], stream=stream)
        parts = [part["choices"][0] for part in chunks(answer)] if stream else answer.json()["choices"]
        said = "".join(part.get("delta", part.get("message")).get("content", "") for part in parts)
        assert said == text[: text.index(stop)] and parts[-1]["finish_reason"] == "stop"


def test_a_stop_sequence_ends_the_decoding_and_not_only_the_text(web):
    text = ask(web, max_tokens=24).json()["choices"][0]["message"]["content"]
    used = ask(web, max_tokens=200, stop=text[2:4]).json()["usage"]["completion_tokens"]
    assert used < 24


def test_a_seed_that_was_drawn_is_told_and_gives_the_same_answer_again(web):
    first = ask(web, temperature=1.2).json()
    again = ask(web, temperature=1.2, seed=first["seed"]).json()
    assert again["choices"] == first["choices"]
    assert ask(web, temperature=1.2, seed=-5).status_code == 200


def test_a_biased_token_is_said_and_a_banned_one_is_not(web):
    plain = ask(web, logprobs=True).json()["choices"][0]
    assert ask(web, logit_bias={"40": 100}).json()["choices"][0]["message"]["content"] != plain["message"]["content"]
    first = plain["logprobs"]["content"][0]["token"]
    assert not ask(web, bad_words=[first]).json()["choices"][0]["message"]["content"].startswith(first)


SCHEMA = {
    "type": "object",
    "properties": {"fruit": {"enum": ["apple", "pear"]}, "count": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["fruit", "count"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("extra", [{}, {"temperature": 1.0, "n": 2}, {"model": "tiny:beam3"}, {"stream": True}])
@pytest.mark.slow
def test_an_answer_that_is_held_to_a_schema_is_json_of_it(web, extra):
    """A random model, which left alone says nothing like JSON."""
    import jsonschema

    form = {"type": "json_schema", "json_schema": {"name": "fruit", "strict": True, "schema": SCHEMA}}
    answer = ask(web, max_tokens=150, seed=2, response_format=form, **extra)
    assert answer.status_code == 200, answer.text
    if extra.get("stream"):
        texts = ["".join(part["choices"][0]["delta"].get("content", "") for part in chunks(answer))]
    else:
        texts = [choice["message"]["content"] for choice in answer.json()["choices"]]
        assert {choice["finish_reason"] for choice in answer.json()["choices"]} == {"stop"}
    for text in texts:
        jsonschema.validate(json.loads(text), SCHEMA)
    free = ask(web, max_tokens=3, response_format={"type": "json_object"}).json()["choices"][0]["message"]["content"]
    assert free.startswith("{")


BAD = [
    ({"model": "other"}, 404, "model_not_found"),
    ({"model": "tiny:nonsense"}, 404, "model_not_found"),
    ({"n": 1000}, 400, "invalid_value"),
    ({"n": 0}, 400, "invalid_value"),
    ({"max_tokens": "many"}, 400, "invalid_value"),
    ({"max_tokens": 10**6}, 400, "invalid_value"),
    ({"max_tokens": 250}, 400, "context_length_exceeded"),
    ({"messages": [{"role": "user", "content": "word " * 400}]}, 400, "context_length_exceeded"),
    ({"messages": []}, 400, "invalid_value"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "invalid_value"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, 400, "unsupported"),
    ({"temperature": -1}, 400, "invalid_value"),
    ({"top_p": 2}, 400, "invalid_value"),
    ({"frobnicate": 1}, 400, "unknown_parameter"),
    ({"logprobs": True, "top_logprobs": 50}, 400, "invalid_value"),
    ({"top_logprobs": 2}, 400, "invalid_value"),
    ({"tools": [{"type": "function"}]}, 400, "unsupported"),
    ({"response_format": {"type": "json_schema", "json_schema": {"path": "a", "url": "b"}}}, 400, "invalid_value"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 7}}}}, 400, "invalid_value"),
    ({"logit_bias": {"99999999": 1}}, 400, "invalid_value"),
    ({"logit_bias": {"1": 101}}, 400, "invalid_value"),
    ({"stream_options": {"include_usage": True}}, 400, "invalid_value"),
    ({"lane": {"strategy": "beam", "num_beams": 10**9}}, 400, "invalid_value"),
    ({"model": "tiny:beam2", "n": 3}, 400, "invalid_value"),
    ({"model": "tiny:beam2", "lane": "greedy"}, 400, "invalid_value"),
    ({"model": "tiny:beam2", "logprobs": True, "top_logprobs": 2}, 400, "unsupported"),
    ({"stop": ""}, 400, "invalid_value"),
]


@pytest.mark.parametrize("body, status, code", BAD)
@pytest.mark.slow
def test_a_request_that_cannot_be_answered_gets_openais_error_with_a_sentence(web, body, status, code):
    for extra in ({}, {"stream": True} if "stream_options" not in body else {}):
        answer = ask(web, **{**extra, **body})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (status, code), error
        assert error["message"].endswith(".") and set(error) == {"message", "type", "param", "code"}


RAW = [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"model": NaN}', b"[" * 9000, b'{"a":1e999}', b"1" * 6000]


@pytest.mark.parametrize("body", RAW, ids=lambda body: body[:12].decode("latin-1"))
def test_a_body_that_is_no_json_object_gets_a_sentence(web, body):
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/classifications"):
        answer = web.post(path, content=body, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500 and answer.json()["error"]["message"]
    assert web.post(path, content=b"{}", headers={"content-type": "text/plain"}).status_code == 415


def test_halves_of_characters_in_a_request_are_no_mistake_of_the_app(web):
    body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "\ud800 x"}], "max_tokens": 2})
    answer = web.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    wrong = json.dumps({"model": "\ud800", "messages": ASK})
    assert (
        web.post("/v1/chat/completions", content=wrong, headers={"content-type": "application/json"}).status_code == 404
    )


def test_without_a_key_with_a_wrong_or_a_revoked_one_nothing_is_said(web, serving, key):
    told = serving.create_key("second", [], None, False)
    assert web.get("/v1/models", headers={"authorization": f"Bearer {told['key']}"}).status_code == 200
    serving.keys.revoke(told["key_id"])
    cases = [("", "invalid_api_key"), ("Basic abc", "invalid_api_key"), ("Bearer sk-wrong", "invalid_api_key")]
    for header, code in [*cases, (f"Bearer {told['key']}", "revoked_api_key")]:
        for answer in (
            web.get("/v1/models", headers={"authorization": header}),
            web.post("/v1/chat/completions", json={}, headers={"authorization": header}),
        ):
            assert answer.status_code == 401 and answer.json()["error"]["code"] == code


def test_a_key_opens_only_the_models_that_it_was_made_for(web, serving):
    serving.serve("starter", "other")
    only = serving.create_key("one", ["other"], None, False)["key"]
    headers = {"authorization": f"Bearer {only}"}
    assert [model["id"] for model in web.get("/v1/models", headers=headers).json()["data"]] == ["other"]
    body = {"model": "tiny", "messages": ASK}
    assert web.post("/v1/chat/completions", json=body, headers=headers).status_code == 404
    assert web.get("/v1/models/tiny", headers=headers).status_code == 404


def test_a_key_that_asks_too_often_is_told_how_long_to_wait(web, serving):
    slow = serving.create_key("slow", [], 2, False)["key"]
    answers = [web.get("/v1/models", headers={"authorization": f"Bearer {slow}"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) > 0 and "2 times a minute" in answers[-1].json()["error"]["message"]


def test_guessing_keys_is_slowed_down(web):
    answers = [web.get("/v1/models", headers={"authorization": f"Bearer sk-{n}"}).status_code for n in range(70)]
    assert answers[:60] == [401] * 60 and answers[-1] == 429


def test_a_model_that_was_deleted_or_is_no_longer_served_is_said_to_be(web, serving, home):
    assert ask(web).status_code == 200
    shutil.rmtree(home.models / "starter")
    error = ask(web).json()["error"]
    assert error["code"] == "model_gone" and "owner" in error["message"]
    assert serving.overview()["served"][0]["problem"]
    serving.unserve("tiny")
    assert ask(web).json()["error"]["code"] == "model_not_found"


def test_any_other_path_says_what_there_is(web):
    for method in ("get", "post", "delete"):
        answer = getattr(web, method)("/v1/embeddings")
        assert answer.status_code == 404 and "/v1/models" in answer.json()["error"]["message"]


def test_a_mistake_of_the_app_is_an_error_in_the_same_shape(web, serving, monkeypatch):
    monkeypatch.setattr(serving, "prepare", lambda *_: 1 / 0)
    answer = ask(web)
    assert answer.status_code == 500 and "ZeroDivisionError" in answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_decoding_stops_when_the_caller_goes_away(serving, arena, key, stream):
    steps = SlowSteps(arena)
    body = {"model": "tiny", "messages": ASK, "max_tokens": 200, "min_tokens": 200, "stream": stream}

    async def run():
        async def gone():
            while steps.made < 5:
                await asyncio.sleep(0.005)
            return {"type": "http.disconnect"}

        async def send(message):
            pass

        await asyncio.wait_for(asgi(serving, key, body, gone, send), 20)

    asyncio.run(run())
    assert steps.closed.wait(10) and steps.made < 100
    assert serving.metrics.records()[-1].outcome == "left"


def test_decoding_stops_when_the_caller_does_not_read(serving, arena, key):
    """The server's `send` gives up on who does not read (ui/server.py: in_time)."""
    from llmdemo.ui.server import in_time

    steps = SlowSteps(arena)
    body = {"model": "tiny", "messages": ASK, "max_tokens": 200, "min_tokens": 200, "stream": True}

    async def run():
        async def never():
            await asyncio.Event().wait()

        async def send(message):
            if steps.made > 5:
                await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asgi(serving, key, body, never, in_time(send, 0.2)), 20)

    asyncio.run(run())
    assert steps.closed.wait(10) and steps.made < 150


def test_requests_beyond_the_line_are_told_to_come_again(home, settings, arena, web, serving):
    from llmdemo.serving.generation import Slots

    serving.slots = Slots(1, 0)
    ticket = serving.slots.enter()
    answer = ask(web)
    assert answer.status_code == 429 and answer.headers["retry-after"]
    serving.slots.leave(ticket)
    assert ask(web).status_code == 200


def test_many_requests_at_once_are_each_answered_as_if_alone(web):
    questions = [f"Name {n} fruits." for n in range(12)]

    def said(question):
        body = {"messages": [{"role": "user", "content": question}], "temperature": 0.9, "seed": 4}
        return ask(web, **body).json()["choices"][0]["message"]["content"]

    alone = [said(question) for question in questions]
    found = [None] * len(questions)

    def run(index):
        found[index] = said(questions[index])

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(questions))]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert found == alone and len(set(alone)) > 6


def test_what_is_served_and_the_keys_survive_a_restart(home, settings, arena, serving, key):
    from llmdemo.serving import Serving

    again = Serving(home, settings, lambda: arena, lambda: None)
    assert [served["name"] for served in again.overview()["served"]] == ["tiny"]
    assert again.keys.check(key) is not None
    assert key not in (home.serving / "keys.json").read_text()


def test_an_app_that_ends_says_so_to_who_waits(web, arena):
    arena.close()
    answer = ask(web)
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "stopped"
