"""Rounds of drawn answers: what the model answers to a step's prompts, each with its reward and its advantage.

A draw depends on the weights, the seed, the step, the prompt and the answer's number alone, so a resumed run draws the same.
Knows no loss; log-probabilities are asked of who has the model.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
import torch
from torch import Tensor

from llmdemo.core.sentences import say
from llmdemo.models.load import positions
from llmdemo.training.batches import NOT_TRAINED, RunData, TokenRows
from llmdemo.training.halt import Halt
from llmdemo.training.objectives.base import Place
from llmdemo.training.objectives.policy_losses import advantages
from llmdemo.training.objectives.reward import RewardModel
from llmdemo.training.objectives.writing import draw
from llmdemo.training.rewards import asks_model, finite, learned, reward_of

MOST_FLAT = 8
"""Rounds in a row in which all answers to each prompt get the same reward, after which a run ends."""
_AT_ONCE, _ON_GPU = 128, 512
"""Answers that are drawn in lock step; on a GPU, where a step of more rows takes as long, if there is much room for them."""
_SHOWN = 8
_NO_VALUES = np.zeros(0, np.float32)


@dataclass
class Answer:
    """One drawn answer."""

    ids: list[int]
    """With the token that ended it."""
    reward: float = 0.0
    advantage: float = 0.0
    counts: bool = True
    """Whether it is learned from; of rejection, see rewards.learned."""
    old: np.ndarray = field(default_factory=lambda: _NO_VALUES)
    """[ids] log-probabilities by the policy that drew it, where several steps learn from a round."""
    reference: np.ndarray = field(default_factory=lambda: _NO_VALUES)
    """[ids] by the model that training started from."""
    text: str = ""


@dataclass
class Round:
    """The answers to the prompts of some steps."""

    steps: tuple[int, ...]
    answers: dict[int, list[Answer]]
    """By item."""
    again: int = 0
    """Prompts whose answers were drawn again, as all of them got the same reward."""

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint; `of_tensors` takes them back."""
        known = [(item, answer) for item, answers in self.answers.items() for answer in answers]
        joined = {
            name: torch.from_numpy(np.concatenate([getattr(answer, name) for _, answer in known]).astype(np.float32))
            for name in ("old", "reference")
        }
        numbers = [[item, len(a.ids), a.counts, len(a.old), len(a.reference)] for item, a in known]
        return joined | {
            "steps": torch.tensor(self.steps),
            "numbers": torch.tensor(numbers, dtype=torch.long),
            "ids": torch.tensor([token for _, answer in known for token in answer.ids], dtype=torch.long),
            "values": torch.tensor([[answer.reward, answer.advantage] for _, answer in known], dtype=torch.float64),
        }

    @classmethod
    def of_tensors(cls, tensors: dict[str, Tensor]) -> "Round | None":
        """The round, without texts; None for {}."""
        if not tensors:
            return None
        places = dict.fromkeys(("ids", "old", "reference"), 0)
        answers: dict[int, list[Answer]] = {}

        def part(name: str, count: int) -> Tensor:
            begin = places[name]
            places[name] += count
            return tensors[name][begin : begin + count]

        for (item, ids, counts, old, reference), (reward, advantage) in zip(
            tensors["numbers"].tolist(), tensors["values"].tolist(), strict=True
        ):
            answer = Answer(part("ids", ids).tolist(), reward, advantage, bool(counts))
            answer.old, answer.reference = part("old", old).numpy(), part("reference", reference).numpy()
            answers.setdefault(item, []).append(answer)
        return cls(tuple(tensors["steps"].tolist()), answers)


LogProbabilities = Callable[[TokenRows, bool], list[np.ndarray]]
"""(rows, whether by the starting model) → [tokens] of each row's trained tokens."""


