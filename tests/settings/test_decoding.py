import math
from pathlib import Path

import pytest

from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings
from llmdemo.settings import Settings

BAD = [
    ("temperature", math.nan),
    ("temperature", math.inf),
    ("temperature", -1),
    ("temperature", "0.7"),
    ("temperature", 10**400),
    ("top_p", 0),
    ("top_p", 1.01),
    ("top_p", math.nan),
    ("top_k", 0),
    ("top_k", 2.5),
    ("top_k", True),
    ("min_p", 0),
    ("num_beams", 0),
    ("num_beams", 1000),
    ("num_beams", 10**400),
    ("max_new_tokens", 0),
    ("max_new_tokens", 10_000),
    ("max_new_tokens", math.nan),
    ("length_penalty", math.nan),
    ("length_penalty", [1]),
    ("early_stopping", 1),
    ("early_stopping", "always"),
    ("seed", -1),
    ("seed", 2**63),
    ("precision", "fp8"),
    ("precision", {}),
    ("typical_p", 0),
    ("typical_p", 1e9),
    ("epsilon_cutoff", 0),
    ("epsilon_cutoff", 1),
    ("eta_cutoff", -0.1),
    ("eta_cutoff", 1e9),
    ("top_n_sigma", 0),
    ("top_n_sigma", 1e9),
    ("top_n_sigma", math.nan),
    ("xtc_threshold", 0),
    ("xtc_threshold", 0.6),
    ("xtc_probability", -0.1),
    ("xtc_probability", 2),
    ("num_return_sequences", 0),
    ("num_return_sequences", 10_000),
    ("num_return_sequences", 1.5),
    ("lanes", [{"strategy": "best_of_n", "num_return_sequences": 10_000}]),
    ("lanes", ["best_of_n", "mbr", "self_consistency", {"strategy": "best_of_n", "name": "b"}, "greedy"]),
    ("lanes", [{"strategy": "self_consistency", "vote_on": "regex"}]),
    ("lanes", [{"strategy": "self_consistency", "vote_on": "regex", "vote_regex": "("}]),
    ("lanes", [{"strategy": "self_consistency", "vote_on": "regex", "vote_regex": "(?=a)b"}]),
    ("vote_on", "luck"),
    ("vote_regex", "x" * 301),
    ("stop", "###"),
    ("stop", [""]),
    ("stop", ["x" * 201]),
    ("stop", ["x"] * 17),
    ("stop", [3]),
    ("mirostat_tau", 0),
    ("mirostat_tau", 1e9),
    ("mirostat_eta", 0),
    ("mirostat_eta", "fast"),
    ("lanes", [{"strategy": "mirostat", "mirostat_tau": -1}]),
    ("lanes", [{"strategy": "epsilon", "epsilon_cutoff": 3}]),
    ("repetition_penalty", 0),
    ("repetition_penalty", 1e9),
    ("repetition_penalty", -1.2),
    ("repetition_penalty", math.nan),
    ("no_repeat_ngram_size", -1),
    ("no_repeat_ngram_size", 1e9),
    ("no_repeat_ngram_size", 2.5),
    ("frequency_penalty", 1e9),
    ("frequency_penalty", -2.1),
    ("presence_penalty", math.inf),
    ("presence_penalty", "0.5"),
    ("min_new_tokens", -1),
    ("min_new_tokens", 65),
    ("min_new_tokens", 1e9),
    ("bad_words", "yarn"),
    ("bad_words", [""]),
    ("bad_words", ["  "]),
    ("bad_words", [3]),
    ("bad_words", ["x" * 201]),
    ("bad_words", ["x"] * 301),
    ("logit_bias", ["yarn"]),
    ("logit_bias", {"yarn": 101}),
    ("logit_bias", {"yarn": math.nan}),
    ("logit_bias", {"yarn": "much"}),
    ("logit_bias", {"": 3}),
    ("logit_bias", {str(i): 1 for i in range(301)}),
    ("resolved", {"biases": []}),
    ("lanes", [{"strategy": "greedy", "repetition_penalty": 0}]),
    ("lanes", [{"strategy": "beam", "min_new_tokens": 65}]),
    ("lanes", []),
    ("lanes", "greedy"),
    ("lanes", ["lookahead"]),
    ("lanes", [["greedy"]]),
    ("lanes", [{"strategy": []}]),
    ("lanes", [{"strategy": "top_p", "name": ""}]),
    ("lanes", [{"strategy": "top_p", "name": "x" * 1000}]),
    ("lanes", [{"strategy": "top_p", "shell": 1}]),
    ("lanes", [{"strategy": "top_p", "top_p": math.nan}]),
    ("lanes", ["greedy", "greedy"]),
    ("lanes", [{"strategy": "sample", "name": str(i)} for i in range(33)]),
    ("lanes", [{"strategy": "sample", "name": str(i)} for i in range(100_000)]),
]


