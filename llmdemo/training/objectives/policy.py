"""Learning from a checker: the model answers prompts, a reward says how good each answer is, and good ones become likelier.

The right answers are known to the reward alone, never to the loss. A round draws `rollouts` answers to each prompt of the next
`rollout_steps` steps (rounds.py); the losses themselves are in policy_losses.py. The model that training started from, which
KL is measured against, is kept as copies of the trained weights: of LoRA, of the adapters alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home
from llmdemo.data.encode import encode_prompt
from llmdemo.data.render import conversation
from llmdemo.models import catalog
from llmdemo.models.load import positions
from llmdemo.settings.training import TrainConfig
from llmdemo.training.batches import NOT_TRAINED, RunData, TokenRows, collate
from llmdemo.training.halt import Halt
from llmdemo.training.loss import CausalLoss
from llmdemo.training.memory_estimate import Batch
from llmdemo.training.objectives.base import SAMPLES, Objective, Place, Source, without_dropout
from llmdemo.training.objectives.policy_losses import Drawn, kl, shares
from llmdemo.training.objectives.rounds import Answer, Round, Rounds, texts, texts_of
from llmdemo.training.objectives.tally import Tally
from llmdemo.training.objectives.writing import likeliest
from llmdemo.training.rewards import Reward, asks_model, check_of, reward_of

FIGURES = ("reward", "solved", "kl", "entropy", "answer_length")
"""Means over a step's answers: their rewards; the share with the full reward; KL a token from the starting model; −log p of a
drawn token, an unbiased estimate of the entropy; tokens."""
_SHOWN = 400
"""Characters of a prompt that are shown."""
_AT_ONCE = 64
"""Held-out prompts that are answered at a time."""


class Policy(Objective):
    """The task grpo. An item is a prompt."""

    task = "grpo"
    pool = 1  # short prompts together would make easy steps and hard ones
    figures: tuple[str, ...] = FIGURES

    @classmethod
    def encode(cls, source: Source, config: TrainConfig, tokenizer) -> RunData:
        tally, reward = Tally(config.max_length), reward_of(config)
        train, right, asked = _prompts(source, source.train, config, tokenizer, tally, reward)
        judged = source.held_out[: config.eval_records]
        held, held_right, held_asked = _prompts(source, judged, config, tokenizer, tally, reward)
        facts = {
            "notes": tally.notes(), "left_out": tally.counts, "train_records": len(train), "card": {"prompts": len(train)},
        }  # fmt: skip
        if asks_model(config):
            facts["reward_model"] = str(reward_model_folder(source.home, config.reward_model_id))
        more = {"right": texts(right), "asked": texts(asked)}
        more |= {"held_right": texts(held_right), "held_asked": texts(held_asked)}
        return RunData(_rows(train), _rows(held), [], {}, more, facts)

    @classmethod
    def load(cls, entry, config: TrainConfig, data: RunData, dtype: torch.dtype, device: torch.device):
        plain = RunData(data.train, data.held_out, data.samples, data.about)  # right answers are bytes, no tokens
        model = super().load(entry, config, plain, dtype, device)
        longest, limit = int(max(each.lengths.max(initial=0) for each in (data.train, data.held_out))), positions(model)
        if longest == limit:  # an answer needs a place too
            raise UserError("err_longest_record", longest=longest, limit=limit - 1)
        return without_dropout(model)  # with it, a policy would differ from the one that drew its answers

    def __init__(self, place: Place, data: RunData):
        super().__init__(place, data)
        self._loss = CausalLoss(place.model)
        self._loss.temperature = place.config.rollout_temperature
        self._start: dict[str, Tensor] = {}
        self._rounds = Rounds(place, data, self._log_probabilities)
        self._round: Round | None = None
        self._step = _Step()
        self._check = check_of(place.config)
        self._written: list[dict] = []

    def cost(self, items) -> int:
        config = self.place.config
        return len(items) * config.rollouts * (int(self.lengths[items].max()) + config.max_new_tokens)

    def tokens(self, items) -> int:
        return sum(int(self.lengths[item]) + len(answer.ids) for item in items for answer in self._answers_of(item))

    def shape(self, items) -> Batch:
        config = self.place.config
        rows = len(items) * config.rollouts
        return Batch(rows, int(self.lengths[items].max()) + config.max_new_tokens, rows * config.max_new_tokens)

    @property
    def passes(self) -> int:
        return self._loss.passes

    def verify(self, items) -> list[str]:
        ids = [self.data.train.row(int(item))[0].tolist() for item in items[-2:]]
        rows = TokenRows.from_lists([(each, [NOT_TRAINED, *each[1:]]) for each in ids])
        with self.place.autocast():
            self._loss.verify(self._batch(rows, range(len(rows))))
        return []

    def _batch(self, rows: TokenRows, indices) -> dict[str, Tensor]:
        return collate(rows, indices, self.place.pad, self.place.device)

    # ---- rounds

    def begin(self, folder: Path, items: np.ndarray, report: Callable, agree: Callable[[], bool]) -> bool:
        self._start = {name: p.detach().clone() for name, p in self.place.model.named_parameters() if p.requires_grad}
        return True

    def ready(self, step: int, items_of: Callable[[int], np.ndarray], report: Callable) -> None:
        """Draws the answers of the next round where `step` begins one. Raises Halt where there is nothing to learn from."""
        config = self.place.config
        if self._round is None or step not in self._round.steps:
            last = min(config.max_steps, (step // config.rollout_steps + 1) * config.rollout_steps)
            report("phase", phase="rollouts")
            self._round = self._rounds.draw({each: items_of(each) for each in range(step, last)})
            report("answers", step=step + 1, **self._rounds.told(self._round))
            report("phase", phase="training")
        items = [int(item) for item in items_of(step)]
        known = [answer for item in items for answer in self._round.answers[item] if answer.counts]
        self._step = _Step(step, sum(len(answer.ids) for answer in known), len(known), len(items))

    def after(self) -> None:
        """After the step that `ready` was for. Raises Halt where the model has strayed too far."""
        limit, found = self.place.config.kl_limit, self._step.kl
        if limit and found and not (mean := float(np.mean(found))) <= limit:
            raise Halt(say("end_kl", kl=f"{mean:.3g}", limit=f"{limit:g}"), say("hint_kl"), good=False)

    @torch.no_grad()
    def _log_probabilities(self, rows: TokenRows, reference: bool) -> list[np.ndarray]:
        """[tokens] log-probabilities of each row's trained tokens, by the starting model or by the model as it is."""
        found: list[np.ndarray] = [np.zeros(0)] * len(rows)
        self.place.model.eval()
        with swapped(self.place.model, self._start if reference else {}):
            for indices in self.place.mine(
                rows.lengths, max(8, self.place.config.batch_size * self.place.config.rollouts)
            ):
                self.place.check()
                with self.place.autocast():
                    entropies, of = self._loss.tokens(self._batch(rows, indices))
                values, rows_of = -entropies.float().cpu().numpy(), of.cpu().numpy()
                for place, index in enumerate(indices):
                    found[index] = values[rows_of == place]
        return found

    def state(self) -> tuple[dict[str, Tensor], dict]:
        goes_on = self._round is not None and self._step.step < self._round.steps[-1]
        return (self._round.tensors() if self._round and goes_on else {}), {"rounds": self._rounds.numbers()}

    def restore(self, tensors: dict[str, Tensor], numbers: dict) -> None:
        self._rounds.restore(numbers.get("rounds", {}))
        self._round = Round.of_tensors(tensors)

    # ---- the loss

    def _answers_of(self, item: int) -> list[Answer]:
        """What is learned from of this prompt; before any round, stand-ins of the longest length."""
        if self._round is None:
            longest = self._rounds.most(int(self.lengths[item]))
            return [self._rounds.stand_in(longest) for _ in range(self.place.config.rollouts)]
        return [answer for answer in self._round.answers.get(int(item), ()) if answer.counts]

    def normaliser(self, items) -> float:
        return 1.0  # `weights` are shares of the whole step already

    def loss_sum(self, items) -> tuple[Tensor, dict[str, float]]:
        known = [(int(item), answer) for item in items for answer in self._answers_of(item)]
        live = bool(known)
        if not live:  # nothing passed: a pass that changes nothing
            known = [(int(items[0]), self._rounds.stand_in(1))]
        rows = []
        for item, answer in known:
            prompt = self.data.train.row(item)[0].tolist()
            rows.append((prompt + answer.ids, [NOT_TRAINED] * len(prompt) + answer.ids))
        made = TokenRows.from_lists(rows)
        entropies, of = self._loss.tokens(self._batch(made, range(len(made))))
        answers = [answer for _, answer in known]
        loss, drawn = self._summed(-entropies, of, answers)
        return loss * live, self._figures_of(drawn, answers, items, live)

    def _summed(self, log_p: Tensor, of: Tensor, answers: list[Answer]) -> tuple[Tensor, Drawn]:
        """(these answers' share of the step's loss [], what is known of their tokens)."""
        config, own = self.place.config, log_p.detach()

        def tensor(values) -> Tensor:
            return torch.as_tensor(values, dtype=log_p.dtype, device=log_p.device)

        def known(name: str) -> Tensor:
            parts = [getattr(answer, name) for answer in answers]
            return tensor(np.concatenate(parts)) if all(map(len, parts)) else own

        drawn = Drawn(log_p, known("old"), known("reference"), of)
        step = self._step if self._round else _Step(0, len(of), len(answers), 1)
        advantages = tensor([answer.advantage for answer in answers])
        return shares(drawn, advantages, (step.tokens, step.rows), config).sum(), drawn

    @torch.no_grad()
    def _figures_of(self, drawn: Drawn, answers: list[Answer], items, live: bool) -> dict[str, float]:
        """This part's share of the step's means. Of rejection, KL and entropy are those of the answers that passed."""
        rows = torch.bincount(drawn.row, minlength=len(answers)).to(drawn.log_probability)
        found = {}
        for name, values in (("kl", kl(drawn)), ("entropy", -drawn.log_probability)):
            sums = torch.zeros_like(rows).index_add_(0, drawn.row, values.detach())
            found[name] = float((sums / rows.clamp(min=1)).mean()) if live else 0.0
        if live:
            self._step.kl.append(found["kl"])
        everyone = (
            [answer for item in items for answer in self._round.answers.get(int(item), ())] if self._round else answers
        )
        found |= self._rounds.figures_of(everyone)
        return {name: value * len(items) / max(self._step.items, len(items)) for name, value in found.items()}

    # ---- what is held out

    @torch.no_grad()
    def evaluate(self, last: bool = True) -> tuple[dict[str, float], int]:
        rows = self.data.held_out
        if not len(rows):
            return {}, 0
        self._written, scores, checks, lengths = [], [], [], []
        right = texts_of(self.data.more["held_right"])
        prompts = [rows.row(index)[0].tolist() for index in range(len(rows))]
        for start in range(0, len(prompts), _AT_ONCE):
            part = prompts[start : start + _AT_ONCE]
            for place, ids in enumerate(
                likeliest(self.place.judging, part, self._rounds.most(max(map(len, part)))), start
            ):
                text = self._rounds.text(ids)
                lengths.append(len(ids))
                scores += self._rounds.rewards(prompts[place], [Answer(ids, text=text)], right[place])
                checks.append(self._check(text, right[place], lengths[-1], 0.0) or 0.0)
                self._written.append({"text": text, "expected": right[place][0][:_SHOWN]})
        reward = float(np.mean(scores))
        figures = {"reward": reward, "held_out_check": float(np.mean(checks)), "answer_length": float(np.mean(lengths))}
        return {"loss": 1 - reward, **figures}, len(rows)

    def answers(self) -> Iterator[dict]:
        for sample, (prompt,) in zip(self._written[:SAMPLES], texts_of(self.data.more["held_asked"]), strict=False):
            yield {"prompt": prompt, **sample}


