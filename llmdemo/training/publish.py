"""The end of a run: a model folder that plain from_pretrained opens, with tokenizer, chat template and a model card."""

import re
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import GenerationConfig

from llmdemo import __version__
from llmdemo.core import store
from llmdemo.core.sentences import readable_size, say
from llmdemo.models.catalog import STARTER_ID, ModelEntry
from llmdemo.models.check import check_folder
from llmdemo.models.classifier_eos import keep_eos
from llmdemo.models.files import read_object
from llmdemo.models.starter import REPOSITORY
from llmdemo.settings.training import HEADED, TrainConfig
from llmdemo.training import device as devices
from llmdemo.training.adapters import save_adapters
from llmdemo.training.factors import multiplied
from llmdemo.training.narrow import Judge, Losses, Written, narrow
from llmdemo.training.objectives.base import end_ids
from llmdemo.training.quantised import plain, quantised_layers

_CPU = torch.device("cpu")
GENERATION = "generation_config.json"
ADAPTER = "adapter"


def publish(
    run_dir: Path,
    scratch: Path,
    model,
    tokenizer,
    entry: ModelEntry,
    config: TrainConfig,
    about: dict,
    losses: Losses,
    judge: Judge,
    name: str = "model",
    weights: dict | None = None,
    kept: Callable[[], None] = lambda: None,
    device: torch.device = _CPU,
) -> Written:
    """Writes run_dir/`name`, whole or not at all; returns in which type, and why (narrow.py).

    LoRA's adapters are merged into the weights, in float32, and stand by themselves in run_dir/adapter. `about` is shown in
    the card: losses, steps, data.
    `judge` gives the held-out loss of a model's files; it is called after `model` was written, and may take its memory.
    weights: which step's they are, for origin.json. kept() is called before the model is whole. `device` rounds.
    Raises OSError where the disk has no room.
    """
    target, base = run_dir / name, _folder_of(entry)
    if target.is_dir():
        return written_before(target)[0]
    if config.method == "lora" and name == "model":
        save_adapters(model, run_dir / ADAPTER, scratch, public_name(entry), entry.revision)
    note = "note_published_quantised" if quantised_layers(model) else "note_published_own"
    model = _whole_weights(model, config)
    own = str(model.dtype).removeprefix("torch.")
    _check_room(run_dir, model)
    with store.whole_folder(target, scratch) as folder:
        _save(model, tokenizer, base, folder)
        if own == "float32":
            autocasts = devices.judged_in(config.precision, device) == "bf16"
            written = narrow(folder, config.publish_dtype, base, losses, judge, device, autocasts)
        else:
            written = Written(own, run_loss=losses.last, message=say(note, own=own))
        title = config.name or f"{entry.title} · {about['data']}"
        origin = {
            "source": "run",
            "run": run_dir.name,
            "title": title,
            "task": config.task,
            "base": entry.id,
            "base_revision": entry.revision,
            "dtype": written.dtype,
            "written": written.to_dict(),
            "weights": weights or {},
        }
        (folder / "origin.json").write_text(store.json_text(origin), encoding="utf-8")
        (folder / "README.md").write_text(card(entry, config, {**about, "weights": written.row()}), encoding="utf-8")
        kept()
    return written


def public_name(entry: ModelEntry) -> str:
    """The base model's name on the hub, or that of its folder, without the path."""
    if entry.id == STARTER_ID:
        return REPOSITORY
    name = entry.id.partition("@")[0]
    return name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) else Path(name).name


def _folder_of(entry: ModelEntry) -> Path:
    assert entry.path is not None, "a model that was trained is here"
    return entry.path


def written_before(target: Path) -> tuple[Written, dict]:
    """What an earlier attempt at the run's end wrote, and which step's weights."""
    try:
        origin = store.read_json(target / "origin.json")
        return Written(**origin["written"]), dict(origin.get("weights") or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Written({"BF16": "bfloat16", "F16": "float16"}.get(check_folder(target).dtype, "float32")), {}


def _whole_weights(model, config: TrainConfig):
    """The model as transformers knows it: with adapters merged, in float32 so that none of them is rounded away, factors
    multiplied, and quantised matrices with all their bits."""
    model = plain(model, torch.float32 if config.publish_dtype == "float32" else model.dtype, config.seed)
    if config.method == "lora":
        if model.dtype != torch.float32:
            model = model.cpu()  # the computer has room for what a GPU held in half as many bytes
        model = model.float().merge_and_unload()
    elif config.publish_dtype == "float32":
        model = model.float()
    return multiplied(model)


def _check_room(run_dir: Path, model) -> None:
    """OSError where the disk has no room for the files."""
    needed = sum({p.data_ptr(): p.numel() * p.element_size() for p in model.parameters()}.values())
    free = store.free_bytes(run_dir)
    if free < 1.05 * needed:
        raise OSError(28, f"the model needs {readable_size(needed)}, {readable_size(free)} are free")


def _save(model, tokenizer, base: Path, folder: Path) -> None:
    """Weights, config, tokenizer; and how the base model's own files say that it is to be used."""
    writes = model.can_generate()
    if writes:
        every = end_ids(model, tokenizer)
        ends = every[0] if len(every) == 1 else every or None
        model.config.eos_token_id = ends
        own = base / GENERATION
        usage = read_object(own, 2**20) if own.is_file() else model.generation_config.to_diff_dict()
        # transformers refuses to save what it doesn't find sensible, such as a temperature without sampling.
        model.generation_config = GenerationConfig()
    model.save_pretrained(folder)
    if writes:
        (folder / GENERATION).write_text(store.json_text({**usage, "eos_token_id": ends}), encoding="utf-8")
    tokenizer.save_pretrained(folder)
    keep_eos(folder, tokenizer)


def card(entry: ModelEntry, config: TrainConfig, about: dict) -> str:
    """The model card as Markdown with the hub's front matter."""
    rows = {key: value for key, value in config.to_dict().items() if key not in ("dataset_id", "model_id", "name")}
    table = "\n".join(f"| {key} | {_cell(value)} |" for key, value in rows.items())
    results = "\n".join(f"| {key} | {_cell(value)} |" for key, value in about.items())
    return f"""---
library_name: transformers
pipeline_tag: {"text-classification" if config.task in HEADED else "text-generation"}
tags: [{config.method}, {config.task}, llmdemo]
---
# {_cell(config.name or entry.title)}

{_made(entry, config)} by llmdemo {__version__}.
The licence of {"the data" if config.task == "pretrain" else "the base model and of the data"} applies.

| result | |
| --- | --- |
{results}

| setting | |
| --- | --- |
{table}
"""


def _made(entry: ModelEntry, config: TrainConfig) -> str:
    if config.task == "pretrain":
        return f"{_cell(entry.title)}: random weights, pretrained with {config.method}"
    return f"{_cell(entry.title)} (revision {_cell(entry.revision or 'local')}), fine-tuned with {config.method}"


def _cell(value) -> str:
    """Names come from people: no line ends, pipes or markup in a table of Markdown."""
    text = " ".join(str(value).split())[:200]
    return (
        "".join(c for c in text if c.isprintable())
        .replace("|", "/")
        .replace("<", "‹")
        .replace("[", "(")
        .replace("]", ")")
    )
