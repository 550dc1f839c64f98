"""`python -m llmdemo.models.dequantise FILE.gguf FOLDER`: a GGUF file becomes a folder of bf16 safetensors.

In a process of its own: it takes half a minute of one core and a gigabyte, which the page must not feel.
"""

import sys
from pathlib import Path


def dequantise(gguf: Path, folder: Path) -> None:
    """Writes model, tokenizer and chat template of `gguf` into `folder`, as save_pretrained does."""
    import torch

    from llmdemo.models.load import load_gguf

    model, tokenizer = load_gguf(gguf)
    # The packed weights' description would make transformers look for a quantiser when the folder is loaded.
    model.config.__dict__.pop("quantization_config", None)
    model.hf_quantizer = None
    model.config._name_or_path = ""
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    dequantise(Path(sys.argv[1]), Path(sys.argv[2]))
