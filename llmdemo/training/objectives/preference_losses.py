"""The losses of preference tuning, from the log-probabilities of whole answers. Knows no model, no batch and no run.

With a reference, the model that training started from; Δ is the log-ratio of the policy to it, of the chosen answer less
that of the rejected one:

- DPO (arXiv 2305.18290, eq. 7): −log σ(β·Δ). With label smoothing ε it is (1−ε)·L(Δ) + ε·L(−Δ) (conservative DPO).
- robust DPO (2403.00409): ((1−ε)·L(Δ) − ε·L(−Δ)) / (1−2ε).
- IPO (2310.12036, eq. 17): (Δ' − 1/(2β))², with log-ratios averaged over tokens, as TRL does after its authors.

Without one; p is the geometric mean of an answer's token probabilities:

- ORPO (2403.07691, eq. 6 and 7): the cross entropy of the chosen answers' tokens, less β·log σ(log odds(p_chosen) −
  log odds(p_rejected)). TRL takes the cross entropy over the prompts' tokens as well; ours is the paper's.
- SimPO (2405.14734, eq. 6): −log σ(β·(log p_chosen − log p_rejected) − γ).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from llmdemo.settings.training import TrainConfig

WITHOUT_REFERENCE = ("orpo", "simpo")


class Answers(NamedTuple):
    """What a batch says of one side of its pairs."""

    log_probability: Tensor
    """[pairs] of each answer: the sum over its tokens."""
    gain: Tensor | None
    """[pairs] that sum less the same by the model that training started from; None where the loss has no reference."""
    tokens: Tensor
    """[pairs] number of tokens that were summed."""

    @property
    def mean(self) -> Tensor:
        """[pairs] log-probability a token."""
        return self.log_probability / self.tokens


def pair_losses(chosen: Answers, rejected: Answers, config: TrainConfig, tokens: float | None = None) -> Tensor:
    """[pairs] losses. ORPO's cross entropy is the mean over all tokens of the batch's chosen answers, in each of them.

    tokens: of a chosen answer in the mean over a batch of which these are a part; None: they are all of it.
    """
    if config.preference_loss == "orpo":
        odds = chosen.mean - rejected.mean - (_log_one_less(chosen.mean) - _log_one_less(rejected.mean))
        entropy = -chosen.log_probability.mean() / (tokens or chosen.tokens.mean())
        return entropy - config.beta * functional.logsigmoid(odds)
    if config.preference_loss == "simpo":
        return _smoothed(chosen.mean - rejected.mean - config.simpo_gamma / config.beta, config)
    assert chosen.gain is not None and rejected.gain is not None, "the other losses compare with a reference"
    if config.preference_loss == "ipo":
        return (chosen.gain / chosen.tokens - rejected.gain / rejected.tokens - 1 / (2 * config.beta)) ** 2
    return _smoothed(chosen.gain - rejected.gain, config)


def margins(chosen: Answers, rejected: Answers, config: TrainConfig) -> Tensor:
    """[pairs] implicit reward of the chosen answer less the rejected one's: β times its gain, or without a reference β
    times its log-probability a token."""
    ours, theirs = (each.mean if each.gain is None else each.gain for each in (chosen, rejected))
    return config.beta * (ours - theirs)


def _smoothed(delta: Tensor, config: TrainConfig) -> Tensor:
    """−log σ(β·delta), where a share of the pairs is taken to be the wrong way round."""
    share = config.label_smoothing
    right, wrong = -functional.logsigmoid(config.beta * delta), -functional.logsigmoid(-config.beta * delta)
    if config.preference_loss == "robust":
        return ((1 - share) * right - share * wrong) / (1 - 2 * share)
    return (1 - share) * right + share * wrong


def _log_one_less(log_p: Tensor) -> Tensor:
    """log(1 − p) from log p < 0, exact at both ends (Mächler 2012); a p that rounds to 1 counts as the largest below."""
    log_p = log_p.clamp(max=-torch.finfo(log_p.dtype).eps)
    near_one = torch.log(-torch.expm1(log_p))
    return torch.where(log_p > -0.6931472, near_one, torch.log1p(-torch.exp(log_p)))
