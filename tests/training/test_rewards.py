"""Rewards: how much an answer gets, and of which records nothing can be told."""

import pytest

from llmdemo.training import TrainConfig
from llmdemo.training.rewards import check_of, learned, reward_of

RIGHT = '{"who":"Ann","when":null}'


def made(**changes):
    return reward_of(TrainConfig.from_dict({"dataset_id": "d", "task": "grpo", **changes}))


def test_fields_pay_for_each_right_value_and_exact_for_all_of_them():
    fields, exact = made(reward="fields"), made(reward="exact")
    for answer, share in ((RIGHT, 1), ('{"who":"Ann","when":"noon"}', 0.5), ("Ann at noon", 0)):
        assert fields(answer, [RIGHT], 9, 0.0) == share and exact(answer, [RIGHT], 9, 0.0) == (share == 1)


def test_the_closest_of_several_right_answers_counts_and_what_is_no_object_is_passed_over():
    reward = made(reward="fields")
    assert reward('{"who":"Bo"}', [RIGHT, "Bo", '{"who":"Bo","at":1}'], 9, 0.0) == 0.5
    assert reward(RIGHT, ["Ann, at noon"], 9, 0.0) is None


def test_a_mixture_is_the_weighted_mean_and_is_not_told_where_a_part_is_not():
    reward = made(reward="fields", second_reward="exact", second_share=0.25)
    assert reward('{"who":"Ann","when":1}', [RIGHT], 9, 0.0) == pytest.approx(0.75 * 0.5)
    assert reward(RIGHT, [RIGHT], 9, 0.0) == 1
    assert reward(RIGHT, ["Ann"], 9, 0.0) is None


def test_what_is_held_out_is_checked_whole_beside_a_reward_by_fields():
    config = TrainConfig.from_dict({"dataset_id": "d", "task": "grpo", "reward": "fields", "held_out_check": "exact"})
    check = check_of(config)
    assert check('{"who":"Ann","when":1}', [RIGHT], 9, 0.0) == 0 and check(RIGHT, [RIGHT], 9, 0.0) == 1


def test_rejection_learns_each_text_that_passes_once_and_without_the_blank_lines_that_a_checker_passes_over():
    texts, lengths = ["no", "yes\n\n", "yes", "yes", " yes", "Yes"], [1, 4, 2, 2, 3, 2]
    assert learned(texts, lengths, [0, 1, 1, 1, 1, 1], 1.0) == [False, False, True, False, False, True]
    assert learned(texts, lengths, [0.4, 0.5, 0.4, 0.4, 0.4, 0.4], 0.5) == [False, True, False, False, False, False]
    assert learned([], [], [], 1.0) == []
