"""Matrices in 8 bits: their bounds in float64, unbiased rounding, and layers that train as plain ones do."""

import copy

import pytest
import torch
from safetensors import safe_open
from torch import nn

from llmdemo.core.errors import UserError
from llmdemo.training import TrainConfig, best, build_optimizer, session, worker
from llmdemo.training import device as devices
from llmdemo.training.best import trained
from llmdemo.training.optimizer import Optimizer
from llmdemo.training.passes import Passes
from llmdemo.training.quantised import (
    LEVELS,
    QuantisedLinear,
    QuantisedMatrix,
    block_of,
    plain,
    quantise,
    quantised_layers,
)
from tests.training.conftest import events

CPU = torch.device("cpu")


def matrix_of(rows=40, columns=96, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 0.05


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("columns", "block"), [(4096, 256), (576, 64), (96, 32), (48, 16), (40, 40), (33, 33)])
def test_a_row_is_made_of_whole_blocks(columns, block):
    assert block_of(columns) == block and columns % block == 0
    made = QuantisedMatrix.of(matrix_of(columns=columns), CPU)
    assert made.unit.shape == (40, columns // block)


@pytest.mark.parametrize("columns", [96, 33])
def test_values_are_within_half_a_step_of_what_they_stand_for(columns):
    """In float64, of each block's own largest value: half of 1/32512 with all bits; of 1/127 with the upper eight, which are
    rounded a second time."""
    weight = matrix_of(columns=columns)
    made, block = QuantisedMatrix.of(weight, CPU), block_of(columns)
    largest = weight.double().unflatten(1, (-1, block)).abs().amax(-1, keepdim=True)
    for values, levels, more in ((made.whole(), LEVELS, 1e-3), (made.tensor(torch.float32), 127, 1 / 128)):
        off = (values.double() - weight.double()).unflatten(1, (-1, block)).abs()
        assert (off <= largest / levels * 0.5 * (1 + more)).all()
        assert (off >= largest / levels * 0.3).any()
    assert made.high.dtype == made.low.dtype == torch.int8


def test_dequantised_in_bf16_they_are_the_fp32_values_rounded_once():
    made = QuantisedMatrix.of(matrix_of(), CPU)
    assert torch.equal(made.tensor(torch.bfloat16), made.tensor(torch.float32).to(torch.bfloat16))


def nearest(matrix, update):
    """The well-known wrong way: the sum rounded to the nearest."""
    unit = matrix.unit.repeat_interleave(matrix.block, 1)
    return ((matrix.whole() + update) / unit).round() * unit


def test_updates_of_a_tenth_of_a_step_arrive_in_the_mean_and_to_the_nearest_never():
    weight = matrix_of()
    made = QuantisedMatrix.of(weight, CPU)
    start, unit, block = made.whole(), made.unit.clone(), made.block
    update = (0.1 * unit).repeat_interleave(block, 1)
    still = copy.deepcopy(made)
    assert torch.equal(nearest(still, update), start)
    draws, steps = generator(), 100
    for _ in range(steps):
        made.add_(update, draws)
    moved = ((made.whole() - start).unflatten(1, (-1, block)) / unit[..., None]).double()
    # Each value is a sum of 100 draws of 0 or 1 with p = 0.1: mean 10, standard deviation 3.
    bound = 5 * 3 / weight.numel() ** 0.5
    assert abs(moved.mean().item() - 10) < bound
    assert 2.8 < moved.std().item() < 3.2


def test_how_often_a_value_is_rounded_up_passes_a_chi_square_test():
    """One step of each of nine shares, counted over many values: chi-square with 9 degrees, 99.9 % quantile 27.9."""
    weight = matrix_of(200, 96)
    statistic = 0.0
    for share in torch.linspace(0.1, 0.9, 9).tolist():
        made = QuantisedMatrix.of(weight, CPU)
        start, unit, block = made.whole(), made.unit.clone(), made.block
        small = weight.abs() < 0.9 * (LEVELS * unit).repeat_interleave(block, 1)  # no block gets wider units by these
        made.add_((share * unit).repeat_interleave(block, 1) * small, generator(int(share * 100)))
        up = ((made.whole() - start) / unit.repeat_interleave(block, 1)).round()[small]
        expected = share * up.numel()
        assert set(up.unique().tolist()) == {0.0, 1.0}
        statistic += (up.sum().item() - expected) ** 2 / (expected * (1 - share))
    assert statistic < 27.9


def test_an_update_far_below_fp32_of_the_number_still_counts():
    """2⁻¹² of a step beside numbers of 2¹⁵ is lost in an fp32 sum; here it rounds up once in 4096 draws."""
    made = QuantisedMatrix.of(torch.ones(64, 256), CPU)
    start, update = made.whole(), made.unit.repeat_interleave(256, 1) * 2.0**-12
    draws = generator()
    for _ in range(4):
        made.add_(-update, draws)
    fallen = (made.whole() != start).sum().item()
    assert 4 < fallen < 40  # 16 in the mean


def test_no_update_changes_no_bit_and_a_block_that_outgrows_its_unit_gets_a_wider_one():
    weight = matrix_of()
    made = QuantisedMatrix.of(weight, CPU)
    before = {name: tensor.clone() for name, tensor in made.state().items()}
    made.add_(torch.zeros_like(weight), generator())
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state().items())
    update = torch.zeros_like(weight)
    update[3, 5] = 1.0
    made.add_(update, generator())
    largest = made.unit[3, 0] * LEVELS
    assert abs(made.whole()[3, 5] - weight[3, 5] - 1.0) <= largest / LEVELS
    assert torch.equal(made.unit[4:], before["unit"][4:]) and made.unit[3, 0] > before["unit"][3, 0]
    assert (made.whole()[3, :32] - weight[3, :32] - update[3, :32]).abs().max() <= 1.5 * made.unit[3, 0]


