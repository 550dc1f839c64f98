"""A whole comparison as compact JSON, and back to the same Steps without the model. Knows no text and no page.

Numbers are kept by column, rounded to what a page can show: a run of 512 tokens in all four lanes is about a
megabyte. What a beam step repeats (running texts, which candidates were taken) is not stored but followed again.
"""

import hashlib
import json
import platform
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

from llmdemo import __version__
from llmdemo.decoding.settings import DecodeSettings
from llmdemo.decoding.steps import (
    EOS,
    LENGTH,
    BeamStep,
    Branch,
    Candidates,
    Finished,
    LaneResult,
    Sequence,
    Step,
    TokenStep,
)
from llmdemo.errors import UserError

FORMAT = "llmdemo-trace-1"
LARGEST = 64 * 2**20
"""Longest JSON text that is read, in bytes."""
_OPEN = SimpleNamespace(max_new_tokens=2**31, max_beams=1024)


@dataclass
class Trace:
    """Everything needed to show a comparison again."""

    prompt_ids: tuple[int, ...]
    settings: DecodeSettings
    steps: list[Step] = field(default_factory=list)
    model: dict = field(default_factory=dict)
    """Who made it: id and "hash" (see model_hash), as JSON-like values."""
    versions: dict = field(default_factory=lambda: versions())
    created: float = field(default_factory=lambda: round(time.time(), 3))
    """Seconds since the epoch."""
    extra: dict = field(default_factory=dict)
    """What the caller adds, such as the texts of used_tokens(); any JSON object."""

    def add(self, step: Step) -> Step:
        """Records `step` and gives it back: `for step in map(trace.add, decode_lanes(…))`."""
        self.steps.append(step)
        return step

    def used_tokens(self) -> set[int]:
        """Every token id that the trace mentions."""
        found = set(self.prompt_ids)
        for step in self.steps:
            for lane in step.lanes.values():
                if isinstance(lane, TokenStep):
                    found.update(lane.top.tokens, (lane.token,))
                else:
                    found.update(*(top.tokens for top in lane.tops))
                    found.update(branch.token for branch in (*lane.live, *lane.finished, *lane.pruned))
        return found

    def results(self) -> dict[str, LaneResult]:
        """The lanes that have ended."""
        return {name: result for step in self.steps for name, result in step.results.items()}

    def to_json(self) -> str:
        """One JSON object without spaces."""
        head = {"format": FORMAT, "created": self.created, "model": self.model, "versions": self.versions}
        body = {"settings": self.settings.to_dict(), "prompt_ids": self.prompt_ids, "extra": self.extra}
        columns = {
            "seconds": [round(step.seconds, 4) for step in self.steps],
            "rows": [step.rows for step in self.steps],
        }
        lanes = {lane.name: _lane_columns(lane.name, self.steps) for lane in self.settings.lanes}
        whole = {**head, **body, "steps": columns, "lanes": lanes}
        return json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Trace":
        """The trace of `to_json`'s text. Raises UserError if it is none."""
        if len(text) > LARGEST:
            raise UserError(f"The trace has {len(text):,} characters.", f"At most {LARGEST:,} are read.")
        try:
            data = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"The trace is not JSON: {str(error)[:120]}.", "Choose a file that this app exported."
            ) from None
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise UserError("This JSON is not a trace of this app.", f'Its "format" must be "{FORMAT}".')
        try:
            return _trace(cls, data)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise UserError(
                f"The trace is damaged ({type(error).__name__}: {str(error)[:80]}).", "Export it again."
            ) from None


