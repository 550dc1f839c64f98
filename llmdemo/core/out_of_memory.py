"""What a person is told when a run's memory ran out: what it needed, what there was, which setting to lower.

The worker tells it when it sees the error itself, the supervisor when the kernel ended the worker. Knows a memory
ledger (the event "ledger") and a run's settings as plain dicts; imports no torch.
"""

import re
from typing import Any

MESSAGES = re.compile(
    r"torch\.OutOfMemoryError|CUDA out of memory|HIP out of memory|can't allocate memory|not enough memory"
    r"|^MemoryError\b|Cannot allocate memory|MPS backend out of memory",
    re.MULTILINE,
)
"""How the libraries say it."""
_TRIED = re.compile(r"(?:[Tt]ried to allocate|[Uu]nable to allocate) ([\d.]+ ?(?:[KMGT]i?B|bytes))")
_FREE = re.compile(r"total capacity of ([\d.]+ [KMGT]i?B) of which ([\d.]+ [KMGT]i?B) is free")
RESUME = "Resume goes on from the last checkpoint."


def needed(ledger: dict[str, Any] | None, *, said: str = "", peak: int | None = None, there: int | None = None) -> str:
    """What the run needed and what there was, in sentences; "" where nothing is known.

    `ledger`: the last of the run. `said`: the library's own message. `peak`: the most bytes the run told of.
    `there`: bytes of the whole machine.
    """
    predicted = (ledger or {}).get("predicted") or {}
    sentences = []
    if total := _bytes(predicted.get("total")):
        parts = _parts(predicted)
        part = max(parts, key=lambda name: parts[name], default="")
        most = f", most of it for {part} ({_size(predicted[part])})" if part else ""
        available = _bytes((ledger or {}).get("available"))
        free = f"; {_size(available)} were free when it began" if available else ""
        whole = _bytes((ledger or {}).get("needed")) or total
        each = f" in all its processes, {_size(total)} in each" if whole > total else ""
        sentences.append(f"The run needs about {_size(whole)}{each}{most}{free}.")
    if peak:
        sentences.append(f"It had taken {_size(peak)}.")
    if there:
        sentences.append(f"The machine has {_size(there)}.")
    if tried := _TRIED.search(said):
        sentences.append(f"It failed when it asked for {_readable(tried[1])} more.")
    if on_gpu := _FREE.search(said):
        sentences.append(f"The GPU has {on_gpu[1]}, {on_gpu[2]} of it free.")
    return " ".join(sentences)


def smaller(ledger: dict[str, Any] | None, config: dict[str, Any] | None) -> str:
    """Which settings to lower, those first that free the most; with their values where they are known."""
    predicted = (ledger or {}).get("predicted") or {}
    parts = _parts(predicted)
    order = sorted(parts, key=lambda name: parts[name], reverse=True) or ["activations"]
    advice = list(dict.fromkeys(_ADVICE[part](config or {}) for part in order))
    said = "; or ".join(advice[:2])
    return f"{said[:1].upper()}{said[1:]}. {RESUME}"


def _rows(config: dict[str, Any]) -> str:
    return (
        f"lower the batch size{_now(config, 'batch_size')}, raising the batches a step to make up for it, or the "
        f"longest record{_now(config, 'max_length', ' tokens')}"
    )


def _moments(config: dict[str, Any]) -> str:
    if config.get("method") == "adamw":
        return "choose GaLore or LoRA, whose optimizer keeps less"
    return f"lower the rank{_now(config, 'rank')}"


def _weights(config: dict[str, Any]) -> str:
    return "choose a smaller model, or the precision bf16_pure"


_ADVICE = {
    "activations": _rows,
    "logits": _rows,
    "gradients": _moments,
    "moments": _moments,
    "subspace": _moments,
    "weights": _weights,
}
"""By the part of the ledger that it makes smaller."""


def _now(config: dict[str, Any], key: str, unit: str = "") -> str:
    value = config.get(key)
    return f" (now {value}{unit})" if isinstance(value, int) and not isinstance(value, bool) else ""


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
