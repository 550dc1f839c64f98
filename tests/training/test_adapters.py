"""LoRA's adapters by themselves: peft puts them on the base model, and it says what the merged model says."""

import json
import zipfile

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from llmdemo.core.errors import UserError
from llmdemo.publish.adapter import has_adapter, packed_adapter
from llmdemo.training import worker

IDS = torch.tensor([[5, 11, 42, 7, 3]])


def logits(model) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(input_ids=IDS).logits


def test_the_adapters_alone_on_the_base_model_have_the_merged_models_logits(
    make_run, tiny_model_folder, home, tmp_path
):
    run_dir = make_run(method="lora", learning_rate=0.02, publish_dtype="float32", max_steps=4)
    worker.main(run_dir)
    with zipfile.ZipFile(packed_adapter(home, run_dir.name, tmp_path, "sums")) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "sums-adapter"
    assert {"adapter_model.safetensors", "adapter_config.json", "README.md"} == {file.name for file in folder.iterdir()}
    base = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    plain, merged = logits(base), logits(AutoModelForCausalLM.from_pretrained(run_dir / "model", dtype=torch.float32))
    with_adapters = logits(PeftModel.from_pretrained(base, folder))
    assert torch.allclose(with_adapters, merged, atol=1e-5)
    assert not torch.allclose(plain, merged, atol=1e-3), "the run must have changed something"
    told = json.loads((folder / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == tiny_model_folder.name, "a path of this computer is nobody's business"


def test_a_classifiers_adapters_bring_its_head(task_run, home, tmp_path):
    run_dir = task_run("classify", method="lora", learning_rate=0.02, publish_dtype="float32")
    base_folder = json.loads((run_dir / "config.json").read_text())["model_id"]
    worker.main(run_dir)
    merged = AutoModelForSequenceClassification.from_pretrained(run_dir / "model", dtype=torch.float32)
    base = AutoModelForSequenceClassification.from_pretrained(
        base_folder, dtype=torch.float32, num_labels=merged.config.num_labels, pad_token_id=merged.config.pad_token_id
    )
    assert torch.allclose(logits(PeftModel.from_pretrained(base, run_dir / "adapter")), logits(merged), atol=1e-5)


def test_another_run_has_no_adapters_and_is_told_so(home, tmp_path):
    for run_id in ("run-20260101-000000-abcdef", "../models", ""):
        assert not has_adapter(home, run_id)
    with pytest.raises(UserError, match="no adapters"):
        packed_adapter(home, "run-20260101-000000-abcdef", tmp_path, "mine")
