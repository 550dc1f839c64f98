"""Many prompts: the numbers add up, samples differ, stop ends it, bad batches are refused."""

import json
import threading

import pytest

from llmdemo import decoding
from llmdemo.arena.batch import check_batch
from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings
from llmdemo.models import catalog
from tests.waiting import until

SETTINGS = {"max_new_tokens": 8, "temperature": 1.0, "num_beams": 2, "seed": 3}
PROMPTS = ["Hello", "Name three fruits", "Why?"]


def run(arena, prompts=PROMPTS, samples=1, **changes):
    request = arena.batch_request("starter", prompts, {**SETTINGS, **changes}, samples)
    return list(arena.events(request))


def test_every_prompt_adds_to_the_numbers_of_every_strategy(arena):
    events = run(arena)
    batches = [event for event in events if event["type"] == "batch"]
    assert [(event["done"], event["total"]) for event in batches] == [(1, 3), (2, 3), (3, 3)]
    final = {strategy["name"]: strategy for strategy in batches[-1]["strategies"]}
    assert set(final) == {"greedy", "top_k", "top_p", "beam"}
    for strategy in final.values():
        assert strategy["texts"] == 3 and strategy["tokens"] <= 24
        assert strategy["perplexity"] >= 1 and 0 <= strategy["repetition"] <= 1 and 0 <= strategy["self_bleu"] <= 1
    assert final["top_k"]["perplexity"] > final["greedy"]["perplexity"]
    assert events[-1]["state"] == "done"
    json.dumps(events, allow_nan=False)


def test_the_row_shows_what_each_strategy_said(arena):
    row = next(event for event in run(arena) if event["type"] == "batch")["row"]
    alone = list(arena.compare("starter", "Hello", SETTINGS))[-1]["lanes"]
    assert row["prompt"] == "Hello"
    assert row["texts"] == {name: lane["text"] for name, lane in alone.items()}


def test_samples_of_a_prompt_are_drawn_apart_and_greedy_is_asked_once(arena):
    final = [event for event in run(arena, samples=3) if event["type"] == "batch"][-1]["strategies"]
    texts = {strategy["name"]: strategy["texts"] for strategy in final}
    assert texts == {"greedy": 3, "top_k": 9, "top_p": 9, "beam": 3}
    alike = {strategy["name"]: strategy["self_bleu"] for strategy in final}
    assert alike["top_k"] < 0.99
    assert alike["greedy"] == alike["beam"] == pytest.approx(1)  # asked again, they would say the same
    assert {s["name"]: s["diversity"] for s in final}["greedy"] < 0.1


def test_stop_ends_a_batch(arena):
    request = arena.batch_request("starter", PROMPTS * 50, SETTINGS)
    events = []
    for event in arena.events(request):
        events.append(event)
        if event["type"] == "batch":
            arena.stop(request.run_id)
    assert events[-1]["state"] == "stopped"
    assert len([event for event in events if event["type"] == "batch"]) == 1


@pytest.mark.parametrize(
    ("prompts", "samples", "words"),
    [
        ([], 1, "no prompts"),
        (["", " "], 1, "no prompts"),
        ("Hello", 1, "not a list"),
        ([1], 1, "not a list"),
        (["a"] * 501, 1, "501 prompts"),
        (["a"], 0, "0 samples"),
        (["a"], True, "True samples"),
        (["a"], 99, "99 samples"),
    ],
)
def test_a_batch_that_cannot_be_is_refused_in_a_sentence(prompts, samples, words):
    with pytest.raises(UserError) as caught:
        check_batch(prompts, samples, DecodeSettings())
    assert words in caught.value.message and caught.value.hint


def test_samples_that_do_not_fit_into_one_pass_are_refused():
    settings = DecodeSettings.from_dict({"num_beams": 16, "lanes": ["beam", "top_k", "top_p", "sample"]})
    with pytest.raises(UserError, match="need 40 rows"):
        check_batch(["a"], 8, settings)


def test_a_prompt_that_is_too_long_ends_the_batch_with_a_sentence(arena):
    end = run(arena, prompts=["Hello", "word " * 400])[-1]
    assert end["state"] == "failed" and "tokens long" in end["message"]


class Gate:
    """Stands for the engine: notes the seed of each prompt that begins, and lets it go on when it is told to."""

    def __init__(self, arena):
        self.seeds: list[int] = []
        self.go = threading.Semaphore(0)
        arena._decode = self._decode

    def _decode(self, model, ids, settings):
        self.seeds.append(settings.seed)
        assert self.go.acquire(timeout=60)
        yield from decoding.decode_lanes(model, ids, settings)


def begin(arena, request) -> threading.Thread:
    """Computes the request's events in a thread of its own."""
    thread = threading.Thread(target=lambda: list(arena.events(request)), daemon=True)
    thread.start()
    return thread


def lined_up(arena) -> int:
    return len(arena._batch_turns._waiting)


def test_a_late_batch_and_a_late_prompt_begin_within_a_few_prompts_of_the_others(arena):
    gate, short = Gate(arena), {**SETTINGS, "max_new_tokens": 1}
    early = [
        begin(arena, arena.batch_request("starter", PROMPTS * 5, {**short, "seed": 1000 * number}))
        for number in range(1, 5)
    ]
    until(lambda: gate.seeds and lined_up(arena) == 2)
    late = begin(arena, arena.batch_request("starter", PROMPTS, {**short, "seed": 9000}))
    until(lambda: lined_up(arena) == 3)
    one = begin(arena, arena.request("starter", "Hello", {**short, "seed": 7000}))
    with arena._cache.use(catalog.resolve(arena._home, "starter"), "auto") as loaded:
        until(lambda: len(loaded.lock._waiting) == 2)
    for _ in range(4 * 15 + 3 + 1):
        gate.go.release()
    for thread in [*early, late, one]:
        thread.join(60)
    assert len(gate.seeds) == 4 * 15 + 3 + 1  # nobody's prompt is lost
    assert gate.seeds.index(7000) <= 2  # after those who had a place before it
    assert all(gate.seeds.index(9000 + prompt) <= 5 + 6 * prompt for prompt in range(3))  # every fifth turn is its own


def test_a_batch_that_waits_for_its_turn_can_be_stopped_and_takes_no_place(arena):
    gate = Gate(arena)
    others = [begin(arena, arena.batch_request("starter", PROMPTS, {**SETTINGS, "seed": seed})) for seed in (100, 200)]
    until(lambda: not arena._batch_turns._free)
    request = arena.batch_request("starter", PROMPTS, {**SETTINGS, "seed": 300})
    waiting = arena.events(request)
    assert next(waiting)["type"] == "waiting"
    arena.stop(request.run_id)
    assert next(waiting)["state"] == "stopped"
    for _ in range(6):
        gate.go.release()
    for thread in others:
        thread.join(60)
    assert len(gate.seeds) == 6 and not arena._batch_turns.would_wait()
