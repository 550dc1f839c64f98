import copy
import math

import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.training import build_optimizer
from llmdemo.training.gradients import GradientAccumulator
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
@pytest.mark.slow
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
    from llmdemo.training.projector import Projector

    config = tools.make_config(refresh="svd", stagger=False)
    plain = Projector.add_back
    monkeypatch.setattr(Projector, "add_back", lambda self, w, low, f: plain(self, w, low, 0.9 * f))
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
    bases = [kept for name, kept in optimizer.named_state()[0].items() if name.endswith(("/left", "/right"))]
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
    from llmdemo.training import refresh_schedule as module

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
    tensors, numbers = tools.train(first, config, batches[:5]).named_state()
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
    tensors, numbers = tools.train(model, config, batches[:5]).named_state()
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
    again = optimizer.named_state()[0]
    assert again.keys() == tensors.keys() and all(torch.equal(again[name], tensors[name]) for name in tensors)


def test_state_is_tensors_and_plain_numbers(llama64, tools):
    import json

    tensors, numbers = tools.train(llama64(), tools.make_config(), tools.token_batches(2)).named_state()
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
    slot = GradientAccumulator("x", torch.nn.Parameter(torch.zeros(8, 8)), Subspace((8, 8), 2), torch.float32)
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


def fused(tools, model, config, batches, spoiled=()):
    """Our optimizer over `batches` as the loop drives it where the host runs ahead of a GPU; the model is changed."""
    optimizer = build_optimizer(model, config)
    unread = []
    for number, ids in enumerate(batches):
        tools.backward(model, ids)
        if number in spoiled:
            optimizer.refresh()
            optimizer.gradients()[-1].fill_(float("inf"))
        unread.append(optimizer.step_where_finite(config.max_grad_norm, torch.tensor(1.0))[1])
        if len(unread) > 2:
            optimizer.tell(bool(unread.pop(0)))
    while unread:
        optimizer.tell(bool(unread.pop(0)))
    return optimizer


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_fused_step_is_the_plain_one(llama64, tools, decay):
    plain, ahead, batches = llama64(), llama64(), tools.token_batches(20)
    # A large ε, so that one that is added in another place would be seen.
    config = tools.make_config(max_grad_norm=0.5, weight_decay=decay, eps=1e-2)
    optimizer = build_optimizer(plain, config)
    for ids in batches:
        tools.backward(plain, ids)
        optimizer.refresh()
        optimizer.clip(0.5)
        optimizer.step()
    fused(tools, ahead, config, batches)
    assert tools.distance(plain, ahead) < 2e-6  # the device's scalars are fp32, and so is its norm


def test_the_fused_step_leaves_out_what_is_not_finite_and_counts_on(llama64, tools):
    plain, ahead, batches = llama64(), llama64(), tools.token_batches(12)
    config = tools.make_config(max_grad_norm=0.0, weight_decay=0.1)
    optimizer = build_optimizer(plain, config)
    for number, ids in enumerate(batches):
        tools.backward(plain, ids)
        optimizer.refresh()
        optimizer.skip() if number in (5, 6) else optimizer.step()
    other = fused(tools, ahead, config, batches, spoiled=(5, 6))
    assert tools.distance(plain, ahead) < 2e-6
    ours, theirs = other.named_state()[1]["state"], optimizer.named_state()[1]["state"]
    assert ours == theirs and {values["step"] for values in ours.values()} >= {10}


def test_refreshes_in_rounds_come_as_often_and_leave_steps_between(llama64, tools):
    optimizer = build_optimizer(llama64(), tools.make_config(update_proj_gap=28))
    optimizer.refresh_in_rounds()
    model_of = {slot.name: 0 for slot in optimizer.slots}
    rounds = []
    for slot in optimizer.slots:
        slot.subspace.find(torch.randn(slot.subspace.shape, dtype=torch.float64), "power", torch.Generator())
    for step in range(28, 84):
        optimizer.steps = step
        optimizer._mark_due()
        due = [slot.name for slot in optimizer.slots if slot.due]
        rounds.append(len(due))
        for name in due:
            model_of[name] += 1
        assert optimizer.no_refresh_due == (not due)
    assert set(model_of.values()) == {2}
    assert sum(map(bool, rounds)) == 8 and max(rounds) <= 14 / 4 + 1


