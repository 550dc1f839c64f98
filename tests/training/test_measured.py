"""What an optimizer holds, counted."""

from llmdemo.training.measured import optimizer_bytes


def numbers(model) -> int:
    return sum(p.numel() for p in model.parameters())


def test_adamw_holds_two_numbers_a_weight_and_a_counter_a_tensor(llama64, tools):
    model = llama64()
    optimizer = tools.train(model, tools.make_config(method="adamw"), tools.token_batches(1))
    held = optimizer_bytes(optimizer)
    counters = 4 * len(list(model.parameters()))
    assert held == {"optimizer": 2 * 8 * numbers(model) + counters, "moments": held["optimizer"], "subspace": 0}


def test_galore_holds_two_numbers_a_direction_and_its_bases(llama64, tools):
    model = llama64()
    optimizer = tools.train(model, tools.make_config(rank=4), tools.token_batches(8))
    held = optimizer_bytes(optimizer)
    projected = [slot.weight for slot in optimizer.slots]
    rest = numbers(model) - sum(weight.numel() for weight in projected)
    low = sum(4 * max(weight.shape) for weight in projected)
    assert held["subspace"] == 8 * sum(4 * min(weight.shape) for weight in projected)
    assert 0 <= held["moments"] - 2 * 8 * (low + rest) <= 8 * len(list(model.parameters()))
    assert held["optimizer"] < 2 * 8 * numbers(model)


def test_before_the_first_step_nothing_is_held(llama64, tools):
    from llmdemo.training import build_optimizer

    assert optimizer_bytes(build_optimizer(llama64(), tools.make_config(method="adamw")))["optimizer"] == 0
