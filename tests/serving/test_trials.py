"""A model on trial: its share of requests, the same user the same version, promoted and brought back."""

import pytest

from llmdemo.core.errors import UserError
from llmdemo.serving import trials
from llmdemo.serving.registry import Served

SERVED = Served("mine", "run-old", {"strategy": "greedy"}, 1.0)


def test_a_share_of_the_requests_goes_to_the_model_on_trial():
    served = trials.begun(SERVED, "run-new", "share", 0.2)
    drawn = sum(trials.version_for(served, None).model_id == "run-new" for _ in range(4000))
    assert 640 < drawn < 960  # 800 ± 6 standard deviations
    users = [trials.version_for(served, f"user {n}").model_id for n in range(4000)]
    assert 640 < users.count("run-new") < 960
    assert users == [trials.version_for(served, f"user {n}").model_id for n in range(4000)]


def test_a_new_trial_draws_its_users_anew():
    first, second = (trials.begun(SERVED, model, "share", 0.5) for model in ("run-a", "run-b"))
    same = sum(
        (trials.version_for(first, str(n)) is first) == (trials.version_for(second, str(n)) is second)
        for n in range(1000)
    )
    assert 400 < same < 600


def test_a_shadow_answers_no_caller():
    served = trials.begun(SERVED, "run-new", "shadow", 0)
    assert {trials.version_for(served, str(n)).model_id for n in range(50)} == {"run-old"}
    assert trials.on_trial(served).model_id == "run-new"


def test_promoting_and_rolling_back_swap_the_two_and_ending_changes_nothing():
    served = trials.begun(SERVED, "run-new", "share", 0.5)
    assert trials.ended(served) == SERVED
    new = trials.promoted(served)
    assert (new.model_id, new.before, new.trial) == ("run-new", "run-old", None)
    old = trials.rolled_back(new)
    assert (old.model_id, old.before) == ("run-old", "run-new") and trials.rolled_back(old) == new


@pytest.mark.parametrize(
    "change, match",
    [
        (lambda: trials.begun(SERVED, "run-old", "share", 0.5), "already is this model"),
        (lambda: trials.begun(SERVED, "run-new", "both", 0.5), "mode"),
        (lambda: trials.begun(SERVED, "run-new", "share", 1.0), "share"),
        (lambda: trials.begun(SERVED, "run-new", "share", float("nan")), "share"),
        (lambda: trials.begun(SERVED, "run-new", "share", "half"), "share"),
        (lambda: trials.promoted(SERVED), "No model is on trial"),
        (lambda: trials.rolled_back(SERVED), "never another"),
    ],
)
def test_what_makes_no_sense_is_refused(change, match):
    with pytest.raises(UserError, match=match):
        change()
