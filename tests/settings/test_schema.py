"""One field is one setting: what is declared beside it reaches the checks, the form, the documents and the search."""

from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Literal

import pytest
from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.experiments import space
from llmdemo.settings import schema, training
from llmdemo.settings.decoding import DecodeSettings
from llmdemo.settings.evaluation import Spec
from llmdemo.settings.schema import Limit, Setting, check, describe, documentation, fields_of
from llmdemo.settings.training import METHODS, TASKS, TrainConfig, reasons_without_effect
from llmdemo.ui import words


@dataclass(frozen=True)
class Example:
    rank: Annotated[int, Field(ge=1, le=1_000_000), Setting("steps", methods=("galore",), remedy="Use fewer.")] = 8
    """Rank of
    the subspace."""
    share: Annotated[float | None, Field(gt=0, le=1)] = None
    bits: Literal[32, 8] = 32
    stop: Literal[False, True, "never"] = False
    names: tuple[str, ...] = ()
    title: Annotated[str, Field(max_length=5)] = ""
    on: bool = True
    inner: "Example | None" = field(default=None)


GOOD = [
    ("rank", 3.0, 3),
    ("share", 1, 1.0),
    ("bits", 8.0, 8),
    ("stop", "never", "never"),
    ("names", ["a"], ("a",)),
    ("on", False, False),
]
BAD = [
    ("rank", 0, "rank is 0. It must be a whole number from 1 to 1,000,000. Use fewer."),
    ("rank", 2.5, "rank is 2.5."),
    ("rank", True, "rank is true."),
    ("rank", "3", "rank is '3'."),
    ("rank", 10**5000, "rank is a number too long to show."),
    ("share", 0, "share is 0. It must be a number above 0 and at most 1."),
    ("share", float("nan"), "share is nan."),
    ("share", float("inf"), "share is inf."),
    ("share", 10**400, "share is 1000"),
    ("bits", 4, "bits is 4. It must be one of: 32, 8."),
    ("bits", True, "bits is true."),
    ("stop", 1, "stop is 1. It must be one of: false, true, 'never'."),
    ("names", "ab", "names is 'ab'. It must be a list of texts."),
    ("names", [1], "names is [1]."),
    ("title", "too long", "title is 'too long'. It must be a text of at most 5 characters."),
    ("on", 1, "on is 1. It must be true or false."),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "clean"), GOOD)
def test_a_valid_value_becomes_the_fields_type(key, value, clean):
    found = check(Example, {key: value, "share": None} if key != "share" else {key: value}, "It")
    assert found == {key: clean} and type(found[key]) is type(clean)


@pytest.mark.parametrize(
    ("key", "value", "sentence"), BAD, ids=[f"{key}-{number}" for number, (key, _, _) in enumerate(BAD)]
)
def test_an_invalid_value_is_named_with_what_is_valid(key, value, sentence):
    with pytest.raises(UserError) as refused:
        check(Example, {key: value}, "It")
    assert str(refused.value).startswith(sentence)


def test_an_unknown_key_is_named_with_the_known_ones():
    with pytest.raises(UserError, match="It has no key 'rnk'.*rank, share, bits"):
        check(Example, {"rnk": 1}, "It")


def test_the_apps_lower_limit_is_told_with_its_variable():
    limits = {"rank": Limit(10, "LLMDEMO_MAX_RANK")}
    assert check(Example, {"rank": 10}, "It", limits=limits) == {"rank": 10}
    with pytest.raises(UserError, match=r"from 1 to 10 \(LLMDEMO_MAX_RANK\)"):
        check(Example, {"rank": 11}, "It", limits=limits)


def test_a_field_is_described_for_forms_and_documented_from_its_source():
    described = describe(Example)["rank"]
    assert (described["kind"], described["low"], described["high"], described["unit"]) == ("int", 1, 1e6, "steps")
    assert described["methods"] == ["galore"] and "inner" not in describe(Example)
    assert documentation(Example)["rank"] == "Rank of the subspace." and documentation(Example)["share"] == ""


@pytest.mark.parametrize("each", [TrainConfig, DecodeSettings, Spec])
def test_every_default_is_valid_and_every_setting_is_documented(each):
    for name, found in fields_of(each).items():
        if found.default is not None and name != "dataset_id":
            assert schema.check_one(found, found.default) == found.default, name
        assert documentation(each)[name], f"{each.__name__}.{name} has no text below it"


def test_the_document_of_a_schema_names_default_range_and_use():
    lines = schema.document(TrainConfig).splitlines()
    (rank,) = [line for line in lines if line.startswith("- rank ")]
    assert rank == (
        "- rank (a whole number from 1 to 16,384, default 128): Rank of GaLore's subspace or of LoRA's adapters."
    )
    assert len(lines) == len(fields_of(TrainConfig))


def test_every_setting_that_a_form_shows_has_its_words():
    missing = [
        key
        for name, each in describe(TrainConfig).items()
        if each["form"]
        for key in (f"f_{name}", f"h_{name}", *([f"unit_{each['unit']}"] if each["unit"] else []))
        if key not in words.texts()
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("galore_optimizer", "adafactor"),
        ("proj_type", "full"),
        ("refresh", "svd"),
        ("num_processes", 2),
        ("stagger", False),
    ],
)
def test_what_few_people_change_is_no_field_of_the_form_and_stays_in_the_api(name, value):
    assert not describe(TrainConfig)[name]["form"]
    assert getattr(TrainConfig.from_dict({"dataset_id": "d", name: value}), name) == value


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_only_settings_of_other_methods_and_tasks_have_no_effect(task, method):
    reasons = reasons_without_effect(task, method)
    assert ("rank" in reasons) == (method == "adamw") and ("beta" in reasons) == (task not in ("preference", "kto"))
    assert "learning_rate" not in reasons and "max_steps" not in reasons
    assert ("scale" in reasons) == (method == "adamw"), "LoRA's scale is alpha / rank"


def test_a_new_field_is_all_that_a_new_setting_takes(monkeypatch):
    """Adds a setting to the schema, and to nothing else: checks, form, warning, search and documents know it."""
    extended = make_dataclass(
        "Extended",
        [("warm_share", Annotated[float, Field(ge=0, le=1), Setting(methods=("galore",), form=True, searchable=True)], 0.5)],
        bases=(TrainConfig,),
        frozen=True,
    )  # fmt: skip
    monkeypatch.setattr(training, "TrainConfig", extended)
    assert extended.from_dict({"dataset_id": "d", "warm_share": 1}).warm_share == 1.0
    with pytest.raises(UserError, match="warm_share is 2. It must be a number from 0 to 1"):
        extended.from_dict({"dataset_id": "d", "warm_share": 2})
    assert describe(extended)["warm_share"]["form"] and fields_of(extended)["warm_share"].setting.searchable
    assert "warm_share" in reasons_without_effect("chat", "lora")
    assert set(space.METHODS_OF) == {name for name, each in describe(TrainConfig).items() if each["searchable"]}
