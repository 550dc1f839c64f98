import copy
import math

import pytest
import torch

from llmdemo.errors import UserError
from llmdemo.training import build_optimizer
from llmdemo.training.gradients import Slot
from llmdemo.training.subspace import Subspace


def compare(model, config, tools, accumulation=4, steps=20):
    """Largest difference between our weights and galore_torch's after `steps` steps."""
    theirs = copy.deepcopy(model)
    batches = tools.token_batches(accumulation * steps)
    tools.train(model, config, batches, accumulation)
    optimizer = tools.galore_torch_optimizer(theirs, config)
    for start in range(0, len(batches), accumulation):
        for ids in batches[start : start + accumulation]:
            tools.backward(theirs, ids, 1 / accumulation)
        optimizer.step()
        optimizer.zero_grad()
    return tools.distance(model, theirs)


@pytest.mark.parametrize("proj_type", ["std", "reverse_std", "left", "right", "full"])
@pytest.mark.parametrize("galore_optimizer", ["adamw", "adafactor"])
def test_twenty_steps_of_four_micro_batches_are_those_of_galore_torch(llama64, tools, proj_type, galore_optimizer):
    decay = 0.1 if galore_optimizer == "adamw" else 0.0
    config = tools.make_config(
        refresh="svd", stagger=False, proj_type=proj_type, galore_optimizer=galore_optimizer, weight_decay=decay
    )
    start = llama64()
    model = llama64()
    assert compare(model, config, tools) <= 1e-5
    assert tools.distance(model, start) > 0.05


def test_a_wrong_scale_or_a_stale_basis_would_be_seen(llama64, tools, monkeypatch):
    """Mutations of the step before: both must differ by far more than the bar."""
    from llmdemo.training.optimizer import _Projector

    config = tools.make_config(refresh="svd", stagger=False)
    plain = _Projector.add_back
    monkeypatch.setattr(_Projector, "add_back", lambda self, w, low, f: plain(self, w, low, 0.9 * f))
    assert compare(llama64(), config, tools) > 1e-3
    monkeypatch.undo()
    never = tools.make_config(refresh="svd", stagger=False, update_proj_gap=1000)
    model, theirs = llama64(), llama64()
    batches = tools.token_batches(20)
    tools.train(model, never, batches)
    tools.train(theirs, config, batches)
    assert tools.distance(model, theirs) > 1e-3


def test_the_step_is_adam_in_the_projected_space(llama64, tools):
    """Against Adam written out in float64: m, v of PᵀG, update back through P, for one matrix."""
    config = tools.make_config(refresh="svd", stagger=False, update_proj_gap=1000)
    model = llama64()
    name = "model.layers.0.mlp.gate_proj.weight"
    batches = tools.token_batches(3)
    frozen = copy.deepcopy(model)
    weight = dict(model.named_parameters())[name].detach().clone()
    optimizer = build_optimizer(model, config)
    basis, m, v = None, 0.0, 0.0
    for step, ids in enumerate(batches, 1):
        frozen.load_state_dict(model.state_dict())
        frozen.zero_grad()
        tools.backward(frozen, ids)
        gradient = dict(frozen.named_parameters())[name].grad
        if basis is None:
            basis = torch.linalg.svd(gradient.float(), full_matrices=False)[2][: config.rank].double()
        low = gradient @ basis.T
        m, v = 0.9 * m + 0.1 * low, 0.999 * v + 0.001 * low**2
        update = (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + config.eps / math.sqrt(1 - 0.999**step))
        weight -= config.learning_rate * config.scale * update @ basis
        tools.backward(model, ids)
        optimizer.step()
        torch.testing.assert_close(dict(model.named_parameters())[name].detach(), weight, atol=1e-9, rtol=1e-7)


def test_8_bit_moments_work_without_cuda_and_move_every_matrix(llama64, tools):
    model = llama64().float()
    before = copy.deepcopy(model)
    tools.train(model, tools.make_config(optim_bits=8, learning_rate=1e-3), tools.token_batches(8))
    moved = [(a - b).abs().max().item() for a, b in zip(model.parameters(), before.parameters(), strict=True)]
    assert min(moved) > 1e-4


