"""Where a script says GaLoreAdamW(groups), ours gives galore_torch's steps."""

import pytest
import torch

from llmdemo.training.drop_in import GaLoreAdamW


def groups(model, **changes):
    linear = [m.weight for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in n]
    chosen = set(map(id, linear))
    galore = {"rank": 4, "update_proj_gap": 7, "scale": 0.7, "proj_type": "std"} | changes
    return [{"params": [p for p in model.parameters() if id(p) not in chosen]}, {"params": linear, **galore}]


def train(tools, model, optimizer, batches):
    for ids in batches:
        tools.backward(model, ids)
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("proj_type", ["std", "right", "full"])
def test_twenty_steps_are_those_of_galore_torch(llama64, tools, proj_type):
    import galore_torch

    ours, theirs, batches = llama64(), llama64(), tools.token_batches(20)
    options = {"lr": 1e-2, "weight_decay": 0.1}
    train(tools, ours, GaLoreAdamW(groups(ours, proj_type=proj_type), refresh="svd", **options), batches)
    plain = galore_torch.GaLoreAdamW(groups(theirs, proj_type=proj_type), no_deprecation_warning=True, **options)
    train(tools, theirs, plain, batches)
    assert tools.distance(ours, theirs) < 1e-5


def test_its_state_goes_through_a_file_and_on_bit_for_bit(llama64, tools, tmp_path):
    batches, whole, part = tools.token_batches(10), llama64(), llama64()
    train(tools, whole, GaLoreAdamW(groups(whole), lr=1e-2), batches)
    first = GaLoreAdamW(groups(part), lr=1e-2)
    train(tools, part, first, batches[:5])
    torch.save(first.state_dict(), tmp_path / "optimizer.pt")
    second = GaLoreAdamW(groups(part), lr=1e-2)
    second.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    train(tools, part, second, batches[5:])
    assert tools.distance(whole, part) == 0


def test_another_refresh_is_refused(llama64):
    with pytest.raises(ValueError, match="power, random, svd"):
        GaLoreAdamW(groups(llama64()), refresh="qr")
