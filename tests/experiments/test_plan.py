"""What a race and a search make of one base config."""

import pytest

from llmdemo.core.errors import UserError
from llmdemo.experiments import plan

BASE = {"dataset_id": "data-x", "method": "galore", "rank": 64, "learning_rate": 1e-3, "batch_size": 4, "seed": 3}


def test_racers_share_the_base_and_each_method_has_its_own_defaults():
    made = plan.race(BASE, {"own": {"lora": {"rank": 4}}})
    galore, adamw, lora = [member.values for member in made.trials]
    assert galore == BASE
    assert adamw == {"dataset_id": "data-x", "method": "adamw", "batch_size": 4, "seed": 3}
    assert lora == {"dataset_id": "data-x", "method": "lora", "batch_size": 4, "seed": 3, "rank": 4}
    assert [member.label for member in made.trials] == ["GaLore", "AdamW", "LoRA"]


RACES = {
    "one method": ({"methods": ["galore"]}, "1 method was given"),
    "a method twice": ({"methods": ["galore", "galore"]}, "1 method was given"),
    "an unknown method": ({"methods": ["galore", "sgd"]}, "sgd"),
    "methods as text": ({"methods": "galore"}, "galore"),
    "settings of who does not race": ({"methods": ["galore", "lora"], "own": {"adamw": {}}}, "adamw"),
    "another seed for one": ({"own": {"lora": {"seed": 1}}}, "'seed' cannot differ"),
    "an unknown key": ({"speed": 1}, "no 'speed'"),
    "no object": ([1], "not an object"),
}


@pytest.mark.parametrize("case", RACES)
def test_a_wrong_race_is_a_sentence(case):
    asked, said = RACES[case]
    with pytest.raises(UserError, match=said):
        plan.race(BASE, asked)


def test_a_search_names_its_runs_by_what_differs():
    made = plan.search(BASE, {"strategy": "grid", "space": {"learning_rate": [1e-4, 1e-3], "rank": [8]}}, 84)
    assert [member.label for member in made.trials] == ["lr 0.0001, rank 8", "lr 0.001, rank 8"]
    assert made.trials[0].values == {**BASE, "learning_rate": 1e-4, "rank": 8}
    assert made.rungs == [] and made.keep == "best"


def test_the_first_round_of_a_halving_is_short():
    space = {"learning_rate": {"low": 1e-5, "high": 1e-2}}
    made = plan.search(BASE, {"strategy": "halving", "space": space, "runs": 9, "seed": 1}, 90)
    assert made.rungs == [(9, 10), (3, 30), (1, 90)]
    assert {member.values["max_steps"] for member in made.trials} == {10}
    assert made.trials[0].label.endswith("(round 1)")


SEARCHES = {
    "no space": ({}, "nothing to vary"),
    "no runs": ({"space": {"rank": [8, 16]}, "runs": 0}, "runs is 0"),
    "half a run": ({"space": {"rank": [8, 16]}, "runs": 2.5}, "whole number"),
    "more runs than any search": ({"space": {"rank": [8, 16]}, "runs": 1000}, "from 2 to 64"),
    "an unknown strategy": ({"strategy": "luck"}, "luck"),
    "a grid of one": ({"strategy": "grid", "space": {"rank": [8]}}, "one point"),
    "keep nothing": ({"keep": "none", "space": {"rank": [8]}}, "best or all"),
    "eta of one": (
        {"strategy": "halving", "space": {"learning_rate": {"low": 1e-4, "high": 1e-2}}, "eta": 1},
        "eta is 1",
    ),
    "an unknown key": ({"space": {"rank": [8, 16]}, "trials": 3}, "no 'trials'"),
}


@pytest.mark.parametrize("case", SEARCHES)
def test_a_wrong_search_is_a_sentence(case):
    asked, said = SEARCHES[case]
    with pytest.raises(UserError, match=said):
        plan.search(BASE, asked, 84)