@pytest.mark.parametrize(("key", "value"), BAD, ids=[f"{key}-{str(value)[:20]}" for key, value in BAD])
def test_a_bad_value_is_named_with_what_is_valid(key, value):
    with pytest.raises(UserError) as caught:
        DecodeSettings.from_dict({key: value})
    assert caught.value.hint
    assert len(str(caught.value)) < 750  # an unknown key is answered with all that there are


def test_an_unknown_setting_is_named_with_the_valid_ones():
    with pytest.raises(UserError, match="'topp'.*top_p"):
        DecodeSettings.from_dict({"topp": 0.9})


def test_settings_that_are_no_object_are_refused():
    with pytest.raises(UserError, match="list"):
        DecodeSettings.from_dict([1])


def test_nothing_given_means_the_four_lanes_with_defaults():
    settings = DecodeSettings.from_dict({})
    assert [lane.name for lane in settings.lanes] == ["greedy", "top_k", "top_p", "beam"]
    assert settings.rows == 7


def test_each_lane_has_only_its_own_filter_on():
    lanes = {lane.name: lane for lane in DecodeSettings.from_dict({"temperature": 0.5}).lanes}
    assert (lanes["top_p"].top_k, lanes["top_p"].top_p, lanes["top_p"].temperature) == (0, 0.9, 0.5)
    assert (lanes["top_k"].top_k, lanes["top_k"].top_p) == (50, 1.0)


def test_a_lane_may_differ_from_the_common_values():
    lanes = DecodeSettings.from_dict(
        {"lanes": [{"strategy": "top_p", "name": "narrow", "top_p": 0.5, "top_k": 20}, "top_p"]}
    ).lanes
    assert [(lane.name, lane.top_p, lane.top_k) for lane in lanes] == [("narrow", 0.5, 20), ("top_p", 0.9, 0)]


def test_settings_survive_a_round_trip_through_their_dictionary():
    values = {
        "seed": 7,
        "num_beams": 3.0,
        "early_stopping": "never",
        "lanes": ["sample", "beam", {"strategy": "min_p", "name": "m"}],
    }
    settings = DecodeSettings.from_dict(values)
    assert DecodeSettings.from_dict(settings.to_dict()) == settings


def test_penalties_are_every_lanes_and_a_lane_may_have_its_own():
    lanes = DecodeSettings.from_dict(
        {
            "repetition_penalty": 1.3,
            "lanes": ["greedy", {"strategy": "beam", "name": "b", "repetition_penalty": 1}, "top_k"],
        }
    ).lanes
    assert [lane.repetition_penalty for lane in lanes] == [1.3, 1.0, 1.3]
    assert [lane.penalised for lane in lanes] == [True, False, True]
    assert not any(lane.penalised for lane in DecodeSettings().lanes)


RARE = ["typical_p", "epsilon", "eta", "top_n_sigma", "xtc", "mirostat"]


def test_the_rarer_strategies_have_their_own_values_and_nobody_elses():
    settings = DecodeSettings.from_dict({"lanes": [*RARE, "top_p"], "typical_p": 0.4, "mirostat_tau": 3})
    lanes = {lane.name: lane.to_dict() for lane in settings.lanes}
    assert lanes["typical_p"]["typical_p"] == 0.4 and lanes["mirostat"]["mirostat_tau"] == 3
    assert lanes["xtc"]["xtc_threshold"] == 0.1 and lanes["xtc"]["xtc_probability"] == 0.5
    assert set(lanes["top_p"]) == {"name", "strategy", "temperature", "top_k", "top_p", "min_p"}
    assert (lanes["epsilon"]["epsilon_cutoff"], "eta_cutoff" in lanes["epsilon"]) == (0.001, False)


