"""Small files of the three benchmarks' shapes, and a tiny model whose answers to them are no chance of one machine."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HELLASWAG = [
    {
        "activity_label": "Baking [header] bread",
        "ctx_a": "A man [substeps] kneads dough on a table.",
        "ctx_b": "he then" if place % 2 else "",
        "endings": [
            f"puts it into the oven [title] for {place} minutes.",
            "throws the ball.",
            "sleeps  in the car, and the long road goes on.",
            "smiles — très bien.",
        ],
        "label": str(place % 2) if place % 3 else place % 4,
    }
    for place in range(8)
]
ARC = [
    {
        "question": f"Which of these is larger than {place}?",
        "choices": {"text": [str(place + 3), "a stone", "the sea in summer"], "label": ["A", "B", "C"]},
        "answerKey": "AABAACAB"[place],
    }
    for place in range(8)
]
GSM8K = [
    {
        "question": f"Ann has {place} apples and buys 2,00{place}. How many?",
        "answer": f"She has them.\n#### 2,00{place}",
    }
    for place in range(4)
]


def write(folder) -> None:
    """One file of JSON lines each."""
    for name, rows in (("hellaswag", HELLASWAG), ("arc", ARC), ("gsm8k", GSM8K)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (Path(folder) / f"{name}.jsonl").write_text(text, encoding="utf-8")


def model_and_tokenizer():
    """A random Llama of two layers over bytes."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [("e", "r"), ("t", "h"), ("Ġ", "a"), ("1", "2"), ("#", "#")]
    vocabulary = {token: place for place, token in enumerate(["<end>", *letters, *map("".join, pairs)])}
    made = Tokenizer(models.BPE(vocabulary, pairs))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>", pad_token="<end>")
    torch.manual_seed(11)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=len(vocabulary), max_position_embeddings=512, eos_token_id=0, bos_token_id=None, pad_token_id=0,
        initializer_range=0.5,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.generation_config.eos_token_id = 0
    return model, tokenizer
