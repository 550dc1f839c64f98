"""A classifier at work: many texts as each alone, attributions against autograd by hand, files as tables."""

import csv

import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.evaluation import classifier
from llmdemo.evaluation.use import Classifiers, read_texts
from llmdemo.models import catalog

TEXTS = ["win a prize", "see you at lunch then, as always, my friend", "no", "Ünïcödé 🙂 text"]


@pytest.fixture
def pair(home, tiny_classifier):
    return classifier.load(catalog.resolve(home, tiny_classifier))


def test_a_text_gets_the_same_logits_in_a_batch_as_alone(pair):
    model, tokenizer = pair
    logits = classifier.logits_of(model, tokenizer, TEXTS, 64)
    for text, row in zip(TEXTS, logits, strict=True):
        with torch.no_grad():
            alone = model(**tokenizer(text, return_tensors="pt")).logits[0]
        assert row.tolist() == pytest.approx(alone.tolist(), abs=1e-5)


def test_a_text_without_tokens_and_a_cut_text_get_logits_too(pair):
    model, tokenizer = pair
    assert classifier.logits_of(model, tokenizer, ["", "word " * 400], 16).shape == (2, 2)


def test_attributions_are_gradient_times_input(pair):
    model, tokenizer = pair
    text = TEXTS[0]
    found = classifier.explain(model, tokenizer, text)
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
    logits = model(inputs_embeds=embedded).logits[0]
    logits.max().backward()
    scores = (embedded.grad * embedded).sum(-1)[0]
    scores = (scores / scores.abs().max()).tolist()
    assert [token["score"] for token in found["tokens"]] == pytest.approx(scores, abs=1e-3)
    assert "".join(token["text"] for token in found["tokens"] if not token.get("special")) == text
    assert found["label"] == found["probabilities"][0]["label"]
    assert sum(each["probability"] for each in found["probabilities"]) == pytest.approx(1)


def test_the_pieces_of_one_character_are_joined(pair):
    found = classifier.explain(*pair, TEXTS[3])
    assert "".join(token["text"] for token in found["tokens"]) == TEXTS[3]
    assert all(-1 <= token["score"] <= 1 for token in found["tokens"])


def test_no_text_is_a_sentence(pair):
    with pytest.raises(UserError, match="no text"):
        classifier.explain(*pair, "  ")


def test_a_file_becomes_a_table_whose_cells_no_spreadsheet_runs(home, settings, tiny_classifier, tmp_path):
    path = tmp_path / "messages.csv"
    path.write_text('id,text\n1,=cmd|x\n2,hello there\n3,"a, b"\n', encoding="utf-8")
    made = Classifiers(home, settings).table(tiny_classifier, path, tmp_path)
    rows = list(csv.reader(made.open(encoding="utf-8-sig")))
    assert rows[0] == ["text", "label", "probability", "p(spam)", "p(ham)"]
    assert [row[0] for row in rows[1:]] == ["'=cmd|x", "hello there", "a, b"]
    assert all(row[1] in ("spam", "ham") and float(row[2]) == max(map(float, row[3:])) for row in rows[1:])


def test_texts_are_found_in_files_of_any_kind(settings, tmp_path):
    files = {
        "a.txt": ("one\ntwo\n\nthree\n", ["one", "two", "three"]),
        "b.json": ('[{"n": 1, "review": "good"}, {"n": 2, "review": "bad"}]', ["good", "bad"]),
        "c.jsonl": (
            '{"a": "x", "b": "a longer one"}\n{"a": "y", "b": "another longer one"}\n',
            ["a longer one", "another longer one"],
        ),
    }
    for name, (content, texts) in files.items():
        (tmp_path / name).write_text(content)
        assert read_texts(tmp_path / name, settings) == texts
    (tmp_path / "d.json").write_text('[{"n": 1}]')
    with pytest.raises(UserError, match="no texts"):
        read_texts(tmp_path / "d.json", settings)


def test_a_model_that_does_not_classify_is_refused(home, settings, models):
    with pytest.raises(UserError, match="does not classify"):
        Classifiers(home, settings).explain("starter", "hello")
