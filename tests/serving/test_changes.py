"""What is changed, unloaded or ended under requests on their way loses none of them silently."""

import asyncio
import json
import shutil
import threading

import pytest

from llmdemo.serving.generation import Slots
from tests.conftest import make_llama, make_tokenizer
from tests.serving.callers import SlowSteps, asgi
from tests.waiting import until

LONG = {"model": "tiny", "messages": [{"role": "user", "content": "Count."}], "max_tokens": 40, "min_tokens": 40}
OTHER = "run-20260101-000000-abcdef"


@pytest.fixture
def other(home) -> str:
    """A second model of other weights; its id."""
    folder, tokenizer = home.runs / OTHER / "model", make_tokenizer()
    make_llama(len(tokenizer), seed=9).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return OTHER


def streamed(serving, key, body, meanwhile) -> list[dict]:
    """The chunks of a stream, in the middle of which `meanwhile` is called once; the last is {"done": whether [DONE] came}."""
    parts: list[bytes] = []

    async def run():
        async def never():
            await asyncio.Event().wait()

        async def send(message):
            parts.append(message.get("body", b""))
            if len(parts) == 5:
                await asyncio.to_thread(meanwhile)

        await asyncio.wait_for(asgi(serving, key, {**body, "stream": True}, never, send), 30)

    asyncio.run(run())
    lines = [line[6:] for line in b"".join(parts).decode().split("\n\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"] + [{"done": lines[-1] == "[DONE]"}]


def text_of(chunks: list[dict]) -> str:
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk.get("choices"))


def ask(web, **extra):
    return web.post("/v1/chat/completions", json={**LONG, **extra})


def until_left(serving) -> None:
    """Until nobody has a place any more: a thread leaves it after its last word."""
    until(lambda: serving.slots.running == 0, 10)


@pytest.mark.parametrize("change", ["replaced", "stopped", "deleted"])
@pytest.mark.slow
def test_a_request_on_its_way_ends_with_the_model_that_it_began_with(change, web, serving, arena, key, other, home):
    expected = ask(web).json()["choices"][0]["message"]["content"]
    changes = {
        "replaced": lambda: serving.serve(other, "tiny"),
        "stopped": lambda: serving.unserve("tiny"),
        "deleted": lambda: shutil.rmtree(home.models / "starter"),
    }
    SlowSteps(arena)
    chunks = streamed(serving, key, LONG, changes[change])
    assert text_of(chunks) == expected and chunks[-1] == {"done": True}
    later = ask(web)
    if change == "replaced":
        serving.join()
        assert later.status_code == 200 and later.json()["choices"][0]["message"]["content"] != expected
    else:
        assert later.status_code == 404 and later.json()["error"]["message"].endswith(".")


def test_a_stream_that_the_apps_end_breaks_off_says_so(serving, arena, key):
    SlowSteps(arena)
    *chunks, error, last = streamed(serving, key, LONG, arena.close)
    assert error["error"]["code"] == "stopped" and "Ask again" in error["error"]["message"]
    until_left(serving)
    assert serving.metrics.records()[-1].code == "stopped"


def test_requests_that_wait_in_line_when_the_app_ends_are_told_too(web, serving, arena):
    serving.slots = Slots(1, 5)
    ticket = serving.slots.enter()
    answers: list = []
    waiting = [threading.Thread(target=lambda: answers.append(ask(web))) for _ in range(3)]
    [thread.start() for thread in waiting]
    while serving.slots.queued < 3:
        pass
    arena.close()
    serving.slots.leave(ticket)
    [thread.join(20) for thread in waiting]
    assert [answer.status_code for answer in answers] == [503] * 3
    assert {answer.json()["error"]["code"] for answer in answers} == {"stopped"}
    until_left(serving)


def test_two_served_models_with_room_for_one_take_turns_and_answer_all(web, serving, arena, other):
    serving.serve(other, "second")
    serving.join()
    expected = {name: ask(web, model=name).json()["choices"][0]["message"]["content"] for name in ("tiny", "second")}
    cache, loads = arena._cache, []
    load = cache._load
    cache._load = lambda *asked: (loads.append(asked), load(*asked))[1]
    cache._budget = int(1.4 * next(iter(cache._models.values())).bytes)  # one, and another while the first is in use
    cache._evict(0)
    for name in ("tiny", "second") * 2:
        until_left(serving)
        answer = ask(web, model=name)
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"] == expected[name]
    assert len(loads) >= 3, "they took turns in memory"


def test_a_served_model_shares_its_steps_with_the_arenas_visitors(web, serving, arena):
    """Both ask at once; at least one forward has the rows of both."""
    from llmdemo.decoding.backend import fused_weights

    with arena._cache.use(next(iter(arena._cache._models.values())).entry) as loaded:
        weights = fused_weights(loaded.model)
    sizes: list[int] = []
    compute = weights.batched_logits
    weights.batched_logits = lambda requests: (sizes.append(len(requests)), compute(requests))[1]
    gate, settings = threading.Barrier(2), {"lanes": ["greedy"], "max_new_tokens": 60}

    def visit():
        gate.wait()
        list(arena.compare("starter", "Count.", settings))

    visitor = threading.Thread(target=visit)
    visitor.start()
    gate.wait()
    assert ask(web, max_tokens=60, min_tokens=60).status_code == 200
    visitor.join()
    assert max(sizes) == 2
