"""What other servers would stumble over in a folder is found, and the folder that is sent has it mended: the same model."""

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmdemo.publish.portable import commands, findings, mended


@pytest.fixture
def folder(tiny_model_folder, tmp_path):
    return shutil.copytree(tiny_model_folder, tmp_path / "model")


def change(folder, name, **values):
    path = folder / name
    told = json.loads(path.read_text())
    told = {key: value for key, value in {**told, **values}.items() if value is not ...}
    path.write_text(json.dumps(told))


def codes(folder) -> set[str]:
    return {finding.code for finding in findings(folder)}


def mend(folder):
    for name, content in mended(folder).items():
        (folder / name).write_bytes(content)


def test_a_rope_that_transformers_4_would_not_see_is_found_and_mended_in_both_spellings(folder):
    """With transformers 4.57.1 the starter's folder gives other logits and its mended one the very same (measured)."""
    change(folder, "config.json", rope_parameters={"rope_theta": 100_000.0, "rope_type": "default"})
    found = next(finding for finding in findings(folder) if finding.code == "rope")
    assert (found.level, found.mended, found.value) == ("wrong", True, "100,000")
    before = AutoModelForCausalLM.from_pretrained(folder)
    mend(folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["rope_theta"] == 100_000.0 and config["rope_scaling"] is None
    after, ids = AutoModelForCausalLM.from_pretrained(folder), torch.arange(3, 40)[None]
    with torch.inference_mode():
        assert torch.equal(before(ids).logits, after(ids).logits)
    assert not any(finding.mended for finding in findings(folder))


def test_a_scaled_rope_keeps_its_scaling_in_the_old_spelling(folder):
    rope = {"rope_theta": 10_000.0, "rope_type": "linear", "factor": 2.0}
    change(folder, "config.json", rope_parameters=rope)
    assert "rope" in codes(folder)
    mend(folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 2.0} and config["rope_theta"] == 10_000.0


def test_tokenizer_template_and_type_are_mended_without_changing_what_we_read(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    change(folder, "tokenizer_config.json", tokenizer_class="TokenizersBackend", chat_template=...)
    (folder / "chat_template.jinja").write_text(tokenizer.chat_template)
    change(folder, "config.json", dtype="bfloat16", torch_dtype=...)
    assert {"tokenizer_class", "template_file", "dtype"} <= codes(folder)
    mend(folder)
    assert not {"tokenizer_class", "template_file", "dtype"} & codes(folder)
    again, turns = AutoTokenizer.from_pretrained(folder), [{"role": "user", "content": "Hi"}]
    assert again.apply_chat_template(turns) == tokenizer.apply_chat_template(turns)


def drop_template(folder):
    change(folder, "tokenizer_config.json", chat_template=...)
    (folder / "chat_template.jinja").unlink(missing_ok=True)


BROKEN = [
    ("no_config", "stops", lambda folder: (folder / "config.json").unlink()),
    ("no_weights", "stops", lambda folder: (folder / "model.safetensors").unlink()),
    ("no_template", "stops", drop_template),
    ("no_fast_tokenizer", "stops", lambda folder: (folder / "tokenizer.json").unlink()),
    ("vocabulary", "stops", lambda folder: change(folder, "config.json", vocab_size=10)),
    ("other_end", "wrong", lambda folder: change(folder, "generation_config.json", eos_token_id=0)),
    ("draws", "note", lambda folder: change(folder, "generation_config.json", temperature=0.6, do_sample=True)),
    ("no_generation_config", "note", lambda folder: (folder / "generation_config.json").unlink()),
    ("other_architecture", "note", lambda folder: change(folder, "config.json", architectures=["NewForCausalLM"])),
    ("classifier", "stops", lambda folder: change(folder, "config.json", architectures=["LlamaForSequenceClassification"])),
    ("missing_shard", "stops", lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "gone.safetensors"}}')),
]  # fmt: skip


@pytest.mark.parametrize("code, level, harm", BROKEN, ids=[code for code, *_ in BROKEN])
def test_each_thing_that_a_server_stumbles_over_is_found_and_a_whole_folder_has_none(code, level, harm, folder):
    mend(folder)
    assert codes(folder) == set(), findings(folder)
    harm(folder)
    found = {finding.code: finding.level for finding in findings(folder)}
    assert found.get(code) == level


def test_the_commands_quote_what_a_name_may_hold():
    told = commands("my model; rm", "ann/my model", False)
    assert set(told) == {"vllm", "sglang", "tgi", "endpoint", "mlx", "onnx"}
    assert "'./my model; rm/model'" in told["vllm"] and "'ann/my model'" in told["endpoint"]
    assert set(commands("a", "b/a", True)) == {"vllm", "endpoint"}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("config.json", {"architectures": 5}),
        ("config.json", {"architectures": {}, "rope_parameters": {"rope_theta": "x"}}),
        ("config.json", {"vocab_size": "many", "dtype": [1]}),
        ("generation_config.json", {"eos_token_id": [[1], None, {}]}),
        ("tokenizer.json", {"model": [1], "added_tokens": [5, {"content": 1}]}),
        ("tokenizer_config.json", {"eos_token": [1], "tokenizer_class": 5}),
    ],
)
def test_a_foreign_folder_with_odd_files_is_told_of_and_no_mistake(folder, name, values):
    change(folder, name, **values)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": 5, "b": "x" * 9999}}))
    assert "missing_shard" in codes(folder)
    assert all(isinstance(finding.value, str) for finding in findings(folder))
