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


@pytest.mark.parametrize("name", ["adapter_model.bin", "evil.safetensors.index.json", "other.safetensors"])
def test_a_config_that_names_other_weights_is_refused(model_copy, name):
    change_config(model_copy, transformers_weights=name)
    with pytest.raises(UserError, match="'transformers_weights'.*other files"):
        check_folder(model_copy)


def test_a_config_that_names_other_weights_or_another_config_in_one_of_its_parts_is_refused(model_copy):
    change_config(model_copy, parts=[{"text_config": {"transformers_weights": "adapter_model.bin"}}])
    with pytest.raises(UserError, match="other files"):
        check_folder(model_copy)
    deep = {"transformers_weights": "adapter_model.bin"}
    for _ in range(400):
        deep = {"a": [deep]}
    change_config(model_copy, parts=deep)
    with pytest.raises(UserError, match="other files"):
        check_folder(model_copy)
    change_config(model_copy, parts=None, configuration_files=["config.4.0.0.json"])
    with pytest.raises(UserError, match="'configuration_files'"):
        check_folder(model_copy)


def test_a_folder_with_an_adapter_is_refused_with_the_remedy(model_copy):
    (model_copy / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="adapter.*merge_and_unload"):
        check_folder(model_copy)


def test_a_second_index_of_weights_is_refused(model_copy):
    (model_copy / "evil.safetensors.index.json").write_text('{"weight_map": {"a": "../outside.safetensors"}}')
    with pytest.raises(UserError, match="'evil.safetensors.index.json' beside"):
        check_folder(model_copy)


@pytest.mark.parametrize("said", [{"quant_method": "gptq"}, {"quant_method": "awq"}, {"load_in_4bit": True}])
def test_quantised_weights_whose_package_is_missing_are_refused_with_the_remedy(model_copy, monkeypatch, said):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    change_config(model_copy, quantization_config=said)
    with pytest.raises(UserError, match="needs the Python package.*without quantisation"):
        check_folder(model_copy)


@pytest.mark.parametrize(
    "changes",
    [
        *({"architectures": value} for value in (5, [5], {"a": 1}, "LlamaForCausalLM", [["LlamaForCausalLM"]])),
        *({"model_type": value} for value in (5, ["llama"], {"a": 1})),
        *({"quantization_config": value} for value in (5, [], {}, {"quant_method": ["gptq"]})),
    ],
)
def test_a_config_of_the_wrong_types_is_refused(model_copy, changes):
    change_config(model_copy, **changes)
    with pytest.raises(UserError, match="config.json has"):
        check_folder(model_copy)


@pytest.mark.parametrize("context", [True, -1, 2**70, "256", [256]])
def test_a_context_that_is_no_number_is_not_known(model_copy, context):
    change_config(model_copy, max_position_embeddings=context)
    assert check_folder(model_copy).context == 0


@pytest.mark.parametrize(
    "tensor",
    [
        '{"dtype": "F32", "shape": [1e400], "data_offsets": [0, 4]}',
        '{"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}',
        '{"dtype": "F32", "shape": [-4], "data_offsets": [0, 4]}',
        '{"dtype": "F32", "shape": [9223372036854775807, 9223372036854775807], "data_offsets": [0, 4]}',
        '{"dtype": "F32", "shape": "11", "data_offsets": [0, 4]}',
        '{"dtype": "F32", "shape": [1], "data_offsets": [0, "4"]}',
        '{"dtype": "F32", "shape": [1], "data_offsets": [0]}',
        '{"dtype": "F32", "shape": [1], "data_offsets": 4}',
        '{"dtype": 5, "shape": [1], "data_offsets": [0, 4]}',
        '{"shape": [1], "data_offsets": [0, 4]}',
        '"F32"',
    ],
)
def test_a_header_of_the_wrong_types_is_refused(model_copy, tensor):
    header = f'{{"a": {tensor}}}'.encode()
    (model_copy / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    with pytest.raises(UserError, match="not a whole safetensors file"):
        check_folder(model_copy)


def test_a_folder_that_may_not_be_read_is_a_sentence(model_copy, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    with pytest.raises(UserError, match="cannot be read .Permission denied"):
        check_folder(model_copy)
    monkeypatch.undo()
    with pytest.raises(UserError, match="cannot be read"):
        check_folder(model_copy / ("x" * 300))


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
