"""Attribution: integrated gradients add up, gradients are the derivative, rollout is a share, and a planted cause is found."""

import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.interpret import attribution
from llmdemo.interpret.attribution import METHODS, attribute
from tests.conftest import make_llama

PROMPT = [5, 9, 13, 7, 22, 31]
BASELINE = 11


@pytest.fixture(scope="module")
def model():
    return make_llama(61, initializer_range=0.3)


def log_p(model, ids, token):
    with torch.no_grad():
        return float(model(input_ids=torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)[token])


@pytest.mark.parametrize("token", [3, 17, 44])
def test_integrated_gradients_add_up_to_the_difference_from_the_baseline(token, model):
    found = attribute(model, PROMPT, token, "integrated_gradients", BASELINE)
    start = [PROMPT[0], *[BASELINE] * (len(PROMPT) - 1)]
    wanted = log_p(model, PROMPT, token) - log_p(model, start, token)
    assert abs(found.total - wanted) < 1e-4
    assert abs(sum(found.scores) - wanted) < 0.03 * abs(wanted) + 1e-3
    assert found.scores[0] == 0 and found.gap < 0.03  # the first token is the same in both
    # a gradient at the end of the way alone, the well-known wrong version, misses it
    plain = attribute(model, PROMPT, token, "gradient_x_input", BASELINE)
    assert abs(sum(plain.scores) - wanted) > 0.05 * abs(wanted)


def test_integrated_gradients_are_the_integral_also_where_the_way_bends_sharply():
    """In float64 against 1,000 even points: the sum's gap is below 5 %, which 32 even points miss by far."""
    wide = make_llama(61, initializer_range=0.9).double()
    token = 17
    target = wide.get_input_embeddings()(torch.tensor([PROMPT])).detach()[0]
    start = wide.get_input_embeddings()(torch.tensor([[PROMPT[0], *[BASELINE] * 5]])).detach()[0]

    def even(points):
        """Scores by `points` midpoints, the plain way."""
        shares = (torch.arange(points, dtype=torch.float64) + 0.5) / points
        gradients, _ = attribution._gradients(wide, start + shares[:, None, None] * (target - start), token)
        return (gradients.mean(0) * (target - start)).sum(-1)

    reference = even(1000)
    found = attribute(wide, PROMPT, token, "integrated_gradients", BASELINE)
    assert abs(float(reference.sum()) - found.total) < 0.01 * abs(found.total)  # the reference itself adds up
    assert found.gap < 0.05 and found.parts <= 128
    worst = float((torch.tensor(found.scores) - reference).abs().max())
    assert worst < 0.05 * float(reference.abs().max())
    assert abs(float(even(32).sum()) - found.total) > 2 * found.gap * abs(found.total)


def test_gradient_x_input_is_the_derivative_along_each_embedding(model):
    token, step = 17, 1e-2
    wide = make_llama(61, initializer_range=0.3).double()
    found = attribute(wide, PROMPT, token, "gradient_x_input", BASELINE)
    embedded = wide.get_input_embeddings()(torch.tensor([PROMPT])).detach()
    for place in range(len(PROMPT)):
        logs = []
        for factor in (1 + step, 1 - step):
            moved = embedded.clone()
            moved[0, place] *= factor
            logs.append(wide(inputs_embeds=moved).logits[0, -1].log_softmax(-1)[token])
        assert found.scores[place] == pytest.approx(
            float((logs[0] - logs[1]).detach()) / (2 * step), rel=0.02, abs=1e-3
        )


def test_rollout_is_the_product_of_the_layers_mixed_attention(model):
    found = attribute(model, PROMPT, 3, "attention_rollout", BASELINE)
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    maps = model(input_ids=torch.tensor([PROMPT]), output_attentions=True).attentions
    model.set_attn_implementation(before)
    product = torch.eye(len(PROMPT))
    for each in maps:
        product = (0.5 * each[0].mean(0) + 0.5 * torch.eye(len(PROMPT))) @ product
    assert found.scores == pytest.approx(product[-1].tolist(), abs=1e-6)
    assert sum(found.scores) == pytest.approx(1)


def test_only_the_last_positions_logits_are_made(model):
    """Of a vocabulary of 150,000 and 1,024 tokens at once, all of them would take 600 MB, and again that for gradients."""
    made = []
    seen = model.lm_head.register_forward_hook(lambda _module, _given, logits: made.append(logits.shape[1]))
    for method in ("gradient_x_input", "integrated_gradients"):
        attribute(model, PROMPT, 3, method, BASELINE)
    seen.remove()
    assert set(made) == {1}


def test_the_model_is_as_it_was_afterwards(model):
    implementation = model.config._attn_implementation
    for method in METHODS:
        attribute(model, PROMPT, 3, method, BASELINE)
    assert model.config._attn_implementation == implementation
    assert all(weight.grad is None for weight in model.parameters())


def test_a_planted_cause_is_found():
    """Attention passes on one direction alone, and one token of the prompt has it: the gradient methods name it."""
    model = make_llama(61, tie_word_embeddings=False, num_hidden_layers=1, initializer_range=0.3)
    attention = model.model.layers[0].self_attn
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 0
        model.model.embed_tokens.weight[13, 0] = 2
        attention.v_proj.weight[:, 1:] = 0
        attention.q_proj.weight.zero_()  # every position is attended to alike
    token = int(model(input_ids=torch.tensor([PROMPT])).logits[0, -1].argmax())
    for method in ("gradient_x_input", "integrated_gradients"):
        scores = attribute(model, PROMPT, token, method, BASELINE).scores
        assert max(range(len(PROMPT) - 1), key=lambda at: abs(scores[at])) == PROMPT.index(13), method


def test_what_a_model_does_not_allow_is_refused_with_a_sentence(model, monkeypatch):
    for method in ("guess", ["guess"]):
        with pytest.raises(UserError, match="not an attribution method"):
            attribute(model, PROMPT, 3, method, BASELINE)
    monkeypatch.setattr(type(model), "set_attn_implementation", lambda *_: (_ for _ in ()).throw(ValueError("no")))
    with pytest.raises(UserError, match="LlamaForCausalLM"):
        attribution.attention_rollout(model, PROMPT, 3, BASELINE)
