"""A model from nothing: its tokenizer and shape, what it learns by each method, how it resumes, and what is refused."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmdemo.core import store
from llmdemo.core.errors import UserError
from llmdemo.data.ingest import add_dataset
from llmdemo.models import catalog, scratch
from llmdemo.models.load import load_outline
from llmdemo.settings.training import TrainConfig
from llmdemo.training import factors, memory_estimate
from llmdemo.training.objectives.base import SAMPLE_TOKENS
from llmdemo.training.targets import find_targets

QUICK = {"task": "pretrain", "model_size": "1M", "vocabulary_size": 320, "max_length": 32, "batch_size": 4, "rank": 8,
         "max_steps": 6, "eval_steps": 3, "eval_records": 8, "warmup_steps": 0, "precision": "fp32", "split_version": 2,
         "update_proj_gap": 3, "packing": True}  # fmt: skip
METHODS = {
    "galore": {"method": "galore"},
    "adamw": {"method": "adamw"},
    "factors": {"method": "adamw", "factor_rank": 8},
}


def texts(count=24):
    animals = ("cat", "dog", "owl", "fox", "horse", "donkey", "sparrow", "hedgehog")
    verbs = ("sees", "hears", "follows", "admires", "remembers", "quickly overtakes")
    return [
        " ".join(f"The {animals[(n + k) % 8]} {verbs[(n * k) % 6]} the {animals[3 * k % 8]}." for k in range(8))
        for n in range(count)
    ]


@pytest.fixture
def scratch_run(home, settings, tmp_path):
    """Makes a run of the task pretrain on these texts."""

    def make(written=None, **changes):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in written or texts()))
        dataset_id = add_dataset(home, settings, path, "animals").dataset_id
        run_dir = home.runs / store.new_id("run")
        run_dir.mkdir()
        store.write_json(run_dir / "config.json", {"dataset_id": dataset_id, **QUICK, **changes})
        return run_dir

    return make


def told(run):
    return " ".join(event["message"] for event in run.events("note"))


@pytest.mark.parametrize("how", METHODS)
@pytest.mark.slow
def test_a_new_model_learns_and_is_one_of_the_catalog(scratch_run, ran, home, how):
    run = ran(scratch_run(**METHODS[how], max_steps=30, eval_steps=15, learning_rate=5e-3))
    assert run.status == 0, run.end
    losses = [event["loss"] for event in run.events("eval")]
    assert losses[0] == pytest.approx(math.log(320), abs=0.3), "an untrained model knows nothing: ln of the vocabulary"
    assert losses[-1] < losses[0] - 1
    for event in run.events("eval"):
        assert event["perplexity"] == pytest.approx(math.exp(event["loss"]), rel=1e-4)
        assert "forgetting_loss" not in event
    entry = catalog.resolve(home, run.run_dir.name)
    assert entry.task == "text" and entry.writes and "from scratch" in entry.title
    model = AutoModelForCausalLM.from_pretrained(entry.path)
    tokenizer = AutoTokenizer.from_pretrained(entry.path)
    assert len(tokenizer) == model.config.vocab_size == 320
    assert tokenizer.decode(tokenizer("The cat sees — 貓 🐈")["input_ids"]) == "The cat sees — 貓 🐈"
    assert sum(p.numel() for p in model.parameters()) == scratch.parameters_of("1M", 320) == entry.parameters
    assert {type(m).__name__ for m in model.modules()}.isdisjoint({"FactoredLinear"})
    assert (entry.path / "README.md").read_text().count("pretrained with") == 1


@pytest.mark.slow
def test_samples_are_drawn_at_a_temperature_by_the_seed_of_the_run(scratch_run, ran):
    run = ran(scratch_run(max_steps=30, eval_steps=15, learning_rate=5e-3, best_by="last", seed=5))
    samples = [event for event in run.events("sample") if event["step"] == 30]
    assert len(samples) == len({sample["prompt"] for sample in samples}) > 1
    assert {sample["temperature"] for sample in samples} == {0.6}
    model = AutoModelForCausalLM.from_pretrained(run.run_dir / "base").eval()
    model.load_state_dict(run.weights(), strict=False)
    tokenizer = AutoTokenizer.from_pretrained(run.run_dir / "base")
    for i, sample in enumerate(samples):
        asked, said = tokenizer(sample["prompt"])["input_ids"], []
        for number in np.random.default_rng([5, i]).random(SAMPLE_TOKENS):
            with torch.no_grad():
                logits = model(torch.tensor([asked + said])).logits[0, -1]
            mass = (logits.double() / 0.6).softmax(-1).cumsum(-1)
            said.append(int(torch.searchsorted(mass, number * mass[-1], right=True)))
            if said[-1] == tokenizer.eos_token_id:
                break
        assert tokenizer.decode(said, skip_special_tokens=True) == sample["text"]


@pytest.mark.usefixtures("without_samples")
@pytest.mark.parametrize("how", METHODS)
@pytest.mark.slow
def test_a_stopped_and_resumed_run_ends_with_the_same_weights(scratch_run, ran, how):
    whole = ran(scratch_run(**METHODS[how]))
    run_dir = scratch_run(**METHODS[how])
    assert ran(run_dir, stop=2).end["state"] == "stopped"
    base = (run_dir / "base" / "model.safetensors").read_bytes()
    resumed = ran(run_dir)
    assert resumed.end["state"] == "completed"
    expected, found = whole.weights(), resumed.weights()
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)
    assert (run_dir / "base" / "model.safetensors").read_bytes() == base, "the new model is made once"


@pytest.mark.usefixtures("without_samples")
def test_the_factors_that_were_trained_are_published_as_their_product(scratch_run, ran):
    run = ran(scratch_run(**METHODS["factors"], best_by="last"))
    kept, saved = run.weights(), load_file(run.run_dir / "model" / "model.safetensors")
    name = "model.layers.0.mlp.gate_proj"
    up, down = kept[f"{name}.up"], kept[f"{name}.down"]
    assert up.shape == (344, 8) and down.shape == (8, 128)
    assert torch.equal(saved[f"{name}.weight"], up @ down)
    assert torch.linalg.matrix_rank(saved[f"{name}.weight"].double(), rtol=1e-5) == 8


def test_factors_begin_as_the_nearest_matrix_of_their_rank():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 4)).double()
    weight, inputs = model[0].weight.detach().clone(), torch.randn(7, 20, dtype=torch.float64)
    u, s, v = torch.linalg.svd(weight)
    nearest = (u[:, :5] * s[:5]) @ v[:5]
    factors.factorise(model, 5)
    assert isinstance(model[0], factors.FactoredLinear) and isinstance(model[2], torch.nn.Linear), "rank 4 stays whole"
    # The factors are made in fp32.
    torch.testing.assert_close(model[0](inputs), inputs @ nearest.T + model[0].bias, atol=1e-5, rtol=1e-5)
    assert (model[0].up @ model[0].down - weight).detach().norm().item() == pytest.approx(s[5:].norm().item(), rel=1e-5)
    factored = model(inputs)
    factors.multiplied(model)
    assert type(model[0]) is torch.nn.Linear
    torch.testing.assert_close(model(inputs), factored)
    with pytest.raises(UserError, match="factor_rank 40"):
        factors.factorise(model, 40)


def test_what_is_held_out_makes_no_token_of_the_tokenizer(scratch_run, ran):
    written = [*texts(), *(f"zyzzogeton {text} zyzzogeton" for text in texts(3))]
    run_dir = scratch_run(written, method="adamw", max_steps=1, eval_steps=0, vocabulary_size=2000, eval_share=0.12)
    config = TrainConfig.from_dict(json.loads((run_dir / "config.json").read_text()))
    run = ran(run_dir)
    from llmdemo.data.records import open_records
    from llmdemo.data.split import split

    records = open_records(store.Home(run_dir.parents[1]), config.dataset_id)
    train, held = split(records, config.seed, config.eval_share, version=2)
    seen = {word for i in train for word in records[int(i)]["text"].split()}
    vocabulary = AutoTokenizer.from_pretrained(run.run_dir / "base").get_vocab()
    assert len(held) and ("Ġzyzzogeton" in vocabulary or "zyzzogeton" in vocabulary) is ("zyzzogeton" in seen)
    assert "not 2,000: no other piece occurs twice" in told(run), "a vocabulary larger than the text is said"


def test_a_corpus_of_one_word_is_refused_with_a_sentence(scratch_run, ran):
    run = ran(scratch_run(["sea sea sea sea sea sea"] * 9, method="adamw"))
    assert run.end["state"] == "failed" and run.end["reason"] == "bad_config"
    assert "only one word, 'sea'" in run.end["message"]
    assert not (run.run_dir / "base").exists()


def test_without_a_held_out_part_it_trains_and_says_so(scratch_run, ran):
    run = ran(scratch_run(method="adamw", eval_share=0.0))
    assert run.end["state"] == "completed" and run.events("published")[-1]["step"] == 6
    assert not run.events("eval") and "held out" in told(run)


def test_the_tokenizer_of_a_model_can_be_taken(scratch_run, ran, tiny_model_folder):
    run = ran(scratch_run(method="adamw", tokenizer_from=str(tiny_model_folder), max_steps=2))
    assert run.end["state"] == "completed"
    taken = AutoTokenizer.from_pretrained(tiny_model_folder)
    made = AutoTokenizer.from_pretrained(run.run_dir / "model")
    assert made("The cat sees.")["input_ids"] == taken("The cat sees.")["input_ids"]
    assert AutoModelForCausalLM.from_pretrained(run.run_dir / "model").config.vocab_size == len(taken)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "lora"}, "a new model's are random"),
        ({"method": "galore", "factor_rank": 8}, "factor_rank is 8 for the task pretrain with galore"),
        ({"method": "adamw", "task": "text", "factor_rank": 8}, "factor_rank is 8 for the task text"),
        ({"method": "adamw", "model_size": "2M"}, "model_size"),
        ({"method": "adamw", "vocabulary_size": 100}, "vocabulary_size"),
    ],
)
def test_settings_that_do_not_go_together_are_a_sentence(changes, words):
    with pytest.raises(UserError, match=words):
        TrainConfig.from_dict({"dataset_id": "x", **QUICK, **changes})


@pytest.mark.parametrize("size", scratch.SIZES)
def test_each_size_is_counted_as_the_model_that_it_makes(size):
    vocabulary = 32_000 if size in ("60M", "130M", "350M", "1B") else 2048
    entry = scratch.entry_of(size, vocabulary, 256)
    model = load_outline(entry, torch.float32)
    count = sum(p.numel() for p in model.parameters())
    assert count == scratch.parameters_of(size, vocabulary) == entry.parameters
    named = float(size[:-1]) * (1e9 if size.endswith("B") else 1e6)
    assert 0.94 < count / named < 1.35, "the GaLore paper's own 1B has 1.34 billion"
    assert find_targets(model)


def test_memory_is_told_before_and_less_where_less_is_kept():
    entry, batch = scratch.entry_of("60M", 32_000, 256), memory_estimate.Batch(8, 256, 2048)

    def predicted(**changes):
        config = TrainConfig.from_dict({"dataset_id": "x", "task": "pretrain", "rank": 128, **changes})
        return memory_estimate.predict(entry, config, batch, torch.device("cpu"))

    whole, factored, galore = predicted(method="adamw"), predicted(method="adamw", factor_rank=128), predicted()
    assert galore.moments < whole.moments and galore.weights == whole.weights
    assert factored.weights < whole.weights and factored.moments < whole.moments
    assert factored.moments == pytest.approx(2 * factored.weights, rel=1e-3)
