"""Lens and attribution by prompt and model id: prefixes, two models side by side, and what is refused."""

import json
import shutil

import pytest

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.interpret.service import Interpret
from llmdemo.settings import Settings
from tests.conftest import make_llama, make_tokenizer

RUN = "run-20260101-000000-abcdef"


@pytest.fixture(scope="module")
def inside(tmp_path_factory, tiny_model_folder):
    from llmdemo.arena import Arena

    home = Home(tmp_path_factory.mktemp("home")).prepare()
    shutil.copytree(tiny_model_folder, home.models / "starter")
    folder = home.runs / RUN / "model"
    shutil.copytree(tiny_model_folder, folder)
    make_llama(len(make_tokenizer()), seed=1).save_pretrained(folder)
    (folder / "origin.json").write_text(json.dumps({"source": "run", "base": "starter"}))
    arena = Arena(home, Settings(home=home.root, min_free_bytes=0))
    return Interpret(home, arena.use_alone)


def test_base_and_tuned_stand_side_by_side_after_the_answers_first_tokens(inside):
    found = inside.lens(RUN, "What is the capital?", beside="base", prefix_ids=[40, 41], token=9, window=3)
    tuned, base = found["models"]
    assert (tuned["id"], base["id"]) == (RUN, "starter") and tuned["rows"] != base["rows"]
    assert [each["id"] for each in found["positions"]][-2:] == [40, 41]
    assert len(tuned["rows"]) == tuned["layers"] == 2 and len(tuned["followed"]) == 2
    mentioned = {str(token) for row in tuned["rows"] for place in row for token, _ in place}
    assert mentioned <= found["names"].keys() and json.dumps(found)


def test_an_earlier_position_does_not_see_what_comes_after_it(inside):
    whole = inside.lens("starter", {"raw": "the lazy dog"}, position=1)
    ids = [each["id"] for each in inside.lens("starter", {"raw": "the lazy dog"}, window=16)["positions"]]
    other = inside.lens("starter", {"raw": "the lazy dog"}, position=1, prefix_ids=[7])
    assert whole["models"][0]["rows"] == other["models"][0]["rows"]
    assert whole["positions"] == [
        {"position": 1, "id": ids[1], "text": whole["positions"][0]["text"], "special": False}
    ]


def test_attribution_names_the_prompts_tokens(inside):
    found = inside.attribute("starter", "What is the capital?", prefix_ids=[40], method="integrated_gradients")
    assert found["tokens"][-1]["id"] == 40 and found["tokens"][0]["special"]
    missed = abs(sum(each["score"] for each in found["tokens"]) - found["total"])
    assert missed == pytest.approx(found["gap"] * abs(found["total"]), rel=1e-3) and found["gap"] < 0.15
    likeliest = inside.lens("starter", "What is the capital?", prefix_ids=[40])["models"][0]["answer"]
    assert found["token"]["id"] == likeliest and 0 < found["token"]["probability"] < 1
    assert inside.attribute("starter", {"raw": "the lazy"}, token="q")["token"]["text"] == "q"


REFUSED = [
    (lambda it: it.lens("starter", "Hi", position=10_000), "position"),
    (lambda it: it.lens("starter", "Hi", window=0), "window"),
    (lambda it: it.lens("starter", "Hi", top="5"), "top"),
    (lambda it: it.lens("starter", "Hi", token=10**9), "not a token id"),
    (lambda it: it.lens("starter", "Hi", prefix_ids=[-1]), "not a token id"),
    (lambda it: it.lens("starter", "Hi", prefix_ids="ab"), "not token ids"),
    (lambda it: it.lens("starter", "Hi", beside="base"), "did not come from a run"),
    (lambda it: it.lens("starter", "", beside=""), "empty"),
    (lambda it: it.attribute("starter", "Hi", token="the quick brown fox"), "tokens in this model"),
    (lambda it: it.attribute("starter", "Hi", method="x"), "not an attribution method"),
    (lambda it: it.attribute("starter", "word " * 600), "at most 255"),
]


@pytest.mark.parametrize(("ask", "said"), REFUSED, ids=range(len(REFUSED)))
def test_what_makes_no_sense_is_refused_with_a_sentence(ask, said, inside):
    with pytest.raises(UserError) as error:
        ask(inside)
    assert said in f"{error.value.message} {error.value.hint}"


def test_a_model_that_others_compute_with_is_waited_for_no_longer_than_said(inside):
    use = inside._use
    with use("starter"), pytest.raises(UserError, match="Others are computing"), use("starter", 0.05):
        pass


@pytest.mark.slow
def test_an_encoder_and_a_classifier_are_refused_with_a_sentence(inside, tmp_path):
    from transformers import BertConfig, BertModel, LlamaForSequenceClassification

    sizes = {
        "vocab_size": 64,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    classifier = LlamaForSequenceClassification(make_llama(len(make_tokenizer())).config)
    for name, model in (("encoder", BertModel(BertConfig(**sizes))), ("classifier", classifier)):
        for part in (model, make_tokenizer()):
            part.save_pretrained(tmp_path / name)
        with pytest.raises(UserError) as error:
            inside.lens(str(tmp_path / name), {"raw": "the lazy dog"})
        assert error.value.hint
