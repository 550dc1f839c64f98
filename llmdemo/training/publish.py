"""The end of a run: a model folder that plain from_pretrained opens, with tokenizer, chat template and a model card."""

from pathlib import Path

import torch

from llmdemo import __version__, store
from llmdemo.models.catalog import ModelEntry
from llmdemo.models.check import check_folder
from llmdemo.models.closing import keep_closing
from llmdemo.settings.training import TrainConfig


def publish(
    run_dir: Path, scratch: Path, model, tokenizer, entry: ModelEntry, config: TrainConfig, about: dict
) -> Path:
    """Writes run_dir/model, whole or not at all, in the type of the base model's files; returns it.

    LoRA's adapters are merged into the weights. `about` is shown in the card: losses, steps, data.
    """
    target = run_dir / "model"
    if target.is_dir():
        return target
    if config.method == "lora":
        model = model.merge_and_unload()
    # A tuned model has to stop at the EOS that it was trained on.
    if tokenizer.eos_token_id is not None and model.can_generate():
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        model.config.eos_token_id = tokenizer.eos_token_id
    dtype = {"BF16": torch.bfloat16, "F16": torch.float16}.get(check_folder(entry.path).dtype, torch.float32)
    with store.whole_folder(target, scratch) as folder:
        model.to(dtype).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        keep_closing(folder, tokenizer)
        title = config.name or f"{entry.title} · {about['data']}"
        origin = {
            "source": "run",
            "run": run_dir.name,
            "title": title,
            "task": config.task,
            "base": entry.id,
            "base_revision": entry.revision,
        }
        store.write_json(folder / "origin.json", origin)
        (folder / "README.md").write_text(card(entry, config, about), encoding="utf-8")
    return target


def card(entry: ModelEntry, config: TrainConfig, about: dict) -> str:
    """The model card as Markdown with the hub's front matter."""
    rows = {key: value for key, value in config.to_dict().items() if key not in ("dataset_id", "model_id", "name")}
    table = "\n".join(f"| {key} | {_cell(value)} |" for key, value in rows.items())
    results = "\n".join(f"| {key} | {_cell(value)} |" for key, value in about.items())
    return f"""---
library_name: transformers
pipeline_tag: {"text-classification" if config.task == "classify" else "text-generation"}
tags: [{config.method}, {config.task}, llmdemo]
---
# {_cell(config.name or entry.title)}

{_cell(entry.title)} (revision {_cell(entry.revision or "local")}), fine-tuned with {config.method} by llmdemo {__version__}.
The licence of the base model and of the data applies.

| result | |
| --- | --- |
{results}

| setting | |
| --- | --- |
{table}
"""


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
