"""One export in a process of its own: `python -m llmdemo.serving.export_worker <folder>`.

Writes the GGUF, then takes the loss on held-out records with the weights as they are and as they were written.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gguf import quants

from llmdemo.core.store import Home, write_atomic, write_json
from llmdemo.data.encode import Refused, encode_many
from llmdemo.evaluation.heldout import example, held_out
from llmdemo.evaluation.likelihood import row_losses
from llmdemo.jobs import JobFolder
from llmdemo.jobs.worker import Worker, perform, run_process
from llmdemo.models import catalog
from llmdemo.models.load import load_causal, usable_pad
from llmdemo.serving.gguf_write import modelfile, types_of, write_gguf
from llmdemo.settings.evaluation import Spec


def work(folder: JobFolder, home: Home) -> int:
    """Does what the folder asks; 0 unless our mistake ended it."""
    return perform(Worker(folder), lambda worker: _export(worker, folder, home))


def _export(worker: Worker, folder: JobFolder, home: Home) -> None:
    config = folder.config()
    entry = catalog.resolve(home, str(config["model_id"]))
    quantisation = str(config["quantisation"])
    assert entry.path is not None, "a resolved model has a folder"
    file = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', entry.title).strip('-.')[:60] or 'model'}-{quantisation}.gguf"

    def tell(done: int, total: int) -> None:
        worker.progress(done=done, total=3 * total)

    def measuring(share: float) -> None:
        worker.progress(force=True, done=1 + share, total=3, stage="measuring")

    write_gguf(entry.path, folder.path / file, quantisation, entry.title, tell)
    loss = loss_of(home, entry, quantisation, config.get("spec"), measuring)
    write_atomic(folder.path / "Modelfile", modelfile(file, {"temperature": 0.8, "top_p": 0.9}))
    write_atomic(folder.path / "README.md", readme(file, entry.title, loss))
    size = (folder.path / file).stat().st_size
    write_json(folder.path / "result.json", {"file": file, "bytes": size, "loss": loss})


def loss_of(
    home: Home,
    entry: catalog.ModelEntry,
    quantisation: str,
    spec: Any,
    tell: Callable[[float], None] = lambda done: None,
) -> dict[str, Any] | None:
    """{"before", "after": mean −log p a token of held-out answers, "records", "tokens"}; None without such records.

    before: in float32 with the folder's weights; after: with the same numbers that the GGUF holds, dequantised.
    `tell` hears which of the two begins, 0 or 1.
    """
    if not isinstance(spec, dict):
        return None
    tell(0)
    wanted = Spec.from_dict(spec)
    held = held_out(home, wanted)
    model, tokenizer = load_causal(entry, dtype=torch.float32, device="cpu")
    turns = ({"messages": example(held.records, int(index)).messages} for index in held.indices)
    encoded = encode_many(turns, tokenizer, wanted.max_length, refuse=False)
    rows = [row for row in encoded if not isinstance(row, Refused)]
    pad = usable_pad(model, tokenizer)
    before, tokens = _mean(row_losses(model, rows, pad))
    tell(1)
    round_weights(model, entry.path, quantisation)
    after, _ = _mean(row_losses(model, rows, pad))
    return {"before": round(before, 5), "after": round(after, 5), "records": len(rows), "tokens": tokens}


@torch.no_grad()
def round_weights(model: Any, folder: Path | None, quantisation: str) -> None:
    """Puts into `model` the numbers that a GGUF of this quantisation would hold, in place.

    Quantisation goes along a matrix' rows, so that what GGUF reorders, whole rows, makes no difference.
    """
    assert folder is not None
    weights = dict(model.named_parameters())
    for name, kind in types_of(folder, quantisation).items():
        if name in weights and weights[name].dim() > 1:
            array = weights[name].detach().float().cpu().numpy()
            weights[name].copy_(torch.from_numpy(quants.dequantize(quants.quantize(array, kind), kind).copy()))


def _mean(losses: list[tuple[float, int]]) -> tuple[float, int]:
    tokens = sum(count for _, count in losses)
    return sum(loss for loss, _ in losses) / max(1, tokens), tokens


def readme(file: str, title: str, loss: dict[str, Any] | None) -> str:
    """How the file is run by Ollama and llama.cpp, and what writing it cost."""
    name = re.sub(r"[^a-z0-9]+", "-", Path(file).stem.lower()).strip("-")
    exact = " -fa off -ctk f32 -ctv f32" if file.endswith("-f32.gguf") else ""
    lines = [
        f"# {title} as GGUF",
        "",
        "With Ollama, in this folder:",
        "",
        f"    ollama create {name} -f Modelfile && ollama run {name}",
        "",
        "With llama.cpp (its chat template is in the file):",
        "",
        f"    llama-server -m {file} --jinja --port 8080{exact}",
        f'    llama-cli -m {file} --jinja{exact} -p "What is the capital of France?"',
    ]
    expect = "From f16 down llama.cpp also rounds what it computes on the way: where two tokens are almost equally likely, it may"
    expect += " choose the other. A file at f32 answers as the model itself."
    if exact:
        expect = "-fa, -ctk and -ctv keep keys and values in 32 bits too, so that it answers as the model itself."
    lines += ["", expect]
    if loss:
        lines += [
            "",
            f"Loss per token on {loss['records']} held-out records ({loss['tokens']:,} tokens): {loss['before']:.4f} before, "
            f"{loss['after']:.4f} with the numbers in this file.",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_process(work)
