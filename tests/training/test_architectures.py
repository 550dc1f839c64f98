"""Tiny random models of many architectures: each is predicted and trained, or refused before the first step."""

import signal

import pytest
import torch
import transformers

from llmdemo.core.events import read_events
from llmdemo.models.catalog import ModelEntry
from llmdemo.training import TrainConfig, activation_estimate, activations, memory_estimate, worker
from llmdemo.training import device as devices
from llmdemo.training.objectives.base import Objective
from llmdemo.training.objectives.chat import Causal
from tests.conftest import own_model

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 256}
SHORT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
GATED = {**SIZES, "intermediate_size": 64, "num_key_value_heads": 2}
CONFIGS = {
    "opt": {**SIZES, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "gpt_neo": {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]],
                "max_position_embeddings": 256, "window_size": 16},
    "gptj": {**SHORT, "rotary_dim": 4},
    "falcon": SIZES,
    "gemma2": {**GATED, "head_dim": 8},
    "qwen2": GATED,
    "mistral": GATED,
    "phi": {**SIZES, "intermediate_size": 64},
    "gpt_neox": {**SIZES, "intermediate_size": 64},
    "gpt2": SHORT,
    "mixtral": {**GATED, "num_local_experts": 2},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
}  # fmt: skip
EAGER = ("bloom", "gpt_neo", "gptj", "gemma2", "mamba")
"""Those that transformers gives no fused attention: matrices of probabilities are kept."""
UNKNOWN = [("mixtral", "bf16")]
"""Whose rough figure was only compared with real ones in fp32."""
BATCH = memory_estimate.Batch(records=4, length=60, trained=100)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory, tiny_tokenizer):
    """The folder of a tiny random model of an architecture, made once."""
    root = tmp_path_factory.mktemp("architectures")

    def make(name):
        folder = root / name
        if not folder.is_dir():
            ids = {"vocab_size": len(tiny_tokenizer), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
            config = transformers.AutoConfig.for_model(name, **CONFIGS[name], **ids)
            torch.manual_seed(0)
            transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
            tiny_tokenizer.save_pretrained(folder)
            own_model(folder)
        return folder

    return make


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Nothing is written at evaluations, and signals stay as they were."""
    monkeypatch.setattr(Causal, "answers", Objective.answers)
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def predicted(folder, **changes):
    entry = ModelEntry("m", "M", "folder", folder, task="chat")
    return memory_estimate.predict(entry, TrainConfig("x", rank=4, **changes), BATCH, CPU)


def saved_by(model, precision: str) -> int:
    """Bytes that a real forward pass saves, the weights apart."""
    own = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers())}
    seen, alive = {}, []

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            seen[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    ids = torch.zeros((BATCH.records, BATCH.length), dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[0, 50:] = 0
    with devices.autocast(precision, ids.device), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        getattr(model, model.base_model_prefix).train()(input_ids=ids, attention_mask=mask, use_cache=False)
    return sum(seen.values())


@pytest.mark.parametrize(
    ("name", "precision"),
    [(name, kind) for name in CONFIGS for kind in ("fp32", "bf16") if (name, kind) not in UNKNOWN],
)
@pytest.mark.slow
def test_the_activations_of_each_architecture_are_predicted(folder_of, name, precision):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder_of(name), dtype=torch.float32)
    found, real = predicted(folder_of(name), precision=precision), saved_by(model, precision)
    assert found.rough is (name == "mixtral"), "experts are chosen by number, which an outline does not have"
    assert found.weights == 4 * sum(p.numel() for p in model.parameters())
    if name in EAGER:
        assert found.activations == real
    # A mask that PyTorch makes for its CPU kernel is not counted, which shows where matrices are tiny.
    assert found.activations == pytest.approx(real, rel=0.5 if found.rough else 0.25)


def test_autocast_is_not_taken_for_fp32(folder_of):
    folder = folder_of("qwen2")
    mixed, whole, half = (predicted(folder, precision=kind).activations for kind in ("bf16", "fp32", "bf16_pure"))
    assert 1.1 * half < mixed < 0.9 * whole


@pytest.mark.parametrize("method", ["adamw", "lora"])
@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "mamba"])
@pytest.mark.slow
def test_each_architecture_is_trained_by_each_method(run_on, folder_of, name, method):
    """GaLore, on more of them: test_families.py."""
    run_dir = run_on(folder_of(name), method=method, max_steps=2, rank=4, eval_records=2)
    worker.main(run_dir)
    events, _ = read_events(run_dir / "events.jsonl")
    assert events[-1]["state"] == "completed", events[-1]
    assert [event["step"] for event in events if event["type"] == "step"] == [1, 2]
    assert all(event["predicted"]["total"] > 0 for event in events if event["type"] == "ledger")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16_pure"])
def test_where_no_forward_pass_works_on_shapes_a_formula_gives_a_rough_figure(folder_of, monkeypatch, precision):
    exact = predicted(folder_of("qwen2"), precision=precision)
    monkeypatch.setattr(activations, "_KEPT", {})
    monkeypatch.setattr(activation_estimate, "_saved_bytes", lambda *_: 1 / 0)
    rough = predicted(folder_of("qwen2"), precision=precision)
    assert rough.rough and not exact.rough
    assert rough.activations == pytest.approx(exact.activations, rel=0.5)
    assert (rough.weights, rough.moments, rough.subspace) == (exact.weights, exact.moments, exact.subspace)


def test_methods_share_what_the_model_was_asked_and_another_model_is_asked_anew(folder_of, monkeypatch):
    asked, plain = [], activation_estimate._saved_bytes
    monkeypatch.setattr(activations, "_KEPT", {})
    monkeypatch.setattr(activation_estimate, "_saved_bytes", lambda *given: asked.append(1) or plain(*given))
    same = [predicted(folder_of("qwen2"), method=name, precision="bf16") for name in ("galore", "adamw", "galore")]
    assert len(asked) == 1 and len({found.activations for found in same}) == 1
    for name, precision, again in (("mistral", "bf16", False), ("qwen2", "fp32", False), ("qwen2", "bf16", True)):
        assert predicted(folder_of(name), precision=precision, activation_checkpointing=again).activations
    assert len(asked) == 4


@pytest.mark.parametrize("method", ["galore", "adamw", "lora"])
def test_a_model_that_cannot_be_laid_out_is_guessed_from_its_number_of_weights(folder_of, monkeypatch, method):
    exact = predicted(folder_of("qwen2"), method=method)
    monkeypatch.setattr(memory_estimate, "lay_out", lambda *_: 1 / 0)
    rough = predicted(folder_of("qwen2"), method=method)
    assert rough.rough and rough.weights == pytest.approx(exact.weights, rel=0.3)
    assert exact.moments / 2 < rough.moments < exact.moments * 2
    assert rough.total == pytest.approx(exact.total, rel=0.05), "most of it is the libraries'"


def test_a_run_whose_memory_cannot_be_predicted_goes_on_and_says_that_it_is_rough(run_on, folder_of, monkeypatch):
    monkeypatch.setattr(memory_estimate, "lay_out", lambda *_: 1 / 0)
    run_dir = run_on(folder_of("qwen2"), max_steps=1, rank=4, eval_records=2)
    assert worker.main(run_dir) == 0
    told = [event for event in read_events(run_dir / "events.jsonl")[0] if event["type"] == "ledger"]
    assert all(event["rough"] for event in told) and told[-1]["measured"]["total"] > 0


def test_adapters_that_a_model_cannot_take_are_refused_with_what_can_be_done(run_on, folder_of):
    run_dir = run_on(folder_of("mamba"), method="lora", max_steps=2, rank=4)
    assert worker.main(run_dir) == 1
    events, _ = read_events(run_dir / "events.jsonl")
    assert events[-1]["reason"] == "bad_config" and "LoRA cannot adapt this model" in events[-1]["message"]
    assert not any(event["type"] == "step" for event in events)


@pytest.mark.parametrize("method", ["galore", "lora"])
def test_activations_are_computed_again_where_that_is_asked_for(run_on, folder_of, method):
    run_dir = run_on(
        folder_of("opt"), method=method, max_steps=1, rank=4, eval_records=2, activation_checkpointing=True
    )
    assert worker.main(run_dir) == 0


@pytest.mark.parametrize("asked", [True, False])
def test_a_model_that_cannot_recompute_is_refused_only_where_that_was_asked_for(run_on, folder_of, monkeypatch, asked):
    kind = type(transformers.AutoModelForCausalLM.from_pretrained(folder_of("phi")))
    monkeypatch.setattr(kind, "supports_gradient_checkpointing", False)
    if not asked:
        plain = memory_estimate.report
        monkeypatch.setattr(memory_estimate, "report", lambda *given: plain(*given) | {"fits": False})
    run_dir = run_on(folder_of("phi"), max_steps=1, rank=4, eval_records=2, activation_checkpointing=asked)
    assert worker.main(run_dir) == int(asked)
    end = read_events(run_dir / "events.jsonl")[0][-1]
    assert ("cannot recompute its activations" in end["message"]) is asked
