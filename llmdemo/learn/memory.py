"""What a step takes for AdamW, LoRA and GaLore at any size up to 70B, by the memory estimate's own formulas.

Sizes are those of models that can be made from nothing, and Llama's above them. Knows no page.
"""

import functools

import torch

from llmdemo.core.errors import UserError
from llmdemo.models import scratch
from llmdemo.settings.training import METHODS, TrainConfig
from llmdemo.training.activations import Batch
from llmdemo.training.memory_estimate import predict

SIZES = ("60M", "130M", "350M", "1B", "3B", "7B", "13B", "34B", "70B")
RANKS = (4, 16, 64, 128, 256, 512, 1024)
_LENGTH, _VOCABULARY = 512, 32_000
_SHOWN = ("weights", "gradients", "subspace", "moments", "activations")


@functools.lru_cache(maxsize=len(SIZES) * len(METHODS) * len(RANKS))
def blocks(size: str, method: str, rank: int) -> dict:
    """{"parameters", "parts": {part: bytes}, "total"}: weights in bf16, gradients, GaLore's bases, both moments, and what
    one record of 512 tokens keeps with activation checkpointing.

    total: their sum; the runtime and short-lived results, which a lesson leaves out, are in the estimate of a run. Raises
    UserError for a size, method or rank that is not offered.
    """
    for name, value, known in (("size", size, SIZES), ("method", method, METHODS), ("rank", rank, RANKS)):
        if value not in known:
            raise UserError("err_lesson_choice", name=name, value=repr(str(value)[:40]), names=list(known))
    entry = scratch.entry_of(size, _VOCABULARY, _LENGTH)
    config = TrainConfig.from_dict(
        {
            "dataset_id": "none",
            "task": "text",
            "method": method,
            "rank": rank,
            "precision": "bf16_pure",
            "activation_checkpointing": True,
            "max_length": _LENGTH,
            "batch_size": 1,
        }
    )
    ledger = predict(entry, config, Batch(1, _LENGTH, _LENGTH), torch.device("cpu"))
    parts = {part: getattr(ledger, part) for part in _SHOWN}
    return {"parameters": entry.parameters, "parts": parts, "total": sum(parts.values())}
