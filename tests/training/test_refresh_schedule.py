"""When subspaces are refreshed: fixed gaps as galore_torch's, and gaps of each matrix's own."""

import pytest
import torch

from llmdemo.training import build_optimizer
from llmdemo.training.refresh_schedule import FIRST_GAP, RefreshSchedule


class _Slot:
    def __init__(self, name: str):
        self.name, self.due, self.weight = name, False, torch.zeros(4, 4)
        self.subspace = self
        self.ready, self.rank = False, 2


def refreshes(config, overlaps, steps: int, in_rounds=False, names=("a", "b")) -> dict[str, list[int]]:
    """The steps at which each matrix is refreshed, where each of its refreshes finds `overlaps[name]`."""
    slots = [_Slot(name) for name in names]
    schedule, found = RefreshSchedule(slots, config), {name: [] for name in names}
    if in_rounds:
        schedule.in_rounds()
    for step in range(steps):
        schedule.mark(step)
        for slot in slots:
            if slot.due:
                schedule.refreshed(slot, step, overlaps[slot.name] if slot.ready else None)
                found[slot.name].append(step)
                slot.ready = True
    return found


def gaps(steps: list[int]) -> list[int]:
    return [b - a for a, b in zip(steps, steps[1:], strict=False)]


def test_a_subspace_that_stays_alike_is_refreshed_ever_less_often_and_one_that_turns_is_not(tools):
    config = tools.make_config(adaptive_gap=True, update_proj_gap=40)
    found = refreshes(config, {"a": 0.9, "b": 0.1}, 200)
    assert gaps(found["a"])[1:] == [20, 40, 40, 40, 40]
    assert set(gaps(found["b"])[1:]) == {FIRST_GAP}


def test_the_second_refreshes_are_spread_over_a_gap(tools):
    names = tuple(map(str, range(4 * FIRST_GAP)))
    found = refreshes(tools.make_config(adaptive_gap=True), dict.fromkeys(names, 0.0), 60, names=names)
    later = [step for steps in found.values() for step in steps if step >= 20]
    assert max(later.count(step) for step in later) <= len(names) / 4


def test_rounds_gather_what_is_due_within_some_steps_and_no_gap_grows(tools):
    names = tuple(map(str, range(20)))
    config = tools.make_config(adaptive_gap=True, update_proj_gap=80)
    found = refreshes(config, dict.fromkeys(names, 0.9), 400, in_rounds=True, names=names)
    late = sorted({step for steps in found.values() for step in steps if step > 200})
    assert all(step % 10 == 0 for step in late)
    assert max(gap for steps in found.values() for gap in gaps(steps)) <= 80


def test_a_fixed_gap_refreshes_each_matrix_that_often(tools):
    found = refreshes(tools.make_config(update_proj_gap=7), {"a": 0.9, "b": 0.1}, 60)
    assert set(gaps(found["a"])[1:]) == set(gaps(found["b"])[1:]) == {7}


def test_a_run_that_is_resumed_refreshes_at_the_same_steps_to_the_bit(llama64, tools):
    config, batches = tools.make_config(adaptive_gap=True, update_proj_gap=40), tools.token_batches(26)
    whole = llama64()
    tools.train(whole, config, batches)
    first = llama64()
    tensors, numbers = tools.train(first, config, batches[:13]).named_state()
    assert any(gap > 0 for gap, _ in numbers["gaps"].values())
    second = llama64()
    second.load_state_dict(first.state_dict())
    optimizer = build_optimizer(second, config)
    optimizer.load_state({key: value.clone() for key, value in tensors.items()}, numbers)
    for ids in batches[13:]:
        tools.backward(second, ids)
        optimizer.step()
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kept", [{}, {"gaps": {}}])
def test_a_checkpoint_from_before_there_were_gaps_is_taken(llama64, tools, kept):
    config = tools.make_config()
    optimizer = tools.train(llama64(), config, tools.token_batches(2))
    tensors, numbers = optimizer.named_state()
    numbers.pop("gaps")
    optimizer.load_state(tensors, numbers | kept)
    assert optimizer.steps == 2
