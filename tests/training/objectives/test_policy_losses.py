"""The losses of learning from rewards beside TRL's GRPOTrainer, on the same answers with the same rewards."""

import copy

import numpy as np
import pytest
import torch

from llmdemo.training import TrainConfig
from llmdemo.training.batches import RunData
from llmdemo.training.objectives import Place
from llmdemo.training.objectives import policy_losses as losses
from llmdemo.training.objectives.policy import Policy, _rows
from llmdemo.training.objectives.rounds import texts
from tests.conftest import make_llama

CPU = torch.device("cpu")
PROMPTS = [[5, 9, 13], [7, 3, 11, 20, 44, 31], [60, 61]]
LOSSES = {
    "grpo": {"loss_type": "grpo"},
    "dapo": {"loss_type": "dapo", "epsilon_high": 0.28},
    "dr_grpo": {"loss_type": "dr_grpo", "scale_rewards": "none"},
}


def moved(model, seed):
    """The model, with other weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)


def drawn_objective(tokenizer, policy_loss="grpo", kl_weight=0.05, **changes):
    """(objective, its model as it is now, as it was when it drew, as it started), with rewards that differ."""
    more = {"clip_high": 0.28} if policy_loss == "dapo" else {}
    values = {"batch_size": 3, "rollouts": 4, "rollout_steps": 2, "max_steps": 2, "max_new_tokens": 7, "kl_limit": 0.0}
    config = TrainConfig(
        "x", task="grpo", policy_loss=policy_loss, kl_weight=kl_weight, **{**values, **more, **changes}
    )
    model = make_llama(384, seed=3).eval()
    model.generation_config.eos_token_id = list(range(2, 384, 5))  # a random model ends now and then
    data = RunData(
        _rows(PROMPTS),
        _rows([]),
        [],
        {},
        {"right": texts([["a"]] * 3), "asked": texts([["b"]] * 3), "held_right": texts([])},
    )
    objective = Policy(Place(model, tokenizer, config, "fp32", CPU), data)
    start = copy.deepcopy(model)
    objective.begin(None, np.arange(3), None, None)
    moved(model, 1)
    old = copy.deepcopy(model)
    objective._rounds._reward = lambda text, right, tokens, score: (sum(text.encode()) % 7) / 6
    objective.ready(0, lambda step: np.arange(3) if step == 0 else np.arange(0), lambda *_, **__: None)
    moved(model, 2)
    return objective, model, old, start


@pytest.fixture(scope="module")
def trl_loss(tmp_path_factory, tiny_tokenizer):
    """trl_loss(objective, policy, old, start, **options): the loss of TRL's GRPOTrainer on the objective's answers."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    def compute(objective, policy, old, start, kl_weight, temperature=1.0, **options):
        arguments = GRPOConfig(
            output_dir=str(tmp_path_factory.mktemp("trl")), report_to=[], use_cpu=True, bf16=False, disable_tqdm=True,
            beta=0.0, num_generations=4, per_device_train_batch_size=4, max_completion_length=7,
            temperature=temperature, gradient_checkpointing=False, **options,
        )  # fmt: skip
        trainer = GRPOTrainer(
            copy.deepcopy(policy), reward_funcs=lambda completions, **_: [0.0] * len(completions), args=arguments,
            train_dataset=Dataset.from_list([{"prompt": "a"}] * 4), processing_class=tiny_tokenizer,
        )  # fmt: skip
        answers = [(PROMPTS[item], answer) for item, own in objective._round.answers.items() for answer in own]
        wide, long = max(len(prompt) for prompt, _ in answers), max(len(answer.ids) for _, answer in answers)
        inputs = {name: torch.zeros(len(answers), width, dtype=torch.long) for name, width in
                  (("prompt_ids", wide), ("prompt_mask", wide), ("completion_ids", long), ("completion_mask", long))}  # fmt: skip
        for row, (prompt, answer) in enumerate(answers):
            inputs["prompt_ids"][row, wide - len(prompt) :] = torch.tensor(prompt)
            inputs["prompt_mask"][row, wide - len(prompt) :] = 1
            inputs["completion_ids"][row, : len(answer.ids)] = torch.tensor(answer.ids)
            inputs["completion_mask"][row, : len(answer.ids)] = 1
        rewards = torch.tensor([answer.reward for _, answer in answers]).view(3, 4)
        spread = 1.0 if "scale_rewards" in options else rewards.std(1, keepdim=True) + 1e-4
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        trainer.model.eval()  # it is TRL's own class of the model by now: the others' weights go through it
        for name, model in (("old_per_token_logps", old), ("ref_per_token_logps", start), ("", policy)):
            trainer.model.load_state_dict(model.state_dict())
            if name:
                with torch.no_grad():
                    inputs[name] = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, long)[0]
        inputs["advantages"] = ((rewards - rewards.mean(1, keepdim=True)) / spread).flatten()
        inputs["num_items_in_batch"] = inputs["completion_mask"].sum()
        trainer.beta = kl_weight  # given before, the trainer would look for a reference model on a hub
        with torch.no_grad():
            return trainer._compute_loss(trainer.model, inputs).item()

    return compute


