"""So many times a minute."""

from llmdemo.access import rate_limits
from llmdemo.access.rate_limits import Rates


def test_who_asks_too_often_is_told_how_long_to_wait():
    now = [0.0]
    asked = Rates(2, clock=lambda: now[0])
    assert asked.wait("ann") == asked.wait("ann") == 0
    now[0] = 20
    assert asked.wait("ann") == 40
    assert asked.wait("bob") == 0
    now[0] = 60
    assert asked.wait("ann") == 0


def test_being_refused_does_not_count():
    now = [0.0]
    asked = Rates(1, clock=lambda: now[0])
    asked.wait("ann")
    for second in range(1, 60):
        now[0] = second
        assert asked.wait("ann") > 0
    now[0] = 60
    assert asked.wait("ann") == 0


def test_a_flood_of_names_takes_no_more_and_more_memory(monkeypatch):
    monkeypatch.setattr(rate_limits, "_MOST_KNOWN", 10)
    asked = Rates(1)
    for number in range(100):
        asked.wait(str(number))
    assert len(asked._times) == 10


def test_a_limit_of_nothing_lets_nobody_in():
    assert Rates(0).wait("ann") > 0


def test_what_is_forgiven_does_not_count():
    asked = Rates(1)
    assert asked.wait("ann") == 0
    asked.forgive("ann")
    asked.forgive("nobody")
    assert asked.wait("ann") == 0 and asked.wait("ann") > 0
