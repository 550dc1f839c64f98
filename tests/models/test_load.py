import json
import os
import shutil
import subprocess
import sys
import threading

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from llmdemo.core.errors import UserError
from llmdemo.models import load


def test_a_model_is_loaded_for_inference_in_the_type_asked_for(tiny_model_folder):
    model, tokenizer = load.load_causal(tiny_model_folder, dtype=torch.bfloat16, device="cpu")
    assert not model.training and next(model.parameters()).dtype == torch.bfloat16 and tokenizer.is_fast


def test_models_of_two_types_that_are_made_at_once_keep_theirs(tiny_model_folder, monkeypatch):
    # transformers sets torch's default type for all threads while it makes a model, and sets back what it found.
    inside, other, came_between = threading.Event(), threading.Event(), []
    real = load.AutoModelForCausalLM.from_pretrained

    def slow(*args, **options):
        before = torch.get_default_dtype()
        torch.set_default_dtype(options["dtype"])
        inside.set()
        came_between.append(other.wait(0.3))  # as long as the other thread would need
        try:
            return real(*args, **options)
        finally:
            torch.set_default_dtype(before)

    found = {}

    def outline():
        inside.wait(5)
        found["outline"] = load.load_outline(tiny_model_folder, torch.float32)
        other.set()

    monkeypatch.setattr(load.AutoModelForCausalLM, "from_pretrained", slow)
    thread = threading.Thread(target=outline)
    thread.start()
    model, _ = load.load_causal(tiny_model_folder, dtype=torch.bfloat16, device="cpu")
    thread.join()
    assert came_between == [False]
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in found["outline"].parameters()} == {torch.float32}
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.slow
def test_a_process_that_is_forked_while_a_model_is_made_can_make_one():
    # In a process of its own: one with many threads should not be forked.
    code = """
import os, threading, torch
from llmdemo.models import load
holds, done = threading.Event(), threading.Event()
def hold():
    with load._MAKING:
        torch.set_default_dtype(torch.bfloat16)
        holds.set()
        done.wait(30)
threading.Thread(target=hold).start()
holds.wait(5)
child = os.fork()
if not child:
    os._exit(0 if torch.get_default_dtype() == torch.float32 and load._MAKING.acquire(timeout=5) else 1)
status = os.waitpid(child, 0)[1]
done.set()
raise SystemExit(status)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_a_tokenizer_without_pad_pads_with_its_eos(model_copy):
    path = model_copy / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config.pop("pad_token")
    path.write_text(json.dumps(config))
    assert load.load_tokenizer(model_copy).pad_token == "<|im_end|>"


def test_a_folder_without_tokenizer_is_refused_with_what_to_copy(model_copy):
    for path in model_copy.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(UserError, match="tokenizer"):
        load.load_tokenizer(model_copy)


def test_an_unknown_architecture_is_refused(model_copy):
    path = model_copy / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "nosuch"}))
    with pytest.raises(UserError, match="cannot be loaded|no usable"):
        load.load_causal(model_copy, device="cpu")


def plant_code(folder, marker):
    """Code beside the weights, named by config.json and tokenizer_config.json as models of the hub do."""
    code = f"open({str(marker)!r}, 'w')\nclass X:\n    pass\n"
    for name in ("modeling_own.py", "configuration_own.py", "tokenization_own.py"):
        (folder / name).write_text(code)
    planted = {
        "config.json": {"AutoConfig": "configuration_own.X", "AutoModelForCausalLM": "modeling_own.X"},
        "tokenizer_config.json": {"AutoTokenizer": ["tokenization_own.X", "tokenization_own.X"]},
    }
    for name, auto_map in planted.items():
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": auto_map}))


SIZES = {"vocab_size": 384, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}  # fmt: skip
FAMILIES = {
    "phi3": {"num_key_value_heads": 2},
    "gemma3_text": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 32},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "olmo2": {"num_key_value_heads": 2},
    "gpt_neox": {},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_where_transformers_holds_the_architecture_code_in_the_folder_is_left_alone(tiny_tokenizer, tmp_path, family):
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SIZES, **FAMILIES[family])).eval()
    folder, marker = tmp_path / family, tmp_path / "ran"
    made.save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    plant_code(folder, marker)
    model, tokenizer = load.load_causal(folder, torch.float32, "cpu")
    ids = torch.tensor([tokenizer("The capital")["input_ids"]])  # (1, T)
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, made(ids).logits)
    assert load.load_config(folder).model_type == family
    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    for name in ("config.json", "tokenizer_config.json"):  # what is saved does not ask others to run it either
        assert "auto_map" not in json.loads((tmp_path / "saved" / name).read_text())
    assert not marker.exists()


def test_an_architecture_that_transformers_does_not_hold_is_refused_and_its_code_never_run(model_copy, tmp_path):
    marker = tmp_path / "ran"
    plant_code(model_copy, marker)
    path = model_copy / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "own"}))
    for open_model in (load.load_causal, load.load_config):
        with pytest.raises(UserError, match="'model' .own. needs Python code.*never runs"):
            open_model(model_copy)
    assert not marker.exists()


@pytest.mark.parametrize("place", ["config.json", "text_config"])
def test_a_pickle_that_the_config_names_is_never_opened(model_copy, monkeypatch, place):
    torch.save({}, model_copy / "adapter_model.bin")
    path = model_copy / "config.json"
    named = {"transformers_weights": "adapter_model.bin"}
    path.write_text(json.dumps(json.loads(path.read_text()) | (named if place == "config.json" else {place: named})))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle was opened"))
    with pytest.raises(UserError, match="other files"):
        load.load_causal(model_copy, device="cpu")
    with pytest.raises(UserError, match="other files"):
        load.load_outline(model_copy, torch.float32)


def test_a_package_that_a_model_lacks_is_a_sentence(model_copy, monkeypatch):
    def refuse(*_, **__):
        raise ImportError("Loading this model requires the package sorcery")

    monkeypatch.setattr(load.AutoModelForCausalLM, "from_pretrained", refuse)
    with pytest.raises(UserError, match="requires the package sorcery"):
        load.load_causal(model_copy, device="cpu")


def test_a_classifier_gets_a_fresh_head_for_its_labels(tiny_model_folder):
    model, _ = load.load_classifier(tiny_model_folder, ["ham", "spam"], device="cpu")
    assert model.config.id2label == {0: "ham", 1: "spam"} and model.score.weight.shape[0] == 2


def test_a_classifier_keeps_its_head_for_its_own_labels_and_gets_a_fresh_one_for_others(tiny_model_folder, tmp_path):
    model, tokenizer = load.load_classifier(tiny_model_folder, ["ham", "spam"], device="cpu")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, _ = load.load_classifier(tmp_path, device="cpu")
    same, _ = load.load_classifier(tmp_path, ["ham", "spam"], device="cpu")
    other, _ = load.load_classifier(tmp_path, ["up", "down"], device="cpu")
    three, _ = load.load_classifier(tmp_path, ["a", "b", "c"], device="cpu")
    assert again.config.id2label == {0: "ham", 1: "spam"} and not again.training
    assert torch.equal(model.score.weight, again.score.weight) and torch.equal(model.score.weight, same.score.weight)
    assert not torch.equal(model.score.weight, other.score.weight) and other.score.weight.std() < 1
    assert three.score.weight.shape[0] == 3
    with pytest.raises(UserError, match="no classes of its own"):
        load.load_classifier(tiny_model_folder, device="cpu")


def test_a_model_that_only_classifies_is_not_loaded_to_write(tiny_model_folder, tmp_path):
    model, tokenizer = load.load_classifier(tiny_model_folder, ["ham", "spam"], device="cpu")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="does not generate text"):
        load.load_causal(tmp_path, device="cpu")


def test_an_outline_has_shapes_and_no_weights(tiny_model_folder):
    outline = load.load_outline(tiny_model_folder, torch.float32)
    assert all(p.is_meta for p in outline.parameters())
    assert sum(p.numel() for p in outline.parameters()) == 30880


@pytest.mark.parametrize(
    "changes", [{"intermediate_size": 2_000_000}, {"head_dim": 600_000}, {"num_hidden_layers": 20}]
)
@pytest.mark.parametrize("make", [load.load_causal, lambda folder: load.load_classifier(folder, ["a", "b"])])
def test_a_config_of_a_larger_model_than_its_weights_is_refused_before_it_is_made(
    model_copy, monkeypatch, changes, make
):
    config = json.loads((model_copy / "config.json").read_text())
    (model_copy / "config.json").write_text(json.dumps({**config, **changes}))
    monkeypatch.setattr(load, "_load", lambda *args, **options: pytest.fail("it was made"))
    monkeypatch.setattr(load, "_FEW", 1000)
    with pytest.raises(UserError, match=r"makes a model of [\d,]+ numbers, but its weights hold \d\d,\d{3}") as caught:
        make(model_copy)
    assert caught.value.hint


def test_the_weights_that_a_head_lacks_are_no_mismatch(tiny_model_folder, monkeypatch):
    monkeypatch.setattr(load, "_FEW", 1000)
    assert load.load_classifier(tiny_model_folder, ["a", "b"], device="cpu")[0].config.num_labels == 2


def test_threads_that_share_a_tokenizer_of_a_folder_that_cuts_and_pads_get_what_one_gets(tiny_model_folder, tmp_path):
    from transformers import AutoTokenizer

    made = AutoTokenizer.from_pretrained(tiny_model_folder)
    made.backend_tokenizer.enable_truncation(4)
    made.backend_tokenizer.enable_padding(length=12)
    folder = tmp_path / "cuts"
    shutil.copytree(tiny_model_folder, folder)
    made.backend_tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer = load.load_tokenizer(folder)
    # nothing is left to be taken off amid another thread's call, which tokenizers refuses ("Already borrowed")
    assert tokenizer.backend_tokenizer.truncation is None and tokenizer.backend_tokenizer.padding is None
    texts = [f"Tell me about number {n} and what follows it." for n in range(8)]
    want = [tokenizer(text)["input_ids"] for text in texts]
    found: list = [None] * 8

    def use(at):
        found[at] = [tokenizer(texts[at])["input_ids"] for _ in range(100)]
        assert all(tokenizer.decode(ids) for ids in found[at])

    threads = [threading.Thread(target=use, args=(at,)) for at in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == [[ids] * 100 for ids in want] and min(map(len, want)) > 4


def test_attention_on_a_gpu_makes_no_plan_for_each_new_length():
    """With cuDNN's kernels a token of a served answer took 73 ms on an H200, with the others 12."""
    assert not torch.backends.cuda.cudnn_sdp_enabled()
