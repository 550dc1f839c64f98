"""The records of tasks that learn from what is liked or rewarded, and what is computed on them: a reward model, KTO, learning
from a checker. Loads the models; knows nothing of runs and pages.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from llmdemo.core.errors import UserError
from llmdemo.data.encode import NOT_TRAINED, Encoded, encode_preference, encode_prompt
from llmdemo.data.render import conversation
from llmdemo.decoding.backend import fresh_weights
from llmdemo.decoding.draws import Sampler
from llmdemo.decoding.prompts import written
from llmdemo.learn import numbers
from llmdemo.learn.tasks import TASKS, Chat, Pairs, answers_of, how
from llmdemo.models.catalog import ModelEntry
from llmdemo.models.load import load_causal, load_classifier, load_classifier_tokenizer
from llmdemo.settings.training import TrainConfig
from llmdemo.training.objectives.base import end_ids
from llmdemo.training.objectives.kto import items_of, matched
from llmdemo.training.objectives.policy import asked_and_right, reward_model_folder
from llmdemo.training.objectives.reward import LABELS, RewardModel, score
from llmdemo.training.objectives.writing import ended
from llmdemo.training.rewards import asks_model, learned, reward_of

_ITEMS = 6
"""Answers of which KTO's estimate of the KL divergence is made: the record's own, and those of its neighbours."""
MOST_DRAWN, _MOST_NEW = 8, 64
"""Answers that are drawn to a prompt, and tokens of each: what a visitor can wait for."""


class Reward(Pairs):
    def load_tokenizer(self, entry: ModelEntry):
        return load_classifier_tokenizer(entry)

    def one(self, record: dict, entry: ModelEntry, large: int) -> dict:
        torch.manual_seed(self._settings.seed)  # the head that a run would begin with
        model, tokenizer = load_classifier(entry, LABELS, device=how(entry, large)["device"])
        found = []
        for row in self.rows(record, tokenizer):
            ids = torch.tensor([row.input_ids], device=model.device)
            with torch.no_grad():
                found.append(score(model, ids, torch.ones_like(ids)).item())
        return numbers.reward(*found) | {"answers": answers_of(record)}


class Kto(Pairs):
    """An item is one answer; the record's own come first."""

    def rows(self, record: dict, tokenizer) -> list[Encoded]:
        return [rows[0] for rows in self._encoded([*self._items(record, 0)], tokenizer)]

    def text(self, record: dict) -> str:
        turns = conversation(record)
        return str(turns[-1 if "chosen" in record else -2]["content"])[:400] if turns else ""

    def compute(
        self, record: dict, before: ModelEntry, after: ModelEntry | None, large: int
    ) -> tuple[dict, dict | None]:
        own = len([*self._items(record, 0)])
        items = matched(islice(self._items(record, _ITEMS), max(own, _ITEMS)))
        reference = self._log_probabilities(items, before, large)
        policy = self._log_probabilities(items, after, large) if after else None

        def told(found: list[tuple[float, float]]) -> dict:
            strayed = [ours[1] - theirs[1] for ours, theirs in zip(found, reference, strict=True)]
            ours, theirs = ([each[0] for each in side[:own]] for side in (found, reference))
            marks = [item["desired"] for item in items[:own]]
            answers = [item["chosen"][:300] for item in items[:own]]
            return numbers.kto(ours, theirs, marks, strayed, self._settings) | {"answers": answers}

        return told(reference), told(policy) if policy else None

    def _items(self, record: dict, more: int) -> Iterator[dict]:
        """The record's items, then those of `more` others."""
        own = int(record["index"])
        others = (index for index in range(len(self._records)) if index != own)
        return items_of(self._records, [own, *islice(others, more)])

    def _encoded(self, items: list[dict], tokenizer) -> list[tuple[Encoded, Encoded]]:
        alone = [{**item, "rejected": item.get("rejected", item["chosen"])} for item in items]
        return [encode_preference(item, tokenizer, self._most) for item in alone]

    def _log_probabilities(self, items: list[dict], entry: ModelEntry, large: int) -> list[tuple[float, float]]:
        """Of each item: log p of its answer, and of an answer to another prompt."""
        model, tokenizer = load_causal(entry, **how(entry, large))
        rows = self._encoded(items, tokenizer)
        found = [[numbers.answer_log_probability(model, row) for row in pair] for pair in rows]
        return [(own, other) for own, other in found]


class Checked(Chat):
    """A prompt, to which the model before draws answers; the one after says how likely these are to it."""

    def length(self, record: dict, entry: ModelEntry) -> int:
        try:
            right = self._right(record)
            known = right and reward_of(self._settings)("", right, 0, 0.0) is not None
            return len(self._prompt(record, self.tokenizer(entry))) if known else 0
        except UserError:
            return 0

    def compute(
        self, record: dict, before: ModelEntry, after: ModelEntry | None, large: int
    ) -> tuple[dict, dict | None]:
        config = self._settings
        model, tokenizer = load_causal(before, **how(before, large))
        prompt = self._prompt(record, tokenizer)
        answers = _drawn(model, tokenizer, prompt, config)
        rows = [Encoded(prompt + ids, [NOT_TRAINED] * len(prompt) + ids) for ids in answers]
        texts = [tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) for ids in answers]
        rewards = self._rewards(record, prompt, answers, texts, tokenizer)
        counts = [True] * len(answers)
        if config.policy_loss == "rejection":
            counts = learned(texts, [len(ids) for ids in answers], rewards, config.pass_reward)
        first = [numbers.log_probabilities(model, row, config.rollout_temperature) for row in rows]

        def told(now: list[Tensor]) -> dict:
            found = numbers.policy(now, first, rewards, counts, config)
            return found | {"answers": [text[:300] for text in texts], "expected": self._right(record)[0][:300]}

        if after is None:
            return told(first), None
        model, _ = load_causal(after, **how(after, large))
        return told(first), told([numbers.log_probabilities(model, row, config.rollout_temperature) for row in rows])

    def _prompt(self, record: dict, tokenizer) -> list[int]:
        return encode_prompt(asked_and_right(record)[0], tokenizer)[-self._most :]

    def _right(self, record: dict) -> list[str]:
        return asked_and_right(record)[1]

    def _rewards(self, record: dict, prompt: list[int], answers: list[list[int]], texts, tokenizer) -> list[float]:
        reward, right, scores = reward_of(self._settings), self._right(record), [0.0] * len(answers)
        if asks_model(self._settings):
            folder = reward_model_folder(self._home, self._settings.reward_model_id)
            scores = RewardModel(folder, tokenizer, torch.device("cpu"))([prompt + ids for ids in answers])
        pairs = zip(texts, answers, scores, strict=True)
        return [reward(text, right, len(ids), value) or 0.0 for text, ids, value in pairs]


def _drawn(model, tokenizer, prompt: list[int], config: TrainConfig) -> list[list[int]]:
    """Answers as a run draws them, the token that ends each included."""
    count, most = min(config.rollouts, MOST_DRAWN), min(config.max_new_tokens, _MOST_NEW)
    choose = Sampler([[config.seed, 0, 0, number] for number in range(count)], config.rollout_temperature, most)
    more: dict[str, Any] = {"end_ids": end_ids(model, tokenizer), "weights": fresh_weights(model), "copies": count}
    return ended(written(model, [prompt], most, tokenizer.pad_token_id or 0, choose, **more), choose)


ALL_TASKS = {**TASKS, "reward": Reward, "kto": Kto, "grpo": Checked}