@dataclass
class _Step:
    """The step that is under way: tokens and number of its answers, number of its prompts, KL of its parts."""

    step: int = 0
    tokens: int = 0
    rows: int = 0
    items: int = 0
    kl: list[float] = field(default_factory=list)


class swapped:
    """Meanwhile the model's parameters of these names hold other values. Pointers are exchanged; nothing is copied."""

    def __init__(self, model: torch.nn.Module, values: dict[str, Tensor]):
        self._pairs = [(p, values[name]) for name, p in model.named_parameters() if name in values]
        self._own: list[Tensor] = []

    def __enter__(self) -> None:
        self._own = [p.data for p, _ in self._pairs]
        for p, value in self._pairs:
            p.data = value

    def __exit__(self, *error: object) -> None:
        for (p, _), own in zip(self._pairs, self._own, strict=True):
            p.data = own


# ---- records


def _prompts(
    source: Source, part: np.ndarray, config: TrainConfig, tokenizer, tally: Tally, reward: Reward
) -> tuple[list[list[int]], list[list[str]], list[list[str]]]:
    """(ids of each prompt, its right answers, its last turn as a text to show): the turns up to the last answer, where these fit and can be rewarded."""
    found: list[list[int]] = []
    right: list[list[str]] = []
    asked: list[list[str]] = []
    for index in part:
        record = source.records[int(index)]
        turns, answers = asked_and_right(record)
        if not answers:
            tally.add("untrained", record)
            continue
        if reward("", answers, 0, 0.0) is None:
            tally.add("unjudged", record)
            continue
        try:
            ids = encode_prompt(turns, tokenizer)
        except UserError as error:
            tally.reason = tally.reason or error.message
            tally.add("refused", record)
            continue
        if len(ids) > config.max_length:
            tally.add("long_prompt", record)
            continue
        found.append(ids)
        right.append(answers)
        asked.append([turns[-1]["content"][:_SHOWN] if turns else ""])
    return found, right, asked


def asked_and_right(record: dict) -> tuple[list[dict], list[str]]:
    """(the turns up to the last answer, the right answers there); no answers where the record has none."""
    turns = conversation(record)
    last = max((place for place, turn in enumerate(turns) if turn["role"] == "assistant"), default=None)
    if last is None:
        return turns, []
    others = record.get("alternatives", ()) if last == len(turns) - 1 else ()
    return turns[:last], [turns[last]["content"], *others]


def reward_model_folder(home: Home, model_id: str) -> Path:
    """Its folder. Raises UserError where it is no finished run of the task reward."""
    entry = catalog.resolve(home, model_id)
    if entry.task != "reward" or entry.path is None:
        raise UserError("err_not_reward_model", title=entry.title)
    return entry.path


def _rows(prompts: list[list[int]]) -> TokenRows:
    return TokenRows.from_lists([(ids, [NOT_TRAINED] * len(ids)) for ids in prompts])