@pytest.mark.parametrize("kind", LOSSES)
def test_the_loss_is_that_of_trl_on_the_same_answers(tiny_tokenizer, trl_loss, kind):
    objective, policy, old, start = drawn_objective(tiny_tokenizer, kind)
    lengths = {len(answer.ids) for own in objective._round.answers.values() for answer in own}
    assert len(lengths) > 1, "answers of one length could not tell the losses apart"
    with torch.no_grad():
        found = objective.loss_sum(np.arange(3))[0].item()
    expected = trl_loss(objective, policy, old, start, 0.05, **LOSSES[kind])
    assert found == pytest.approx(expected, abs=1e-5)
    others = [trl_loss(objective, policy, old, start, 0.05, **LOSSES[other]) for other in LOSSES if other != kind]
    assert all(abs(found - other) > 1e-4 for other in others), "the loss of another kind would be seen"


def test_the_temperature_of_the_draws_divides_the_logits_of_the_loss_too(tiny_tokenizer, trl_loss):
    objective, policy, old, start = drawn_objective(tiny_tokenizer, rollout_temperature=0.7)
    with torch.no_grad():
        found = objective.loss_sum(np.arange(3))[0].item()
    assert found == pytest.approx(trl_loss(objective, policy, old, start, 0.05, 0.7, loss_type="grpo"), abs=1e-5)
    assert abs(found - trl_loss(objective, policy, old, start, 0.05, 1.0, loss_type="grpo")) > 1e-4


def test_parts_of_a_step_sum_to_the_loss_of_the_whole(tiny_tokenizer):
    for kind in (*LOSSES, "rejection"):
        objective, *_ = drawn_objective(tiny_tokenizer, kind, pass_reward=0.5)
        with torch.no_grad():
            whole, figures = objective.loss_sum(np.arange(3))
            parts = [objective.loss_sum(np.array(items)) for items in ([0], [1, 2])]
        assert sum(loss.item() for loss, _ in parts) == pytest.approx(whole.item(), rel=1e-5)
        for name in ("reward", "solved", "answer_length"):
            assert sum(found[name] for _, found in parts) == pytest.approx(figures[name])


def test_rejection_learns_each_passing_answer_once_and_no_other(tiny_tokenizer):
    objective, policy, *_ = drawn_objective(tiny_tokenizer, "rejection", pass_reward=0.5)
    passed = {
        (item, tuple(answer.ids))
        for item, own in objective._round.answers.items()
        for answer in own
        if answer.reward >= 0.5
    }
    total, tokens = 0.0, 0
    for item, ids in passed:
        row = torch.tensor([[*PROMPTS[item], *ids]])
        labels = torch.cat([torch.full((1, len(PROMPTS[item])), -100), row[:, len(PROMPTS[item]) :]], 1)
        with torch.no_grad():
            total += policy(input_ids=row, labels=labels).loss.item() * len(ids)
        tokens += len(ids)
    assert 0 < len(passed) < 12
    with torch.no_grad():
        assert objective.loss_sum(np.arange(3))[0].item() == pytest.approx(total / tokens, abs=1e-5)


def test_a_step_in_which_nothing_passed_changes_nothing(tiny_tokenizer):
    objective, policy, *_ = drawn_objective(tiny_tokenizer, "rejection", pass_reward=0.5)
    for own in objective._round.answers.values():
        for answer in own:
            answer.counts = False
    loss, figures = objective.loss_sum(np.arange(3))
    loss.backward()
    assert loss.item() == 0 and all((p.grad == 0).all() for p in policy.parameters())
    assert figures["reward"] > 0, "what did not pass is told all the same"


def test_kl_is_never_below_zero_and_grows_with_the_distance():
    reference = torch.linspace(-3, -1, 5)
    near, far = (losses.kl(losses.Drawn(reference + d, reference, reference, None)) for d in (0.1, 1.0))
    assert (near > 0).all() and (far > near).all()
    assert (losses.kl(losses.Drawn(reference, reference, reference, None)) == 0).all()


def test_prompts_whose_answers_all_got_the_same_have_no_advantage():
    rewards = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 3.0]])
    found = losses.advantages(rewards, TrainConfig("x", task="grpo"))
    assert (found[0] == 0).all() and found[1].sum().abs() < 1e-6 and found[1, 2] == pytest.approx(2 / (3**0.5 + 1e-4))
    assert losses.advantages(rewards, TrainConfig("x", task="grpo", policy_loss="dr_grpo"))[1, 2] == 2.0


def test_a_round_comes_back_from_a_checkpoint_as_it_was(tiny_tokenizer):
    objective, *_ = drawn_objective(tiny_tokenizer)
    other, *_ = drawn_objective(tiny_tokenizer)
    before = objective.loss_sum(np.arange(3))[0]
    tensors, numbers = objective.state()
    assert tensors, "the round has a step left"
    other._round = None
    other.restore({name: tensor.clone() for name, tensor in tensors.items()}, numbers)
    other._step = objective._step
    assert torch.equal(other.loss_sum(np.arange(3))[0], before)
