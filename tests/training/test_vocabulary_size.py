"""A tokenizer that is larger than the model's embedding is a sentence, and a pad token that is one too many is no matter."""

import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmdemo.core.errors import UserError
from llmdemo.core.events import read_events
from llmdemo.decoding import DecodeSettings, decode_lanes
from llmdemo.decoding.prompts import greedy
from llmdemo.evaluation import classifier
from llmdemo.models.load import load_causal
from llmdemo.training import worker


@pytest.fixture
def small(tmp_path, tiny_model_folder):
    """small(rows): the tiny model with an embedding of so many rows."""

    def make(rows, **special):
        folder = tmp_path / f"small-{rows}"
        shutil.copytree(tiny_model_folder, folder)
        model = AutoModelForCausalLM.from_pretrained(folder)
        model.resize_token_embeddings(rows)
        model.save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.add_special_tokens(special)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize("task", ["chat", "text", "classify", "preference"])
@pytest.mark.slow
def test_a_run_whose_data_has_tokens_that_the_model_lacks_is_refused_in_a_sentence(task_run, small, task):
    run_dir = task_run(task, model_id=str(small(100)), max_steps=1, rank=4)
    assert worker.main(run_dir) == 1
    end = read_events(run_dir / "events.jsonl")[0][-1]
    assert end["reason"] == "bad_config" and "its embedding has 100 rows" in end["message"]
    assert "tokenizer that belongs to this model" in end["hint"]


def test_a_comparison_and_an_evaluation_say_it_too(small):
    model, tokenizer = load_causal(small(100), torch.float32, "cpu")
    ids = tokenizer("The capital of France")["input_ids"]
    assert max(ids) >= 100
    with pytest.raises(UserError, match="its embedding has 100 rows"):
        next(decode_lanes(model, ids, DecodeSettings()))
    with pytest.raises(UserError, match="its embedding has 100 rows"):
        greedy(model, [ids], 2, 0)


@pytest.mark.parametrize("task", ["chat", "classify", "preference"])
@pytest.mark.slow
def test_a_pad_token_that_was_added_to_the_tokenizer_alone_ends_no_run(task_run, small, tiny_tokenizer, task):
    run_dir = task_run(task, model_id=str(small(len(tiny_tokenizer), pad_token="<pad>")), max_steps=1, rank=4)
    assert worker.main(run_dir) == 0
    if task == "classify":
        from types import SimpleNamespace

        model, tokenizer = classifier.load(SimpleNamespace(path=run_dir / "model", title=""))
        alone = classifier.logits_of(model, tokenizer, ["win"], 64)
        together = classifier.logits_of(model, tokenizer, ["win", "see you at home, and much more than that"], 64)
        torch.testing.assert_close(torch.tensor(together[0]), torch.tensor(alone[0]), atol=1e-5, rtol=1e-4)
