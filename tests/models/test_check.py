import json
import os
import struct

import pytest

from llmdemo.core.errors import UserError
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
    change_config(model_copy, auto_map={"AutoModelForCausalLM": "modeling.Evil"}, model_type="evil")
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


def test_code_of_its_own_is_left_alone_where_transformers_holds_the_architecture(model_copy):
    change_config(model_copy, auto_map={"AutoModelForCausalLM": "modeling.Evil"})
    assert check_folder(model_copy).model_type == "llama"


@pytest.mark.parametrize(
    "changes",
    [
        *({"max_position_embeddings": value} for value in (True, -1, 2**70, "256", [2.5])),
        *({"num_hidden_layers": value} for value in (0, 100_000, "2", 2.0)),
        *({"num_attention_heads": value} for value in (0, -4, 10**6, "4")),
        *({"hidden_size": value} for value in (0, "32", 2**40)),
        *({"eos_token_id": value} for value in ("2", [1, "2"], list(range(100_000)), 2**40, True, {"a": 1})),
        *({"num_labels": value} for value in (10**9, "2", -1)),
        *({"torch_dtype": value} for value in ("nonsense", 5, ["float32"])),
        *({"dtype": value} for value in ("torch.nonsense", {})),
        *({"use_cache": value} for value in ("yes", 1, [])),
        {"num_experts": 10**7},
        {"id2label": [1]},
        {"text_config": {"model_type": "llama", "num_hidden_layers": 10**5}},
    ],
    ids=str,
)
def test_a_field_that_no_model_can_have_is_named_with_what_is_valid(model_copy, changes):
    change_config(model_copy, **changes)
    key = next(iter(changes)) if "text_config" not in changes else "num_hidden_layers"
    with pytest.raises(UserError, match=f"config.json has .*{key}|numbers in {key}|weights") as caught:
        check_folder(model_copy)
    assert caught.value.hint


def test_a_context_that_is_not_said_is_not_known(model_copy):
    change_config(model_copy, max_position_embeddings=None)
    assert check_folder(model_copy).context == 0


def make_fifo(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def make_zero(path):
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [make_fifo, make_zero])
@pytest.mark.parametrize(
    "name",
    ["config.json", "model.safetensors", "model.safetensors.index.json", "generation_config.json", "tokenizer.json",
     "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "added_tokens.json", "origin.json"],
)  # fmt: skip
def test_a_pipe_or_a_device_in_the_folder_is_named_and_never_read(model_copy, make, name):
    make(model_copy / name)
    with pytest.raises(UserError, match=f"'{name}' in the folder 'model' is a (pipe|device).*not a plain file"):
        check_folder(model_copy)


def test_links_to_plain_files_are_read_as_those_of_the_hubs_cache(model_copy, tmp_path):
    for path in list(model_copy.iterdir()):
        path.rename(tmp_path / f"blob-{path.name}")
        path.symlink_to(tmp_path / f"blob-{path.name}")
    assert check_folder(model_copy).parameters == 30880


@pytest.mark.timeout(20)
def test_headers_that_lie_are_refused_at_once(model_copy):
    shape = ", ".join(["2"] * 400_000)
    long = f'{{"a": {{"dtype": "F32", "shape": [{shape}], "data_offsets": [0, 4]}}}}'.encode()
    for data in (
        b"seven b",
        struct.pack("<Q", len(long)) + long + b"\0" * 4,
        struct.pack("<Q", 2**24 + 1) + b" " * 2**25,
    ):
        (model_copy / "model.safetensors").write_bytes(data)
        with pytest.raises(UserError, match="not a complete safetensors file|has a header of 16,777,217 bytes"):
            check_folder(model_copy)


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
    with pytest.raises(UserError, match="not a complete safetensors file"):
        check_folder(model_copy)


def test_a_folder_that_may_not_be_read_is_a_sentence(model_copy, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
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
def test_a_weights_file_that_is_not_whole_or_empty_is_refused(model_copy, data):
    (model_copy / "model.safetensors").write_bytes(data)
    with pytest.raises(UserError, match="not a complete safetensors file|only 0 tensors"):
        check_folder(model_copy)
