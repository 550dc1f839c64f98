"""Decoding steps become small JSON events, for a page to draw and for an API answer to add up.

Knows steps and a tokenizer; nothing of models, threads or widgets. The events, in order:

begin {models, lanes: [{id, model, name, strategy, …}], prompt, prompt_tokens, settings, seed, prefix, versions}
step  {model, n, t: seconds so far, rows}   before what happened in it
names {model, names: {token id: text}, special: [token id]}    every token id that is mentioned has been named before
token {lane, i: id, s: text it completes, l: logprob, f: drawn with, r: rank, k: kept, m: mass, e: entropy, a: alternatives}
      and d, x of a speculative lane: was it drafted (1) or not (0), which drafted ids were not taken at it
      and g where the lane is held to a form: the share of the raw distribution that it forbade
      and w: which of several answers, counted from 0, where the lane draws several to choose from
beam  {lane, live, cut, done: [[parent, id, logprob, score(, sequence score)]], tops, e, g?, best: [keep, [[id, text], …]]}
best  {lane, best}                           the final ranking chose another hypothesis than the last step
lane  {lane, finish_reason, metrics, seconds, tokens_per_second, first_token_seconds, generated, forwards, score?, text,
       sequences?: [[score, finish_reason, ids, text, label, row], …] best first}
end   {state: done | stopped | failed, seconds, message?, hint?, shared?: another visitor asked the same before}

Alternatives are [id, logprob, filtered probability], likeliest first. `best` says how much of the beam lane's text
so far stays and what follows it: the best hypothesis may change.
"""

from typing import Any

from llmdemo.arena.metrics import lane_metrics
from llmdemo.arena.text import TextStream, TokenNames, cut_at, decode_whole
from llmdemo.decoding import BeamStep, LaneResult, PlainStep, SeveralStep, SpeculativeStep, Step, TokenStep
from llmdemo.decoding.steps import STOP

_DIGITS = 5