def test_the_rarer_strategies_survive_a_round_trip():
    lanes = [*RARE, {"strategy": "typical_p", "name": "off", "typical_p": 1}]
    lanes += [{"strategy": "sample", "name": "both", "typical_p": 0.8, "top_n_sigma": 2, "eta_cutoff": 0}]
    settings = DecodeSettings.from_dict({"lanes": lanes, "xtc_threshold": 0.2})
    assert DecodeSettings.from_dict(settings.to_dict()) == settings
    assert settings.lanes[-1].typical_p == 0.8 and settings.lanes[-1].eta_cutoff == 0
    assert settings.lanes[4].xtc_threshold == 0.2


def test_penalties_survive_a_round_trip_where_a_lane_has_switched_one_off():
    values = {
        "repetition_penalty": 1.3,
        "frequency_penalty": -0.5,
        "bad_words": ["yarn"],
        "logit_bias": {"purple": -3, 12: 4},
        "lanes": ["greedy", {"strategy": "beam", "name": "b", "repetition_penalty": 1, "frequency_penalty": 0}],
    }
    settings = DecodeSettings.from_dict(values)
    assert settings.logit_bias == {"purple": -3.0, "12": 4.0}
    assert DecodeSettings.from_dict(settings.to_dict()) == settings


def test_a_lane_tells_only_the_penalties_that_are_on():
    assert DecodeSettings.from_dict({"presence_penalty": 0.5, "lanes": ["greedy"]}).lanes[0].to_dict() == {
        "name": "greedy",
        "strategy": "greedy",
        "presence_penalty": 0.5,
    }


def test_the_app_may_lower_the_limits():
    limits = Settings(home=Path(), max_new_tokens=100, max_beams=2)
    with pytest.raises(UserError, match="from 1 to 100"):
        DecodeSettings.from_dict({"max_new_tokens": 101}, limits)
    with pytest.raises(UserError, match="from 1 to 2"):
        DecodeSettings.from_dict({"num_beams": 3}, limits)
    assert DecodeSettings.from_dict({"num_beams": 2, "max_new_tokens": 100}, limits).num_beams == 2


def refusal(values, limits) -> str:
    with pytest.raises(UserError) as caught:
        DecodeSettings.from_dict(values, limits)
    return caught.value.hint


def test_a_refusal_names_the_variable_that_rules_for_who_asks():
    app = Settings(home=Path(), max_beams=8, guest_beams=8, max_new_tokens=100, guest_new_tokens=200)
    assert "(LLMDEMO_MAX_BEAMS)" in refusal({"num_beams": 9}, app)
    assert "(LLMDEMO_GUEST_BEAMS)" in refusal({"num_beams": 9}, app.for_guests())
    assert "(LLMDEMO_MAX_NEW_TOKENS)" in refusal({"max_new_tokens": 101}, app.for_guests())
    assert "(LLMDEMO_GUEST_NEW_TOKENS)" in refusal({"max_new_tokens": 257}, Settings(home=Path()).for_guests())
    assert "(LLMDEMO_MAX_LANES)" in refusal({"lanes": ["greedy"] * 17}, app.for_guests())


def test_what_no_variable_can_change_names_none():
    wide = Settings(home=Path(), max_beams=100, max_lanes=100)
    assert "LLMDEMO" not in refusal({"num_beams": 33}, wide) + refusal({"lanes": ["greedy"] * 33}, wide)
    assert "LLMDEMO" not in refusal({"temperature": -1}, wide)


def test_lanes_may_share_their_draws_and_only_sampling_lanes_have_any():
    lanes = [{"strategy": kind, "name": f"{kind} 1", "draws": "same"} for kind in ("top_p", "top_k", "greedy", "beam")]
    settings = DecodeSettings.from_dict({"lanes": lanes})
    assert [lane.draws for lane in settings.lanes] == ["same", "same", "", ""]
    assert DecodeSettings.from_dict(settings.to_dict()) == settings
    with pytest.raises(UserError, match="draws of lane"):
        DecodeSettings.from_dict({"lanes": [{"strategy": "top_p", "draws": 7}]})


def test_a_bound_is_told_to_its_last_digit():
    with pytest.raises(UserError, match="from 0 to 9,223,372,036,854,775,807"):
        DecodeSettings.from_dict({"seed": 2**63})
    assert DecodeSettings.from_dict({"seed": 2**63 - 1}).seed == 2**63 - 1
