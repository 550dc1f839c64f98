"""Which answers are drawn again (dynamic sampling of DAPO, arXiv 2503.14476): groups alike of which none passes, a bounded time."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from llmdemo.settings.training import DAPO_REDRAWS, TrainConfig
from llmdemo.training.objectives.rounds import Answer, Rounds

REWARDS = {
    1: [[1, 1, 1, 1]] * 9,  # always right: nothing to compare with, and nothing to look for
    2: [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]],  # right once, the third time
    3: [[0, 1, 1, 0]],
    4: [[0, 0, 0, 0]] * 9,
}
"""By prompt: the rewards of its four answers at each attempt."""


@pytest.fixture
def drawn():
    """drawn(**settings) → (the round, [(attempt, its prompts)])."""

    def draw(**settings):
        config = TrainConfig.from_dict({"dataset_id": "d", "task": "grpo", "rollouts": 4, **settings}).resolved()
        rounds, asked = object.__new__(Rounds), []

        def drawn_(pairs, attempt=0):
            asked.append((attempt, [item for _, item in pairs]))
            return {item: [Answer([7], reward) for reward in REWARDS[item][attempt]] for _, item in pairs}

        rounds._place, rounds._drawn = SimpleNamespace(config=config), drawn_
        rounds._compute = rounds._count = lambda made: None
        rounds._at_once = lambda pairs: 128
        return rounds.draw({5: np.array([1, 2]), 6: np.array([3, 4])}), asked

    return draw


def test_groups_that_are_all_wrong_are_drawn_again_until_they_differ_or_the_bound(drawn):
    made, asked = drawn(policy_loss="dapo", redraws=3)
    assert asked == [(0, [1, 2, 3, 4]), (1, [2, 4]), (2, [2, 4]), (3, [4])] and made.again == 2
    assert [answer.reward for answer in made.answers[2]] == [0, 1, 0, 0]
    counts = {item: {answer.counts for answer in answers} for item, answers in made.answers.items()}
    assert counts == {1: {False}, 2: {True}, 3: {True}, 4: {False}}


def test_rejection_draws_again_where_nothing_passes_and_keeps_what_all_passes(drawn):
    made, asked = drawn(policy_loss="rejection", redraws=1)
    assert asked == [(0, [1, 2, 3, 4]), (1, [2, 4])]
    assert all(answer.counts for answer in made.answers[1])


def test_nothing_is_drawn_again_unless_it_is_asked_for_and_dapo_asks_for_it(drawn):
    made, asked = drawn(policy_loss="grpo")
    assert asked == [(0, [1, 2, 3, 4])] and all(answer.counts for each in made.answers.values() for answer in each)
    assert len(drawn(policy_loss="dapo")[1]) == 1 + DAPO_REDRAWS == 3


def test_further_attempts_have_seeds_of_their_own(monkeypatch):
    from llmdemo.training.objectives import rounds as module

    seen = []
    monkeypatch.setattr(module, "draw", lambda place, prompts, copies, most, seeds, *_: seen.append(seeds) or [[7]] * 4)
    rounds = object.__new__(Rounds)
    config = TrainConfig.from_dict({"dataset_id": "d", "task": "grpo", "rollouts": 4, "seed": 3}).resolved()
    rounds._place = SimpleNamespace(config=config)
    rounds._data = SimpleNamespace(train=SimpleNamespace(row=lambda item: [np.array([1])]))
    rounds._right = {9: ["r"]}
    rounds.most, rounds.text = lambda n: 8, lambda ids: ""
    rounds.rewards, rounds._rewarded = lambda *_: [0.0] * 4, lambda *_: None
    for attempt in (0, 1):
        rounds._drawn([(5, 9)], attempt)
    assert seen[0] == [[3, 5, 9, n] for n in range(4)] and seen[1] == [[3, 5, 9, n] for n in range(4, 8)]


@pytest.mark.parametrize(
    ("layers", "width", "gigabytes", "together"), [(30, 576, 140, 512), (32, 4096, 140, 128), (30, 576, 16, 128)]
)
def test_a_gpu_draws_many_answers_at_once_as_far_as_their_keys_and_values_are_a_small_part_of_its_memory(
    monkeypatch, layers, width, gigabytes, together
):
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=gigabytes * 10**9)
    )
    rounds, shape = object.__new__(Rounds), SimpleNamespace(num_hidden_layers=layers, hidden_size=width)
    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: shape))
    rounds._place = SimpleNamespace(model=model, device=torch.device("cuda"))
    rounds._data, rounds.most = (
        SimpleNamespace(train=SimpleNamespace(row=lambda item: [range(60 + item)])),
        lambda n: 64,
    )
    assert rounds._at_once([(5, 1), (5, 20)]) == together
    rounds._place.device = torch.device("cpu")
    assert rounds._at_once([(5, 1), (5, 20)]) == 128
