import numpy as np
import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.training.batches import Batches, TokenRows, collate, in_parts, like_lengths, load_rows, save_rows, share_of


def make_rows(count=50, seed=0):
    random = np.random.default_rng(seed)
    lengths = random.integers(3, 30, count)
    return TokenRows.from_lists([([int(n)] * n, [-100] * (n - 1) + [int(n)]) for n in lengths])


def test_an_epoch_shows_every_record_once():
    batches = Batches(make_rows(50).lengths, 8, seed=1)
    assert batches.per_epoch == 7
    seen = np.concatenate([batches.rows_of(step) for step in range(7)])
    assert sorted(seen) == list(range(50))


def test_the_order_depends_on_seed_and_step_alone():
    first, second = Batches(make_rows().lengths, 8, seed=1), Batches(make_rows().lengths, 8, seed=1)
    for step in (23, 4, 11, 0):  # out of order, as after a resume
        np.testing.assert_array_equal(first.rows_of(step), second.rows_of(step))
    assert any((Batches(make_rows().lengths, 8, 2).rows_of(s) != first.rows_of(s)).any() for s in range(3))
    assert any((first.rows_of(s) != first.rows_of(s + 7)).any() for s in range(3))


def test_batches_hold_records_of_like_length():
    rows = make_rows(400)
    batches = Batches(rows.lengths, 8, seed=0)
    padded = sum(8 * rows.lengths[batches.rows_of(step)].max() for step in range(batches.per_epoch))
    assert rows.lengths.sum() / padded > 0.9


def test_groups_of_like_length_hold_everything_once_with_little_padding():
    lengths = make_rows(64).lengths
    groups = like_lengths(lengths, extra=10)
    assert sorted(np.concatenate(groups)) == list(range(64))
    padded = sum(lengths[group].max() * len(group) for group in groups)
    assert padded < 1.15 * lengths.sum() and len(groups) < 12
    assert [len(group) for group in like_lengths(lengths, extra=10**6)] == [64]
    assert sorted(np.concatenate(like_lengths(lengths, extra=10, most=7))) == list(range(64))


def test_like_lengths_finds_the_best_cut():
    groups = like_lengths(np.array([9, 2, 10, 2]), extra=3)
    assert [group.tolist() for group in groups] == [[2, 0], [1, 3]]


def test_parts_hold_every_item_in_order_within_the_bound_and_a_longer_one_alone():
    items, sizes = np.array([7, 3, 9, 1, 5, 2]), np.array([30, 9, 8, 10, 4, 4])
    parts = in_parts(items, sizes, 20)
    assert [part.tolist() for part in parts] == [[7], [3, 9], [1, 5], [2]]  # 10 + 4 + 4 tokens are 3 x 10 with padding
    assert [part.tolist() for part in in_parts(items, sizes, 1000)] == [items.tolist()]


@pytest.mark.parametrize(("processes", "micro"), [(1, 1), (1, 4), (2, 2), (4, 1), (3, 4)])
def test_the_shares_of_all_processes_are_the_global_batch(processes, micro):
    rows = np.arange(16)
    parts = [part for p in range(processes) for part in share_of(rows, p, processes, micro)]
    assert sorted(np.concatenate(parts)) == list(range(16)) and len(parts) == processes * micro


def test_data_shorter_than_a_batch_is_one_batch():
    batches = Batches(make_rows(3).lengths, 8, seed=0)
    assert sorted(batches.rows_of(0)) == sorted(batches.rows_of(5)) == [0, 1, 2]


def test_no_record_at_all_is_refused():
    with pytest.raises(UserError, match="No record"):
        Batches(TokenRows.from_lists([]).lengths, 8, seed=0)


def test_collate_pads_on_the_right_and_masks_the_padding():
    rows = TokenRows.from_lists([([5, 6, 7], [-100, 6, 7]), ([8], [-100])])
    batch = collate(rows, [0, 1], 9, torch.device("cpu"))
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[-100, 6, 7], [-100, -100, -100]]


def test_rows_survive_their_file(tmp_path):
    rows = make_rows(7)
    save_rows(tmp_path / "rows.safetensors", train=rows, held_out=TokenRows.from_lists([]))
    read = load_rows(tmp_path / "rows.safetensors")
    assert len(read["held_out"]) == 0 and len(read["train"]) == 7
    for index in range(7):
        np.testing.assert_array_equal(read["train"].row(index)[0], rows.row(index)[0])


def test_trained_counts_labels():
    assert make_rows(5).trained(range(5)) == 5
