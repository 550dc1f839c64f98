"""Arguments of the endpoints are checked by the functions' own type hints: what does not fit is refused by name."""

import inspect
from typing import get_args, get_type_hints

import gradio as gr
import pytest

from llmdemo.core.errors import UserError
from llmdemo.ui import api
from llmdemo.ui.endpoints import checked, of_endpoints

VALUES = {
    str: "text", int: 3, float: 0.5, bool: True, dict: {"a": 1}, list: [[1], None], list[str]: ["a"], list[int]: [1, 2],
    type(None): None,
}  # fmt: skip
"""A value of each kind that an argument may have."""
ALSO = {(float, int), (list, list[str]), (list, list[int])}
"""(kind of an argument, another kind whose value is one of the first too)."""


def parts_of(hint) -> set:
    return {hint} if hint in VALUES or not get_args(hint) else set(get_args(hint))


def wrong_for(hint) -> list:
    """A value of each kind that `hint` does not allow; null is another matter."""
    parts = parts_of(hint)
    fitting = {kind for kind in VALUES if kind in parts or any((part, kind) in ALSO for part in parts)}
    return [value for kind, value in VALUES.items() if kind not in fitting and value is not None]


@pytest.fixture(scope="module")
def endpoints(services) -> list:
    """Every endpoint as Gradio gets it."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gr, "api", lambda function, **_: found.append(function))
        api.add_endpoints(services)
    return found


def called(function, **arguments):
    """What the endpoint answers to JSON values in the order of its parameters, the last one where it streams."""
    given = [arguments.get(name) for name in inspect.signature(function).parameters]
    return list(function(*given))[-1] if inspect.isgeneratorfunction(function) else function(*given)


def test_every_endpoint_refuses_each_wrong_kind_of_value_and_names_the_argument(endpoints):
    asked = 0
    for function in endpoints:
        hints = {name: hint for name, hint in get_type_hints(function).items() if name != "return"}
        usual = {
            name: next((VALUES[part] for part in VALUES if part in parts_of(hint)), None)
            for name, hint in hints.items()
        }
        for name, hint in hints.items():
            if gr.FileData in parts_of(hint):
                continue
            for wrong in wrong_for(hint):
                asked += 1
                with pytest.raises(gr.Error) as caught:
                    called(function, **{**usual, name: wrong})
                said = str(caught.value.message)
                assert said.startswith(f"{name} is ") and " It must be " in said, (function.__name__, said)
    assert asked > 600


def test_a_number_of_another_kind_a_text_and_null_are_named_with_what_is_valid():
    @checked
    def asked(model_id: str, number: int = 1, places: list[int] | None = None, how: str | dict | None = None) -> dict:
        return {}

    for arguments, said in (
        ({"model_id": 5}, "model_id is 5. It must be text."),
        ({}, "model_id is null. It must be text."),
        ({"model_id": "m", "number": 2.5}, "number is 2.5. It must be a whole number."),
        ({"model_id": "m", "number": "2"}, "number is '2'. It must be a whole number."),
        ({"model_id": "m", "number": 10**19}, "number is 10000000000000000000. It must be a whole number."),
        ({"model_id": "m", "number": True}, "number is true. It must be a whole number."),
        ({"model_id": "m", "places": [1, "2"]}, "places is [1, '2']. It must be a list of whole numbers."),
        ({"model_id": "m", "how": [1]}, "how is [1]. It must be text or a JSON object."),
    ):
        with pytest.raises(UserError) as caught:
            asked(**arguments)
        assert str(caught.value) == said


def test_valid_values_reach_the_function_as_they_were_sent():
    @checked
    def taken(text: str, number: int, share: float, on: bool, settings: dict, several: list, ids: list[int]) -> dict:
        return locals()

    settings, several, ids = {"text": "5", "deep": [1.0]}, ["1", 1, None], [1]
    got = taken("5", 7, 1, False, settings, several, ids)
    assert got == {
        "text": "5", "number": 7, "share": 1, "on": False, "settings": settings, "several": several, "ids": ids
    }  # fmt: skip
    assert (
        got["settings"] is settings and got["several"] is several and got["on"] is False and type(got["share"]) is int
    )


def test_null_is_the_default_and_a_whole_float_a_whole_number():
    @checked
    def taken(name: str = "usual", number: int = 4, judge: dict | None = None) -> dict:
        return {"name": name, "number": number, "judge": judge}

    assert taken(None, None, None) == taken() == {"name": "usual", "number": 4, "judge": None}
    number = taken("a", 8.0)["number"]
    assert number == 8 and type(number) is int


def test_half_of_a_surrogate_pair_becomes_a_question_mark():
    @checked
    def taken(name: str, settings: dict) -> dict:
        return {"name": name, **settings}

    assert taken("a\ud83d", {"deep": ["b\ud83d"]}) == {"name": "a?", "deep": ["b?"]}


def test_a_page_is_refused_in_the_same_words():
    def rename(dataset_id: str, name: str) -> dict:
        return {"name": name}

    (page,) = of_endpoints([rename])
    assert page({"dataset_id": "data-1", "name": "new", "other": 1}) == {"name": "new"}
    with pytest.raises(UserError, match=r"name is \['x'\]\. It must be text"):
        page({"dataset_id": "data-1", "name": ["x"]})