@pytest.mark.parametrize("proj_type", ["std", "full"])
def test_with_bases_in_8_bits_the_step_is_still_adam_in_their_space(llama64, tools, proj_type):
    whole, packed = llama64(), llama64()
    batches = tools.token_batches(4)
    tools.train(whole, tools.make_config(proj_type=proj_type), batches)
    optimizer = tools.train(packed, tools.make_config(proj_type=proj_type, basis_bits=8), batches)
    bases = [kept for name, kept in optimizer.state()[0].items() if name.endswith(("/left", "/right"))]
    assert bases and all(kept.dtype == torch.int8 for kept in bases)
    assert 0 < tools.distance(whole, packed) < 0.2 * tools.distance(whole, llama64())


def test_accumulating_projected_gradients_equals_projecting_the_sum(llama64, tools):
    config = tools.make_config(refresh="svd", stagger=False)
    together, apart = llama64(), llama64()
    batches = tools.token_batches(12, shape=(4, 10))
    tools.train(together, config, batches)
    tools.train(apart, config, [half for ids in batches for half in ids.split(2)], accumulation=2)
    assert tools.distance(together, apart) < 1e-9


@pytest.mark.parametrize("method", ["power", "random", "svd"])
def test_refreshing_inside_the_backward_pass_changes_nothing(llama64, tools, method):
    config = tools.make_config(refresh=method)
    later, at_once = llama64(), llama64()
    tools.train(later, config, tools.token_batches(10))
    optimizer = build_optimizer(at_once, config)
    optimizer.refresh_at_once()
    for ids in tools.token_batches(10):
        tools.backward(at_once, ids)
        assert all(slot.full is None for slot in optimizer.slots)
        optimizer.step()
    assert tools.distance(later, at_once) == 0


def test_no_full_gradient_of_a_target_is_ever_stored(llama64, tools):
    model = llama64()
    optimizer = build_optimizer(model, tools.make_config(update_proj_gap=1000))
    for ids in tools.token_batches(8):
        tools.backward(model, ids)
        assert all(slot.weight.grad is None for slot in optimizer.slots)
        optimizer.step()
    tools.backward(model, ids)
    assert all(slot.full is None and slot.low.shape == slot.subspace.low_shape for slot in optimizer.slots)


def test_refreshes_are_spread_over_the_gap(llama64, tools):
    model = llama64()
    config = tools.make_config(update_proj_gap=14, refresh="power")
    optimizer = build_optimizer(model, config)
    counts, full = [], []
    for ids in tools.token_batches(14 + 2 * 14):
        tools.backward(model, ids)
        full.append(sum(slot.full.numel() for slot in optimizer.slots if slot.full is not None))
        counts.append(len(optimizer.refresh()))
        optimizer.step()
    projected = sum(slot.weight.numel() for slot in optimizer.slots)
    largest = max(slot.weight.numel() for slot in optimizer.slots)
    assert all(slot.subspace.ready for slot in optimizer.slots) and len(optimizer.slots) == 14
    assert 4 <= sum(count > 1 for count in counts) < 8
    assert max(full) <= projected / 4 + largest
    assert counts[14:] == [1] * 28


def test_large_models_get_their_first_subspaces_over_several_steps(llama64, tools, monkeypatch):
    from llmdemo.training import optimizer as module

    monkeypatch.setattr(module, "REFRESH_FLOPS", 8 * 32 * 48 * 4 * 3)
    model = llama64()
    optimizer = build_optimizer(model, tools.make_config())
    ready = []
    for ids in tools.token_batches(12):
        tools.backward(model, ids)
        optimizer.step()
        ready.append(sum(slot.subspace.ready for slot in optimizer.slots))
    assert 0 < ready[0] < 14 and ready == sorted(ready) and ready[-1] == 14