def test_decay_and_update_are_one_rounding():
    weight = matrix_of()
    made = QuantisedMatrix.of(weight, CPU)
    start = made.whole().double()
    made.add_(matrix_of(seed=3) * 0.01, generator(), keep=0.9)
    wanted = 0.9 * start + matrix_of(seed=3).double() * 0.01
    steps = (made.whole().double() - wanted).abs() / made.unit.repeat_interleave(made.block, 1)
    assert steps.max() < 1.01 and steps.mean() > 0.2


class Exact:
    """Stands where a QuantisedMatrix does, and rounds nothing."""

    def __init__(self, weight):
        self.weight = weight

    def tensor(self, dtype):
        return self.weight.to(dtype)

    def add_back(self, space, low, factor, generator, keep):
        assert keep == 1.0
        space.add_back(self.weight, low, factor)


@pytest.mark.parametrize("accumulation", [1, 4])
def test_without_rounding_the_step_is_plain_galores_to_the_bit(llama64, tools, accumulation):
    plainly, quantised = llama64(), llama64()
    config = tools.make_config()
    for name, module in list(quantised.named_modules()):
        if type(module) is nn.Linear and name != "lm_head":
            parent, _, own = name.rpartition(".")
            weight = module.weight.detach().clone()
            nothing = nn.Parameter(torch.full((), torch.nan, dtype=weight.dtype).expand(weight.shape))
            setattr(quantised.get_submodule(parent), own, QuantisedLinear(module, Exact(weight), nothing))
    batches = tools.token_batches(24)
    tools.train(plainly, config, batches, accumulation)
    optimizer = tools.train(quantised, config, batches, accumulation)
    weights = dict(plainly.named_parameters())
    assert len(optimizer.slots) == 14
    for name, p in quantised.named_parameters():
        layer = dict(quantised.named_modules())[name.rpartition(".")[0]]
        own = layer.matrix.weight if isinstance(layer, QuantisedLinear) else p
        assert torch.equal(own, weights[name]), name


def quantised_llama(llama64):
    return quantise(llama64().float(), (), CPU)


