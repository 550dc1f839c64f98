"""The losses of learning from rewards, from the log-probabilities of drawn answers. Knows no model, no batch and no run.

An answer's advantage A is its reward less the mean reward of the answers to the same prompt, which GRPO and DAPO divide by
their standard deviation. With r the ratio of the policy to the one that drew the answer, a token's loss is
−min(r·A, clip(r, 1−ε_low, 1+ε_high)·A) + β·r·KL, with KL by Schulman's k3 against the starting model; r makes its gradient
that of the reverse KL (2512.02556, as TRL does by default; the paper of GRPO leaves it out). The tokens' losses are

- GRPO (arXiv 2402.03300, eq. 3): averaged over each answer, then over the answers;
- DAPO (2503.14476, eq. 8): averaged over all tokens of the step's answers;
- Dr. GRPO (2503.20783): summed and divided by answers times the longest length, and advantages are not divided.

Rejection sampling (as in STaR, 2203.14465): −log p, averaged over all tokens of the answers that pass.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from llmdemo.settings.training import TrainConfig

TINY_SPREAD = 1e-4
"""Added to a standard deviation, as TRL does."""


class Drawn(NamedTuple):
    """What is known of the tokens of a batch of answers, row after row."""

    log_probability: Tensor
    """[n] by the policy."""
    old: Tensor
    """[n] by the policy that drew the answers."""
    reference: Tensor
    """[n] by the model that training started from."""
    row: Tensor
    """[n] which answer each token is of."""


def advantages(rewards: Tensor, config: TrainConfig) -> Tensor:
    """[prompts, answers] from rewards [prompts, answers]."""
    centred = rewards - rewards.mean(1, keepdim=True)
    if config.policy_loss == "dr_grpo":
        return centred
    return centred / (rewards.std(1, keepdim=True) + TINY_SPREAD)


def kl(drawn: Drawn) -> Tensor:
    """[n] k3 estimate of each token's KL divergence from the reference: e^d − d − 1 ≥ 0 (joschu.net/blog/kl-approx.html)."""
    distance = drawn.reference - drawn.log_probability
    return torch.exp(distance) - distance - 1


def token_losses(drawn: Drawn, advantage: Tensor, config: TrainConfig) -> Tensor:
    """[n] losses; advantage [n] of the answer that each token is of."""
    ratio = torch.exp(drawn.log_probability - drawn.old)
    clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    losses = -torch.minimum(ratio * advantage, clipped * advantage)
    return losses + config.kl_weight * ratio * kl(drawn) if config.kl_weight else losses


def shares(drawn: Drawn, advantages: Tensor, step: tuple[int, int], config: TrainConfig) -> Tensor:
    """[n] what each token adds to the loss of a step; advantages [rows] of the answers, step: (tokens, answers) of all of
    the step's, of which these may be a part."""
    lengths = torch.bincount(drawn.row, minlength=len(advantages)).to(drawn.log_probability)
    if config.policy_loss == "rejection":
        losses = -drawn.log_probability
    else:
        losses = token_losses(drawn, advantages[drawn.row], config)
    return losses * weights(lengths, *step, config)[drawn.row]


def weights(lengths: Tensor, step_tokens: int, step_rows: int, config: TrainConfig) -> Tensor:
    """[rows] what each of an answer's token losses counts in the step's loss. lengths [rows] tokens of each answer;
    step_tokens, step_rows: of all answers of the step."""
    if config.policy_loss == "grpo":
        return 1 / (lengths.clamp(min=1) * step_rows)
    if config.policy_loss == "dr_grpo":
        return torch.full_like(lengths, 1 / (step_rows * config.max_new_tokens))
    return torch.full_like(lengths, 1 / max(1, step_tokens))  # dapo, rejection
