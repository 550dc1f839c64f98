"""Models in memory: loaded once, the least recently used leaves first."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from llmdemo.arena.cache import ModelCache, fingerprint
from llmdemo.core.errors import UserError
from llmdemo.models.catalog import ModelEntry


def entry(name, size=40):
    return ModelEntry(id=name, title=name, kind="folder", path=None, bytes=size)


class Loader:
    """Makes linear layers of 40 bytes and counts how often."""

    def __init__(self):
        self.calls = []
        self.loading, self.most = 0, 0
        self.began = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, entry, dtype):
        self.calls.append((entry.id, dtype))
        self.loading += 1
        self.most = max(self.most, self.loading)
        self.began.set()
        assert self.gate.wait(10)
        self.loading -= 1
        return torch.nn.Linear(10, 1, bias=False), "tokenizer"


def test_two_visitors_at_once_load_a_model_once():
    load = Loader()
    load.gate.clear()
    cache = ModelCache(load, 1000)

    def visit(_):
        with cache.use(entry("a")) as loaded:
            return id(loaded.model)

    with ThreadPoolExecutor(4) as pool:
        visits = [pool.submit(visit, n) for n in range(4)]
        load.gate.set()
        assert len({visit.result(10) for visit in visits}) == 1
    assert load.calls == [("a", None)]


def test_each_precision_is_a_model_of_its_own():
    load = Loader()
    cache = ModelCache(load, 1000)
    for precision in ("auto", "fp32", "bf16", "fp32"):
        with cache.use(entry("a"), precision):
            pass
    assert [dtype for _, dtype in load.calls] == [None, torch.float32, torch.bfloat16]


def test_the_least_recently_used_model_makes_room():
    load = Loader()
    cache = ModelCache(load, 100)
    for name in ("a", "b", "a", "c"):
        with cache.use(entry(name)):
            pass
    assert [cache.holds(entry(name), "auto") for name in "abc"] == [True, False, True]


def test_what_is_served_leaves_after_all_others_but_leaves_where_there_is_no_other_way():
    cache = ModelCache(Loader(), 100, keep=lambda: {"a"})
    for name in ("a", "b", "c"):
        with cache.use(entry(name)):
            pass
    assert [cache.holds(entry(name), "auto") for name in "abc"] == [True, False, True]
    with cache.use(entry("d", 90)):
        assert not cache.holds(entry("a"), "auto")


def test_a_model_in_use_is_never_dropped():
    load = Loader()
    cache = ModelCache(load, 60)
    with cache.use(entry("a")):
        with cache.use(entry("b")):
            pass
        assert cache.holds(entry("a"), "auto")


def test_models_are_loaded_one_at_a_time_whatever_their_precision():
    load = Loader()
    load.gate.clear()
    cache = ModelCache(load, 1000)

    def visit(asked):
        with cache.use(entry(asked[0]), asked[1]):
            return True

    asked = [(name, precision) for name in "ab" for precision in ("auto", "fp32", "bf16")]
    with ThreadPoolExecutor(len(asked)) as pool:
        visits = [pool.submit(visit, one) for one in asked]
        assert load.began.wait(10)
        load.gate.set()
        assert all(visit.result(10) for visit in visits)
    assert len(load.calls) == 6 and load.most == 1


def test_who_will_not_wait_gets_nothing_while_another_model_is_being_loaded():
    load = Loader()
    cache = ModelCache(load, 1000)
    with cache.use(entry("there")):
        pass
    load.began.clear()
    load.gate.clear()

    def visit():
        with cache.use(entry("slow")):
            return True

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(visit)
        assert load.began.wait(10)
        for name in ("slow", "other"):
            with cache.use_at_once(entry(name)) as loaded:
                assert loaded is None
        with cache.use_at_once(entry("there")) as loaded, cache.use(entry("there")) as same:
            assert loaded is same is not None
        load.gate.set()
        assert slow.result(10)
    assert [name for name, _ in load.calls] == ["there", "slow"]


def test_without_making_room_nothing_leaves_and_the_budget_is_kept():
    load = Loader()
    cache = ModelCache(load, 100)
    for name in "abc":
        with cache.use_at_once(entry(name), make_room=False) as loaded:
            assert (loaded is None) == (name == "c")
    assert [name for name, _ in load.calls] == ["a", "b"]
    with cache.use_at_once(entry("c")) as loaded:
        assert loaded is not None
    assert [cache.holds(entry(name), "auto") for name in "abc"] == [False, True, True]


def test_a_model_counts_with_the_bytes_that_it_will_take_in_its_precision():
    load = Loader()
    cache = ModelCache(load, 100)
    small_file = replace(entry("a", size=60), parameters=30)
    with cache.use_at_once(small_file, "fp32", make_room=False) as loaded:
        assert loaded is None
    with cache.use_at_once(small_file, "bf16", make_room=False) as loaded:
        assert loaded is not None


def test_models_in_use_are_not_joined_by_more_than_memory_holds():
    load = Loader()
    cache = ModelCache(load, 60)
    with cache.use(entry("a")), cache.use(entry("b")):
        with pytest.raises(UserError, match="being used now") as caught, cache.use(entry("c")):
            pass
        assert "Wait" in caught.value.hint and len(load.calls) == 2
    with cache.use(entry("c")):
        pass
    with cache.use(entry("alone", size=4000)):  # whether one alone fits is for the machine to say
        pass


def test_a_model_that_was_replaced_under_its_id_is_loaded_anew(tmp_path):
    load = Loader()
    cache = ModelCache(load, 1000)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"old")
    here = replace(entry("a"), path=tmp_path)
    with cache.use(here):
        pass
    import os

    os.utime(weights, (1, 1))
    with cache.use(here):
        pass
    assert len(load.calls) == 2


def test_memory_that_is_full_is_said_in_a_sentence():
    def load(entry, dtype):
        raise MemoryError

    cache = ModelCache(load, 100)
    with pytest.raises(UserError, match="does not fit"), cache.use(entry("a")):
        pass
    with pytest.raises(UserError, match="does not fit"), cache.use(entry("a")):  # and nothing is stuck
        pass


def test_a_fingerprint_tells_other_weights_apart(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(200_000))
    first = fingerprint(tmp_path)
    assert first == fingerprint(tmp_path)
    changed = bytearray(200_000)
    changed[100_000] = 1
    weights.write_bytes(changed)
    assert fingerprint(tmp_path) != first


def test_a_slider_through_a_run_keeps_few_of_its_steps_and_drops_no_other_model():
    cache = ModelCache(Loader(), 10_000)
    steps = [replace(entry(f"run-1@{step}"), at_step=step) for step in range(6)]
    for each in [entry("finished"), *steps]:
        with cache.use(each):
            pass
    assert cache.holds(entry("finished"), "auto")
    assert [cache.holds(each, "auto") for each in steps] == [False, False, True, True, True, True]
    with cache.use(steps[2]), cache.use(steps[0]), cache.use(steps[1]):
        assert cache.holds(steps[2], "auto"), "a model in use stays"


def test_a_model_that_is_kept_elsewhere_counts_to_the_budget_and_goes_where_the_room_is_needed():
    dropped = []
    cache = ModelCache(Loader(), 100)
    with cache.use(entry("a")):
        pass
    with cache.room_beside("judge", 50, lambda: dropped.append("judge")):
        assert cache.holds(entry("a"), "auto"), "both fit"
    with cache.use(entry("b")):
        assert not cache.holds(entry("a"), "auto") and not dropped, "what nobody uses goes first"
        with cache.use(entry("c")):
            assert dropped == ["judge"]
    assert cache._total() == 80


def test_there_is_no_room_beside_models_in_use_that_fill_the_budget():
    cache = ModelCache(Loader(), 60)
    beside = cache.room_beside("judge", 40, lambda: None)
    with cache.use(entry("a")), cache.use(entry("b")), pytest.raises(UserError, match="judge"), beside:
        raise AssertionError("loaded beside 80 bytes of 60")
    with cache.room_beside("judge", 40, lambda: None):
        pass
    assert cache._total() == 40


def test_a_model_elsewhere_whose_load_fails_counts_for_nothing():
    cache = ModelCache(Loader(), 60)
    with pytest.raises(MemoryError), cache.room_beside("judge", 40, lambda: None):
        raise MemoryError
    assert cache._total() == 0
