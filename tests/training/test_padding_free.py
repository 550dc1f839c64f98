"""Texts in one row beside the model's own padded way, on architectures that can be read so and others that can't."""

import numpy as np
import pytest
import torch
import transformers

from llmdemo.training import padding_free
from llmdemo.training.batches import TokenRows, collate
from llmdemo.training.padding_free import PaddingFree

CPU = torch.device("cpu")
PAD = 2
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
GATED = {**SIZES, "intermediate_size": 48, "num_key_value_heads": 2}
READ = {
    "llama": GATED,
    "qwen2": GATED,
    "mistral": {**GATED, "sliding_window": 20},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "gpt_neox": {**SIZES, "intermediate_size": 48},
}
NOT_READ = {
    "short window": ("mistral", {**GATED, "sliding_window": 17}),
    "no positions": ("bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "soft caps": ("gemma2", {**GATED, "head_dim": 8, "attn_logit_softcapping": 2.0}),
    "an encoder": ("bert", {**SIZES, "intermediate_size": 48}),
    "no attention": ("mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
}


def classifier(name: str, sizes: dict, **more):
    ids = {"vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": PAD}
    config = transformers.AutoConfig.for_model(name, **sizes, **ids, num_labels=3, initializer_range=0.3, **more)
    torch.manual_seed(0)
    kinds = transformers.AutoModelForSequenceClassification
    try:
        model = kinds.from_config(config)
    except ValueError:  # transformers has no classifier of this kind
        model = transformers.AutoModelForCausalLM.from_config(config)
        model.score = torch.nn.Linear(32, 3, bias=False)
    return model.eval()


def texts(count=9, seed=0) -> TokenRows:
    random = np.random.default_rng(seed)
    lists = [random.integers(3, 100, size).tolist() for size in random.integers(2, 19, count)]
    return TokenRows.from_lists([(ids, [-100] * len(ids)) for ids in lists])


def padded(model, rows: TokenRows, items) -> torch.Tensor:
    batch = collate(rows, items, PAD, CPU)
    return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits


@pytest.mark.parametrize("name", READ)
def test_logits_and_gradients_are_the_models_own(name):
    model, rows, items = classifier(name, READ[name]), texts(), np.array([3, 0, 8, 1, 7])
    reads, usual = PaddingFree(model, 18), model.config._attn_implementation
    found = {}
    for way in ("padded", "one row"):
        model.zero_grad()
        logits = padded(model, rows, items) if way == "padded" else reads(rows, items, PAD, CPU)
        logits.logsumexp(1).square().sum().backward()
        found[way] = [logits.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]
    assert len(found["padded"]) == len(found["one row"]) > 10
    for own, other in zip(found["padded"], found["one row"], strict=True):
        torch.testing.assert_close(other, own, rtol=1e-4, atol=1e-5)
    assert reads.verify(rows, items, found["padded"][0], PAD, exact=True) and reads.works
    assert model.config._attn_implementation == usual


def test_texts_that_saw_each_other_would_be_noticed():
    """Mutation: attention over the whole row."""
    model, rows, items = classifier("llama", GATED), texts(), np.arange(9)
    reads, expected = PaddingFree(model, 18), padded(model, rows, items)
    own = padding_free._attention

    def leaking(module, query, key, value, *rest, **more):
        token = padding_free._groups.set(([(1, query.shape[2])], 18))
        try:
            return own(module, query, key, value, *rest, **more)
        finally:
            padding_free._groups.reset(token)

    padding_free.AttentionInterface.register(padding_free._NAME, leaking)
    try:
        assert not reads.verify(rows, items, expected, PAD, exact=True) and not reads.works
    finally:
        padding_free.AttentionInterface.register(padding_free._NAME, own)
    assert PaddingFree(model, 18).verify(rows, items, expected, PAD, exact=True)


@pytest.mark.parametrize("why", NOT_READ)
def test_a_model_that_works_otherwise_keeps_its_own_way(why):
    name, sizes = NOT_READ[why]
    model, rows, items = classifier(name, sizes), texts(), np.arange(9)
    reads = PaddingFree(model, 18)  # a window is too short if it is for any text, these or others
    usual = model.config._attn_implementation
    with torch.no_grad():
        expected = padded(model, rows, items) if why != "no attention" else torch.zeros(9, 3)
    assert not reads.verify(rows, items, expected, PAD, exact=True)
    assert model.config._attn_implementation == usual


def test_recomputed_activations_keep_the_models_own_way():
    model = classifier("llama", GATED)
    model.gradient_checkpointing_enable()
    assert not PaddingFree(model, 18).works


def test_adapters_learn_in_one_row_too():
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(classifier("llama", GATED), LoraConfig(task_type="SEQ_CLS", target_modules=["q_proj"]))
    rows, items = texts(), np.arange(9)
    with torch.no_grad():
        assert PaddingFree(model, 18).verify(rows, items, padded(model, rows, items), PAD, exact=True)
    PaddingFree(model, 18)(rows, items, PAD, CPU).sum().backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any("lora_B" in name for name in trained) and any("score" in name for name in trained)
