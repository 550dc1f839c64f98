"""A language model from nothing: raw text as the task text learns it, on weights that nobody trained before."""

from collections.abc import Iterator

import torch
from transformers import PreTrainedModel

from llmdemo.settings.training import TrainConfig
from llmdemo.training.batches import RunData, TokenRows
from llmdemo.training.factors import factorise
from llmdemo.training.new_model import is_new
from llmdemo.training.objectives.base import Source
from llmdemo.training.objectives.chat import answered
from llmdemo.training.objectives.text import Text

TEMPERATURE = 0.6
"""At which samples are drawn: what a young model finds likeliest is the same few words for ever."""


class Pretrain(Text):
    """The task pretrain. Nothing was known before, so nothing is forgotten or replayed."""

    task = "pretrain"

    @classmethod
    def measured_beside(cls, source: Source, config: TrainConfig, tokenizer) -> dict[str, TokenRows]:
        return {}

    def answers(self) -> Iterator[dict]:
        for answer in answered(self.place, self.data.samples, TEMPERATURE):
            yield answer | {"temperature": TEMPERATURE}

    @classmethod
    def load(
        cls, entry, config: TrainConfig, data: RunData, dtype: torch.dtype, device: torch.device
    ) -> PreTrainedModel:
        model = super().load(entry, config, data, dtype, device)
        if config.factor_rank and is_new(entry.path):  # what was published holds whole matrices
            factorise(model, config.factor_rank, config.target_modules)
        return model
