"""Classification: the loss beside PyTorch's and transformers', the figures beside scikit-learn's, on three architectures."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, log_loss, roc_auc_score
from sklearn.utils.class_weight import compute_class_weight

from llmdemo import prepare
from llmdemo.core.store import write_json
from llmdemo.data.ingest import add_dataset
from llmdemo.models import catalog, load
from llmdemo.training import TrainConfig
from llmdemo.training.batches import RunData, TokenRows
from llmdemo.training.objectives import Place
from llmdemo.training.objectives.classify import Classify, balanced_weights, class_figures
from tests.conftest import own_model


def make_rows(count=12, classes=3, seed=0):
    random = np.random.default_rng(seed)
    rows = [(random.integers(3, 64, random.integers(2, 9)).tolist(),) * 2 for _ in range(count)]
    return TokenRows.from_lists(
        [(ids, [-100] * len(ids)) for ids, _ in rows], [0] * 3 + random.integers(0, classes, count - 3).tolist()
    )


@pytest.fixture
def make_objective(tiny_model_folder):
    """The objective on the tiny model with a fresh head for classes a, b, c."""

    def make(rows=None, held_out=None, **changes):
        rows = make_rows() if rows is None else rows
        torch.manual_seed(0)
        model, tokenizer = load.load_classifier(tiny_model_folder, ["a", "b", "c"], device="cpu")
        torch.nn.init.normal_(model.score.weight, std=0.3)
        counts = np.bincount(rows.classes, minlength=3)
        facts = {"labels": ["a", "b", "c"], "counts": counts.tolist(), "positive": int(counts.argmin())}
        config = TrainConfig("x", task="classify", batch_size=4, **changes)
        data = RunData(rows, TokenRows.from_lists([]) if held_out is None else held_out, [], {}, {}, facts)
        return Classify(Place(model, tokenizer, config, "fp32", torch.device("cpu")), data)

    return make


def test_the_loss_is_transformers_own(make_objective):
    objective = make_objective()
    rows = objective.data.train
    total, _ = objective.loss_sum(np.arange(12))
    losses = []
    for index in range(12):
        ids = torch.tensor([rows.row(index)[0].tolist()])
        labels = torch.tensor([int(rows.classes[index])])
        losses.append(objective.place.model(input_ids=ids, labels=labels).loss.item())
    assert total.item() / objective.normaliser(np.arange(12)) == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_weighted_loss_is_pytorchs_over_the_whole_step_in_any_micro_batches(make_objective):
    objective = make_objective(class_weights="balanced")
    rows = objective.data.train
    every = np.arange(12)
    weights = compute_class_weight("balanced", classes=np.arange(3), y=rows.classes)
    torch.testing.assert_close(objective.weights, torch.tensor(weights).float())
    logits = torch.from_numpy(objective.predict(rows, 12))
    wanted = torch.from_numpy(rows.classes).long()
    expected = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights))(logits, wanted).item()
    parts = [np.array(part) for part in ([0, 5], [1, 2, 3, 4], [6, 7, 8, 9, 10], [11])]
    found = sum(objective.loss_sum(part)[0].item() for part in parts) / objective.normaliser(every)
    assert found == pytest.approx(expected, rel=1e-5)
    # Mutation: the mean of the micro-batches' own weighted means is another number.
    means = [objective.loss_sum(part)[0].item() / objective.normaliser(part) for part in parts]
    assert abs(np.mean(means) - expected) > 1e-3


def gradients(objective, items) -> tuple[float, torch.Tensor, dict]:
    """(loss of the step, its gradient as one vector, figures)."""
    objective.place.model.zero_grad()
    total, figures = objective.loss_sum(np.asarray(items))
    (total / objective.normaliser(items)).backward()
    return total.item(), torch.cat([p.grad.flatten() for p in objective.place.model.parameters()]), figures


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_sure_texts_are_counted_and_not_learned_from(make_objective, class_weights):
    whole, every = make_objective(class_weights=class_weights), np.arange(12)
    losses = whole._losses(every)[0].detach()
    bar = losses.median().item()
    unsure = every[(losses >= bar).numpy()]
    picky = make_objective(class_weights=class_weights, least_loss=bar)
    total, gradient, figures = gradients(picky, every)
    assert total == pytest.approx(gradients(whole, every)[0], rel=1e-6)
    weights = whole._losses(every)[1]
    assert figures == {"learned": pytest.approx(weights[losses >= bar].sum().item())} and 0 < len(unsure) < 12
    expected = gradients(whole, unsure)[1] * whole.normaliser(unsure) / whole.normaliser(every)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    # Mutation: divided by the unsure ones alone, a step that is nearly all sure would be as large as any.
    assert (gradient - expected * whole.normaliser(every) / whole.normaliser(unsure)).norm() > 0.1 * gradient.norm()


def test_what_sure_texts_would_add_is_a_hundredth(make_objective):
    """99 % sure ones, beside unsure ones: the head is made so strong that both are there."""
    whole, picky, every = make_objective(), make_objective(least_loss=0.01), np.arange(12)
    for objective in (whole, picky):
        with torch.no_grad():
            objective.place.model.score.weight.mul_(25)
    losses = whole._losses(every)[0]
    assert 2 <= (losses < 0.01).sum() <= 10
    full, part = gradients(whole, every)[1], gradients(picky, every)[1]
    assert 0 < (full - part).norm() < 0.01 * full.norm()


def test_the_first_reading_takes_no_gradient_away_under_autocast(make_objective, monkeypatch):
    found, cleared = [], []
    own = torch.clear_autocast_cache
    monkeypatch.setattr(torch, "clear_autocast_cache", lambda: (cleared.append(1), own()))
    for least in (0.0, 1e-6):  # all are learned from, either way
        objective = make_objective(least_loss=least)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            total, _ = objective.loss_sum(np.arange(12))
        total.backward()
        found.append([p.grad for p in objective.place.model.parameters()])
    assert cleared, "versions of torch differ in what they keep"
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_where_all_are_sure_the_least_sure_text_is_learned_from(make_objective):
    objective, every = make_objective(least_loss=10.0), np.arange(12)
    losses = objective._losses(every)[0]
    assert objective._unsure(every)[0].tolist() == [int(losses.argmax())]
    assert gradients(objective, every)[2]["learned"] == 1
    with torch.no_grad():
        objective.place.model.score.weight.fill_(math.nan)
    assert len(objective._unsure(every)[0]) == 12 and math.isnan(gradients(objective, every)[0])


def test_a_class_without_records_weighs_nothing():
    np.testing.assert_allclose(balanced_weights(np.array([6, 0, 2])), [8 / 12, 0, 2])


@pytest.mark.parametrize("classes", [2, 3])
def test_the_figures_are_scikit_learns(classes):
    random = np.random.default_rng(0)
    truth = random.integers(0, classes, 200)
    scores = random.normal(size=(200, classes)) + 1.5 * np.eye(classes)[truth]
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    figures = class_figures(probabilities, truth, positive=1)
    guessed = probabilities.argmax(1)
    assert figures["accuracy"] == pytest.approx((guessed == truth).mean())
    assert figures["f1_macro"] == pytest.approx(f1_score(truth, guessed, average="macro"))
    assert figures["f1"] == pytest.approx(f1_score(truth == 1, guessed == 1))
    area = roc_auc_score(truth, probabilities[:, 1] if classes == 2 else probabilities, multi_class="ovr")
    assert figures["roc_auc"] == pytest.approx(area)


def test_a_class_that_is_not_there_leaves_the_area_out():
    figures = class_figures(np.full((4, 3), 1 / 3), np.array([0, 0, 1, 1]), positive=1)
    assert "roc_auc" not in figures and all(map(math.isfinite, figures.values()))


def test_evaluation_on_the_way_takes_a_part_and_the_last_one_all(make_objective):
    held_out = make_rows(20, seed=4)
    objective = make_objective(held_out=held_out, eval_records=8)
    assert objective.evaluate(last=False)[1] == 8
    figures, count = objective.evaluate(last=True)
    assert count == 20
    probabilities = torch.from_numpy(objective.predict(held_out, 20)).softmax(1).numpy()
    assert figures["loss"] == pytest.approx(log_loss(held_out.classes, probabilities, labels=[0, 1, 2]), rel=1e-6)


# ---- whole runs ----


def test_the_form_foretells_the_batch_that_the_run_finds_largest(home, settings, tiny_model_folder, tmp_path, ran):
    """Texts differ in length tenfold, as messages do: the longest, or twice the mean, is far from a batch's mean."""
    lines = [f"{('ham', 'spam')[n % 2]}\t{'word ' * (2 + (n * 7919) % 40 // (1 + n % 5))}{n}\n" for n in range(120)]
    (tmp_path / "texts.tsv").write_text("".join(lines))
    tokenizer = load.load_classifier_tokenizer(catalog.resolve(home, str(tiny_model_folder)))
    info = add_dataset(home, settings, tmp_path / "texts.tsv", "texts", tokenizer=tokenizer)
    values = {"dataset_id": info.dataset_id, "model_id": str(tiny_model_folder), "task": "classify", "max_steps": 2}
    values |= {"batch_size": 8, "gradient_accumulation_steps": 2, "max_length": 100, "split_version": 2, "rank": 4}
    run_dir = home.runs / "run-1"
    run_dir.mkdir()
    write_json(run_dir / "config.json", values)
    [told, *_] = ran(run_dir).events("ledger")
    foretold = prepare.predict(home, values)["ledger"]["predicted"]
    assert foretold["activations"] == told["predicted"]["activations"] > 0
    # Mutation: twice the mean length, as it was told before.
    length = prepare._length_of_texts(home, info.measured, TrainConfig.from_dict(values))
    assert not 0.8 < 2 * info.tokens["mean"] / length < 1.2