# ---- as torch's own ----


@pytest.mark.parametrize("changes", [{}, {"basis_bits": 8}, {"method": "adamw"}, {"galore_optimizer": "adafactor"}])
def test_state_dict_goes_through_a_file_and_on_bit_for_bit(llama64, tools, tmp_path, changes):
    config, batches = tools.make_config(**changes), tools.token_batches(10)
    whole = llama64()
    tools.train(whole, config, batches)
    first = llama64()
    torch.save(tools.train(first, config, batches[:5]).state_dict(), tmp_path / "optimizer.pt")
    second = build_optimizer(first, config)
    second.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    for ids in batches[5:]:
        tools.backward(first, ids)
        second.step()
    assert tools.distance(whole, first) == 0


def test_a_state_dict_of_another_optimizer_is_refused(llama64, tools):
    adamw = build_optimizer(llama64(), tools.make_config(method="adamw")).state_dict()
    with pytest.raises(UserError, match="same matrices"):
        build_optimizer(llama64(), tools.make_config()).load_state_dict(adamw)


def test_a_closure_is_called_once_and_its_loss_returned(llama64, tools):
    with_closure, plain, (ids,) = llama64(), llama64(), tools.token_batches(1)
    optimizer = build_optimizer(with_closure, tools.make_config())

    def closure():
        optimizer.zero_grad()
        loss = with_closure(input_ids=ids, labels=ids).loss
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    tools.train(plain, tools.make_config(), [ids])
    assert loss.item() > 0 and tools.distance(with_closure, plain) == 0


def test_torchs_schedulers_set_the_rate(llama64, tools):
    model, (ids,) = llama64(), tools.token_batches(1)
    optimizer = build_optimizer(model, tools.make_config(learning_rate=0.5))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step else 1.0)
    assert isinstance(optimizer, torch.optim.Optimizer) and optimizer.param_groups[0]["lr"] == 0.5
    tools.backward(model, ids)
    optimizer.step()
    schedule.step()
    before = [p.detach().clone() for p in model.parameters()]
    tools.backward(model, ids)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_accelerate_prepares_it(llama64, tools):
    from accelerate import Accelerator

    prepared, plain, batches = llama64(), llama64(), tools.token_batches(4)
    accelerator = Accelerator(cpu=True)
    optimizer = accelerator.prepare(build_optimizer(prepared, tools.make_config()))
    for ids in batches:
        accelerator.backward(prepared(input_ids=ids, labels=ids).loss)
        optimizer.step()
        optimizer.zero_grad()
    tools.train(plain, tools.make_config(), batches)
    assert tools.distance(prepared, plain) == 0


def test_transformers_trainer_takes_it_saves_it_and_resumes(llama64, tools, tmp_path):
    from transformers import Trainer, TrainingArguments

    rows = [{"input_ids": ids[0], "labels": ids[0]} for ids in tools.token_batches(8)]

    def trainer(model, steps):
        optimizer = build_optimizer(model, tools.make_config())
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        arguments = TrainingArguments(
            str(tmp_path), max_steps=steps, save_steps=3, per_device_train_batch_size=2, max_grad_norm=0.0,
            use_cpu=True, report_to=[], disable_tqdm=True,
        )  # fmt: skip
        return Trainer(model, arguments, train_dataset=rows, optimizers=(optimizer, schedule))

    whole, part = llama64(), llama64()
    trainer(whole, 6).train()
    assert tools.distance(whole, llama64()) > 1e-3
    trainer(part, 6).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert tools.distance(whole, part) == 0
