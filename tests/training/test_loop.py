"""What the loop says of the time that is left."""

from types import SimpleNamespace

import pytest

from llmdemo.training.loop import Loop


def left(step, every, way=200, last=200, steps=100):
    loop = SimpleNamespace(
        config=SimpleNamespace(max_steps=steps, eval_steps=every),
        progress=SimpleNamespace(step=step),
        objective=SimpleNamespace(judged=lambda **said: last if said["last"] else way),
        _seconds=[2.0, 9.0, 1.0],
        _eval_seconds=10.0,
    )
    return Loop._seconds_left(loop)


@pytest.mark.parametrize(
    ("step", "every", "expected"),
    [(0, 0, 200 + 10), (0, 50, 200 + 20), (50, 50, 100 + 10), (51, 25, 98 + 20), (99, 50, 2 + 10), (100, 50, 0)],
)
def test_the_steps_that_are_left_and_their_checks_are_counted(step, every, expected):
    assert left(step, every) == expected


def test_a_last_check_of_more_records_takes_as_much_longer():
    assert left(60, 50, way=200, last=1000) == 80 + 50
