"""Every family of causal models, tiny and random: it is trained, compared as generate decodes, and evaluated."""

import warnings
from types import SimpleNamespace

import pytest
import torch
import transformers

from llmdemo.core import store
from llmdemo.core.events import read_events
from llmdemo.data.ingest import add_dataset
from llmdemo.decoding import DecodeSettings, LaneSettings, decode_lanes, describe
from llmdemo.decoding.past import AGAIN, CACHE, COPIES, way_of
from llmdemo.decoding.prompts import greedy
from llmdemo.evaluation.likelihood import row_losses
from llmdemo.models.load import load_causal
from llmdemo.settings import Settings
from llmdemo.training import worker
from llmdemo.training.objectives.base import Objective
from llmdemo.training.objectives.chat import Causal
from tests.conftest import own_model

BASE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "intermediate_size": 64, "max_position_embeddings": 256}  # fmt: skip
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
MOE = {**BASE, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16, "decoder_sparse_step": 1,
       "shared_expert_intermediate_size": 16}  # fmt: skip
DELTA = {"layer_types": ["linear_attention", "full_attention"], "linear_key_head_dim": 8, "linear_value_head_dim": 8,
         "linear_num_key_heads": 2, "linear_num_value_heads": 2}  # fmt: skip
SSM = {"mamba_d_state": 8, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_expand": 2,
       "mamba_chunk_size": 8}  # fmt: skip
FAMILIES = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3"), BASE),
    **dict.fromkeys(("gpt_neox", "stablelm", "starcoder2", "olmo", "olmo2", "granite", "cohere", "mixtral"), BASE),
    "gpt2": GPT,
    "openai-gpt": GPT,
    "gptj": {**GPT, "rotary_dim": 4},
    "gpt_neo": {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]],
                "max_position_embeddings": 256, "window_size": 16},
    "opt": {**BASE, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "falcon": SMALL,
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 256},
    "xglm": {"d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 64, "max_position_embeddings": 256},
    "qwen2_moe": MOE,
    "lfm2": {**BASE, "layer_types": ["conv", "full_attention"]},
    "qwen3_next": {**MOE, **DELTA},
    "qwen3_5_text": {**BASE, **DELTA},
    "granitemoehybrid": {**BASE, **SSM, "layer_types": ["mamba", "attention"], "num_local_experts": 2,
                         "num_experts_per_tok": 1, "shared_intermediate_size": 16},
    "bamba": {**BASE, **SSM, "attn_layer_indices": [1]},
    "falcon_h1": {**BASE, **SSM, "mamba_d_ssm": 64},
    "jamba": {**BASE, "attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2, "mamba_d_state": 4,
              "expert_layer_period": 2, "expert_layer_offset": 1, "use_mamba_kernels": False},
    "mamba": {**SMALL, "state_size": 4},
    "mamba2": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "num_heads": 8, "head_dim": 8,
               "n_groups": 1, "chunk_size": 8},
    "zamba2": {**BASE, "mamba_d_state": 8, "n_mamba_heads": 4, "mamba_headdim": 16, "chunk_size": 8,
               "layers_block_type": ["mamba", "hybrid"], "num_mem_blocks": 1, "attention_head_dim": 16,
               "attention_hidden_size": 64},
    "rwkv": {**SMALL, "attention_hidden_size": 32, "intermediate_size": 64, "context_length": 256},
    "recurrent_gemma": {**BASE, "lru_width": 32, "attention_window_size": 32, "block_types": ["recurrent", "attention"]},
    "xlstm": {"hidden_size": 32, "num_hidden_layers": 2, "num_heads": 4, "qk_dim_factor": 1.0, "chunk_size": 8},
    "minimax": {**BASE, "num_local_experts": 2, "num_experts_per_tok": 1, "block_size": 8,
                "layer_types": ["linear_attention", "full_attention"]},
}  # fmt: skip
WAYS = {"minimax": COPIES, "openai-gpt": AGAIN, "rwkv": AGAIN, "recurrent_gemma": AGAIN, "xlstm": AGAIN}
"""Where a cache does not serve several rows by itself: transformers' own generate is wrong there, or has no cache."""
BEAMLESS = ("rwkv",)
"""generate refuses beams."""
LANES = (LaneSettings("greedy", "greedy"), LaneSettings("beam", "beam", num_beams=3))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """(home, the id of a few sums in it)."""
    home = store.Home(tmp_path_factory.mktemp("families")).prepare()
    path = home.root / "sums.jsonl"
    rows = (f'{{"instruction": "Add {n} and {n}.", "output": "{n} + {n} = {2 * n}"}}\n' for n in range(12))
    path.write_text("".join(rows))
    return home, add_dataset(home, Settings(home=home.root, min_free_bytes=0), path, "sums").dataset_id


