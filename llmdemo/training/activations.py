"""What the forward pass of a run keeps for the backward pass: activations, on the run's largest batch.

For the memory estimate (memory_estimate.py); activation_estimate.py asks the model. Knows nothing of optimizers.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from llmdemo.settings.training import TrainConfig, rows_of
from llmdemo.training.activation_estimate import saved_bytes
from llmdemo.training.loss import CHUNK_BYTES


@dataclass(frozen=True)
class Batch:
    """The largest batch of a run: records, tokens of the longest one, trained tokens in all."""

    records: int
    length: int
    trained: int
    shared: int = 0
    """Tokens with which all records begin and that go through the model once (loss.py)."""

    def at_once(self, config: TrainConfig) -> "Batch":
        """What of it goes through the model at once in a run of `config`: all, or a part (TrainConfig.pass_tokens)."""
        if config.pass_tokens is None:
            return self
        together = rows_of(config) // config.batch_size  # rows of an item, which stay together
        items = config.pass_tokens // (together * max(1, self.length))
        records = min(self.records, max(1, items) * together)
        return replace(self, records=records, trained=-(-self.trained * records // self.records))

    def is_one_of_several(self, config: TrainConfig) -> bool:
        """Whether a step has several forward and backward passes, of which this is what one of them takes."""
        in_parts = config.pass_tokens is not None and self.records < rows_of(config)
        return in_parts or config.gradient_accumulation_steps > 1


def logits_bytes(vocabulary: int, batch: Batch) -> int:
    """fp32 logits of the labels, their log-probabilities and their gradient."""
    return 3 * min(batch.trained * vocabulary * 4, CHUNK_BYTES)


_KEPT: dict[tuple, tuple[int, int, bool]] = {}
"""Activations by all that they depend on, the model's config and the shapes of what is trained included."""
_MOST_KEPT = 256


def activations_of(
    model: nn.Module, config: TrainConfig, batch: Batch, precision: str, device: torch.device
) -> tuple[int, int, bool]:
    """(bytes kept for the backward pass, bytes of one layer's, whether that is rough) of `model`, laid out without numbers."""
    about: Any = model.config
    known: tuple = type(model), about.to_json_string(), config.activation_checkpointing
    if config.method == "lora" or config.factor_rank:  # adapters and factors; the other methods share one figure
        known += tuple((name, p.shape, p.dtype, p.requires_grad) for name, p in model.named_parameters())
    key = (*known, batch, precision, device.type)
    if key not in _KEPT:
        if len(_KEPT) >= _MOST_KEPT:
            _KEPT.pop(next(iter(_KEPT)), None)
        _KEPT[key] = _activations(model, config, batch, precision, device)
    return _KEPT[key]


def _activations(
    model: nn.Module, config: TrainConfig, batch: Batch, precision: str, device: torch.device
) -> tuple[int, int, bool]:
    """(bytes kept for the backward pass, bytes of one layer's, whether that is rough).

    With checkpointing, one state a layer and one layer's all.
    """
    layers = max(1, getattr(model.config, "num_hidden_layers", 1))
    kept, rough = saved_bytes(model, batch.records, batch.length - batch.shared, precision, device)
    if batch.shared:
        kept += saved_bytes(model, 1, batch.shared, precision, device)[0] + _shared_states(model, batch, precision)
    if not config.activation_checkpointing:
        return kept, kept // layers, rough
    hidden = getattr(model.config, "hidden_size", 0)
    size = 2 if precision != "fp32" else 4
    return layers * batch.records * batch.length * hidden * size + kept // layers, kept // layers, rough


def _shared_states(model: nn.Module, batch: Batch, precision: str) -> int:
    """Keys and values that each row's attention sees of the beginning that all rows share, and the cache of all."""
    config = model.config
    heads = getattr(config, "num_attention_heads", 1)
    width = getattr(config, "head_dim", None) or getattr(config, "hidden_size", 0) // heads
    few = getattr(config, "num_key_value_heads", None) or heads
    values = batch.records * width * (heads * batch.shared + few * batch.length)
    return 2 * getattr(config, "num_hidden_layers", 1) * values * (2 if precision != "fp32" else 4)
