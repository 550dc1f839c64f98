"""Vectors of texts, against transformers' own hidden states."""

import numpy as np
import pytest
import torch

from llmdemo.maps.embed import MOST_TOKENS, Embedder, batches

TEXTS = ["The quick brown fox.", "Paris", "Add two and three, and then name the capital of France please."]


@pytest.fixture(scope="module")
def model():
    from tests.conftest import make_llama, make_tokenizer

    tokenizer = make_tokenizer()
    return make_llama(len(tokenizer), num_hidden_layers=4), tokenizer


@pytest.mark.parametrize(("depth", "place"), [(0.0, 0), (0.5, 2), (0.75, 3)])
def test_a_vector_is_the_mean_of_the_states_after_that_share_of_the_layers(model, depth, place):
    llama, tokenizer = model
    found = Embedder(llama, tokenizer, depth, 64, 2).vectors(TEXTS)
    for text, vector in zip(TEXTS, found, strict=True):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        states = llama(ids, output_hidden_states=True).hidden_states[place][0]
        assert torch.allclose(vector, states.mean(0), atol=1e-5), "padding has no part in the mean"


def test_the_last_layer_is_taken_with_the_final_norm_and_hooks_are_gone(model):
    llama, tokenizer = model
    found = Embedder(llama, tokenizer, 1.0, 64, 2).vectors(TEXTS[:1])
    Embedder(llama, tokenizer, 0.5, 64, 2).vectors(TEXTS[:1])
    ids = torch.tensor([tokenizer(TEXTS[0])["input_ids"]])
    assert torch.allclose(found[0], llama.model(ids).last_hidden_state[0].mean(0), atol=1e-5)


def test_only_the_first_tokens_are_read_and_an_empty_text_has_a_vector_too(model):
    llama, tokenizer = model
    embedder = Embedder(llama, tokenizer, 0.5, 4, 2)
    short = tokenizer.decode(tokenizer(TEXTS[2])["input_ids"][:4])
    assert torch.allclose(*embedder.vectors([TEXTS[2], short]), atol=1e-5)
    assert torch.isfinite(embedder.vectors([""])).all()


def test_batches_hold_each_place_once_and_not_too_many_tokens():
    lengths = np.random.default_rng(0).integers(1, 300, 200).tolist()
    found = batches(lengths)
    assert sorted(place for batch in found for place in batch) == list(range(200))
    assert all(len(batch) * max(lengths[p] for p in batch) <= MOST_TOKENS for batch in found)
    assert batches([MOST_TOKENS + 5]) == [[0]], "a longer text than a batch may hold goes alone"


def test_a_text_is_cut_where_the_positions_end_which_roberta_begins_behind_its_padding():
    from transformers import RobertaConfig, RobertaModel

    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=18, pad_token_id=1,
    )  # fmt: skip

    def tokenizer(texts, **_):
        return {"input_ids": [[5] * len(text) for text in texts]}

    long, whole = Embedder(RobertaModel(config).eval(), tokenizer, 1.0, 64, 1).vectors(["x" * 30, "x" * 16])
    assert torch.allclose(long, whole, atol=1e-5)
