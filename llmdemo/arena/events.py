"""Decoding steps become small JSON events, for a page to draw and for an API answer to add up.

Knows steps and a tokenizer; nothing of models, threads or widgets. The events, in order:

begin {models, lanes: [{id, model, name, strategy, …}], prompt, prompt_tokens, settings, seed, prefix, versions}
step  {model, n, t: seconds so far, rows}   before what happened in it
names {model, names: {token id: text}, special: [token id]}    every token id that is mentioned has been named before
token {lane, i: id, s: text it completes, l: logprob, f: drawn with, r: rank, k: kept, m: mass, e: entropy, a: alternatives}
beam  {lane, live, cut, done: [[parent, id, logprob, score(, sequence score)]], tops, e, best: [keep, [[id, text], …]]}
best  {lane, best}                           the final ranking chose another hypothesis than the last step
lane  {lane, finish_reason, metrics, seconds, tokens_per_second, first_token_seconds, score?, sequences?, text}
end   {state: done | stopped | failed, seconds, message?, hint?}

Alternatives are [id, logprob, filtered probability], likeliest first. `best` says how much of the beam lane's text
so far stays and what follows it: the best hypothesis may change.
"""

from typing import Any

from llmdemo.arena.metrics import lane_metrics
from llmdemo.arena.text import TextStream, TokenNames, decode_whole
from llmdemo.decoding import BeamStep, LaneResult, Step, TokenStep

_DIGITS = 5


class EventEncoder:
    """Turns the steps of one model's run into events. `model` is its index among the models that are compared."""

    def __init__(self, tokenizer, model: int = 0, first_seconds: float = 0.0):
        self._tokenizer = tokenizer
        self._names = TokenNames(tokenizer)
        self._model = model
        self._named: set[int] = set()
        self._fresh: dict[int, str] = {}
        self._streams: dict[str, TextStream] = {}
        self._prefixes: dict[str, tuple[int, ...]] = {}
        self._best: dict[str, tuple[int, ...]] = {}
        self._first_seconds = first_seconds

    def lane_id(self, name: str) -> str:
        return f"{self._model}:{name}"

    def begin_lane(self, name: str, prefix: tuple[int, ...] = ()) -> list[str]:
        """Starts the text of a lane, after the tokens it goes on from; returns the text that each of those completes."""
        self._prefixes.setdefault(name, prefix)
        stream = self._streams[name] = TextStream(self._tokenizer)
        return [stream.push(token) for token in prefix]

    def _stream(self, name: str) -> TextStream:
        if name not in self._streams:
            self.begin_lane(name)
        return self._streams[name]

    def events(self, step: Step) -> list[dict]:
        """The events of one step; `names` first."""
        if step.index == 0:
            self._first_seconds = step.seconds
        events = []
        for name, part in step.lanes.items():
            events.append(self._token(name, part) if isinstance(part, TokenStep) else self._beam(name, part))
        for name, result in step.results.items():
            final = tuple(result.token_ids)
            if self._best.get(name, final) != final:  # the final ranking prefers another hypothesis than the last step
                events.append({"type": "best", "lane": self.lane_id(name), "best": self._change_best(name, final)})
            events.append(self._end(name, result))
        timing = {"type": "step", "model": self._model, "n": step.index, "t": _round(step.seconds), "rows": step.rows}
        return [timing, *self.flush_names(), *events]

    def flush_names(self) -> list[dict]:
        fresh, self._fresh = self._fresh, {}
        special = [token for token in fresh if self._names.is_special(token)]
        return [{"type": "names", "model": self._model, "names": fresh, "special": special}] if fresh else []

    def mention(self, token: int) -> int:
        """The token, named on the page from now on."""
        if token not in self._named:
            self._named.add(token)
            self._fresh[token] = self._names(token)
        return token

    def _token(self, name: str, step: TokenStep) -> dict:
        return {
            "type": "token",
            "lane": self.lane_id(name),
            "i": self.mention(step.token),
            "s": self._stream(name).push(step.token),
            "l": _round(step.logprob),
            "f": _round(step.filtered),
            "r": step.rank,
            "k": step.kept_size,
            "m": _round(step.kept_mass),
            "e": _round(step.entropy),
            "a": self._alternatives(step.top),
        }

    def _beam(self, name: str, step: BeamStep) -> dict:
        return {
            "type": "beam",
            "lane": self.lane_id(name),
            "live": [self._branch(branch) for branch in step.live],
            "cut": [self._branch(branch) for branch in step.pruned],
            "done": [[*self._branch(branch), _round(branch.sequence_score)] for branch in step.finished],
            "tops": [self._alternatives(top) for top in step.tops],
            "e": [_round(value) for value in step.entropies],
            "best": self._change_best(name, tuple(step.best)),
        }

    def _branch(self, branch) -> list:
        return [branch.parent, self.mention(branch.token), _round(branch.logprob), _round(branch.score)]

    def _alternatives(self, top) -> list[list]:
        return [
            [self.mention(token), _round(logprob), _round(kept)]
            for token, logprob, kept in zip(top.tokens, top.logprobs, top.filtered, strict=True)
        ]

    def _change_best(self, name: str, best: tuple[int, ...]) -> list:
        """[how many tokens of the text so far stay, [[id, text it completes], …] of the rest]."""
        before = self._best.get(name, ())
        self._best[name] = best
        keep = next(
            (i for i, (a, b) in enumerate(zip(before, best, strict=False)) if a != b), min(len(before), len(best))
        )
        if keep < len(before):
            self.begin_lane(name, self._prefixes.get(name, ()) + best[:keep])
        return [keep, [[self.mention(token), self._stream(name).push(token)] for token in best[keep:]]]

    def _end(self, name: str, result: LaneResult) -> dict:
        said = [
            pair for pair in zip(result.token_ids, result.logprobs, strict=True) if not self._names.is_special(pair[0])
        ]
        metrics = lane_metrics([token for token, _ in said], list(result.logprobs))
        event: dict[str, Any] = {
            "type": "lane",
            "lane": self.lane_id(name),
            "finish_reason": result.finish_reason,
            "seconds": _round(result.seconds),
            "tokens_per_second": round(result.tokens_per_second, 2),
            "first_token_seconds": _round(self._first_seconds),
            "metrics": metrics.to_dict() | {"tokens": len(result.token_ids)},
            "text": self._stream(name).text,
        }
        if result.score is not None:
            event["score"] = _round(result.score)
            event["sequences"] = [
                [
                    _round(one.score),
                    one.finish_reason,
                    list(one.token_ids),
                    decode_whole(self._tokenizer, list(one.token_ids)),
                ]
                for one in result.sequences
            ]
        return event


def _round(value: float | None) -> float | None:
    """JSON has no infinity: a token that the filter or the model holds impossible gets -9999."""
    if value is None:
        return None
    return round(value, _DIGITS) if -9999 < value < 9999 else -9999.0