def random_model(folder, name, tokenizer):
    ids = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(name, **FAMILIES[name], **ids)
    )
    for parameter in model.parameters():
        if parameter.dim() > 1:  # enough that the likeliest token is no matter of rounding
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    own_model(folder)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.slow
def test_each_family_is_trained_compared_and_evaluated(place, name, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr(Causal, "answers", Objective.answers)
    home, dataset_id = place
    run_dir = home.runs / store.new_id("run")
    random_model(run_dir / "base", name, tiny_tokenizer)
    config = {"dataset_id": dataset_id, "model_id": str(run_dir / "base"), "rank": 4, "max_steps": 1, "batch_size": 2}
    store.write_json(run_dir / "config.json", {**config, "eval_records": 1, "eval_steps": 0, "warmup_steps": 0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' own, of kernels that are not here
        done = worker.main(run_dir)
        events, _ = read_events(run_dir / "events.jsonl")
        assert done == 0 and [event["step"] for event in events if event["type"] == "step"] == [1], events[-1]
        assert all(event["predicted"]["total"] > 0 for event in events if event["type"] == "ledger")
        model, _ = load_causal(run_dir / "model", torch.float32, "cpu")
        compared_as_generate_decodes(model, name)
        evaluated_as_alone(model)


def generated(model, prompt, name, **how):
    # Without a cache where the family's own is not right in generate either.
    cached = way_of(model) == CACHE
    ids = torch.tensor([prompt])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False, use_cache=cached,
                         pad_token_id=2, eos_token_id=2, **how)  # fmt: skip
    found = out[0, len(prompt) :].tolist()
    return found[: found.index(2) + 1] if 2 in found else found


def compared_as_generate_decodes(model, name):
    assert way_of(model) == WAYS.get(name, CACHE)
    assert bool(describe(model)["note"]) is (name in WAYS), "who waits longer is told why"
    prompt = [5, 9, 77, 120, 33, 8, 250]
    steps = decode_lanes(model, prompt, DecodeSettings(max_new_tokens=6, lanes=LANES), eos_token_ids=[2])
    got = {lane: list(result.token_ids) for step in steps for lane, result in step.results.items()}
    assert got["greedy"] == generated(model, prompt, name)
    if name not in BEAMLESS:
        assert got["beam"] == generated(model, prompt, name, num_beams=3)


def evaluated_as_alone(model):
    prompts = [[5, 9, 77], [12, 40, 41, 99, 7, 8, 200], [300, 4, 4, 9, 1]]
    together = greedy(model, prompts, 4, pad_id=2)
    assert together == [greedy(model, [prompt], 4, pad_id=2)[0] for prompt in prompts]
    rows = [SimpleNamespace(input_ids=ids, labels=[-100, *ids[1:]]) for ids in prompts]
    for (loss, count), ids in zip(row_losses(model, rows, 2), prompts, strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, :-1].float()
        want = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum").item()
        assert count == len(ids) - 1 and loss == pytest.approx(want, rel=1e-4)


def test_experts_that_adapters_cannot_reach_are_told(place, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr(Causal, "answers", Objective.answers)
    home, dataset_id = place
    told = {}
    for method in ("lora", "galore", "adamw"):
        run_dir = home.runs / store.new_id("run")
        random_model(run_dir / "base", "mixtral", tiny_tokenizer)
        config = {"dataset_id": dataset_id, "model_id": str(run_dir / "base"), "method": method, "rank": 4}
        store.write_json(run_dir / "config.json", {**config, "max_steps": 1, "batch_size": 2, "eval_records": 1})
        assert worker.main(run_dir) == 0
        events = read_events(run_dir / "events.jsonl")[0]
        told[method] = [e["message"] for e in events if e["type"] == "note" and "experts" in e["message"]]
    assert "they stay as they are" in told["lora"][0] and "trained as they are" in told["galore"][0]
    assert not told["adamw"]
