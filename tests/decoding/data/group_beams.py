"""Makes group_beams.json: diverse beam search as transformers 4 had it. Run by hand, in an
environment of its own: `pip install transformers==4.49.0 torch`, then `python tests/decoding/data/group_beams.py`.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, __version__

HERE = Path(__file__).resolve().parent
PROMPT = [5, 6, 7, 8]
CASES = [
    {"num_beams": beams, "num_beam_groups": groups, "diversity_penalty": penalty, **more}
    for beams, groups in ((4, 2), (4, 4), (6, 3), (6, 2))
    for penalty in (0.3, 1.0, 4.0)
    for more in (
        {"length_penalty": 1.0, "early_stopping": False},
        {"length_penalty": 2.0, "early_stopping": True},
        {"length_penalty": 0.0, "early_stopping": False, "repetition_penalty": 1.3},
    )
]


def model(seed: int, eos: list[int]):
    """A Llama whose weights depend on the seed and the names of its parameters alone, not on any version's way to begin."""
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=61,
        max_position_embeddings=128,
        eos_token_id=eos or None,
        bos_token_id=1,
        pad_token_id=0,
    )
    made = LlamaForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(made.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(torch.ones_like(parameter) if "norm" in name else 0.5 * noise)
    return made


def main() -> None:
    found = []
    for seed, eos in ((0, []), (1, []), (2, [11])):
        made = model(seed, eos)
        for case in CASES:
            out = made.generate(
                torch.tensor([PROMPT]),
                attention_mask=torch.ones(1, len(PROMPT), dtype=torch.int64),
                do_sample=False,
                max_new_tokens=10,
                num_return_sequences=case["num_beams"],
                output_scores=True,
                return_dict_in_generate=True,
                **case,
            )
            rows = [row[len(PROMPT) :] for row in out.sequences.tolist()]
            found.append({"seed": seed, "eos": eos, **case, "rows": rows, "scores": out.sequences_scores.tolist()})
    about = {"transformers": __version__, "cases": found}
    (HERE / "group_beams.json").write_text(json.dumps(about).replace("}, {", "},\n{") + "\n")


if __name__ == "__main__":
    sys.exit(main())
