"""Tiny random models of each architecture that GGUF is written for, with a tokenizer, as folders."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "initializer_range": 0.15,
}
_GEMMA = {"head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 64, "hidden_activation": "gelu_pytorch_tanh"}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}
MODELS = {
    "llama": ("llama", {"tie_word_embeddings": True}),
    "llama with a head of its own": ("llama", {"tie_word_embeddings": False, "num_key_value_heads": 4}),
    "llama 3": ("llama", {"rope_parameters": {**_LLAMA3, "original_max_position_embeddings": 64}}),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 128}),
    "gemma": ("gemma", {"head_dim": 16, "hidden_activation": "gelu_pytorch_tanh"}),
    "gemma2": ("gemma2", _GEMMA),
    "gemma3": ("gemma3_text", {**_GEMMA, "num_hidden_layers": 6}),
    "phi3": ("phi3", {}),
}


def make(name: str, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    """Saves the model called `name` and the tokenizer to `folder`. Norms and biases are random too, not ones and zeros."""
    kind, changes = MODELS[name]
    torch.manual_seed(3)
    config = CONFIG_MAPPING[kind](vocab_size=len(tokenizer), **{**SIZES, **changes})
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for each in model.parameters():
            if each.dim() == 1:
                each.add_(0.2 * torch.randn_like(each))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
