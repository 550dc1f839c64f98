import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies

from llmdemo.training.batches import TokenRows, collate, collate_packed, collate_unpacked, load_rows, save_rows
from llmdemo.training.loss import CausalLoss
from llmdemo.training.packing import best_fit, cut, pack

CPU = torch.device("cpu")


def make_pieces(lengths, vocabulary=64, seed=0):
    random = np.random.default_rng(seed)
    pieces = []
    for length in lengths:
        ids = random.integers(0, vocabulary, length).tolist()
        untrained = max(1, length // 3)
        pieces.append((ids, [-100] * untrained + ids[untrained:]))
    return pieces


@settings(max_examples=60, deadline=None)
@given(strategies.lists(strategies.integers(1, 40), max_size=80))
def test_best_fit_puts_every_piece_into_one_row_that_holds_it(lengths):
    rows = best_fit(lengths, 40)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= 40 for row in rows)
    # No row but the last few could take another's pieces: fewer than twice the least number.
    assert len(rows) <= max(1, 2 * -(-sum(lengths) // 40))


def test_best_fit_takes_the_row_with_the_least_room():
    assert best_fit([6, 5, 4, 3], 10) == [[0, 2], [1, 3]]


def test_a_packed_row_knows_where_its_documents_begin_and_trains_none_of_their_first_tokens():
    rows = pack([([1, 2, 3], [1, 2, 3]), ([4, 5], [-100, 5]), ([6, 7, 8, 9], [-100, 7, 8, 9])], 5)
    assert [rows.row(i)[0].tolist() for i in range(2)] == [[6, 7, 8, 9], [1, 2, 3, 4, 5]]
    assert rows.row(1)[1].tolist() == [-100, 2, 3, -100, 5]
    assert rows.row_positions(1).tolist() == [0, 1, 2, 0, 1]


def test_a_document_is_cut_into_pieces_none_of_a_single_token():
    pieces = [(ids.tolist(), labels.tolist()) for ids, labels in cut([1, 2, 3, 4, 5], 2)]
    assert pieces == [([1, 2], [-100, 2]), ([3, 4], [-100, 4])]
    assert cut([1], 4) == [] and len(pack([], 4)) == 0


def test_packed_rows_survive_their_file(tmp_path):
    rows = pack(make_pieces([5, 3, 4]), 8)
    save_rows(tmp_path / "rows.safetensors", train=rows, held_out=TokenRows.from_lists([([1], [-100])], [3]))
    read = load_rows(tmp_path / "rows.safetensors")
    np.testing.assert_array_equal(read["train"].positions, rows.positions)
    assert read["train"].classes is None and read["held_out"].classes.tolist() == [3]


LENGTHS = [9, 3, 7, 12, 5, 2, 11, 4]


def models(llama64):
    from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=64,
        initializer_range=0.15, bos_token_id=1, eos_token_id=2))  # fmt: skip
    gemma = Gemma2ForCausalLM(Gemma2Config(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=4, initializer_range=0.15))  # fmt: skip
    return {"llama": llama64().float(), "gpt2": gpt2.eval(), "gemma2 with a window": gemma.eval()}


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2 with a window"])
def test_the_packed_loss_and_its_gradients_are_those_of_padded_rows(llama64, name):
    model = models(llama64)[name]
    pieces = make_pieces(LENGTHS)
    packed, padded = pack(pieces, 16), TokenRows.from_lists(pieces)
    assert len(packed) < len(padded) and packed.trained(range(len(packed))) == padded.trained(range(len(padded)))
    twin = copy.deepcopy(model)
    together = CausalLoss(model)(collate_packed(packed, range(len(packed)), 0, CPU))
    apart = CausalLoss(twin)(collate(padded, range(len(padded)), 0, CPU))
    assert abs(together - apart) / apart < 1e-5  # 1e-4 is asked for
    again = CausalLoss(twin)(collate_unpacked(packed, range(len(packed)), 0, CPU))
    torch.testing.assert_close(again, apart, rtol=1e-6, atol=1e-5)
    together.backward()
    apart.backward()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4)


def test_the_packed_loss_is_transformers_own_over_each_document(llama64):
    model = llama64()
    pieces = make_pieces(LENGTHS)
    packed = pack(pieces, 16)
    with torch.no_grad():
        found = CausalLoss(model)(collate_packed(packed, range(len(packed)), 0, CPU)).item()
        sums = [
            model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss.item()
            * sum(label != -100 for label in labels[1:])
            for ids, labels in pieces
        ]
    assert found == pytest.approx(sum(sums), rel=1e-5)


@pytest.mark.parametrize("leak", ["a mask of ones", "no positions"])
def test_packing_that_leaks_is_seen(llama64, leak):
    """Mutations: what a trainer does that concatenates and cuts, or that hands attention a mask beside the positions."""
    model = llama64()
    packed = pack(make_pieces(LENGTHS), 16)
    batch = collate_packed(packed, range(len(packed)), 0, CPU)
    if leak == "no positions":
        del batch["position_ids"]
    else:
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    with torch.no_grad():
        right = CausalLoss(model)(collate_packed(packed, range(len(packed)), 0, CPU))
        wrong = CausalLoss(model)(batch)
    assert abs(wrong - right) / right > 1e-2