class Rounds:
    """Draws and rewards; counts the rounds that had nothing to learn from."""

    def __init__(self, place: Place, data: RunData, log_probabilities: LogProbabilities):
        self._place, self._data = place, data
        self._right, self._asked = texts_of(data.more["right"]), texts_of(data.more["asked"])
        self._log_probabilities = log_probabilities
        self._reward = reward_of(place.config)
        self._judge: RewardModel | None = None
        if asks_model(place.config):
            self._judge = RewardModel(Path(data.facts["reward_model"]), place.tokenizer, place.device)
        self.flat = 0
        self.learned = False
        """Whether any round had something to learn from."""

    def numbers(self) -> dict:
        """For a checkpoint; `restore` takes it back."""
        return {"flat": self.flat, "learned": self.learned}

    def restore(self, numbers: dict) -> None:
        self.flat, self.learned = int(numbers.get("flat", 0)), bool(numbers.get("learned", False))

    def text(self, ids: list[int]) -> str:
        """What people and the reward read."""
        return str(self._place.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def stand_in(self, tokens: int) -> Answer:
        """An answer of so many tokens that nobody drew: for a trial pass."""
        return Answer([0] * tokens, advantage=1.0)

    def most(self, prompt: int) -> int:
        """Tokens that an answer to a prompt of so many may have: the model has positions for both, or too few."""
        room = positions(self._place.model)
        asked = self._place.config.max_new_tokens
        return asked if room is None else max(1, min(asked, room - prompt))

    def draw(self, items_of: dict[int, np.ndarray]) -> Round:
        """The answers to these items, by step. Raises Halt where rewards are no numbers, or were all alike too often."""
        config = self._place.config
        pairs = [(step, int(item)) for step, items in items_of.items() for item in items]
        drawn: dict[int, list[Answer]] = {}
        size = max(1, self._at_once(pairs) // config.rollouts)
        for start in range(0, len(pairs), size):
            drawn |= self._drawn(pairs[start : start + size])
        again: set[int] = set()
        for attempt in range(1, config.redraws + 1):
            flat = [pair for pair in pairs if self._is_missed(drawn[pair[1]])]
            again |= {item for _, item in flat}
            for start in range(0, len(flat), size):
                drawn |= self._drawn(flat[start : start + size], attempt)
        if config.redraws and config.policy_loss != "rejection":
            for answers in drawn.values():
                for answer in answers if self._teaches_nothing(answers) else ():
                    answer.counts = False
        made = Round(tuple(items_of), drawn, len(again))
        self._compute(made)
        self._count(made)  # last: a round that a stop ends on the way is drawn again, and counts once
        return made

    def _at_once(self, pairs: list[tuple[int, int]]) -> int:
        """How many answers to prompts among these (step, item) are drawn together. It goes by a GPU's whole memory, not by what
        is free, so that a resumed run draws in the same batches."""
        if self._place.device.type != "cuda":
            return _AT_ONCE
        shape = self._place.model.config.get_text_config()
        prompt = max(len(self._data.train.row(item)[0]) for _, item in pairs)
        # keys and values in 16 bits
        kept = 4 * shape.num_hidden_layers * shape.hidden_size * (prompt + self.most(prompt))
        total = torch.cuda.get_device_properties(self._place.device).total_memory
        return min(_ON_GPU, max(_AT_ONCE, total // 16 // kept))

    def _is_missed(self, answers: list[Answer]) -> bool:
        """Whether all answers to a prompt have the same reward, and none passes: others may."""
        return self._teaches_nothing(answers) and answers[0].reward < self._place.config.pass_reward

    def _teaches_nothing(self, answers: list[Answer]) -> bool:
        """Whether all answers to a prompt have the same reward; of rejection, whether none passes."""
        rewards = [answer.reward for answer in answers]
        if self._place.config.policy_loss == "rejection":
            return max(rewards) < self._place.config.pass_reward
        return max(rewards) == min(rewards)

    def _drawn(self, pairs: list[tuple[int, int]], attempt: int = 0) -> dict[int, list[Answer]]:
        """The answers to (step, item); those of a further attempt are others, and the same ones after a resume."""
        config = self._place.config
        prompts = [self._data.train.row(item)[0].tolist() for _, item in pairs]
        most = self.most(max(map(len, prompts)))
        numbers = range(attempt * config.rollouts, (attempt + 1) * config.rollouts)
        seeds = [[config.seed, step, item, number] for step, item in pairs for number in numbers]
        texts = draw(self._place, prompts, config.rollouts, most, seeds, config.rollout_temperature)
        found = {}
        for place, (_, item) in enumerate(pairs):
            own = texts[place * config.rollouts : (place + 1) * config.rollouts]
            answers = [Answer(ids, text=self.text(ids)) for ids in own]
            self._rewarded(answers, self.rewards(prompts[place], answers, self._right[item]))
            found[item] = answers
        return found

    def rewards(self, prompt: list[int], answers: list[Answer], right: list[str]) -> list[float]:
        """The rewards of answers to one prompt."""
        scores = [0.0] * len(answers)
        if self._judge is not None:
            self._place.check()
            scores = self._judge([prompt + answer.ids for answer in answers])
        pairs = zip(answers, scores, strict=True)
        return [self._reward(each.text, right, len(each.ids), score) or 0.0 for each, score in pairs]

    def _rewarded(self, answers: list[Answer], rewards: list[float]) -> None:
        config = self._place.config
        if not finite(rewards):
            raise Halt(say("end_reward_nan"), say("hint_reward_nan"), good=self.learned)
        values = advantages(torch.tensor([rewards], dtype=torch.float64), config)[0].tolist()
        for answer, reward, advantage in zip(answers, rewards, values, strict=True):
            answer.reward, answer.advantage = reward, advantage
        if config.policy_loss == "rejection":
            texts, lengths = [each.text for each in answers], [len(each.ids) for each in answers]
            for answer, counts in zip(answers, learned(texts, lengths, rewards, config.pass_reward), strict=True):
                answer.counts = counts

    def _count(self, made: Round) -> None:
        groups = [[answer.reward for answer in answers] for answers in made.answers.values()]
        mean = float(np.mean([reward for rewards in groups for reward in rewards]))
        passing = self._place.config.pass_reward
        alike = all(max(rewards) == min(rewards) for rewards in groups)
        if self._place.config.policy_loss == "rejection":
            passed = [reward >= passing for rewards in groups for reward in rewards]
            alike = all(passed) or not any(passed)
        self.flat = self.flat + 1 if alike else 0
        self.learned = self.learned or not alike
        if self.flat >= MOST_FLAT:
            ending = "passes" if mean >= passing else "fails"
            said = say(f"end_always_{ending}", n=self.flat, reward=f"{mean:.3g}")
            raise Halt(said, say(f"hint_always_{ending}"), good=self.learned)

    def _compute(self, made: Round) -> None:
        """What the loss compares with: log-probabilities by the starting model, and by this one where it changes meanwhile."""
        known = [(item, each) for item, answers in made.answers.items() for each in answers if each.counts]
        rows = []
        for item, answer in known:
            prompt = self._data.train.row(item)[0].tolist()
            rows.append((prompt + answer.ids, [NOT_TRAINED] * len(prompt) + answer.ids))
        if not rows:
            return
        joined = TokenRows.from_lists(rows)
        for (_, answer), values in zip(known, self._log_probabilities(joined, True), strict=True):
            answer.reference = values
        if len(made.steps) > 1:
            for (_, answer), values in zip(known, self._log_probabilities(joined, False), strict=True):
                answer.old = values

    # ---- what is told

    def figures_of(self, answers: list[Answer]) -> dict[str, float]:
        """Means over these answers."""
        passing = self._place.config.pass_reward
        return {
            "reward": float(np.mean([answer.reward for answer in answers])),
            "solved": float(np.mean([answer.reward >= passing for answer in answers])),
            "answer_length": float(np.mean([len(answer.ids) for answer in answers])),
        }

    def told(self, made: Round) -> dict:
        """For the event: the first prompt, its right answer, and what was answered, the best first."""
        item, answers = next(iter(made.answers.items()))
        best = sorted(answers, key=lambda answer: -answer.reward)[:_SHOWN]
        return {
            "prompt": self._asked[item][0],
            "expected": self._right[item][0][:400],
            "answers": [{"text": answer.text[:400], "reward": round(answer.reward, 4)} for answer in best],
            **({"again": made.again, "prompts": len(made.answers)} if self._place.config.redraws else {}),
        }


def texts(lists: list[list[str]]) -> TokenRows:
    """Texts as rows of bytes: they are kept with the run's rows, and no tokenizer changes them."""
    rows = [list(orjson.dumps(each)) for each in lists]
    return TokenRows.from_lists([(row, [NOT_TRAINED] * len(row)) for row in rows])


def texts_of(rows: TokenRows) -> list[list[str]]:
    """What `texts` was given."""
    return [orjson.loads(bytes(rows.row(index)[0].astype(np.uint8))) for index in range(len(rows))]
