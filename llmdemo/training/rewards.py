"""The reward of an answer, from 0 to 1, as a run's settings say. Knows texts and counts; no model and no token ids."""

import math
from collections.abc import Callable, Sequence

from llmdemo.evaluation.checkers import checker_of
from llmdemo.evaluation.text_metrics import fields_share
from llmdemo.settings.rewards import checker_spec
from llmdemo.settings.training import TrainConfig

Reward = Callable[[str, Sequence[str], int, float], float | None]
"""(answer, right answers, its tokens, what the reward model says of it) → reward; None where the record has nothing to compare with, whatever the answer."""


def reward_of(config: TrainConfig) -> Reward:
    """The reward of these settings; a mixture is the weighted mean of its two parts. It raises for no text."""
    first = _part(config.reward, config)
    if config.second_reward == "none" or not config.second_share:
        return first
    second, share = _part(config.second_reward, config), config.second_share

    def mixed(answer: str, right: Sequence[str], tokens: int, score: float) -> float | None:
        parts = first(answer, right, tokens, score), second(answer, right, tokens, score)
        if parts[0] is None or parts[1] is None:
            return None
        return (1 - share) * parts[0] + share * parts[1]

    return mixed


def check_of(config: TrainConfig) -> Reward:
    """What held-out answers are checked by beside the reward: 1 or 0."""
    return _checked(config.held_out_check, "")


def _part(kind: str, config: TrainConfig) -> Reward:
    if kind == "length":
        most = config.reward_tokens
        return lambda answer, right, tokens, score: min(1.0, max(0.0, 2 - tokens / most))
    if kind == "model":
        return lambda answer, right, tokens, score: score
    if kind == "fields":
        return lambda answer, right, tokens, score: _of_fields(answer, right)
    return _checked(kind, config.reward_text)


def _of_fields(answer: str, right: Sequence[str]) -> float | None:
    shares = [share for each in right if (share := fields_share(answer, each)) is not None]
    return max(shares, default=None)


def asks_model(config: TrainConfig) -> bool:
    """Whether a reward model is part of the reward."""
    return "model" in (config.reward, config.second_reward)


def _checked(kind: str, text: str) -> Reward:
    check = checker_of(checker_spec(kind, text))

    def reward(answer: str, right: Sequence[str], tokens: int, score: float) -> float | None:
        verdict = check(answer, right)
        return None if verdict is None else float(verdict)

    return reward


def learned(texts: Sequence[str], lengths: Sequence[int], rewards: Sequence[float], least: float) -> list[bool]:
    """Which of the answers to one prompt rejection learns from: what gets `least`, and of texts that differ in blanks around them the
    shortest, by its tokens. Else blank lines that a checker passes over would count as one answer more each."""
    kept: dict[str, int] = {}
    for place, text in enumerate(texts):
        first = kept.get(text.strip())
        if rewards[place] >= least and (first is None or lengths[place] < lengths[first]):
            kept[text.strip()] = place
    return [place in kept.values() for place in range(len(texts))]


def finite(rewards: Sequence[float]) -> bool:
    """Whether all of them are numbers."""
    return all(math.isfinite(each) for each in rewards)
