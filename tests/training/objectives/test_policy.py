"""Runs that learn from a checker: what they tell, how they end where there is nothing to learn, and a reward that is hacked."""

import pytest
import torch

from llmdemo.data.ingest import add_dataset
from llmdemo.training.objectives.rounds import MOST_FLAT, Rounds
from tests.training.conftest import run_maker

SMALL = {
    "task": "grpo", "rollouts": 4, "max_new_tokens": 12, "batch_size": 4, "gradient_accumulation_steps": 1,
    "learning_rate": 1e-3, "kl_weight": 0.0, "kl_limit": 0.0, "max_steps": 4, "eval_steps": 2, "eval_records": 4,
}  # fmt: skip


@pytest.fixture
def checker_run(home, settings, tiny_model_folder, alpaca_file):
    dataset_id = add_dataset(home, settings, alpaca_file, "sums").dataset_id
    return lambda **changes: run_maker(home, dataset_id, tiny_model_folder)(**{**SMALL, **changes})


def test_a_run_tells_reward_kl_entropy_length_and_answers_of_each_round(checker_run, ran):
    run = ran(checker_run(reward="contains", reward_text="e"))
    assert run.status == 0, run.end
    steps = run.events("step")
    assert len(steps) == 4 and all(
        0 <= step["reward"] <= 1 and 0 <= step["solved"] <= 1 and step["kl"] >= 0 and step["entropy"] > 0
        and 1 <= step["answer_length"] <= 12 for step in steps
    )  # fmt: skip
    assert steps[0]["kl"] < 1e-6 < steps[-1]["kl"], "before the first update the model is the starting model"
    rounds = run.events("answers")
    assert [each["step"] for each in rounds] == [1, 2, 3, 4] and len(rounds[0]["answers"]) == 4
    assert rounds[0]["prompt"].startswith("Add ") and run.events("sample")[0]["prompt"].startswith("Add ")
    figures = run.events("eval")[-1]
    assert figures["loss"] == pytest.approx(1 - figures["reward"], abs=1e-5) and "held_out_check" in figures
    assert run.events("sample")[0]["expected"].split()[1] == "+"


def test_the_loss_never_sees_a_right_answer(checker_run, ran, monkeypatch):
    """Other right answers, the same rewards: the same weights."""
    monkeypatch.setattr(Rounds, "rewards", lambda self, _, answers, __: [sum(each.ids) % 5 / 4 for each in answers])
    first = ran(checker_run()).weights()

    def reversed_answers(*arguments):
        prompts, right, asked = plain(*arguments)
        return prompts, [[text[::-1]] for text, *_ in right], asked

    from llmdemo.training.objectives import policy

    plain = policy._prompts
    monkeypatch.setattr(policy, "_prompts", reversed_answers)
    second = ran(checker_run()).weights()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_checker_that_always_fails_ends_the_run_with_a_sentence(checker_run, ran):
    run = ran(checker_run(reward="exact", max_steps=30))
    assert (run.status, run.end["state"], run.end["reason"]) == (1, "failed", "nothing_learned")
    assert f"{MOST_FLAT} rounds in a row" in run.end["message"] and "easier reward" in run.end["hint"]


def test_a_checker_that_always_passes_ends_the_run_with_a_sentence(checker_run, ran):
    run = ran(checker_run(reward="length", reward_tokens=500, max_steps=30))
    assert run.end["reason"] == "nothing_learned" and "full reward" in run.end["message"]


def test_a_run_that_has_learned_everything_publishes_what_it_has(checker_run, ran, monkeypatch):
    counted = Rounds._count

    def learned_before(self, made):
        self.learned = True
        counted(self, made)

    monkeypatch.setattr(Rounds, "_count", learned_before)
    run = ran(checker_run(reward="length", reward_tokens=500, max_steps=30))
    assert run.end["state"] == "completed" and "nothing left to learn" in run.end["message"]
    assert (run.run_dir / "model" / "model.safetensors").is_file()


