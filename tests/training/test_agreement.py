"""Wishes that travel with the steps' figures: each is heard once."""

from collections import deque

import torch

from llmdemo.training.agreement import SAVE, STOP, Agreement


def test_a_wish_to_save_is_heard_once_where_the_host_runs_two_steps_ahead():
    agreement, under_way, saved = Agreement(2, torch.device("cpu"), ahead=True), deque(), []

    def settle(most: int) -> None:
        while len(under_way) > most:
            agreement.hear(under_way.popleft())

    for step in range(20):
        under_way.append({kind: value.item() for kind, value in agreement.figures(torch.zeros(())).items()})
        settle(2)
        assert not agreement.between(STOP, False)
        if agreement.between(SAVE, step >= 5 and not saved):
            settle(0)
            agreement.saved()
            saved.append(step)
    assert saved == [8]