def test_a_quantised_model_computes_with_the_upper_bits_and_hands_plain_layers_back(llama64):
    model, rounded = quantised_llama(llama64), llama64().float()
    for name, layer in quantised_layers(model).items():
        rounded.get_submodule(name).weight.data.copy_(layer.matrix.tensor(torch.float32))
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.equal(model(ids).logits, rounded(ids).logits)
    assert all(p.isnan().all() for name, p in model.named_parameters() if "proj" in name)
    whole = {name: layer.matrix.whole() for name, layer in quantised_layers(model).items()}
    made = plain(model, torch.float32, 0)
    assert not quantised_layers(made)
    assert all(torch.equal(made.get_submodule(name).weight, weight) for name, weight in whole.items())


def test_published_in_bf16_what_was_learned_is_kept_in_the_mean():
    layer = nn.Linear(256, 400, bias=False)
    layer.weight.data.fill_(1.0)
    layer.weight.data[:, 0] = 1.02  # the largest of its block
    weight = nn.Parameter(layer.weight.detach())
    made = QuantisedLinear(layer, QuantisedMatrix.of(layer.weight.detach(), CPU), weight)
    whole = made.matrix.whole()
    made = made.plain(torch.bfloat16, generator()).weight
    assert made.dtype == torch.bfloat16
    assert abs(made.float().mean() - whole.mean()) < 1e-4 < abs(whole.to(torch.bfloat16).float() - whole).max()


def test_a_resume_needs_every_part_of_the_state(llama64, tools):
    """Bit for bit on from a copy of weights and optimizer; and not without the lower bits."""
    config = tools.make_config(weight_bits=8, learning_rate=1e-3)
    batches = tools.token_batches(12)

    def go_on(without=""):
        model = quantised_llama(llama64)
        optimizer = tools.train(model, config, batches[:6])
        kept = {name: tensor.clone() for name, tensor in trained(model).items()}
        tensors, numbers = optimizer.named_state()
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        model = quantised_llama(llama64)
        with torch.no_grad():
            for name, tensor in trained(model).items():
                if not (without and name.endswith(without)):
                    tensor.copy_(kept[name])
        optimizer = build_optimizer(model, config)
        optimizer.load_state(tensors, numbers)
        for ids in batches[6:]:
            tools.backward(model, ids)
            optimizer.step()
        return trained(model)

    model = quantised_llama(llama64)
    tools.train(model, config, batches)
    through = trained(model)
    assert all(torch.equal(tensor, through[name]) for name, tensor in go_on().items())
    assert any(not torch.equal(tensor, through[name]) for name, tensor in go_on(without="/low").items())


def test_quantised_training_learns_about_what_plain_galore_does(llama64, tools):
    ids = tools.token_batches(1, shape=(4, 12))[0]
    losses = []
    for bits in (32, 8):
        model = llama64().float()
        if bits == 8:
            model = quantise(model, (), CPU)
        tools.train(model, tools.make_config(weight_bits=bits, learning_rate=3e-3, rank=8), [ids] * 20)
        with torch.no_grad():
            losses.append(model(input_ids=ids, labels=ids).loss.item())
    with torch.no_grad():
        start = llama64().float()(input_ids=ids, labels=ids).loss.item()
    assert losses[0] < 0.7 * start
    assert abs(losses[1] - losses[0]) < 0.1 * (start - losses[0])


def test_a_model_without_plain_linear_layers_is_refused():
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2, n_positions=16))
    with pytest.raises(UserError, match="no plain linear layers.*weight_bits 32"):
        quantise(model, (), CPU)