def versions() -> dict:
    """Versions of what made a trace."""
    import torch
    import transformers

    return {
        "llmdemo": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def model_hash(model) -> str:
    """16 hex digits that tell models apart: names, shapes, types and a thousand evenly spaced weights of each tensor."""
    digest = hashlib.sha256(type(model).__name__.encode())
    for name, parameter in model.named_parameters():
        digest.update(f"{name}{tuple(parameter.shape)}{parameter.dtype}".encode())
        flat = parameter.detach().flatten()
        digest.update(flat[:: max(1, flat.numel() // 1000)].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


# --- writing -----------------------------------------------------------------------------------------------------


def _short(value: float) -> float:
    """Five significant digits."""
    return float(f"{value:.5g}")


def _shorts(values) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _lane_columns(name: str, steps: list[Step]) -> dict:
    lanes = [step.lanes[name] for step in steps if name in step.lanes]
    result = next((step.results[name] for step in steps if name in step.results), None)
    columns = _beam_columns(lanes) if lanes and isinstance(lanes[0], BeamStep) else _token_columns(lanes)
    return {**columns, "result": result and _result_to_dict(result)}


def _token_columns(lanes: list[TokenStep]) -> dict:
    return {
        "kind": "token",
        "token": [lane.token for lane in lanes],
        "logprob": _shorts(lane.logprob for lane in lanes),
        "filtered": _shorts(lane.filtered for lane in lanes),
        "rank": [lane.rank for lane in lanes],
        "kept_size": [lane.kept_size for lane in lanes],
        "kept_mass": _shorts(lane.kept_mass for lane in lanes),
        "entropy": _shorts(lane.entropy for lane in lanes),
        "top": [[lane.top.tokens, _shorts(lane.top.logprobs), _shorts(lane.top.filtered)] for lane in lanes],
        "finish_reason": lanes[-1].finish_reason if lanes else None,
    }


def _beam_columns(lanes: list[BeamStep]) -> dict:
    def branch(b) -> list:
        tail = [_short(b.sequence_score)] if isinstance(b, Finished) else []
        return [b.parent, b.token, _short(b.logprob), _short(b.score), *tail]

    return {
        "kind": "beam",
        "live": [[branch(b) for b in lane.live] for lane in lanes],
        "finished": [[branch(b) for b in lane.finished] for lane in lanes],
        "pruned": [[branch(b) for b in lane.pruned] for lane in lanes],
        "tops": [[[top.tokens, _shorts(top.logprobs)] for top in lane.tops] for lane in lanes],
        "entropies": [_shorts(lane.entropies) for lane in lanes],
        "best_finished": [int(lane.best_finished) for lane in lanes],
        "finish_reason": lanes[-1].finish_reason if lanes else None,
    }


def _result_to_dict(result: LaneResult) -> dict:
    return {
        "token_ids": result.token_ids,
        "logprobs": _shorts(result.logprobs),
        "finish_reason": result.finish_reason,
        "seconds": _short(result.seconds),
        "score": None if result.score is None else _short(result.score),
        "sequences": [[s.token_ids, _shorts(s.logprobs), _short(s.score), s.finish_reason] for s in result.sequences],
    }


# --- reading: every value is made the number that it should be, or refused ----------------------------------------


def _refuse(name: str):
    raise ValueError(f"{name} is no number of JSON")


def _ints(values) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _floats(values) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _reason(value):
    if value not in (None, EOS, LENGTH):
        raise ValueError("finish_reason")
    return value


def _object(value) -> dict:
    if not isinstance(value, dict):
        raise TypeError("an object is missing")
    return value


def _trace(cls, data: dict) -> Trace:
    settings = DecodeSettings.from_dict(_object(data["settings"]), _OPEN)
    seconds, rows = _floats(data["steps"]["seconds"]), _ints(data["steps"]["rows"])
    taken: list[dict] = [{} for _ in seconds]
    results: list[dict] = [{} for _ in seconds]
    for lane in settings.lanes:
        columns = data["lanes"][lane.name]
        found = (_token_steps if columns["kind"] == "token" else _beam_steps)(lane.name, columns)
        for at, step in zip(taken, found, strict=False):
            at[lane.name] = step
        if columns["result"] is not None:
            results[len(found) - 1][lane.name] = _result(lane.name, columns["result"])
    done = len(settings.lanes) == sum(map(len, results))
    steps = [
        Step(i, lanes, second, row, done and i == len(seconds) - 1, ended)
        for i, (lanes, second, row, ended) in enumerate(zip(taken, seconds, rows, results, strict=True))
    ]
    kept = {key: _object(data[key]) for key in ("model", "versions", "extra")}
    return cls(_ints(data["prompt_ids"]), settings, steps, created=float(data["created"]), **kept)


def _token_steps(name: str, columns: dict) -> list[TokenStep]:
    keys = ("token", "logprob", "filtered", "rank", "kept_size", "kept_mass", "entropy", "top")
    steps = []
    last = len(columns["token"]) - 1
    for i, row in enumerate(zip(*(columns[key] for key in keys), strict=True)):
        token, logprob, filtered, rank, size, mass, entropy, (tokens, logprobs, shares) = row
        top = Candidates(_ints(tokens), _floats(logprobs), _floats(shares))
        numbers = int(token), float(logprob), float(filtered), int(rank), int(size), float(mass), float(entropy)
        steps.append(TokenStep(name, *numbers, top, _reason(columns["finish_reason"]) if i == last else None))
    return steps


def _beam_steps(name: str, columns: dict) -> list[BeamStep]:
    keys = ("live", "finished", "pruned", "tops", "entropies", "best_finished")
    texts: list[tuple[int, ...]] = [()]
    first, steps = (float("-inf"), ()), []
    last = len(columns["live"]) - 1
    for i, row in enumerate(zip(*(columns[key] for key in keys), strict=True)):
        live, pruned = (
            tuple(Branch(int(p), int(t), float(g), float(s)) for p, t, g, s in part) for part in (row[0], row[2])
        )
        finished = tuple(Finished(int(p), int(t), float(g), float(s), float(q)) for p, t, g, s, q in row[1])
        chosen = {(branch.parent, branch.token) for branch in (*live, *finished)}
        tops = tuple(
            Candidates(
                tokens := _ints(top[0]), _floats(top[1]), tuple(float((at, token) in chosen) for token in tokens)
            )
            for at, top in enumerate(row[3])
        )
        first = max(
            [first, *((b.sequence_score, (*texts[b.parent], b.token)) for b in finished)], key=lambda pair: pair[0]
        )
        texts = [(*texts[branch.parent], branch.token) for branch in live]
        best = first[1] if row[5] or not texts else texts[0]
        reason = _reason(columns["finish_reason"]) if i == last else None
        steps.append(BeamStep(name, live, finished, pruned, tops, _floats(row[4]), best, bool(row[5]), reason))
    return steps


def _result(name: str, data: dict) -> LaneResult:
    tokens, seconds = _ints(data["token_ids"]), float(data["seconds"])
    return LaneResult(
        lane=name,
        token_ids=tokens,
        logprobs=_floats(data["logprobs"]),
        finish_reason=_reason(data["finish_reason"]),
        seconds=seconds,
        tokens_per_second=len(tokens) / max(seconds, 1e-9),
        score=None if data["score"] is None else float(data["score"]),
        sequences=tuple(Sequence(_ints(t), _floats(p), float(s), _reason(r)) for t, p, s, r in data["sequences"]),
    )
