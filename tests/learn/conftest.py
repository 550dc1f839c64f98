"""A home folder with the tiny model as starter, and "finished runs" whose models are other tiny ones."""

import csv
import json
import shutil
from types import SimpleNamespace

import pytest

from llmdemo.data import add_dataset

RECORDS = {
    "chat": [{"instruction": f"Add {n} and 1.", "input": "", "output": f"{n + 1}"} for n in range(40)],
    "preference": [{"prompt": f"Say {n}.", "chosen": f"Here is {n}.", "rejected": f"No {n}!"} for n in range(40)],
}


class Bench:
    def __init__(self, home, settings, folder, tokenizer, tmp_path):
        self.home, self._settings, self._tokenizer, self._tmp = home, settings, tokenizer, tmp_path
        self.runs = SimpleNamespace(list=lambda: self.finished, config=lambda run_id: self.configs[run_id])
        self.finished, self.configs, self.folder = [], {}, folder

    def add(self, task: str):
        path = self._tmp / {"classify": "spam.tsv", "text": "words.txt"}.get(task, f"{task}.json")
        if task == "classify":
            with open(path, "w", newline="") as file:
                csv.writer(file, delimiter="\t").writerows(("spam" if n % 3 else "ham", f"text {n}") for n in range(60))
        elif task == "text":
            path.write_text("\n\n".join(f"The quick brown fox number {n} jumps over the lazy dog." for n in range(40)))
        else:
            path.write_text(json.dumps(RECORDS[task]))
        return add_dataset(self.home, self._settings, path, task, tokenizer=self._tokenizer, task=task)

    def finish(self, info, model, name="run-1", task=None, **state):
        """A completed run on `info` from the starter whose model is `model`; task: not the data's own."""
        target = self.home.runs / name / "model"
        shutil.copytree(self.folder, target)
        for file in target.glob("*.safetensors"):
            file.unlink()
        model.save_pretrained(target)
        about = {"dataset": {"content_hash": info.content_hash}, "model": {"id": "starter"}}
        self.configs[name] = about | {"task": task or info.task}
        self.finished.insert(0, {"run_id": name, "name": name, "state": "completed", "model_id": name, **state})


@pytest.fixture
def bench(home, settings, starter, tiny_model_folder, tiny_tokenizer, tmp_path):
    return Bench(home, settings, tiny_model_folder, tiny_tokenizer, tmp_path)


@pytest.fixture
def other_model(tiny_model_folder):
    """A tiny Llama with other weights than the starter's."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model