def test_clipping_scales_to_the_global_norm(llama64, tools):
    model = llama64()
    optimizer = build_optimizer(model, tools.make_config())
    tools.backward(model, tools.token_batches(1)[0])
    optimizer.refresh()
    norm = optimizer.clip(0.0)
    assert norm == pytest.approx(math.sqrt(sum(g.square().sum().item() for g in optimizer.gradients())))
    assert optimizer.clip(norm / 4) == pytest.approx(norm)
    assert optimizer.clip(0.0) == pytest.approx(norm / 4, rel=1e-4)


@pytest.mark.parametrize("when", [0, 3])
def test_a_gradient_that_is_not_finite_leaves_weights_and_subspaces_alone(llama64, tools, when):
    model = llama64()
    optimizer = build_optimizer(model, tools.make_config(update_proj_gap=1))
    for ids in tools.token_batches(when):
        tools.backward(model, ids)
        optimizer.step()
    before = copy.deepcopy(model)
    ids = tools.token_batches(1)[0]
    (model(input_ids=ids, labels=ids).loss * float("nan")).backward()
    optimizer.refresh()
    assert not math.isfinite(optimizer.clip(1.0))
    optimizer.skip()
    assert tools.distance(model, before) == 0
    for slot in optimizer.slots:
        assert all(side is None or torch.isfinite(side).all() for side in (slot.subspace.left, slot.subspace.right))
    tools.backward(model, ids)
    optimizer.refresh()
    assert math.isfinite(optimizer.clip(1.0))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optim_bits": 8},
        {"basis_bits": 8},
        {"galore_optimizer": "adafactor"},
        {"proj_type": "full"},
        {"method": "adamw"},
    ],
)
def test_saved_state_goes_on_bit_for_bit(llama64, tools, changes):
    config = tools.make_config(update_proj_gap=3, **changes)
    whole = llama64().float()
    batches = tools.token_batches(9)
    tools.train(whole, config, batches)
    first = llama64().float()
    tensors, numbers = tools.train(first, config, batches[:5]).state()
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    second = copy.deepcopy(first)
    for module in second.modules():
        module.__dict__.pop("forward", None)
    optimizer = build_optimizer(second, config)
    optimizer.load_state(kept, numbers)
    for ids in batches[5:]:
        tools.backward(second, ids)
        optimizer.step()
    assert tools.distance(whole, second) == 0


def test_8_bit_state_of_matrices_that_are_large_enough_for_it_goes_through_a_checkpoint(tools, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    from llmdemo.training import checkpoint as checkpoints

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes))
    config = tools.make_config(optim_bits=8, rank=64)
    batches = tools.token_batches(6)
    tensors, numbers = tools.train(model, config, batches[:5]).state()
    assert sum(tensor.dtype == torch.uint8 for tensor in tensors.values()) > 4
    (tmp_path / "scratch").mkdir()
    checkpoints.save(
        tmp_path / "found", tmp_path / "scratch", checkpoints.Checkpoint(5, {"optimizer": tensors}, {"o": numbers})
    )
    kept = checkpoints.newest(tmp_path / "found")
    second = copy.deepcopy(model)
    for module in second.modules():
        module.__dict__.pop("forward", None)
    optimizer = build_optimizer(second, config)
    optimizer.load_state(kept.groups["optimizer"], kept.numbers["o"])
    again = optimizer.state()[0]
    assert again.keys() == tensors.keys() and all(torch.equal(again[name], tensors[name]) for name in tensors)


def test_state_is_tensors_and_plain_numbers(llama64, tools):
    import json

    tensors, numbers = tools.train(llama64(), tools.make_config(), tools.token_batches(2)).state()
    assert json.loads(json.dumps(numbers)) == numbers
    assert all(isinstance(value, torch.Tensor) for value in tensors.values())
    assert any(name.startswith("basis/") for name in tensors)


def test_a_rank_above_every_matrix_is_refused_with_the_largest(llama64, tools):
    with pytest.raises(UserError, match="larger than every matrix.*allows 32"):
        build_optimizer(llama64(), tools.make_config(rank=33))


