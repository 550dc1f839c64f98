"""A model from nothing: a tokenizer trained on the run's own text, or taken from a model, and random weights of a shape.

What it writes, RUN/base, is a model's folder as any other, so all that trains, resumes and publishes a model knows it
already. Knows no steps.
"""

from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from llmdemo.core import store
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.data.records import Records, open_records
from llmdemo.data.split import split
from llmdemo.models import catalog, scratch
from llmdemo.models.catalog import ModelEntry
from llmdemo.models.load import load_tokenizer
from llmdemo.settings.training import TrainConfig

FOLDER = "base"
END = "<|endoftext|>"
_FACTS = "scratch.json"
_LEAST_WORDS = 2


def entry_here(run_dir: Path, config: TrainConfig) -> ModelEntry:
    """The model that a run of the task pretrain starts from, after `make`."""
    folder = run_dir / FOLDER
    facts = store.read_json(folder / _FACTS)
    entry = scratch.entry_of(config.model_size, facts["vocabulary"], config.max_length)
    return replace(entry, path=folder, ready=True)


def is_new(folder: Path | None) -> bool:
    """Whether the folder holds what `make` wrote, and not what a run made of it."""
    return folder is not None and (folder / _FACTS).is_file()


def make(run_dir: Path, home: store.Home, config: TrainConfig) -> list[str]:
    """Writes run_dir/base, whole, unless it is there; returns what people should know of it.

    The weights are drawn by the run's seed. Raises UserError where the text or the tokenizer serves for no model.
    """
    target = run_dir / FOLDER
    if (target / _FACTS).is_file():
        return []
    records = open_records(home, config.dataset_id)
    if config.tokenizer_from:
        tokenizer, notes = _taken(home, config), list[str]()
    else:
        tokenizer, notes = _trained(_texts(records, config), config.vocabulary_size)
    size = len(tokenizer)
    values = scratch.config_of(config.model_size, size, config.max_length, tokenizer.eos_token_id)
    torch.manual_seed(config.seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(values.pop("model_type"), **values))
    with store.whole_folder(target, home.tmp) as folder:
        model.float().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        count = sum(p.numel() for p in model.parameters())
        store.write_json(folder / _FACTS, {"vocabulary": size, "parameters": count})
    catalog.trust_model(home, target)
    notes.append(say("note_new_model", parameters=count, vocabulary=size))
    return notes


def _texts(records: Records, config: TrainConfig) -> list[str]:
    """The texts that are learned from: what is held out makes no token."""
    train = split(records, config.seed, config.eval_share, config.fold, config.folds, config.split_version)[0]
    return [records[int(index)]["text"] for index in train]


def _trained(texts: list[str], vocabulary: int) -> tuple[PreTrainedTokenizerFast, list[str]]:
    """(byte-level BPE tokenizer of at most `vocabulary` tokens, what people should know). Raises UserError."""
    words = {word for text in texts for word in text.split()}
    if len(words) < _LEAST_WORDS:
        raise UserError("err_one_word", word=repr(next(iter(words))[:40])) if words else UserError("err_no_word")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    made = tokenizer.get_vocab_size()
    notes: list[str] = []
    if made < vocabulary:
        notes.append(say("note_small_vocabulary", made=made, wanted=vocabulary))
    ends = {"bos_token": END, "eos_token": END, "pad_token": END}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ends), notes


def _taken(home: store.Home, config: TrainConfig):
    """The tokenizer of another model. Raises UserError."""
    tokenizer = load_tokenizer(catalog.resolve(home, config.tokenizer_from))
    if tokenizer.eos_token_id is None:
        raise UserError("err_tokenizer_without_end", model=config.tokenizer_from)
    return tokenizer
