import threading
import time

import pytest
import torch

from llmdemo.decoding import DecodeSettings, decode_lanes, prepare, shares_steps
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.step_batcher import StepBatcher
from llmdemo.decoding.thread_budget import ThreadBudget

PROMPTS = [[5, 6, 7], [9], list(range(3, 40)), [50, 3, 3, 60, 12]]


def settings(seed: int, tokens: int = 24) -> DecodeSettings:
    return DecodeSettings.from_dict({"seed": seed, "max_new_tokens": tokens, "num_beams": 3})


def texts(model, prompt, seed, tokens=24):
    """{lane: token ids} of a whole run."""
    found = {}
    for step in decode_lanes(model, prompt, settings(seed, tokens), eos_token_ids=[]):
        found.update({name: result.token_ids for name, result in step.results.items()})
    return found


def in_threads(*calls):
    """What each of `calls` returns or raises, all begun at the same moment."""
    found, begin = [None] * len(calls), threading.Barrier(len(calls))

    def one(index, call):
        begin.wait(10)
        try:
            found[index] = call()
        except Exception as error:
            found[index] = error

    threads = [threading.Thread(target=one, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


@pytest.fixture
def forwards(monkeypatch):
    """The number of requests in each batched forward."""
    sizes, step = [], StepBatcher.step

    def counted(self, inputs, compute, rows):
        def count(requests):
            sizes.append(len(requests))
            return compute(requests)

        return step(self, inputs, count, rows)

    monkeypatch.setattr(StepBatcher, "step", counted)
    return sizes


def test_runs_at_once_give_the_tokens_that_each_gives_alone(tiny_llama, forwards):
    model = tiny_llama(3)
    prepare(model)
    alone = [texts(model, prompt, seed) for seed, prompt in enumerate(PROMPTS)]
    assert set(forwards) == {1}
    forwards.clear()
    together = in_threads(*(lambda s=seed, p=prompt: texts(model, p, s) for seed, prompt in enumerate(PROMPTS)))
    assert together == alone
    assert sum(forwards) == 4 * 24 and max(forwards) > 1, "steps were not shared"


def test_runs_of_unlike_lengths_each_get_all_their_tokens(tiny_llama, forwards):
    model = tiny_llama(3)
    prepare(model)
    short, long = in_threads(lambda: texts(model, [5, 6], 1, 4), lambda: texts(model, [7, 8], 2, 40))
    assert {len(tokens) for tokens in short.values()} == {4} and {len(tokens) for tokens in long.values()} == {40}


def test_two_runs_in_one_thread_never_wait_for_each_other(tiny_llama, monkeypatch):
    model = tiny_llama(3)
    prepare(model)
    monkeypatch.setattr("llmdemo.decoding.step_batcher._WAIT_SECONDS", 30.0)
    runs = [decode_lanes(model, prompt, settings(1, 6), eos_token_ids=[]) for prompt in PROMPTS[:2]]
    begun = time.monotonic()
    for _ in range(5):
        for run in runs:
            next(run)
    assert time.monotonic() - begun < 20, "one waited for the other"


def test_what_computing_raises_reaches_every_run_of_that_forward():
    batcher = StepBatcher(ThreadBudget(torch.device("cpu")))
    barrier = threading.Barrier(2)

    def fails(requests):
        raise RuntimeError(f"no memory for {len(requests)}")

    def succeeds(requests):
        return [torch.tensor(number) for number in requests]

    def one(number):
        batcher._previous = {0}  # an absent thread of the batch before, so that the first comer waits for a moment
        barrier.wait(10)
        return batcher.step(number, fails)

    found = in_threads(lambda: one(1), lambda: one(2))
    assert all(isinstance(error, RuntimeError) for error in found)
    assert int(batcher.step(3, succeeds)) == 3


def test_steps_are_shared_only_with_the_weights_that_are_ready(tiny_llama, tiny_gpt2):
    model = tiny_llama(4)
    assert not shares_steps(model)
    prepare(model)
    assert shares_steps(model) and not shares_steps(model, "int8")
    with torch.no_grad():
        model.model.norm.weight.mul_(2)
    assert not shares_steps(model), "these weights have changed"
    prepare(tiny_gpt2)
    assert not shares_steps(tiny_gpt2), "its own forward has one cache"


def test_another_runs_rows_would_be_noticed(tiny_llama):
    """The mutant: logits that are handed out in the wrong order."""
    model = tiny_llama(3)
    prepare(model)
    alone = [texts(model, prompt, 1) for prompt in PROMPTS[:2]]
    weights = fused_weights(model)
    right = weights.batched_logits
    weights.batched_logits = lambda requests: right(requests)[::-1]
    together = in_threads(*(lambda p=prompt: texts(model, p, 1) for prompt in PROMPTS[:2]))
    assert together != alone


def test_steps_come_before_prompts_and_a_forward_takes_no_more_rows_than_it_may():
    batcher, batches = StepBatcher(ThreadBudget(torch.device("cpu"))), []
    began, gate = threading.Event(), threading.Event()

    def compute(names):
        batches.append(sorted(names))
        began.set()
        assert gate.wait(10)
        return names

    rows = {"first": 1, "long": 400, "longer": 450, "step": 1}
    threads = [threading.Thread(target=batcher.step, args=(name, compute, size)) for name, size in rows.items()]
    threads[0].start()
    assert began.wait(10)
    [thread.start() for thread in threads[1:]]
    with batcher._condition:
        assert batcher._condition.wait_for(lambda: len(batcher._pending) == 3, 10)
    gate.set()
    [thread.join(10) for thread in threads]
    assert batches == [["first"], ["long", "step"], ["longer"]]


def test_a_prompt_that_fits_beside_no_step_waits_for_one_of_them_only(monkeypatch):
    """A prompt of as many rows as a forward may have, while a text goes on."""
    monkeypatch.setattr("llmdemo.decoding.step_batcher._WAIT_SECONDS", 30.0)
    batcher, order, began, gate = (
        StepBatcher(ThreadBudget(torch.device("cpu"))),
        [],
        threading.Event(),
        threading.Event(),
    )

    def compute(names):
        order.extend(names)
        began.set()
        assert gate.wait(10)
        return names

    def text():
        for number in range(6):
            batcher.step(f"step {number}", compute)
        batcher.leave()

    threads = [threading.Thread(target=text), threading.Thread(target=batcher.step, args=("prompt", compute, 512))]
    threads[0].start()
    assert began.wait(10)
    threads[1].start()
    with batcher._condition:
        assert batcher._condition.wait_for(lambda: len(batcher._pending) == 1, 10)
    monkeypatch.setattr("llmdemo.decoding.step_batcher._WAIT_SECONDS", 0.2)
    gate.set()
    [thread.join(10) for thread in threads]
    assert "prompt" in order[:3]


def test_nobody_waits_for_a_thread_that_has_left(monkeypatch):
    monkeypatch.setattr("llmdemo.decoding.step_batcher._WAIT_SECONDS", 30.0)
    batcher = StepBatcher(ThreadBudget(torch.device("cpu")))
    assert batcher.is_alone()
    other = threading.Thread(target=lambda: (batcher.step(1, list), batcher.leave()))
    other.start()
    other.join(10)
    began = time.monotonic()
    assert batcher.step(2, list) == 2 and time.monotonic() - began < 20 and batcher.is_alone()
    stays = threading.Thread(target=lambda: batcher.step(3, list))
    monkeypatch.setattr("llmdemo.decoding.step_batcher._WAIT_SECONDS", 0.01)
    stays.start()
    stays.join(10)
    assert not batcher.is_alone()