def test_unknown_target_modules_are_refused_with_those_there_are(llama64, tools):
    with pytest.raises(UserError, match="nonsense.*q_proj"):
        build_optimizer(llama64(), tools.make_config(target_modules=("nonsense",)))


def test_a_frozen_model_is_refused(llama64, tools):
    with pytest.raises(UserError, match="frozen"):
        build_optimizer(llama64().requires_grad_(False), tools.make_config(method="adamw"))


def test_frozen_matrices_are_left_alone(llama64, tools):
    model = llama64()
    model.model.layers[0].requires_grad_(False)
    before = copy.deepcopy(model)
    optimizer = tools.train(model, tools.make_config(), tools.token_batches(2))
    assert all("layers.1" in slot.name for slot in optimizer.slots)
    assert tools.distance(model.model.layers[0], before.model.layers[0]) == 0


def test_gpt2_with_its_transposed_layers_trains_as_galore_torch_does(tools):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**sizes, attn_pdrop=0.0, resid_pdrop=0.0, embd_pdrop=0.0)).double()
    plain = copy.deepcopy(model)
    optimizer = build_optimizer(model, tools.make_config(stagger=False))
    assert len(optimizer.slots) == 8
    ids = tools.token_batches(1)[0]
    optimizer.refresh_at_once()
    tools.backward(model, ids)
    tools.backward(plain, ids)
    weights = dict(plain.named_parameters())
    for slot in optimizer.slots:
        torch.testing.assert_close(slot.low, slot.subspace.project(weights[f"{slot.name}.weight"].grad))
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, weights[name].grad)


def test_a_slot_without_a_subspace_costs_no_gradient():
    slot = Slot("x", torch.nn.Parameter(torch.zeros(8, 8)), Subspace((8, 8), 2), torch.float32)
    slot.add_outer(torch.ones(3, 8), torch.ones(3, 8))
    assert not slot.active and slot.low is None and slot.full is None


@pytest.mark.parametrize("method", ["galore", "adamw"])
def test_a_shared_beginning_trains_as_whole_rows_do(llama64, tools, monkeypatch, method):
    """Each layer is passed twice: a subspace that is refreshed at once must wait for the second time."""
    from llmdemo.training.loss import CausalLoss

    config = tools.make_config(update_proj_gap=3, method=method)
    apart, shared = llama64(), llama64()
    for model, least in ((apart, 10**9), (shared, 0)):
        monkeypatch.setattr(CausalLoss._lean, "__defaults__", (least,))
        optimizer, loss = build_optimizer(model, config), CausalLoss(model)
        optimizer.refresh_at_once()
        for ids in tools.token_batches(8, shape=(3, 12)):
            ids[:, :6] = ids[0, :6]
            labels = ids.clone()
            labels[:, :8] = -100
            value = loss({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels})
            assert loss.passes == (2 if least == 0 else 1)
            optimizer.expect_parts(loss.passes)
            value.backward()
            optimizer.step()
    assert tools.distance(apart, shared) < 1e-6


def test_updates_in_slices_are_the_same_to_the_bit(llama64, tools, monkeypatch):
    from llmdemo.training import adamw

    config = tools.make_config(refresh="svd", stagger=False, weight_decay=0.1)
    whole, sliced, batches = llama64(), llama64(), tools.token_batches(6)
    tools.train(whole, config, batches)
    monkeypatch.setattr(adamw, "SLICE_VALUES", 7)
    tools.train(sliced, config, batches)
    for one, other in zip(whole.parameters(), sliced.parameters(), strict=True):
        assert torch.equal(one, other)
    # Mutation: slices that are copies would leave the weights as they were.
    monkeypatch.setattr(adamw, "_slices", lambda tensor: tensor.clone().view(-1).split(7))
    stale = llama64()
    tools.train(stale, config, batches)
    assert tools.distance(stale, whole) > 1e-3
