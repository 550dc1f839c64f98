import json
import struct

import pytest

from llmdemo.errors import UserError
from llmdemo.models.check import check_folder


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_a_saved_model_is_described_from_its_files(model_copy):
    facts = check_folder(model_copy)
    assert facts.architecture == "LlamaForCausalLM" and facts.model_type == "llama"
    assert facts.parameters == 30880 and facts.context == 256 and facts.dtype == "F32"


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a folder"):
        check_folder(tmp_path / "nothing")


def test_a_folder_without_config_is_refused(model_copy):
    (model_copy / "config.json").unlink()
    with pytest.raises(UserError, match="no config.json"):
        check_folder(model_copy)


def test_a_folder_without_weights_is_refused(model_copy):
    (model_copy / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights: model.safetensors is missing"):
        check_folder(model_copy)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl"])
def test_a_folder_with_pickled_weights_only_is_refused_with_the_remedy(model_copy, name):
    (model_copy / "model.safetensors").rename(model_copy / name)
    with pytest.raises(UserError, match="pickle.*safe_serialization=True"):
        check_folder(model_copy)


def test_a_model_that_brings_its_own_code_is_refused(model_copy):
    change_config(model_copy, auto_map={"AutoModelForCausalLM": "modeling.Evil"})
    with pytest.raises(UserError, match="never runs"):
        check_folder(model_copy)


def test_an_encoder_decoder_model_is_refused(model_copy):
    change_config(model_copy, is_encoder_decoder=True, model_type="t5")
    with pytest.raises(UserError, match="encoder-decoder"):
        check_folder(model_copy)


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "/etc/passwd", "sub/x.safetensors", "..\\x.safetensors", "x.bin"]
)
def test_an_index_that_names_files_elsewhere_is_refused(model_copy, name):
    (model_copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UserError, match="not a safetensors file of this folder"):
        check_folder(model_copy)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 200_000, '{"weight_map": []}', '{"weight_map": {"a": 3}}'])
def test_a_broken_index_is_refused(model_copy, text):
    (model_copy / "model.safetensors.index.json").write_text(text)
    with pytest.raises(UserError):
        check_folder(model_copy)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        struct.pack("<Q", 2**60),
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 40) + b'{"a":{"dtype":"F32","shape":[9],"data_of',
        struct.pack("<Q", 62) + b'{"a":{"dtype":"F32","shape":[900],"data_offsets":[0,3600]}}   ',
    ],
)
def test_a_weights_file_that_is_not_whole_is_refused_or_empty(model_copy, data):
    (model_copy / "model.safetensors").write_bytes(data)
    try:
        assert check_folder(model_copy).parameters == 0
    except UserError as refused:
        assert "not a whole safetensors file" in refused.message