def test_a_reward_that_is_no_number_is_never_learned_from(checker_run, ran, monkeypatch):
    from llmdemo.training.objectives import rounds

    def reward_of(config):
        return lambda text, right, tokens, score: float("nan") if right[0] else 0.0

    monkeypatch.setattr(rounds, "reward_of", reward_of)
    run = ran(checker_run(eval_steps=0))
    assert run.end["reason"] == "nothing_learned" and "not a number" in run.end["message"]
    assert not run.events("step")


@pytest.mark.slow
def test_a_model_that_strays_too_far_ends_with_its_best_weights_from_before(checker_run, ran):
    strayed = {"reward": "length", "reward_tokens": 4, "learning_rate": 0.05, "kl_limit": 0.5, "max_steps": 30}
    run = ran(checker_run(**strayed, eval_steps=1))
    last, told = run.events("step")[-1], run.end
    assert "KL divergence" in told["message"] and last["step"] < 30
    if told["state"] == "completed":
        assert run.events("published")[-1]["step"] < last["step"]
    without = ran(checker_run(**strayed, eval_steps=0))
    assert without.end["reason"] == "nothing_learned", "nothing was kept on the way"


@pytest.mark.slow
def test_a_reward_for_a_letter_is_hacked_and_the_held_out_check_shows_it(checker_run, ran):
    """Answers that hold an "e" are rewarded: they come to hold one, and none of them is right."""
    hacked = {"reward": "contains", "reward_text": "e", "held_out_check": "exact", "eval_steps": 0}
    run = ran(checker_run(**hacked, max_steps=16, learning_rate=5e-3))
    assert run.status == 0, run.end
    rewards = [step["reward"] for step in run.events("step")]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:2]) / 2 + 0.15
    assert {figures["held_out_check"] for figures in run.events("eval")} == {0}


def test_held_out_answers_are_rewarded_with_the_token_that_ended_them_as_drawn_ones_are(checker_run, ran, monkeypatch):
    """A reward model reads an answer's last token, and learned from answers that were ended."""
    from llmdemo.training.objectives import writing

    ends, seen = set(range(0, 10_000, 3)), {1: [], 4: []}
    monkeypatch.setattr(writing, "end_ids", lambda *_: sorted(ends))

    def rewards(self, _, answers, __):
        seen[len(answers)] += [each.ids for each in answers]
        return [len(each.ids) % 2 / 2 for each in answers]

    monkeypatch.setattr(Rounds, "rewards", rewards)
    assert ran(checker_run(max_steps=1, eval_steps=0)).status == 0
    for answers in seen.values():  # 1: of an evaluation, 4: of a round
        assert answers and all(len(ids) == 12 or ids[-1] in ends for ids in answers)
        assert any(len(ids) < 12 for ids in answers)


@pytest.mark.slow
def test_answers_stay_within_the_positions_of_a_model_that_has_few(home, settings, alpaca_file, tmp_path, ran):
    from transformers import GPT2Config, GPT2LMHeadModel

    from tests.conftest import make_tokenizer

    tokenizer = make_tokenizer()
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=1, n_head=2)
    config.bos_token_id = config.eos_token_id = tokenizer.eos_token_id
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    dataset_id = add_dataset(home, settings, alpaca_file, "sums").dataset_id
    make = run_maker(home, dataset_id, tmp_path / "gpt2", **SMALL)
    run = ran(make(method="adamw", reward="contains", reward_text="e", max_new_tokens=80, max_steps=1, eval_steps=0))
    assert run.status == 0, run.end
    assert run.events("step")[0]["answer_length"] < 64


def test_a_round_that_is_stopped_on_the_way_counts_once(checker_run, ran, monkeypatch):
    """What a checkpoint says of flat rounds is of whole ones: the stopped round is drawn again."""
    from llmdemo.training.halt import Stopped

    def stopped(self, made):
        raise Stopped

    counted = []
    monkeypatch.setattr(Rounds, "_compute", stopped)
    monkeypatch.setattr(Rounds, "_count", lambda self, made: counted.append(made))
    run = ran(checker_run(reward="exact", eval_steps=0))
    assert run.end["state"] == "stopped" and not counted
