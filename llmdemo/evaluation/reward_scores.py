"""A finished reward model at work: one number for an answer to a prompt, higher for what people would prefer.

Prompts and answers are encoded as in training (data.encode); knows no data sets and no runs.
"""

from collections.abc import Sequence

import torch

from llmdemo.core.errors import UserError
from llmdemo.data.encode import Refused, encode_many
from llmdemo.decoding.engine import context_length
from llmdemo.evaluation.classifier import batches, forward
from llmdemo.models.load import load_classifier


class RewardScorer:
    """`scores(prompts, answers)` of the reward model in `entry`."""

    def __init__(self, entry, device: torch.device | None = None):
        """Raises UserError for a model that gives no single number."""
        if entry.task != "reward":
            raise UserError("err_no_reward_model_of_name", title=entry.title)
        self.entry = entry
        model, self._tokenizer = load_classifier(entry, dtype=torch.float32, device=device)
        self._model = model.eval()
        self._most = context_length(model) or 1_000_000

    @torch.inference_mode()
    def scores(self, prompts: Sequence[list[dict]], answers: Sequence[str]) -> list[float | None]:
        """A number for each answer to the turns before it; None where the chat template refuses the turns.

        A conversation that is longer than the model's context is read up to there, as in training.
        """
        records = (
            {"messages": turns, "chosen": text, "rejected": text} for turns, text in zip(prompts, answers, strict=True)
        )
        found: list[float | None] = []
        rows = []
        for row, _ in encode_many(records, self._tokenizer, self._most, refuse=False):
            rows.append([] if isinstance(row, Refused) else row.input_ids)
            found.append(None)
        order = sorted((place for place, row in enumerate(rows) if row), key=lambda place: len(rows[place]))
        for batch in batches(order, rows):
            logits = forward(self._model, [rows[place] for place in batch], self._tokenizer.pad_token_id or 0)
            for place, value in zip(batch, logits[:, 0].tolist(), strict=True):
                found[place] = value
        return found