class EventEncoder:
    """Turns the steps of one model's run into events. `model` is its index among the models that are compared."""

    def __init__(self, tokenizer, model: int = 0, first_seconds: float = 0.0, stop: tuple[str, ...] = ()):
        """`stop`: texts before which every lane's text ends."""
        self._tokenizer, self._stop = tokenizer, stop
        self._names = TokenNames(tokenizer)
        self._model = model
        self._named: set[int] = set()
        self._fresh: dict[int, str] = {}
        self._streams: dict[tuple[str, int], TextStream] = {}  # by lane and, where it draws several answers, by answer
        self._prefixes: dict[str, tuple[int, ...]] = {}
        self._best: dict[str, tuple[int, ...]] = {}
        self._first_seconds = first_seconds

    def lane_id(self, name: str) -> str:
        return f"{self._model}:{name}"

    def begin_lane(self, name: str, prefix: tuple[int, ...] = ()) -> list[str]:
        """Starts the text of a lane, after the tokens it goes on from; returns the text that each of those completes."""
        self._prefixes[name] = prefix
        return self._begin_stream(name, 0)

    def _begin_stream(self, name: str, row: int, said: tuple[int, ...] = ()) -> list[str]:
        """The stream of an answer that goes on from the lane's prefix and `said`; the texts of the prefix' tokens. Stop
        strings count in what is generated only."""
        stream = self._streams[name, row] = TextStream(self._tokenizer, self._stop)
        texts = [stream.push(token, given=True) for token in self._prefixes.get(name, ())]
        for token in said:
            stream.push(token)
        return texts

    def _stream(self, name: str, row: int = 0) -> TextStream:
        if (name, row) not in self._streams:
            self._begin_stream(name, row)
        return self._streams[name, row]

    def events(self, step: Step) -> list[dict]:
        """The events of one step; `names` first."""
        if step.index == 0:
            self._first_seconds = step.seconds
        events = []
        for name, part in step.lanes.items():
            assert not isinstance(part, PlainStep), "who asks for events asks for a trace"
            events += self._of_lane(name, part)
        for name, result in step.results.items():
            if name in self._best:
                events += self._settle(name, tuple(result.token_ids))
            events.append(self._end(name, result))
        timing = {"type": "step", "model": self._model, "n": step.index, "t": _round(step.seconds), "rows": step.rows}
        return [timing, *self.flush_names(), *events]

    def _of_lane(self, name: str, part: TokenStep | SeveralStep | BeamStep | SpeculativeStep) -> list[dict]:
        if isinstance(part, BeamStep):
            return [self._beam(name, part)]
        if isinstance(part, SpeculativeStep):
            return self._speculative(name, part)
        if isinstance(part, SeveralStep):
            return [self._token(name, step, row) | {"w": row} for row, step in part.rows.items()]
        return [self._token(name, part)]

    def _settle(self, name: str, final: tuple[int, ...]) -> list[dict]:
        """A beam lane's text becomes what the final ranking chose, and what was held back for a stop string is let out."""
        changed = self._best[name] != final
        keep, rest = self._change_best(name, final)
        held = self._stream(name).flush()
        if held and not rest:  # it is told as a part of the last token's text
            keep = len(final) - 1
            self._begin_stream(name, 0, final[:keep])
            rest, held = [[final[keep], self._stream(name).push(final[keep])]], self._stream(name).flush()
        if held:
            rest = [*rest[:-1], [rest[-1][0], rest[-1][1] + held]]
        return [{"type": "best", "lane": self.lane_id(name), "best": [keep, rest]}] if changed or held else []

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

    def _token(self, name: str, step: TokenStep, row: int = 0) -> dict:
        stream = self._stream(name, row)
        text = stream.push(step.token)
        return {
            "type": "token",
            "lane": self.lane_id(name),
            "i": self.mention(step.token),
            "s": text + stream.flush() if step.finish_reason not in (None, STOP) else text,
            "l": _round(step.logprob),
            "f": _round(step.filtered),
            "r": step.rank,
            "k": step.kept_size,
            "m": _round(step.kept_mass),
            "e": _round(step.entropy),
            "a": self._alternatives(step.top),
            **({} if step.masked is None else {"g": _round(step.masked)}),
        }

    def _speculative(self, name: str, part: SpeculativeStep) -> list[dict]:
        """A token event each: d tells whether it was drafted; the last one's x are the drafted ids that were not taken."""
        events = [self._token(name, step) | {"d": int(at < part.accepted)} for at, step in enumerate(part.tokens)]
        wrong = part.drafted[part.accepted :]
        if wrong:
            events[-1]["x"] = [self.mention(token) for token in wrong]
        return events

    def _beam(self, name: str, step: BeamStep) -> dict:
        return {
            "type": "beam",
            "lane": self.lane_id(name),
            "live": [self._branch(branch) for branch in step.live],
            "cut": [self._branch(branch) for branch in step.pruned],
            "done": [[*self._branch(branch), _round(branch.sequence_score)] for branch in step.finished],
            "tops": [self._alternatives(top) for top in step.tops],
            "e": [_round(value) for value in step.entropies],
            **({"g": [_round(value) for value in step.masked]} if step.masked else {}),
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
            self._begin_stream(name, 0, best[:keep])
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
            "generated": result.generated,
            "forwards": result.forwards,
            **({"drafted": result.drafted, "accepted": result.accepted} if result.drafted else {}),
            "text": self._stream(name, result.sequences[0].row if result.sequences else 0).text,
        }
        if result.score is not None:
            event["score"] = _round(result.score)
            event["sequences"] = [
                [
                    _round(one.score),
                    one.finish_reason,
                    list(one.token_ids),
                    cut_at(decode_whole(self._tokenizer, list(one.token_ids)), self._stop),
                    one.label,
                    one.row,
                ]
                for one in result.sequences
            ]
        return event


def _round(value: float | None) -> float | None:
    """JSON has no infinity: a token that the filter or the model holds impossible gets -9999."""
    if value is None:
        return None
    return round(value, _DIGITS) if -9999 < value < 9999 else -9999.0
