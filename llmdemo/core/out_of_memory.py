"""What a person is told when a run's memory ran out: what it needed, what there was, which setting to lower.

The worker tells it when it sees the error itself, the supervisor when the kernel ended the worker. Knows a memory
ledger (the event "ledger") and a run's settings as plain dicts; imports no torch.
"""

import re
from typing import Any

from llmdemo.core.sentences import Sentence, say, together

MESSAGES = re.compile(
    r"torch\.OutOfMemoryError|CUDA out of memory|HIP out of memory|can't allocate memory|not enough memory"
    r"|^MemoryError\b|Cannot allocate memory|MPS backend out of memory",
    re.MULTILINE,
)
"""How the libraries say it."""
_TRIED = re.compile(r"(?:[Tt]ried to allocate|[Uu]nable to allocate) ([\d.]+ ?(?:[KMGT]i?B|bytes))")
_FREE = re.compile(r"total capacity of ([\d.]+ [KMGT]i?B) of which ([\d.]+ [KMGT]i?B) is free")
RESUME = say("resume_checkpoint")


def needed(ledger: dict[str, Any] | None, *, said: str = "", peak: int | None = None, there: int | None = None) -> str:
    """What the run needed and what there was, in sentences; "" where nothing is known.

    `ledger`: the last of the run. `said`: the library's own message. `peak`: the most bytes the run told of.
    `there`: bytes of the whole machine.
    """
    predicted = (ledger or {}).get("predicted") or {}
    sentences: list[str] = []
    if total := _bytes(predicted.get("total")):
        parts = _parts(predicted)
        part = max(parts, key=lambda name: parts[name], default="")
        most = say("oom_most", part=say(f"part_{part}"), size=_size(predicted[part])) if part else ""
        available = _bytes((ledger or {}).get("available"))
        free = say("oom_free", size=_size(available)) if available else ""
        whole = _bytes((ledger or {}).get("needed")) or total
        each = say("oom_each", size=_size(total)) if whole > total else ""
        sentences.append(say("oom_needs", size=_size(whole), each=each, most=most, free=free))
    if peak:
        sentences.append(say("oom_taken", size=_size(peak)))
    if there:
        sentences.append(say("oom_machine", size=_size(there)))
    if tried := _TRIED.search(said):
        sentences.append(say("oom_asked", size=_readable(tried[1])))
    if on_gpu := _FREE.search(said):
        sentences.append(say("oom_gpu", whole=on_gpu[1], free=on_gpu[2]))
    return together(*sentences)


def smaller(ledger: dict[str, Any] | None, config: dict[str, Any] | None) -> str:
    """Which settings to lower, those first that free the most; with their values where they are known."""
    predicted = (ledger or {}).get("predicted") or {}
    parts = _parts(predicted)
    order = sorted(parts, key=lambda name: parts[name], reverse=True) or ["activations"]
    advice = list(dict.fromkeys(_ADVICE[part](config or {}) for part in order))[:2]
    said = "; or ".join(advice)
    return together(Sentence(f"{said[:1].upper()}{said[1:]}.", "oom_advice", {"advice": advice}), RESUME)


def _rows(config: dict[str, Any]) -> str:
    length = _now(config, "max_length", say("oom_tokens"))
    return say("oom_rows", batch=_now(config, "batch_size"), length=length)


def _moments(config: dict[str, Any]) -> str:
    if config.get("method") == "adamw":
        return say("oom_method")
    return say("oom_rank", now=_now(config, "rank"))


def _weights(config: dict[str, Any]) -> str:
    narrower = config.get("method") == "galore" and config.get("weight_bits") != 8 and config.get("task") != "grpo"
    return say("oom_weight_bits" if narrower else "oom_weights")


_ADVICE = {
    "activations": _rows,
    "logits": _rows,
    "gradients": _moments,
    "moments": _moments,
    "subspace": _moments,
    "weights": _weights,
}
"""By the part of the memory estimate that it makes smaller."""


def _now(config: dict[str, Any], key: str, unit: str = "") -> str:
    value = config.get(key)
    known = isinstance(value, int) and not isinstance(value, bool)
    return say("oom_now", value=value, unit=unit) if known else ""


def _parts(predicted: dict[str, Any]) -> dict[str, float]:
    return {name: size for name in _ADVICE if (size := _bytes(predicted.get(name)))}


def _bytes(value: Any) -> float | None:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return value if real and 0 < value < 2**60 else None


def _readable(text: str) -> str:
    return _size(float(text.split()[0])) if text.endswith("bytes") else text


def _size(count: float) -> str:
    return (
        f"{count / 2**30:.2f} GiB"
        if count >= 2**30
        else f"{count / 2**20:.0f} MiB"
        if count >= 2**20
        else f"{count:.0f} bytes"
    )
