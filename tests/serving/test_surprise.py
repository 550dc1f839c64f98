"""When prompts are measured: a visitor who compares again at once does not wait for the last prompt's measurement."""

import threading

import numpy as np
import pytest
import torch

from llmdemo.arena import surprise as of_the_arena
from llmdemo.arena.prompt import Prompt
from llmdemo.serving import surprise as module
from llmdemo.serving.registry import Served
from llmdemo.serving.surprise import Surprise

SERVED = Served("arena", "starter", {}, 0.0)


@pytest.fixture
def clock(monkeypatch):
    """Time as the module sees it; `clock[0]` is set by the test."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_comparisons_prompt_is_measured_after_a_time_of_rest_and_not_before(clock):
    measured = threading.Event()
    watch = Surprise(lambda model_id, prompt, most: measured.set() or 1.0)
    watch._thread = threading.current_thread()  # the test takes its turns by itself
    watch.note(SERVED, "one", at_rest=True)
    assert watch._beside() == module.REST_SECONDS and not measured.is_set()
    clock[0] += module.REST_SECONDS - 1
    watch.note(SERVED, "two", at_rest=True)
    assert watch._beside() == module.REST_SECONDS and not measured.is_set()
    clock[0] += module.REST_SECONDS
    assert watch._beside() == 0.0 and measured.is_set()


def test_served_requests_are_measured_at_once_and_join_waits_for_all():
    found = []
    watch = Surprise(lambda model_id, prompt, most: found.append(prompt) or 1.0)
    watch.note(SERVED, "compared", at_rest=True)
    watch.note(SERVED, "served")
    watch.join()
    assert sorted(found) == ["compared", "served"]


def test_a_model_in_use_is_left_alone(clock):
    watch = Surprise(lambda model_id, prompt, most: None)
    watch._thread = threading.current_thread()
    watch.note(SERVED, "one", at_rest=True)
    clock[0] += module.REST_SECONDS
    assert watch._beside() == 0.0 and not watch._at_rest


def test_of_many_requests_at_once_a_share_is_measured_and_of_few_all(monkeypatch):
    monkeypatch.setattr(module.random, "random", iter(np.random.default_rng(0).random(10_000)).__next__)
    running = [1]
    watch = Surprise(lambda model_id, prompt, most: 1.0, running=lambda: running[0])
    shares = {}
    for running[0] in (0, 1, 4, 16):
        shares[running[0]] = sum(watch.tokens() == module.MOST_TOKENS for _ in range(2000)) / 2000
    assert shares[0] == shares[1] == shares[4] == 1 and 0.2 < shares[16] < 0.3


def test_what_came_with_the_answer_is_not_measured_again(web, serving, arena):
    """And it is what the model's own forward over the prompt gives, also where another prompt began alike."""
    serving.monitor.surprise.note = lambda *_: pytest.fail("measured twice")
    wanted = []
    for word in ("planet", "star", "planet"):
        text = f"Tell me what a {word} is, please"
        asked = {"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 4}
        assert web.post("/v1/chat/completions", json=asked).status_code == 200
        serving.join()
        wanted.append(arena.surprise("starter", Prompt.from_value(text), module.MOST_TOKENS))
    assert serving.monitor.surprise.drift("tiny", "starter")._reference == pytest.approx(wanted, abs=5e-3)  # 16 bits
    assert abs(wanted[0] - wanted[1]) > 0.02


@pytest.fixture
def short(monkeypatch):
    """Of a prompt's 16 last tokens, read 8 at a time: a short prompt is a long one."""
    monkeypatch.setattr(module, "MOST_TOKENS", 16)
    monkeypatch.setattr(of_the_arena, "_PIECE", 8)


def test_of_a_long_prompt_the_end_is_measured_after_all_that_stands_before_it_whoever_measures(
    web, serving, arena, short
):
    prompt = Prompt.from_value("Tell me what a planet is, and why some have rings, please")
    asked = {"model": "tiny", "messages": [{"role": "user", "content": prompt.raw or prompt.messages[0]["content"]}]}
    assert web.post("/v1/chat/completions", json={**asked, "max_tokens": 4}).status_code == 200
    serving.join()
    with arena._cache.use(next(iter(arena._cache._models.values())).entry) as loaded:
        ids = torch.tensor([prompt.encode(loaded.tokenizer)])
        with torch.inference_mode():
            logits = loaded.model(input_ids=ids).logits[0, :-1].float()
            alone = loaded.model(input_ids=ids[:, -16:], labels=ids[:, -16:]).loss.item()
        each = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
    assert len(each) > 20
    expected = each[-16:].mean().item()
    assert min(abs(expected - other) for other in (alone, each.mean().item())) > 0.02, "they would be told apart"
    assert arena.surprise("starter", prompt, 16) == pytest.approx(expected, abs=5e-3)
    assert serving.monitor.surprise.drift("tiny", "starter")._reference == pytest.approx([expected], abs=5e-3)


def test_who_comes_to_use_the_model_ends_a_measurement_after_a_piece(web, serving, arena, short, monkeypatch):
    prompt = Prompt.from_value("Tell me what a planet is, and why some have rings, please")
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
    assert web.post("/v1/chat/completions", json=asked).status_code == 200
    serving.join()
    with arena._cache.use(next(iter(arena._cache._models.values())).entry) as loaded:
        pieces = []
        monkeypatch.setattr(loaded.lock, "is_wanted", lambda: len(pieces) >= 2)
        watched = loaded.model.register_forward_hook(lambda *_: pieces.append(1))
        try:
            assert arena.surprise("starter", prompt, 16) is None and len(pieces) == 2
            assert loaded.lock.try_acquire(), "it was given back"
            loaded.lock.release()
        finally:
            watched.remove()
