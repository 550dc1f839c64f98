import copy

import pytest
import torch
from torch.nn import functional

from llmdemo.training import loss as module
from llmdemo.training.loss import CausalLoss, shared_prefix


def make_batch(masked=True, shape=(3, 11), seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 64, shape, generator=generator)
    mask = torch.ones_like(ids)
    mask[0, -4:] = 0
    labels = ids.clone()
    labels[mask == 0] = -100
    if masked:
        labels[:, :5] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def assert_equals_the_models_own(ours, model, theirs, batch) -> None:
    """`ours` and its gradients are those of the loss that transformers gives for `theirs`, the same weights."""
    reference = theirs(**batch).loss
    torch.testing.assert_close(ours.double(), reference.double(), atol=1e-6, rtol=1e-6)
    ours.backward()
    reference.backward()
    for a, b in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("masked", [True, False])
def test_the_lean_loss_and_its_gradients_are_those_of_transformers(llama64, masked):
    batch = make_batch(masked)
    model, theirs = llama64(), llama64()
    lean = CausalLoss(model)
    assert lean.lean
    count = (batch["labels"][:, 1:] != -100).sum()
    ours = lean(batch) / count
    assert_equals_the_models_own(ours, model, theirs, batch)


def test_chunks_change_nothing(llama64, monkeypatch):
    batch = make_batch()
    model, cut = llama64(), llama64()
    CausalLoss(model)(batch).backward()
    monkeypatch.setattr(module, "CHUNK_BYTES", 64 * 4 * 3)
    CausalLoss(cut)(batch).backward()
    for a, b in zip(model.parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-5)


def test_padding_does_not_change_the_loss(llama64):
    """Mutation: without the mask the padded row's loss is another one."""
    model = llama64()
    loss = CausalLoss(model)
    batch = make_batch(shape=(1, 11))
    short = {key: value[:, :7] for key, value in batch.items()}
    torch.testing.assert_close(loss(batch), loss(short), atol=1e-5, rtol=1e-5)
    left = {key: value.flip(1) for key, value in batch.items()}
    unmasked = {**left, "attention_mask": torch.ones_like(left["attention_mask"])}
    assert (loss(left) - loss(unmasked)).abs() > 1e-3


def test_the_gradient_is_that_of_finite_differences(llama64):
    model, batch = llama64(), make_batch()
    loss = CausalLoss(model)

    def reference():
        logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1].flatten(0, 1)
        return functional.cross_entropy(logits, batch["labels"][:, 1:].flatten(), reduction="sum")

    loss(batch).backward()
    weight = model.model.layers[1].mlp.down_proj.weight
    for place in ((0, 0), (3, 7), (30, 40)):
        with torch.no_grad():
            kept, step = weight[place].item(), 2e-3
            weight[place] = kept + step
            above = reference()
            weight[place] = kept - step
            below = reference()
            weight[place] = kept
        assert weight.grad[place].item() == pytest.approx(((above - below) / (2 * step)).item(), rel=2e-2, abs=1e-3)


def test_a_model_that_caps_its_logits_gets_its_own_loss():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, final_logit_softcapping=1.0, initializer_range=0.5,
    )  # fmt: skip
    model = Gemma2ForCausalLM(config).eval()
    loss = CausalLoss(model)
    batch = make_batch()
    assert loss.lean
    assert loss.verify(batch) > 1e-2 and not loss.lean
    count = (batch["labels"][:, 1:] != -100).sum()
    torch.testing.assert_close(loss(batch) / count, model(**batch).loss, atol=1e-5, rtol=1e-5)


def test_verify_keeps_the_lean_way_where_both_agree(llama64):
    loss = CausalLoss(copy.deepcopy(llama64()).float())
    assert loss.verify(make_batch()) < 1e-5 and loss.lean


def test_verify_looks_at_the_beginning_alone_where_all_logits_would_take_too_much(llama64, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "CHUNK_BYTES", 2 * 4 * 64 * 6)  # the logits of six tokens of two rows
    loss = CausalLoss(llama64().float())
    whole = loss._whole
    monkeypatch.setattr(loss, "_whole", lambda batch: seen.append(batch) or whole(batch))
    batch = prompt_batch()  # its labels begin later
    assert loss.verify(batch) < 1e-5 and loss.lean
    assert seen[0]["input_ids"].shape == (2, 6) and (seen[0]["labels"] != -100).sum() == 6
    del batch["attention_mask"]
    assert loss.verify(batch) < 1e-5 and loss.lean
    monkeypatch.setattr(loss, "_head", torch.nn.Linear(16, 64, bias=False))
    loss._head.weight.data = loss._model.get_output_embeddings().weight.data * 1.1
    assert loss.verify(prompt_batch()) > 1e-2 and not loss.lean


def prompt_batch(shared=7):
    """Three rows that begin with the same seven tokens and train only what comes after the prompt."""
    batch = make_batch(masked=False, shape=(3, 14), seed=4)
    batch["input_ids"][:, :shared] = batch["input_ids"][0, :shared]
    batch["labels"][:, :9] = -100
    return batch


def test_a_shared_beginning_is_found_up_to_the_token_before_the_first_label():
    assert shared_prefix(prompt_batch()) == 7
    nearer = prompt_batch(shared=12)
    assert shared_prefix(nearer) == 8, "token 8 predicts the label at 9, in each row"
    trained = prompt_batch()
    trained["labels"][1, 3] = 5
    assert shared_prefix(trained) == 2
    same = {key: value[:1].expand(3, -1) for key, value in prompt_batch().items()}
    same["labels"] = torch.full_like(same["labels"], -100)
    assert shared_prefix({**same, "attention_mask": torch.ones_like(same["labels"])}) == 13


def test_sharing_the_beginning_changes_neither_loss_nor_gradients(llama64, monkeypatch):
    monkeypatch.setattr(CausalLoss._lean, "__defaults__", (0,))
    batch = prompt_batch()
    model, theirs = llama64(), llama64()
    loss = CausalLoss(model)
    count = (batch["labels"][:, 1:] != -100).sum()
    ours = loss(batch) / count
    assert loss.passes == 2
    assert_equals_the_models_own(ours, model, theirs, batch)


def test_a_prefix_whose_gradient_is_lost_would_be_seen(llama64, monkeypatch):
    """Mutation: keys and values of the prefix taken as constants, as an inference cache would."""
    monkeypatch.setattr(CausalLoss._lean, "__defaults__", (0,))
    batch = prompt_batch()
    model, cut = llama64(), llama64()
    CausalLoss(model)(batch).backward()
    loss = CausalLoss(cut)
    plain = loss._body.forward

    def without_gradient(*args, **kwargs):
        if kwargs["input_ids"].shape[0] == 1:
            with torch.no_grad():
                return plain(*args, **kwargs)
        return plain(*args, **kwargs)

    loss._body.forward = without_gradient
    loss(batch).backward()
    pairs = zip(model.parameters(), cut.parameters(), strict=True)
    assert max((a.grad - b.grad).abs().max().item() for a, b in pairs) > 1e-3


def test_a_model_without_such_a_cache_goes_without_sharing(llama64, monkeypatch):
    loss = CausalLoss(llama64())

    def broken(batch, shared):
        raise TypeError("no cache here")

    monkeypatch.setattr(loss, "_after_prefix", broken)
    assert loss.verify(prompt_batch()) < 1e-5 and loss.lean and not loss.shares