@pytest.mark.parametrize(("precision", "spacing"), [("fp32", 2.0**-20), ("bf16_pure", 2.0**-7)])
def test_a_run_publishes_plain_weights_of_all_that_was_learned(make_run, precision, spacing):
    from transformers import AutoModelForCausalLM

    run_dir = make_run(weight_bits=8, learning_rate=1e-3, best_by="last", publish_dtype="auto", precision=precision)
    assert worker.main(run_dir) == 0, events(run_dir, "end")
    with safe_open(sorted((run_dir / "checkpoints").glob("step-*"))[-1] / "weights.safetensors", "pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    name = "model.layers.0.mlp.up_proj.weight"
    learned = QuantisedMatrix(*(kept[f"{name}/{part}"] for part in ("high", "low", "unit"))).whole()
    published = events(run_dir, "published")[-1]
    found = dict(AutoModelForCausalLM.from_pretrained(run_dir / "model").named_parameters())[name].detach().float()
    assert published["dtype"] == ("float32" if precision == "fp32" else "bfloat16")
    assert ((found - learned).abs() <= spacing * learned.abs() + 1e-9).all()
    notes = [event["message"] for event in events(run_dir, "note")]
    assert any("rounded up or down by chance" in note for note in notes) == (precision == "bf16_pure")
    assert not any("small updates round away" in note for note in notes)


def test_a_run_gives_pages_back_once_its_matrices_are_quantised_and_around_each_step(make_run, monkeypatch):
    """Mutations: not before the first pass, which then finds the gaps that the plain matrices left; not after a step."""
    order = []
    for owner, name, said in (
        (session, "quantise", "quantised"), (devices, "give_back", "back"), (Optimizer, "step", "step"),
        (Passes, "launch", "pass"),
    ):  # fmt: skip
        own = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, own=own, said=said, **k: (own(*a, **k), order.append(said))[0])
    assert worker.main(make_run(weight_bits=8, max_steps=2)) == 0
    told = " ".join(order)
    assert told.startswith("quantised back back") and told.count("back step back") == 2


def test_the_best_steps_matrices_are_kept_and_come_back(llama64, tools, tmp_path):
    model = quantised_llama(llama64)
    tools.train(model, tools.make_config(weight_bits=8), tools.token_batches(4))
    kept = {name: tensor.clone() for name, tensor in trained(model).items()}
    best.keep(tmp_path, trained(model), best.Best(4, {"loss": 1.0}, (1.0,)))
    tools.train(model, tools.make_config(weight_bits=8), tools.token_batches(4))
    assert best.fits(tmp_path, model) and not best.fits(tmp_path, llama64())
    best.load_into(tmp_path, model)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in trained(model).items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_processes": 2}, "one process.*num_processes to 1"),
        ({"galore_optimizer": "adafactor"}, "optimizer of its own.*galore_optimizer adamw"),
        ({"keep_steps": 3}, "keep_steps is 3.*keep_steps to 0"),
    ],
)
def test_what_cannot_be_had_with_8_bits_is_a_sentence(changes, words):
    values = {"dataset_id": "d", "weight_bits": 8, **changes}
    with pytest.raises(UserError, match=words):
        TrainConfig.from_dict(values)
    TrainConfig.from_dict({**values, "method": "adamw", "galore_optimizer": "adamw"})  # where it has no effect


def test_it_is_one_choice_that_brings_bases_in_4_bits_and_sums_off_a_gpu():
    config = TrainConfig.from_dict({"dataset_id": "d", "weight_bits": 8}).resolved()
    assert (config.quantises, config.basis_bits, config.offloads, config.saves_memory) == (True, 4, True, True)
    assert TrainConfig("d", weight_bits=8, basis_bits=8).resolved().basis_bits == 8
    plain_run = TrainConfig("d").resolved()
    assert (plain_run.quantises, plain_run.basis_bits, plain_run.offloads) == (False, 32, False)


def test_on_a_gpu_auto_is_pure_bf16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *args: True)
    for config, expected in ((TrainConfig("d", weight_bits=8), "bf16_pure"), (TrainConfig("d"), "bf16")):
        assert devices.precision_of(config, torch.device("cuda")) == expected
    assert devices.precision_of(TrainConfig("d", weight_bits=8, precision="fp32"), torch.device("cuda")) == "fp32"
