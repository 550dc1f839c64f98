"""Reads a model folder as the app will, but for the weights. Run by trial.py as a process of its own, with limits.

Writes one JSON object a line to standard output: {"stage"} before each step, {"result"} at the end. Does without torch,
which takes seconds to import and is not needed for what is read here.
"""

import json
import os
import sys
from pathlib import Path

from llmdemo.core.sentences import Sentence, pack, say

_HIDDEN = ("torch", "torchvision", "torchaudio", "tensorflow", "sklearn", "scipy", "pandas", "PIL")
_SAFE = {"local_files_only": True, "trust_remote_code": False}
_PROBES = ("Hello, how are you?\n\n1 + 1 = 2; naïve café, 你好 🙂\t{}", *(each * 2000 for each in "a A0 .\n\t你é_-/"))
_MOST_TOKENS_A_CHARACTER = 16
_MOST_ADDED = 100_000
_MOST_GROWTH = 256
_AGAIN = say("copy_again_or_other")


def begin(cpu_seconds: int, memory: int) -> None:
    """Imports what reads, then limits this process: what is imported does not count."""
    for name in _HIDDEN:
        sys.modules[name] = None  # type: ignore[assignment]
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig  # noqa: F401

    from llmdemo.core.bounded_child import limit
    from llmdemo.models import template

    template.install()
    limit(cpu_seconds=cpu_seconds, data_bytes=memory, file_bytes=2**20)


def read(folder: Path) -> dict:
    """What to tell: {} for a folder that reads well, else {error, hint}."""
    from llmdemo.core.errors import UserError, first_line

    try:
        _read(folder)
    except UserError as refused:
        return {"error": refused.message, "hint": refused.hint}
    except MemoryError:
        raise
    except BaseException as error:  # Rust's panics too; whatever a library raises for a stranger's files is a sentence
        what = f"{type(error).__name__}: {first_line(error).replace(str(folder), folder.name)}"
        stage = stage_words(_stages[-1])
        said = say("err_stage_unreadable", stage=stage, folder=repr(folder.name[:80]), what=what)
        text = f"{stage.capitalize()} of the model in {folder.name[:80]!r} cannot be read ({what})."
        return {"error": Sentence(text, said.key, said.values), "hint": _AGAIN}
    return {}


def _read(folder: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase

    _stage("tokenizer.json")
    check_tokenizer_file(folder)
    _stage("config.json")
    AutoConfig.from_pretrained(folder, **_SAFE)
    _stage("generation_config.json")
    _check_generation(folder)
    _stage("the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, **_SAFE)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise TypeError(f"{type(tokenizer).__name__} is no tokenizer of one model")
    _check_texts(tokenizer)
    _stage("the chat template")
    _check_template(tokenizer)


_stages = ["the files"]


def stage_words(stage: str) -> str:
    """What was being read, as a sentence names it: a file's name, or words."""
    keys = {"its files": "stage_files", "the tokenizer": "stage_tokenizer", "the chat template": "stage_template"}
    return say(keys[stage]) if stage in keys else stage


def _stage(name: str) -> None:
    _stages.append(name)
    _write({"stage": name})


def _write(value: dict) -> None:
    sys.stdout.write(json.dumps(pack(value)) + "\n")
    sys.stdout.flush()


def check_tokenizer_file(folder: Path) -> None:
    """Raises UserError for a tokenizer.json with too many tokens of its own, or that makes much of little text."""
    from llmdemo.core.errors import UserError
    from llmdemo.models.files import read_object

    if not (folder / "tokenizer.json").is_file():
        return
    content = read_object(folder / "tokenizer.json", 128 * 2**20)
    added = content.get("added_tokens")
    if isinstance(added, list) and len(added) > _MOST_ADDED:
        raise UserError("err_added_tokens", _AGAIN, n=len(added), most=_MOST_ADDED)
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        if growth(content.get(part)) > _MOST_GROWTH:
            raise UserError("err_tokenizer_grows", _AGAIN, part=part, most=_MOST_GROWTH)


def growth(part) -> float:
    """By how much the replacements in a part of a tokenizer can lengthen a text, one after the other."""
    grown, left = 1.0, [part]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left += item.values()
            if item.get("type") == "Replace" and isinstance(item.get("content"), str):
                pattern = item.get("pattern")
                old = pattern.get("String") if isinstance(pattern, dict) else None
                grown *= max(1.0, (len(item["content"]) + (old is None)) / max(1, len(old or "")))
        elif isinstance(item, list):
            left += item
    return grown


def _check_generation(folder: Path) -> None:
    from transformers import GenerationConfig

    from llmdemo.models.fields import check_ids
    from llmdemo.models.files import read_object

    if (folder / "generation_config.json").is_file():
        check_ids(read_object(folder / "generation_config.json", 2**20), "generation_config.json")
        GenerationConfig.from_pretrained(folder, local_files_only=True)


def _check_texts(tokenizer) -> None:
    from llmdemo.core.errors import UserError

    for text in _PROBES:
        ids = tokenizer(text, verbose=False)["input_ids"]
        if len(ids) > 1000 + _MOST_TOKENS_A_CHARACTER * len(text):
            raise UserError("err_tokenizer_many", _AGAIN, n=len(ids), characters=len(text))
        tokenizer.decode(ids)


def _check_template(tokenizer) -> None:
    """Renders it once: one that takes too much is refused, one that wants other turns is not."""
    from jinja2 import TemplateError

    from llmdemo.core.errors import UserError
    from llmdemo.models.template import TooMuch

    if not getattr(tokenizer, "chat_template", None):
        return
    try:
        tokenizer.apply_chat_template(
            [{"role": "user", "content": "Hello"}], tokenize=False, add_generation_prompt=True
        )
    except TooMuch as error:
        raise UserError("err_template_refused", _AGAIN, error=error.sentence) from error
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError):
        return  # said where a conversation is rendered that it does not take


if __name__ == "__main__":
    begin(int(sys.argv[2]), int(sys.argv[3]))
    _write({"result": read(Path(sys.argv[1]))})
    sys.stdout.flush()
    os._exit(0)
