"""A tuned model stops where its base stopped, and is used as its base's files say, after every task."""

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmdemo.core import store
from llmdemo.decoding import DecodeSettings, LaneSettings, decode_lanes
from llmdemo.decoding.engine import end_tokens
from llmdemo.decoding.prompts import greedy
from llmdemo.models.load import load_causal
from llmdemo.runs import bundle
from llmdemo.runs.folder import RunFolder
from llmdemo.training import worker
from llmdemo.training.objectives import Place, chat, writing
from llmdemo.training.objectives.base import end_ids

EOS, TURN, OTHER = 0, 2, 9
"""A text's end by the tokenizer; a turn's, which only the generation config names; one that only config.json names."""
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<start>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content "
    "+ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start>model\n' }}{% endif %}"
)
USAGE = {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.1, "bos_token_id": 1}


@pytest.fixture(scope="module")
def base(tmp_path_factory, tiny_model_folder):
    """A model as Gemma is: its turns end with a token that is not the tokenizer's EOS."""
    folder = tmp_path_factory.mktemp("ends") / "base"
    shutil.copytree(tiny_model_folder, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token, tokenizer.chat_template = "<|endoftext|>", GEMMA
    tokenizer.save_pretrained(folder)
    store.write_json(folder / "generation_config.json", {**USAGE, "eos_token_id": [EOS, TURN], "pad_token_id": 2})
    config = store.read_json(folder / "config.json")
    store.write_json(folder / "config.json", {**config, "eos_token_id": [EOS, OTHER]})
    return folder


@pytest.mark.parametrize("task", ["chat", "text", "preference"])
@pytest.mark.parametrize("method", ["galore", "lora"])
@pytest.mark.slow
def test_the_base_models_ends_and_ways_of_use_are_kept(task_run, base, task, method):
    run_dir = task_run(task, model_id=str(base), method=method, max_steps=1, rank=4, eval_steps=0)
    assert worker.main(run_dir) == 0
    saved = store.read_json(run_dir / "model" / "generation_config.json")
    assert saved == {**USAGE, "eos_token_id": [EOS, TURN, OTHER], "pad_token_id": 2}
    assert store.read_json(run_dir / "model" / "config.json")["eos_token_id"] == [EOS, TURN, OTHER]
    model, tokenizer = load_causal(run_dir / "model", torch.float32, "cpu")
    assert end_tokens(model) == [EOS, TURN, OTHER] and tokenizer.eos_token_id == EOS


def test_a_bundle_takes_them_along(task_run, base, tmp_path, home):
    run_dir = task_run("chat", model_id=str(base), max_steps=1, rank=4, eval_steps=0)
    assert worker.main(run_dir) == 0
    path = bundle.export(RunFolder(run_dir), tmp_path / "run.zip", with_model=True)
    target = home.runs / store.new_id("run")
    bundle.unpack(path, target, home, 1 << 30)
    model, _ = load_causal(target / "model", torch.float32, "cpu")
    assert end_tokens(model) == [EOS, TURN, OTHER]


@pytest.mark.parametrize("own", [EOS, TURN, OTHER])
def test_every_way_of_decoding_stops_at_each_of_them(base, own, monkeypatch):
    """After the prompt, the model is made to write `own` before anything else."""
    model, tokenizer = load_causal(base, torch.float32, "cpu")
    model.generation_config.eos_token_id = end_ids(model, tokenizer)
    prompt = tokenizer("What is the capital", add_special_tokens=False)["input_ids"]
    head = torch.nn.Linear(model.config.hidden_size, model.config.vocab_size)
    torch.nn.init.zeros_(head.weight)
    head.bias.data = torch.nn.functional.one_hot(torch.tensor(own), model.config.vocab_size) * 20.0
    model.lm_head = head
    lanes = (
        LaneSettings("greedy", "greedy"),
        LaneSettings("top", "top_k", top_k=3),
        LaneSettings("beam", "beam", num_beams=2),
    )
    steps = list(decode_lanes(model, prompt, DecodeSettings(lanes=lanes, max_new_tokens=8)))
    results = {name: result for step in steps for name, result in step.results.items()}
    assert {name: (list(result.token_ids), result.finish_reason) for name, result in results.items()} == dict.fromkeys(
        ("greedy", "top", "beam"), ([own], "eos")
    )
    (answer,) = greedy(model, [prompt], 8, tokenizer.pad_token_id)
    assert (answer.token_ids, answer.ended) == ([], True)
    place = Place(model, tokenizer, None, "fp32", torch.device("cpu"))
    seen = []
    monkeypatch.setattr(writing, "greedy", lambda *given, **how: seen.extend(greedy(*given, **how)) or seen)
    chat.write(place, [prompt])
    assert [(answer.token_ids, answer.ended) for answer in seen] == [([], True)], "a sample of the run ends there too"


@pytest.mark.slow
def test_a_usage_that_transformers_does_not_find_sensible_is_kept_and_does_not_end_the_run(task_run, base, tmp_path):
    """Llama 2 came with a temperature and no sampling, which GenerationConfig refuses to save."""
    folder = tmp_path / "llama2"
    shutil.copytree(base, folder)
    odd = {"do_sample": False, "temperature": 0.9, "top_p": 0.6, "eos_token_id": 2}
    (folder / "generation_config.json").write_text(json.dumps(odd))
    run_dir = task_run("chat", model_id=str(folder), max_steps=1, rank=4, eval_steps=0)
    assert worker.main(run_dir) == 0
    saved = store.read_json(run_dir / "model" / "generation_config.json")
    assert saved == {**odd, "eos_token_id": [TURN, EOS, OTHER]}


def test_a_base_without_a_generation_config_gets_one_with_its_ends(task_run, base, tmp_path):
    folder = tmp_path / "plain"
    shutil.copytree(base, folder)
    (folder / "generation_config.json").unlink()
    run_dir = task_run("chat", model_id=str(folder), max_steps=1, rank=4, eval_steps=0)
    assert worker.main(run_dir) == 0
    model = AutoModelForCausalLM.from_pretrained(run_dir / "model")
    assert model.generation_config.eos_token_id == [EOS, OTHER]