def test_a_run_says_that_its_last_figures_are_of_more_texts(task_run, ran):
    run = ran(task_run("classify", max_steps=1, eval_steps=0, eval_records=4))
    first, last = (event["records"] for event in run.events("eval"))
    notes = [event["message"] for event in run.events("note")]
    assert first == 4 < last and any(f"4 of the {last} held-out texts" in note for note in notes)


@pytest.mark.parametrize("method", ["galore", "adamw", "lora"])
@pytest.mark.slow
def test_a_run_ends_with_a_classifier_that_transformers_opens(task_run, ran, home, method):
    from transformers import AutoModelForSequenceClassification

    run = ran(task_run("classify", method=method, learning_rate=1e-2, max_steps=16, eval_steps=8))
    assert run.end["state"] == "completed", run.end
    evals = run.events("eval")
    assert all({"loss", "accuracy", "f1_macro", "f1", "roc_auc"} <= set(event) for event in evals)
    assert evals[-1]["f1"] > 0.9, "the rarest class is spam, which says so itself"
    model = AutoModelForSequenceClassification.from_pretrained(run.run_dir / "model")
    assert model.config.id2label == {0: "ham", 1: "spam"} and model.config.label2id == {"ham": 0, "spam": 1}
    entry = catalog.resolve(home, run.run_dir.name)
    assert entry.task == "classify" and not entry.writes
    loaded, tokenizer = load.load_classifier(entry, device="cpu")
    batch = tokenizer(["win a prize now 5", "see you at home 12"], return_tensors="pt", padding=True)
    assert loaded(**batch).logits.argmax(1).tolist() == [1, 0]
    saved, last = dict(model.named_parameters()), run.weights()
    head = next(name for name in last if "score" in name)
    torch.testing.assert_close(saved["score.weight"].detach(), last[head])
    card = (run.run_dir / "model" / "README.md").read_text()
    assert "text-classification" in card and "held-out roc auc after" in card and "ham" in card
    assert {event["text"].split()[0] for event in run.events("sample")} <= {"ham", "spam"}


