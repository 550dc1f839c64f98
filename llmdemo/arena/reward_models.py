"""The reward models that best_of_n lanes choose by: of the menu, and the last one that was asked for stays in memory."""

import threading

from llmdemo.arena.cache import ModelCache, expected_bytes
from llmdemo.arena.resolve import reward_ids
from llmdemo.core.errors import UserError
from llmdemo.core.spaces import on_zero_gpu
from llmdemo.core.store import Home
from llmdemo.evaluation.reward_scores import RewardScorer
from llmdemo.models import catalog
from llmdemo.models.catalog import ModelEntry
from llmdemo.settings.decoding import DecodeSettings


class RewardModels:
    """One for an arena; any thread may call it."""

    def __init__(self, home: Home, cache: ModelCache):
        """`cache`: whose budget the model counts to."""
        self._home, self._cache, self._lock = home, cache, threading.Lock()
        self._kept: tuple[ModelEntry, RewardScorer] | None = None

    def of(self, settings: DecodeSettings) -> dict[str, RewardScorer]:
        """Those that the lanes choose by, by their ids. Raises UserError."""
        return {model_id: self.get(model_id) for model_id in reward_ids(settings)}

    def get(self, model_id: str) -> RewardScorer:
        """The model of this id. Raises UserError where there is none, and on ZeroGPU, which loads one model a call."""
        entry = next((each for each in catalog.list_models(self._home) if each.id == model_id), None)
        if entry is None or entry.task != "reward":
            raise UserError("err_no_lane_reward", id=model_id)
        if on_zero_gpu():
            raise UserError("err_lane_reward_zero_gpu")
        with self._lock:
            kept = self._kept
            if kept is not None and kept[0] == entry:
                return kept[1]
            with self._cache.room_beside(entry.title, expected_bytes(entry, "fp32"), self._let_go):
                scorer = RewardScorer(entry)
                self._kept = entry, scorer
            return scorer

    def _let_go(self) -> None:
        """Who scores with it now goes on; asked for again, it is loaded again."""
        self._kept = None
