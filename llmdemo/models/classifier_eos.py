"""The token at the end of each text that a causal model classifies: its state there is what the head reads.

Without one, the head would read the state of whatever token a text happens to end with. The tokenizer itself adds it, as
encoders' tokenizers do, and keeps it in tokenizer.json: so every program that loads the classifier reads texts alike.
"""

import json
from pathlib import Path

from tokenizers.processors import Sequence, TemplateProcessing

from llmdemo.core import store

CLOSING = "\n"
"""Every tokenizer has it, and to every causal model it says that something is complete."""
_NAME = "closing"


def append_eos(tokenizer) -> None:
    """Makes a fast tokenizer add CLOSING's last token to each text, unless it adds tokens at the end already."""
    token = _closing_token(tokenizer)
    if token is None or _ends_texts(tokenizer):
        return
    backend = tokenizer.backend_tokenizer
    # A template cannot follow another: the second would take the first's pieces for texts. So there is one.
    steps = _steps(backend.post_processor)
    template = next((step for step in steps if step["type"] == "TemplateProcessing"), None)
    if template is None:
        steps.append(template := json.loads(TemplateProcessing("$A", "$A $B:1").__getstate__()))
    for pieces in filter(None, (template["single"], template["pair"])):
        (last,) = pieces[-1].values()
        pieces.append({"SpecialToken": {"id": _NAME, "type_id": last["type_id"]}})
    piece = tokenizer.convert_ids_to_tokens(token)
    template["special_tokens"][_NAME] = {"id": _NAME, "ids": [token], "tokens": [piece]}
    made = Sequence([])
    made.__setstate__(json.dumps({"type": "Sequence", "processors": steps}).encode())
    backend.post_processor = made


def keep_eos(folder: Path, tokenizer) -> None:
    """Lets the tokenizer that was saved in `folder` be read as tokenizer.json has it, if it closes texts.

    Some classes (GPTNeoXTokenizer, CodeLlamaTokenizer) make their own post-processor each time they are loaded.
    """
    if all(_NAME not in step.get("special_tokens", {}) for step in _steps(tokenizer.backend_tokenizer.post_processor)):
        return
    path = folder / "tokenizer_config.json"
    # Not store.read_json: tokenizers without a limit write their model_max_length as an integer of 31 digits.
    known = json.loads(path.read_text(encoding="utf-8"))
    store.write_json(path, known | {"tokenizer_class": "PreTrainedTokenizerFast"})


def _steps(processor) -> list[dict]:
    """The post-processors of which one consists, as tokenizer.json has them."""
    if processor is None:
        return []
    told = json.loads(processor.__getstate__())
    return told["processors"] if told["type"] == "Sequence" else [told]


def _closing_token(tokenizer) -> int | None:
    ids = tokenizer(CLOSING, add_special_tokens=False)["input_ids"]
    # A head that looks for the last token before the padding would look past it, were it the pad token.
    return ids[-1] if ids and ids[-1] not in (tokenizer.pad_token_id, tokenizer.unk_token_id) else None


def _ends_texts(tokenizer) -> bool:
    return tokenizer("a")["input_ids"][-1:] != tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
