"""Makes old_searches.json: contrastive search and DoLa as transformers 4 had them. Run by hand, in an environment of its
own: `pip install transformers==4.48.3 torch`, then `python tests/decoding/data/old_searches.py`.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, __version__

HERE = Path(__file__).resolve().parent
PROMPT = [5, 6, 7, 8]
CONTRASTIVE = [
    {"penalty_alpha": alpha, "top_k": k, **more}
    for alpha in (0.1, 0.6)
    for k in (2, 5)
    for more in ({}, {"repetition_penalty": 1.3})
]
DOLA = [{"dola_layers": layers, **more} for layers in ("low", "high") for more in ({}, {"repetition_penalty": 1.2})]


def model(seed: int, tied: bool):
    """A Llama of six layers whose weights depend on the seed and the names of its parameters alone."""
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=61,
        max_position_embeddings=128,
        eos_token_id=11,
        bos_token_id=1,
        pad_token_id=0,
        tie_word_embeddings=tied,
    )
    made = LlamaForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(made.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(torch.ones_like(parameter) if "norm" in name else 0.4 * noise)
    return made


def main() -> None:
    found = []
    for seed, tied in ((0, False), (1, False), (2, True)):
        made = model(seed, tied)
        for case in (*CONTRASTIVE, *DOLA):
            ids = torch.tensor([PROMPT])
            mask = torch.ones_like(ids)
            out = made.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=16, **case)
            found.append({"seed": seed, "tied": tied, **case, "tokens": out[0, len(PROMPT) :].tolist()})
    about = {"transformers": __version__, "cases": found}
    (HERE / "old_searches.json").write_text(json.dumps(about).replace("}, {", "},\n{") + "\n")


if __name__ == "__main__":
    sys.exit(main())
