import json
import os
import subprocess
import sys
import threading

import pytest
import torch

from llmdemo.errors import UserError
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


def test_code_in_a_model_folder_is_never_run(model_copy, tmp_path):
    marker = tmp_path / "ran"
    (model_copy / "modeling.py").write_text(f"open({str(marker)!r}, 'w')")
    path = model_copy / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": {"AutoModelForCausalLM": "modeling.X"}}))
    with pytest.raises(UserError, match="never runs"):
        load.load_causal(model_copy, device="cpu")
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
    with pytest.raises(UserError, match="does not write"):
        load.load_causal(tmp_path, device="cpu")


def test_an_outline_has_shapes_and_no_weights(tiny_model_folder):
    outline = load.load_outline(tiny_model_folder, torch.float32)
    assert all(p.is_meta for p in outline.parameters())
    assert sum(p.numel() for p in outline.parameters()) == 30880
