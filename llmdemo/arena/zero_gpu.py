"""Decoding on ZeroGPU (Hugging Face Spaces), where a GPU is attached for the time of one call.

The GPU exists only in a process that `spaces` forks for the call. That process loads the model from its folder and
sends back the steps. Without the `spaces` package, and off ZeroGPU, the same function runs in this process. This module
must be imported before the page is launched: `spaces` registers decorated functions by then.
"""

from collections.abc import Iterator
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings, Step

try:
    import spaces
except ImportError:
    spaces = None

_LOAD_SECONDS, _TOKEN_SECONDS, _PROMPT_SECONDS = 10, 0.06, 0.002
_MOST_SECONDS = 120
_kept: dict[tuple[str, str], object] = {}
"""The model of the last call, in the process that has the GPU; the next call may reuse it."""


def seconds_needed(folder: str, precision: str, prompt_ids: list[int], settings: DecodeSettings) -> int:
    """How long the GPU is asked for: loading, reading the prompt, and so many steps, on the slow side."""
    seconds = _LOAD_SECONDS + _PROMPT_SECONDS * len(prompt_ids) + _TOKEN_SECONDS * settings.max_new_tokens
    return min(_MOST_SECONDS, round(seconds))


def _decode(folder: str, precision: str, prompt_ids: list[int], settings: DecodeSettings) -> Iterator[Step]:
    from llmdemo.decoding import decode_lanes

    yield from decode_lanes(_model(folder, precision), prompt_ids, settings)


decode_on_gpu = spaces.GPU(duration=seconds_needed)(_decode) if spaces else _decode


def decode(folder: Path, precision: str, prompt_ids: list[int], settings: DecodeSettings) -> Iterator[Step]:
    """The steps of decode_lanes, from where the GPU is. Raises UserError when none is lent."""
    try:
        yield from decode_on_gpu(str(folder), precision, list(prompt_ids), settings)
    except Exception as error:
        said = getattr(error, "message", None)  # Gradio's way of telling a person: no GPU free, quota used up
        if not said or isinstance(error, UserError):
            raise
        raise UserError("err_no_gpu_lent", said=said) from error


def _model(folder: str, precision: str):
    import torch

    from llmdemo.models.load import load_causal

    key = (folder, precision)
    if key not in _kept:
        torch.set_num_threads(1)  # a forked process must not wait for threads that stayed in the other one
        _kept.clear()
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}.get(precision)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        _kept[key], _ = load_causal(Path(folder), dtype, device)
    return _kept[key]
