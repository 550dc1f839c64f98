"""When subspaces are refreshed: every matrix at its gap, never many at once."""

import torch

from llmdemo.core.languages import texts
from llmdemo.settings.training import TrainConfig
from llmdemo.training.refresh_schedule import FIRST_SHARE, ROUND_STEPS, RefreshSchedule
from llmdemo.training.schedule import learning_rate


class _Slot:
    def __init__(self):
        self.due, self.weight = False, torch.zeros(4, 4)
        self.subspace = self
        self.ready, self.rank = False, 2


def refreshes(config, steps: int, count: int, in_rounds=False) -> list[list[int]]:
    """The steps at which each of `count` matrices is refreshed."""
    slots = [_Slot() for _ in range(count)]
    schedule, found = RefreshSchedule(slots, config), [[] for _ in slots]
    if in_rounds:
        schedule.in_rounds()
    for step in range(steps):
        schedule.mark(step)
        for slot, at in zip(slots, found, strict=True):
            if slot.due:
                at.append(step)
                slot.ready = True
    return found


def gaps(steps: list[int]) -> list[int]:
    return [b - a for a, b in zip(steps, steps[1:], strict=False)]


def test_each_matrix_is_refreshed_once_a_gap_and_its_turn_is_its_own(tools):
    found = refreshes(tools.make_config(update_proj_gap=7), 60, 7)
    assert all(set(gaps(steps)[1:]) == {7} for steps in found)
    assert len({steps[-1] % 7 for steps in found}) == 7


def test_the_page_says_that_matrices_take_turns_as_a_default_run_refreshes_some_at_every_step(tools):
    found = refreshes(tools.make_config(update_proj_gap=TrainConfig.update_proj_gap), 84, 210)
    assert {step for steps in found for step in steps} == set(range(84))
    assert "at every step" in texts()["h_update_proj_gap"] and "some matrices" in texts()["plot_refresh"]


def test_the_page_says_how_long_a_short_runs_warm_up_is(tools):
    config = tools.make_config(max_steps=6, warmup_steps=10, learning_rate=1.0, schedule="constant")
    assert [learning_rate(config, step) for step in range(4)] == [1 / 3, 2 / 3, 1, 1]
    assert "half of the run" in texts()["h_warmup_steps"]


def test_rounds_gather_what_is_due_within_some_steps_and_keep_the_gap(tools):
    found = refreshes(tools.make_config(update_proj_gap=80), 400, 20, in_rounds=True)
    late = [step for steps in found for step in steps if step > 100]
    assert all(step % ROUND_STEPS == 0 for step in late)
    assert max(late.count(step) for step in late) <= FIRST_SHARE * 20
    assert all(set(gaps(steps)[1:]) == {80} for steps in found)


def test_unstaggered_all_are_refreshed_in_the_same_step_as_galore_torch_does(tools):
    found = refreshes(tools.make_config(update_proj_gap=7, stagger=False), 22, 5)
    assert found == [[0, 7, 14, 21]] * 5
