"""Tries what a model folder holds beside its weights, once, in a process of its own with little time and memory.

What transformers reads of a folder (the tokenizer, the config, the generation config, the chat template) can be made to
take for ever. The child (trial_child.py) reads it all as the app will; what passed is remembered by the content of these
files, so that neither another start of the app nor a copy of the folder is tried again. What this app wrote itself, or
fetched by its hash, is trusted without a trial. Knows nothing of ids or of weights.
Imports no torch.
"""

import hashlib
import json
import os
import threading
from pathlib import Path

from llmdemo.core.bounded_child import BoundedChild
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import unpack
from llmdemo.models.files import open_plain
from llmdemo.models.trial_child import stage_words

CPU_SECONDS = 8
"""Processor time that reading may take, beyond the imports; a vocabulary of 256,000 tokens takes 2."""
MEMORY_BYTES = 3 * 2**30
PATIENCE = 60.0
"""Seconds after which the child is ended, however little it computes."""

READ = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("generation_config.json", "chat_template.jinja", "chat_template.json", "tokenizer.model", "vocab.json"),
    *("merges.txt", "vocab.txt"),
)
"""What transformers reads beside the weights; of other files in a folder it knows nothing."""
LARGEST = {"config.json": 4 * 2**20, "tokenizer.json": 128 * 2**20, "chat_template.jinja": 2**20}
LARGEST_OTHER = 32 * 2**20
_VERSION = 1
"""Of what is tried: another one tries again what passed before."""
_MOST_ANSWER = 10_000
_passed: set[str] = set()
_trying = threading.Lock()


def require_tried(folder: Path, kept: Path) -> None:
    """Raises UserError, with what was found, unless the folder reads within the limits. `kept`: a folder for results.

    Raises OSError where a file cannot be read.
    """
    seen = _stamps(folder)
    if seen in _passed:
        return
    with _trying:  # one at a time: the second one to ask finds the first one's answer
        mark = digest(folder)
        if mark not in _passed and not (kept / mark).is_file():
            _try(folder)
            _remember(kept / mark)
        _passed.update((seen, mark))


def trust(folder: Path, kept: Path) -> None:
    """Remembers a folder that needs no trial: this app wrote it itself, or knows its hash. Its copies need none either."""
    try:
        _remember(kept / digest(folder))
    except (UserError, OSError):
        return  # it is tried when it is asked for


def _remember(mark: Path) -> None:
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:
        return  # a full disk: it is tried again at the next start


def _stamps(folder: Path) -> str:
    """A text that changes when a file of the folder does, told without reading any."""
    lines = [str(folder.resolve())]
    for name in READ:
        try:
            found = (folder / name).stat()
        except OSError:
            continue
        lines.append(f"{name} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}")
    return "\n".join(lines)


def digest(folder: Path) -> str:
    """The hash of all that the child reads. Raises UserError for a file that is no plain one or too large, and OSError."""
    found = hashlib.sha256(f"{_VERSION}".encode())
    for name in READ:
        if not os.path.lexists(folder / name):
            continue
        handle, size = open_plain(folder / name)
        with os.fdopen(handle, "rb") as file:
            if size > LARGEST.get(name, LARGEST_OTHER):
                raise UserError("err_model_file_large", name=name, size=size)
            found.update(f"{name} {size}\n".encode())
            left = size
            while left and (data := file.read(min(left, 2**20))):
                found.update(data)
                left -= len(data)
    return found.hexdigest()


def _try(folder: Path) -> None:
    child = BoundedChild(
        ["-m", "llmdemo.models.trial_child", str(folder), str(CPU_SECONDS), str(MEMORY_BYTES)],
        PATIENCE,
        env={
            **{"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"},
            **{"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        },
    )
    try:
        lines = child.answer(_MOST_ANSWER)
    finally:
        child.end()
    stage, result = "its files", None
    for line in lines:  # a stage a line, and the result as the last one, where it came to that
        value = json.loads(line)
        stage, result = value.get("stage", stage), unpack(value.get("result"))
    if result is None:
        raise UserError(
            "err_model_trial",
            stage=stage_words(stage),
            folder=repr(folder.name[:80]),
            seconds=CPU_SECONDS,
            memory=MEMORY_BYTES // 2**30,
        )
    if result.get("error"):
        raise UserError(result["error"], result.get("hint", ""))
