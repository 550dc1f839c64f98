"""What decoding asks of whoever has the tokenizer (settings.lane.TextSide): stop strings, which answer is the best, forms.

Knows no model and no logits.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llmdemo.arena.grammar import GrammarMasks
from llmdemo.arena.ranking import expected_utility, vote
from llmdemo.arena.text import cut_at, decode_whole
from llmdemo.core.errors import UserError
from llmdemo.settings.decoding import DecodeSettings
from llmdemo.settings.lane import LaneSettings

if TYPE_CHECKING:
    from llmdemo.evaluation.reward_scores import RewardScorer

_TOKENS_A_CHARACTER = 4
"""Most tokens that one character is written with: the bytes of UTF-8."""


class TextSide:
    """A tokenizer, and the settings that are about texts. Picklable, as fast tokenizers are."""

    def __init__(
        self,
        tokenizer,
        settings: DecodeSettings,
        turns: Sequence[dict] = (),
        rewards: "Mapping[str, RewardScorer] | None" = None,
    ):
        """`turns`: what is answered; `rewards`: by their ids, the reward models that lanes choose by."""
        self._tokenizer, self._stop = tokenizer, settings.stop
        self._turns, self._rewards = list(turns), rewards or {}
        self._tail = _TOKENS_A_CHARACTER * max(map(len, settings.stop), default=0) + 8

    def stops(self, token_ids: Sequence[int]) -> bool:
        """Whether the text of these ids holds a stop string, of which no shorter beginning of them held one."""
        if not self._stop:
            return False
        text = decode_whole(self._tokenizer, list(token_ids[-self._tail :]))
        return any(stop in text for stop in self._stop)

    def rank(self, lane: LaneSettings, answers: Sequence[Sequence[int]]) -> list[tuple[float, str]]:
        """(score, label) of each answer: the share of the votes and the vote; the mean chrF, or the reward, and ""."""
        texts = [cut_at(decode_whole(self._tokenizer, list(ids)), self._stop) for ids in answers]
        if lane.strategy == "self_consistency":
            return vote(texts, lane.vote_on, lane.vote_regex)
        if lane.strategy == "best_of_n":
            scorer = self._rewards.get(lane.reward_model_id)
            if scorer is None:
                raise UserError("err_no_lane_reward", id=lane.reward_model_id)
            values = scorer.scores([self._turns] * len(texts), texts)
            if None in values:
                raise UserError("err_reward_refuses")
            return [(value, "") for value in values if value is not None]
        return [(utility, "") for utility in expected_utility(texts)]

    def masks(self, lane: LaneSettings) -> GrammarMasks:
        """What holds the lane to its json_schema, regex or choice. Raises UserError."""
        return GrammarMasks(self._tokenizer, lane)
