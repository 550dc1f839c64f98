"""A layer's products, by whichever library multiplies them."""

import pytest
import torch
from torch.nn import functional

from llmdemo.training import TrainConfig, build_optimizer, products
from tests.conftest import make_llama


@pytest.fixture
def measured_anew():
    products.onednn_is_faster.cache_clear()
    yield
    products.onednn_is_faster.cache_clear()


@pytest.mark.parametrize("shape", [(1, 48), (2, 27, 576), (0, 48), (3, 0, 48)])
@pytest.mark.parametrize("transposed", [False, True], ids=["Linear", "Conv1D"])
def test_onednn_s_products_are_fp32_s_forwards_and_backwards(shape, transposed, by_onednn):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(shape), torch.randn(80, shape[-1]), torch.randn(80)
    if transposed:
        weight = weight.T.contiguous().T
    y = products.linear(x, weight, bias)
    exact = functional.linear(x.double(), weight.double(), bias.double())
    torch.testing.assert_close(y.double(), exact, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(products.times(y, weight).double(), y.double() @ weight.double(), atol=2e-3, rtol=1e-5)
    rounded = functional.linear(x.bfloat16().double(), weight.bfloat16().double(), bias.double())
    assert not x.numel() or (rounded - exact).abs().max() > 1e-2  # what bf16 units would have made of it


def test_the_same_product_is_the_same_to_the_bit_each_time(by_onednn):
    x, weight = torch.randn(216, 576), torch.randn(1536, 576)
    first = products.linear(x, weight), products.times(torch.ones(216, 1536), weight)
    for _ in range(3):
        again = products.linear(x.clone(), weight.clone()), products.times(torch.ones(216, 1536), weight.clone())
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_factors_may_lie_in_memory_in_any_way(by_onednn):
    weight = torch.randn(80, 96)
    for x in (
        torch.ones(()).expand(2, 5, 96),
        torch.randn(2, 5, 200)[..., 7:103],
        torch.randn(96, 5, 2).transpose(0, 2),
    ):
        torch.testing.assert_close(products.linear(x, weight), functional.linear(x.contiguous(), weight))
        part = weight[:, ::2]
        torch.testing.assert_close(products.linear(x[..., ::2], part), x[..., ::2].contiguous() @ part.T.contiguous())
        torch.testing.assert_close(products.times(x, weight.T), x.contiguous() @ weight.T.contiguous())


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "apart"])
def test_a_galore_step_is_that_of_torch_s_own_products(tied, tools, by_onednn, monkeypatch):
    """Loss, weights and norms after two steps, whose subspaces are found from gradients that both ways made."""
    results = []
    for faster in (True, False):
        monkeypatch.setattr(products, "onednn_is_faster", lambda faster=faster: faster)
        model = make_llama(64, tie_word_embeddings=tied).train()
        optimizer = build_optimizer(model, TrainConfig("x", method="galore", rank=8, learning_rate=1e-3, refresh="svd"))
        losses = []
        for ids in tools.token_batches(2):
            loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            losses.append(loss.item())
            optimizer.step()
        results.append((losses, dict(model.named_parameters())))
        assert bool(by_onednn) is faster
        by_onednn.clear()
    (losses, found), (own_losses, own) = results
    assert losses == pytest.approx(own_losses, rel=1e-5)
    for name, weight in own.items():
        torch.testing.assert_close(found[name], weight, atol=1e-5, rtol=1e-4)


def test_small_products_are_torch_s_own(monkeypatch):
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    monkeypatch.setattr(products, "_by_onednn", None)
    for shape in ((8, 32), (0, 2048)):
        x, weight = torch.randn(shape), torch.randn(2048, shape[-1])
        assert torch.equal(products.linear(x, weight), functional.linear(x, weight))
    with pytest.raises(TypeError):
        products.linear(torch.randn(3, 2048), torch.randn(2048, 2048))


def test_other_types_and_autocast_are_torch_s_own(by_onednn, monkeypatch):
    monkeypatch.setattr(products, "_by_onednn", None)
    for dtype in (torch.float64, torch.bfloat16):
        x, weight = torch.randn(3, 8, dtype=dtype), torch.randn(5, 8, dtype=dtype)
        assert torch.equal(products.linear(x, weight), functional.linear(x, weight))
        assert torch.equal(products.times(products.linear(x, weight), weight), functional.linear(x, weight) @ weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert products.linear(torch.randn(3, 8), torch.randn(5, 8)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("capability", "maker", "expected"),
    [
        ("AVX512", "vendor_id\t: AuthenticAMD", True),
        ("AVX512", "vendor_id\t: GenuineIntel", False),
        ("AVX2", "vendor_id\t: AuthenticAMD", False),
    ],
)
def test_onednn_is_taken_on_amd_with_avx_512_alone(capability, maker, expected, monkeypatch, tmp_path, measured_anew):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\n{maker}\nflags\t\t: fpu\n")
    monkeypatch.setattr(products, "_CPU_INFO", info)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(products, "_is_right", lambda: True)
    assert products.onednn_is_faster() is expected


@pytest.mark.parametrize("wrong", [RuntimeError, AttributeError, None], ids=["fails", "missing", "wrong"])
def test_a_library_that_fails_or_multiplies_wrongly_is_not_taken(wrong, monkeypatch):
    def broken(x, weight, bias):
        if wrong:
            raise wrong
        return functional.linear(x, weight, bias) * 1.001

    monkeypatch.setattr(products, "_by_onednn", broken)
    assert not products._is_right()


def test_without_a_file_about_the_processor_python_is_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(products, "_CPU_INFO", tmp_path / "missing")
    monkeypatch.setattr(products.platform, "processor", lambda: "AMD64 Family 25 Model 17 Stepping 1, AuthenticAMD")
    assert "AuthenticAMD" in products._vendor()
