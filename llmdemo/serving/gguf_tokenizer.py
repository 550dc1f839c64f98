"""A tokenizer as GGUF keeps it: tokens, types, merges or scores, special ids, the chat template. From tokenizer.json.

llama.cpp splits a text by rules of its own that go by a name (`pre`); a tokenizer whose rules are none of those known here
is refused, as its texts would be cut into other tokens.
"""

import json
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType

from llmdemo.core.errors import UserError
from llmdemo.core.store import read_json

_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
_SPLITS = {_QWEN: "qwen2", _LLAMA3: "llama-bpe"}


def add_tokenizer(writer: GGUFWriter, folder: Path, rows: int) -> None:
    """Writes the tokenizer of a model's folder; `rows` are those of its embedding. Raises UserError."""
    known = read_json(folder / "tokenizer.json")
    # its model_max_length is often 10^30, more than read_json takes
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    model = known["model"]
    if model.get("type") != "BPE":
        raise UserError("err_gguf_tokenizer", kind=str(model.get("type")))
    tokens, types = _tokens(known, rows)
    if model.get("byte_fallback"):
        _add_sentencepiece(writer, known, tokens, types)
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(split_name(known.get("pre_tokenizer") or {}))
        writer.add_token_list(tokens)
        writer.add_token_types(types)
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
        writer.add_token_merges(merges)
    _add_specials(writer, folder, known, config, tokens)
    if template := _template(folder, config):
        writer.add_chat_template(template)


def split_name(pre: dict[str, Any]) -> str:
    """llama.cpp's name of the rules by which a text is split before merging. Raises UserError for others."""
    steps = pre["pretokenizers"] if pre.get("type") == "Sequence" else [pre]
    kinds = [step.get("type") for step in steps]
    last = steps[-1]
    plain = last.get("type") == "ByteLevel" and not last.get("add_prefix_space")
    if plain and kinds == ["ByteLevel"] and last.get("use_regex", True):
        return "gpt-2"
    if plain and kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and last.get("use_regex", True):
        return "smollm"
    if plain and kinds == ["Split", "ByteLevel"] and steps[0].get("behavior") == "Isolated":
        name = _SPLITS.get(str(steps[0].get("pattern", {}).get("Regex")))
        if name:
            return name
    raise UserError("err_gguf_split", kinds=[str(kind) for kind in kinds])


def _tokens(known: dict, rows: int) -> tuple[list[str], list[TokenType]]:
    """(texts, types), one a row of the embedding; rows without a token get one that no text holds."""
    by_id = {int(index): text for text, index in known["model"]["vocab"].items()}
    added = {int(token["id"]): token for token in known.get("added_tokens", ())}
    by_id |= {index: token["content"] for index, token in added.items()}
    if max(by_id) >= rows:
        raise UserError("err_gguf_rows", tokens=max(by_id) + 1, rows=rows)
    unknown = known["model"].get("unk_token")
    tokens, types = [], []
    for index in range(rows):
        text = by_id.get(index)
        tokens.append(f"[PAD{index}]" if text is None else text)
        if text is None:
            types.append(TokenType.UNUSED)
        elif index in added:
            types.append(TokenType.CONTROL if added[index].get("special") else TokenType.USER_DEFINED)
        elif text == unknown:
            types.append(TokenType.UNKNOWN)
        else:
            types.append(TokenType.NORMAL)
    return tokens, types


def _add_sentencepiece(writer: GGUFWriter, known: dict, tokens: list[str], types: list[TokenType]) -> None:
    """A BPE of sentencepiece. The score of a piece is its rank among the merges: those that are merged first score highest."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(known["model"]["merges"]):
        left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
        ranks.setdefault(left + right, rank)
    scores = []
    for index, text in enumerate(tokens):
        if len(text) == 6 and text.startswith("<0x") and types[index] in (TokenType.NORMAL, TokenType.CONTROL):
            types[index] = TokenType.BYTE
        scores.append(-float(ranks[text]) if text in ranks else -float(len(ranks) + index))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_add_space_prefix('"Prepend"' in json.dumps(known.get("normalizer")) or _prepends(known))


def _prepends(known: dict) -> bool:
    pre = known.get("pre_tokenizer") or {}
    return pre.get("type") == "Metaspace" and pre.get("prepend_scheme", "always") != "never"


def _add_specials(writer: GGUFWriter, folder: Path, known: dict, config: dict, tokens: list[str]) -> None:
    places = {text: index for index, text in enumerate(tokens)}
    adders = {
        "bos_token": writer.add_bos_token_id,
        "eos_token": writer.add_eos_token_id,
        "unk_token": writer.add_unk_token_id,
        "pad_token": writer.add_pad_token_id,
    }
    ids = {}
    for name in adders:
        text = config.get(name)
        text = text.get("content") if isinstance(text, dict) else text
        if text in places:
            ids[name] = places[text]
    ids |= _ends(folder)
    for name, index in ids.items():
        adders[name](index)
    bos = tokens[ids["bos_token"]] if "bos_token" in ids else ""
    writer.add_add_bos_token(bool(bos) and bos in json.dumps(known.get("post_processor") or {}, ensure_ascii=False))
    writer.add_add_eos_token(False)


def _ends(folder: Path) -> dict[str, int]:
    """What ends a text is said by the generation config, as in the arena; the first of several."""
    for name in ("generation_config.json", "config.json"):
        file = folder / name
        ends = read_json(file).get("eos_token_id") if file.is_file() else None
        if ends is not None:
            return {"eos_token": ends if isinstance(ends, int) else int(ends[0])}
    return {}


def _template(folder: Path, config: dict) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    return config["chat_template"] if isinstance(config.get("chat_template"), str) else ""
