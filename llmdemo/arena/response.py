"""Accumulates a comparison's events into the response of the /compare endpoint. Knows nothing of where events come from."""

from llmdemo.core.errors import UserError
from llmdemo.settings.lane import BEAMS, SEVERAL


class ResponseAccumulator:
    """`add` every event; `whole()` is the response so far. Only the first model's lanes are kept."""

    def __init__(self) -> None:
        self.begun: dict | None = None
        self.error: UserError | None = None
        self.ended: str | None = None
        self.shared = False
        self.special: set[int] = set()
        self._lanes: dict[str, dict] = {}
        self._seconds = 0.0

    def add(self, event: dict) -> None:
        kind = event["type"]
        if kind == "begin":
            self.begun = event
            self._lanes = {lane["id"]: _empty(lane) for lane in event["lanes"] if lane["model"] == 0}
        elif kind == "end":
            self._seconds = event["seconds"]
            self.ended, self.shared = event["state"], bool(event.get("shared"))
            if event["state"] == "failed":
                self.error = UserError(event["message"], event.get("hint", ""))
        elif kind == "names" and event["model"] == 0:
            self.special |= set(event["special"])
        elif kind == "step" and event["model"] == 0:
            self._seconds = event["t"]
        elif event.get("lane") in self._lanes:
            self._add_to(self._lanes[event["lane"]], event)

    def whole(self) -> dict:
        """{lanes, seed, settings, model, seconds, shared}; a copy, safe to keep."""
        assert self.begun is not None
        return {
            "lanes": {lane["name"]: _public(lane, self._seconds) for lane in self._lanes.values()},
            "seed": self.begun["seed"],
            "settings": self.begun["settings"],
            "model": self.begun["models"][0],
            "seconds": self._seconds,
            "shared": self.shared,
        }

    def _add_to(self, lane: dict, event: dict) -> None:
        if event.get("w"):
            lane["_logprobs"].setdefault(event["w"], []).append(event["l"])
        elif event["type"] == "token":
            lane["token_ids"].append(event["i"])
            lane["logprobs"].append(event["l"])
            if "g" in event:
                lane.setdefault("masked", []).append(event["g"])
            lane["text"] += event["s"]
        elif event["type"] in ("beam", "best"):
            _add_beam(lane, event)
        else:
            _finish(lane, event)


def _empty(lane: dict) -> dict:
    """`_texts` and `_steps` are a beam lane's memory: the text of each token of the best, and the tree's edges.
    `_logprobs` those of the further answers of a lane that draws several: until it ends it says the first."""
    empty: dict = {
        "name": lane["name"],
        "text": "",
        "token_ids": [],
        "logprobs": [],
        "finish_reason": None,
        "tokens_per_second": None,
    }
    if lane["strategy"] in BEAMS:
        empty |= {"score": None, "_texts": [], "_steps": []}
    elif lane["strategy"] in SEVERAL:
        empty |= {"score": None, "candidates": [], "_logprobs": {}}
    return empty


def _public(lane: dict, seconds: float) -> dict:
    """The lane without its memory; what only its end tells is worked out from `seconds` while it goes on."""
    public = {key: value for key, value in lane.items() if key[0] != "_" and key != "name"}
    public["token_ids"] = list(lane["token_ids"])
    if "masked" in lane:
        public["masked"] = list(lane["masked"])
    public["logprobs"] = (
        _path_logprobs(lane["_steps"], lane["token_ids"]) if "_steps" in lane else list(lane["logprobs"])
    )
    if public["tokens_per_second"] is None and seconds > 0:
        public["tokens_per_second"] = round(len(lane["token_ids"]) / seconds, 2)
    return public


def _add_beam(lane: dict, event: dict) -> None:
    keep, rest = event["best"]
    lane["token_ids"][keep:] = [token for token, _ in rest]
    lane["_texts"][keep:] = [text for _, text in rest]
    lane["text"] = "".join(lane["_texts"])
    if event["type"] == "beam":
        lane["_steps"].append(event)


def _path_logprobs(steps: list[dict], token_ids: list[int]) -> list[float]:
    """Log-probabilities along the branch of the beam tree that spells `token_ids`."""
    if not token_ids or len(token_ids) > len(steps):
        return []
    last = steps[len(token_ids) - 1]
    for branch in [*last["live"], *last["done"]]:
        path = [branch]
        for step in reversed(steps[: len(token_ids) - 1]):
            path.append(step["live"][path[-1][0]])
        path.reverse()
        if [edge[1] for edge in path] == token_ids:
            return [edge[2] for edge in path]
    return []


def _finish(lane: dict, event: dict) -> None:
    lane["finish_reason"] = event["finish_reason"]
    lane["tokens_per_second"] = event["tokens_per_second"]
    lane["metrics"] = {**event["metrics"], "first_token_seconds": event["first_token_seconds"]}
    lane["text"] = event["text"]
    if "score" in event:
        lane["score"] = event["score"]
    if "candidates" in lane:
        _choose(lane, event["sequences"])


def _choose(lane: dict, sequences: list) -> None:
    """The answer that was chosen becomes the lane's; all stand in `candidates`, best first."""
    logprobs = {0: lane["logprobs"], **lane["_logprobs"]}
    lane.pop("masked", None)  # of the first answer, and not of the one that was chosen
    lane["token_ids"], lane["logprobs"] = list(sequences[0][2]), list(logprobs[sequences[0][5]])
    lane["candidates"] = [
        {"text": text, "score": score, "vote": label, "finish_reason": reason, "tokens": len(ids), "row": row}
        for score, reason, ids, text, label, row in sequences
    ]
