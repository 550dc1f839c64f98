"""What lessons compute on the spot: surprise against torch's own cross entropy, and refusals of what makes no sense."""

from types import SimpleNamespace

import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.data import encode_chat
from llmdemo.learn import trials
from tests.conftest import make_llama

JUDGED = {"instruction": "Say it.", "reference": "it", "answers": ["one thing", "another thing"]}


@pytest.fixture(scope="module")
def loaded(tiny_tokenizer):
    return SimpleNamespace(
        model=make_llama(len(tiny_tokenizer), max_position_embeddings=1024), tokenizer=tiny_tokenizer, context=1024
    )


def test_a_texts_surprise_is_cross_entropy_and_an_answers_leaves_its_prompt_out(loaded):
    raw, answer = trials.surprises(loaded, ["The quick brown fox.", {"prompt": "Who?", "answer": "The fox."}])
    ids = torch.tensor([loaded.tokenizer("The quick brown fox.")["input_ids"]])
    own = loaded.model(input_ids=ids, labels=ids)
    assert raw["mean"] == pytest.approx(own.loss.item(), abs=1e-5)
    assert len(raw["tokens"]) == ids.shape[1] - 1
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "The fox."}]
    row = encode_chat(turns, loaded.tokenizer, None)
    ids, labels = torch.tensor([row.input_ids]), torch.tensor([row.labels])
    assert answer["mean"] == pytest.approx(loaded.model(input_ids=ids, labels=labels).loss.item(), abs=1e-5)
    assert len(answer["tokens"]) == row.trained < len(row.input_ids)


def test_answers_are_drawn_by_a_seed_and_measured(loaded):
    prompt = [{"role": "user", "content": "Who?"}]
    found = trials.several(loaded, prompt, "The fox.", 3, 5)
    assert found == trials.several(loaded, prompt, "The fox.", 3, 5) and len({each["text"] for each in found}) > 1
    assert all(0 <= each["quality"] <= 1 and each["tokens"] <= 48 for each in found)


def test_questions_come_out_of_the_mark_of_a_users_turn(loaded):
    pairs = trials.questions(loaded, 2, 1)
    assert len(pairs) == 2 and all(isinstance(each["question"], str) for each in pairs)


def test_a_judge_is_asked_in_both_orders_and_scores_stay_with_their_answer(loaded, monkeypatch):
    """Scores by place: whatever stands first gets 5. Turned back, each answer has won once, and the verdict turned."""
    shown = []

    def by_place(self, conversations):
        shown.extend(each[-1]["content"] for each in conversations)
        return [(5.0, 1.0)] * len(conversations)

    monkeypatch.setattr(trials.LocalJudge, "scores", by_place)
    monkeypatch.setattr(trials.LocalJudge, "__init__", lambda *_: None)
    (found,) = trials.judged(loaded, [JUDGED], "Is it right?")
    assert [list(scores) for scores in found["orders"]] == [[5.0, 1.0], [1.0, 5.0]]
    assert found["winner"] is None and not found["agreed"]
    assert shown[0].index("one thing") < shown[0].index("another thing")
    assert shown[1].index("another thing") < shown[1].index("one thing")


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda it: trials.surprises(it, []), "list of 1 to 24"),
        (lambda it: trials.surprises(it, ["x"] * 25), "list of 1 to 24"),
        (lambda it: trials.surprises(it, [5]), "no text"),
        (lambda it: trials.surprises(it, [{"prompt": "a", "answer": ""}]), "empty"),
        (lambda it: trials.surprises(it, [{"answer": "b"}]), "prompt"),
        (lambda it: trials.several(it, "Who?", "x", 1000), "from 1 to 16"),
        (lambda it: trials.several(it, "Who? " * 500, "x"), "tokens"),
        (lambda it: trials.several(it, "x" * 5000, "x"), "1 to 4,000"),
        (lambda it: trials.surprises(it, [{"prompt": "x" * 10**6, "answer": "y"}]), "1 to 4,000"),
        (lambda it: trials.judged(it, [{"instruction": "a", "reference": "b", "answers": ["c"]}], "d"), "two answers"),
        (lambda it: trials.questions(it, True), "from 1 to 8"),
    ],
    ids=range(11),
)
def test_what_makes_no_sense_is_refused_with_a_sentence(act, said, loaded):
    with pytest.raises(UserError) as error:
        act(loaded)
    assert said in f"{error.value.message} {error.value.hint}"


def test_a_model_without_a_template_is_told_so(loaded):
    class Plain:
        chat_template = None

    with pytest.raises(UserError, match="no chat template"):
        trials.questions(SimpleNamespace(model=loaded.model, tokenizer=Plain(), context=64), 1)


def test_a_judge_reads_no_more_than_a_class_can_wait_for(loaded, monkeypatch):
    """A model's context may be 128,000 tokens: 16 prompts of that length would take hours and all memory."""
    long = SimpleNamespace(model=loaded.model, tokenizer=loaded.tokenizer, context=128_000)
    monkeypatch.setattr(trials.LocalJudge, "_read", lambda *_: pytest.fail("nothing may be computed"))
    with pytest.raises(UserError, match="Pair 1 is too long"):
        trials.judged(long, [{**JUDGED, "answers": ["a b c d " * 400, "it"]}], "Is it right?")
