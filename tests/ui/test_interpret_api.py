"""How much of the app guests can take with the lens and attribution of the page's cards."""

from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from llmdemo.access.people import Visitor
from llmdemo.core.errors import UserError
from llmdemo.ui import authentication, interpret_api


def test_guests_who_wait_for_a_model_leave_threads_for_all_else(monkeypatch):
    """Each call waits up to a minute, in one of the 40 threads that answer every call of the page."""
    going = ExitStack()

    def ask(visitor):
        """A call of the card that goes on until the stack is closed."""
        monkeypatch.setattr(authentication, "current", lambda: visitor)
        lens, attribute = interpret_api.for_the_card(SimpleNamespace())
        begun = []
        inside = SimpleNamespace(lens=lambda *_, **__: begun.append(1), attribute=lambda *_: begun.append(1))
        monkeypatch.setattr(interpret_api, "_inside", lambda *_: inside)
        for call in (lens, attribute):
            call({"model_id": "starter"})
        going.enter_context(interpret_api.place_for("starter"))
        return len(begun)

    one, owner = Visitor("guest", "one"), Visitor("owner", "")
    with going:
        assert [ask(one) for _ in range(4)] == [2] * 4
        with pytest.raises(UserError, match="Others are computing with starter"):
            ask(one)
        assert [ask(Visitor("guest", f"guest {n}")) for n in range(12)] == [2] * 12
        with pytest.raises(UserError, match="Try again in a minute"):
            ask(Visitor("guest", "another"))
        assert ask(owner) == 2
    assert ask(one) == 2 and going.close() is None
    assert not interpret_api._calls
