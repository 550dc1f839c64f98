"""How long the making of a data set will take here: by what like ones took, else a guess from the speed of training. Imports no torch.

Guessed in the tokens learned in which llmdemo/pace.py tells all work of this machine.
"""

from typing import Any

from llmdemo.generation.kinds import KINDS
from llmdemo.generation.worker import to_make
from llmdemo.pace import READ_SHARE, WRITTEN_TOGETHER, as_range
from llmdemo.settings.generation import GenerationSpec

_SHORT, _LONG, _PROMPT = 24, 130, 100
"""Tokens of an instruction or a question, of an answer, and of what is read before a text, as the starter has them."""
_OPINION = 500 * READ_SHARE + 100 * WRITTEN_TOGETHER
"""Of a judge that is a local model: it reads instructions and answers, and writes what it thinks."""
_START_SECONDS = 8.0
"""Until the model is loaded."""
_LIKE = ("kind", "model_id", "second_model_id", "turns", "max_new_tokens", "url")
_TELLING = 5
"""Earlier jobs that count, the newest."""


def forecast(spec: GenerationSpec, prompts: int | None, jobs: list[dict[str, Any]], speed: float) -> dict[str, Any]:
    """{"seconds", "seconds_low", "seconds_high", "rough"} as pace.as_range.

    prompts: how many there are, None where there is no end of them; jobs: as Generations.shown, the newest first; speed: tokens a
    second that this machine trains the model with. A local model writes: of an endpoint's speed nothing is known.
    """
    like = [job["seconds_each"] for job in jobs if job["seconds_each"] and _alike(job["spec"], spec)][:_TELLING]
    each = sorted(like)[len(like) // 2] if like else _tokens(spec) / max(1e-9, speed)
    return as_range(_START_SECONDS + to_make(spec, prompts) * each, len(like))


def _alike(told: dict[str, Any], spec: GenerationSpec) -> bool:
    own = spec.to_dict()
    same = all(told.get(key) == own[key] for key in _LIKE) and bool(told.get("dataset_id")) == bool(own["dataset_id"])
    return same and (told.get("judge") or {}).get("kind") == spec.judge.kind


def _tokens(spec: GenerationSpec) -> float:
    """Tokens learned that would take as long as one record that is kept, with those that are left out."""
    kind = KINDS[spec.kind]
    short, long = kind.texts
    if spec.dataset_id and kind.invents:
        short = 0
    written = short * min(_SHORT, spec.max_prompt_tokens) + long * min(_LONG, spec.max_new_tokens)
    attempt = written * WRITTEN_TOGETHER + (short + long) * _PROMPT * READ_SHARE
    opinions = (1 + kind.judged) * (spec.judge.kind == "model")
    return (attempt * spec.turns + opinions * _OPINION) / kind.keeps**spec.turns
