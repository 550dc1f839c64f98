"""The token that ends each text of a causal model's classifier, and its way through save_pretrained."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    BertTokenizer,
    CodeLlamaTokenizer,
    GPT2Tokenizer,
    GPTNeoXTokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
)

from llmdemo.data.encode import encode_classify
from llmdemo.models import load
from llmdemo.models.classifier_eos import append_eos, keep_eos

WORDS = ["a text of some words", "and one more of them"]


def byte_level():
    """A tokenizer of bytes, as GPT-2's and Qwen's are."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(WORDS, trainers.BpeTrainer(special_tokens=["<|end|>"], initial_alphabet=alphabet))
    return made


def vocabulary(made: Tokenizer) -> dict:
    known = made.get_vocab()
    return {token: known[token] for token in sorted(known, key=known.get)}


def llama():
    """SentencePiece's kind, with a BOS at the beginning and bytes for what it does not know."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefghijklmnopqrstuvwxyz"]
    made = LlamaTokenizer(vocab={piece: place for place, piece in enumerate(pieces)}, merges=[])
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    return made


def gpt2():
    made = byte_level()
    return GPT2Tokenizer(vocab=vocabulary(made), merges=[], eos_token="<|end|>", unk_token="<|end|>")


def neox():
    made = byte_level()
    return GPTNeoXTokenizer(vocab=vocabulary(made), merges=[], eos_token="<|end|>", unk_token="<|end|>")


def code_llama():
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefghijklmnopqrstuvwxyz"]
    return CodeLlamaTokenizer(vocab={piece: place for place, piece in enumerate(pieces)}, merges=[])


def generic():
    return PreTrainedTokenizerFast(tokenizer_object=byte_level(), eos_token="<|end|>", pad_token="<|end|>")


@pytest.mark.parametrize("make", [llama, gpt2, neox, code_llama, generic])
def test_each_text_ends_with_the_same_token_also_after_saving(make, tmp_path):
    tokenizer = make()
    plain = tokenizer(WORDS)["input_ids"]
    append_eos(tokenizer)
    tokenizer.save_pretrained(tmp_path)
    keep_eos(tmp_path, tokenizer)
    again = AutoTokenizer.from_pretrained(tmp_path)
    (newline,) = set(tokenizer("\n", add_special_tokens=False)["input_ids"][-1:])
    for told in (tokenizer, again):
        assert told(WORDS)["input_ids"] == [[*ids, newline] for ids in plain]
        assert told(*WORDS)["input_ids"][-1] == newline
        assert told(WORDS[0], truncation=True, max_length=4)["input_ids"] == [*plain[0][:3], newline]
        assert encode_classify(WORDS[0], told, 4).input_ids == [*plain[0][:3], newline]
        bos = tokenizer.bos_token_id if plain[0][0] == tokenizer.bos_token_id else None
        assert told(WORDS[0], add_special_tokens=False)["input_ids"] == [i for i in plain[0] if i != bos]


def test_the_class_of_a_tokenizer_that_closes_nothing_is_kept(tmp_path):
    tokenizer = neox()
    tokenizer.save_pretrained(tmp_path)
    before = (tmp_path / "tokenizer_config.json").read_bytes()
    keep_eos(tmp_path, tokenizer)
    assert (tmp_path / "tokenizer_config.json").read_bytes() == before


def test_a_tokenizer_is_closed_once():
    tokenizer = generic()
    append_eos(tokenizer)
    once = tokenizer(WORDS[0])["input_ids"]
    append_eos(tokenizer)
    assert tokenizer(WORDS[0])["input_ids"] == once


def test_an_encoders_tokenizer_ends_texts_itself():
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "text", "of", "some", "words"]
    tokenizer = BertTokenizer(vocab={piece: place for place, piece in enumerate(pieces)})
    before = tokenizer(WORDS[0])["input_ids"]
    assert before[-1] == 3
    append_eos(tokenizer)
    assert tokenizer(WORDS[0])["input_ids"] == before


def test_a_token_that_is_padding_closes_nothing():
    tokenizer = generic()
    tokenizer.pad_token = "Ċ"  # a line end, as bytes are written
    before = tokenizer(WORDS[0])["input_ids"]
    append_eos(tokenizer)
    assert tokenizer(WORDS[0])["input_ids"] == before


def test_the_head_reads_the_closing_tokens_state(tiny_model_folder):
    model, tokenizer = load.load_classifier(tiny_model_folder, ["ham", "spam"], dtype=torch.float32, device="cpu")
    batch = tokenizer(["short", "a text that is a good deal longer"], padding=True, return_tensors="pt")
    last = batch["attention_mask"].sum(1) - 1
    assert batch["input_ids"][0, last[0]] == batch["input_ids"][1, last[1]] == tokenizer("\n")["input_ids"][0]
    assert last[0] < last[1], "one of them is padded"
    with torch.no_grad():
        states = model.model(**batch).last_hidden_state
        assert torch.allclose(model(**batch).logits, model.score(states[torch.arange(2), last]), atol=1e-6)
        # Where padding counts as text, another state is read.
        assert not torch.allclose(model(**batch).logits, model.score(states[:, -1]), atol=1e-6)


def test_what_is_a_classifier_already_keeps_reading_as_it_was_trained(tiny_model_folder, tmp_path):
    model, closing = load.load_classifier(tiny_model_folder, ["ham", "spam"], device="cpu")
    plain = load.load_tokenizer(tiny_model_folder)
    model.save_pretrained(tmp_path / "foreign")
    plain.save_pretrained(tmp_path / "foreign")
    model.save_pretrained(tmp_path / "ours")
    closing.save_pretrained(tmp_path / "ours")
    assert len(closing("text")["input_ids"]) == len(plain("text")["input_ids"]) + 1
    for name, first in (("foreign", plain), ("ours", closing)):
        for labels in (None, ["ham", "spam"], ["up", "down"]):
            _, tokenizer = load.load_classifier(tmp_path / name, labels, device="cpu")
            assert tokenizer("text")["input_ids"] == first("text")["input_ids"]
