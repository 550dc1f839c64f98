import threading

from llmdemo.arena.gate import Gate


def shares() -> bool:
    return True


def enters(gate, done, **how):
    """A thread that goes in, and sets `done` then."""
    thread = threading.Thread(target=lambda: gate.enter(**how) and done.set())
    thread.start()
    return thread


def waits(gate, count, limit=5.0):
    """Until `count` wait before `gate`."""
    end = threading.Event()
    for _ in range(int(limit / 0.005)):
        if len(gate._waiting) == count:
            return True
        end.wait(0.005)
    return False


def test_companions_go_in_together_and_one_who_is_alone_waits_for_all_of_them():
    gate, inside = Gate(), threading.Event()
    assert gate.enter(shares) and gate.enter(shares)
    thread = enters(gate, inside)
    assert waits(gate, 1) and not inside.is_set()
    gate.leave()
    assert waits(gate, 1) and not inside.is_set()
    gate.leave()
    thread.join(5)
    assert inside.is_set()


def test_who_comes_later_does_not_pass_one_who_waits_to_be_alone():
    gate, alone, later = Gate(), threading.Event(), threading.Event()
    gate.enter(shares)
    first = enters(gate, alone)
    assert waits(gate, 1)
    second = enters(gate, later, shares=shares)
    assert waits(gate, 2) and gate.would_wait(shares=True)
    gate.leave()
    first.join(5)
    assert alone.is_set() and waits(gate, 1) and not later.is_set()
    gate.leave()
    second.join(5)
    assert later.is_set()


def test_whether_it_shares_is_asked_when_its_turn_has_come():
    gate, ready, inside = Gate(), threading.Event(), threading.Event()
    gate.enter()
    thread = enters(gate, inside, shares=ready.is_set)
    assert waits(gate, 1)
    ready.set()  # as when the one inside has made the weights ready
    gate.leave()
    thread.join(5)
    assert inside.is_set() and not gate.would_wait(shares=True)


def test_waiting_ends_when_it_is_told_to_and_holds_up_nobody():
    gate = Gate()
    assert gate.enter()
    assert gate.enter(should_stop=lambda: True) is False
    assert not gate.try_enter()
    gate.leave()
    assert gate.try_enter()


def test_a_with_block_is_alone():
    gate = Gate()
    with gate:
        assert gate.would_wait(shares=True)
    assert not gate.would_wait(shares=False)