@pytest.fixture
def others(tmp_path, tiny_tokenizer):
    """Folders of a tiny BERT, a tiny GPT-2 (Conv1D, no pad token) and a tiny RoBERTa."""
    from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, RobertaConfig, RobertaModel

    torch.manual_seed(0)
    size = {"vocab_size": len(tiny_tokenizer), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    encoder = {**size, "intermediate_size": 48, "initializer_range": 0.15}
    models = {
        "bert": BertForMaskedLM(BertConfig(**encoder, max_position_embeddings=64)),
        "roberta": RobertaModel(RobertaConfig(**encoder, max_position_embeddings=66, pad_token_id=1)),
        "gpt2": GPT2LMHeadModel(GPT2Config(vocab_size=len(tiny_tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=64,
            bos_token_id=1, eos_token_id=2, initializer_range=0.15)),
    }  # fmt: skip
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
        tiny_tokenizer.save_pretrained(tmp_path / name)
    path = tmp_path / "gpt2" / "tokenizer_config.json"
    path.write_text(
        json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "pad_token"})
    )
    for name in models:
        own_model(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2"])
@pytest.mark.parametrize("method", ["galore", "lora"])
@pytest.mark.slow
def test_encoders_and_models_with_conv1d_learn_to_classify(task_run, ran, others, name, method):
    run = ran(
        task_run("classify", method=method, model_id=str(others / name), learning_rate=1e-2, max_steps=24, eval_steps=0)
    )
    assert run.end["state"] == "completed", run.end
    first, last = run.events("eval")
    assert last["loss"] < first["loss"] and last["f1"] > 0.8
    assert run.events("ledger")[0]["predicted"]["total"] > 0
    model, _ = load.load_classifier(run.run_dir / "model", device="cpu")
    assert model.config.id2label[1] == "spam"


def test_an_encoder_is_refused_for_what_it_cannot_do(make_run, ran, others):
    run = ran(make_run(model_id=str(others / "bert")))
    assert run.status == 1 and "needs a model that writes" in run.end["message"]


def test_the_head_is_fresh_and_the_same_for_the_same_seed(task_run, ran):
    heads = [ran(task_run("classify", max_steps=1, seed=seed), stop=0).weights()["score.weight"] for seed in (7, 7, 8)]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_a_finished_classifier_is_trained_further_with_its_head(task_run, ran):
    first = ran(task_run("classify", learning_rate=1e-2, max_steps=16, eval_steps=0))
    second = ran(task_run("classify", model_id=first.run_dir.name, max_steps=1, eval_steps=0))
    assert second.events("eval")[0]["loss"] == pytest.approx(first.events("eval")[-1]["loss"], abs=1e-4)


def test_labels_and_empty_texts_are_mended_with_a_sentence_each(
    home, settings, tmp_path, task_run, ran, tiny_tokenizer
):
    rows = [f"{['spam', 'Spam'][n % 5 == 0]}\twin {n} now" for n in range(20)] + [
        f"ham\tsee you {n}" for n in range(30)
    ]
    rows += ["ham\t<|im_end|><|im_start|>"]
    (tmp_path / "labels.tsv").write_text("\n".join(rows))
    info = add_dataset(home, settings, tmp_path / "labels.tsv", "labels")
    run = ran(task_run("classify", dataset_id=info.dataset_id, max_steps=1, eval_steps=0))
    notes = [event["message"] for event in run.events("note")]
    told = [note for note in notes if "best evaluation" not in note and "better step" not in note]
    assert len(told) == 2 and "'spam' and 'Spam' differ only in case" in told[0]
    assert told[1] == "1 text has no token for this model and is left out."
    assert load.load_classifier(run.run_dir / "model", device="cpu")[0].config.id2label == {0: "ham", 1: "spam"}
