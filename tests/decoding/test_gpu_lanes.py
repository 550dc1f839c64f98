"""What lanes choose by Triton's kernels against what they choose by torch: on a GPU, or with TRITON_INTERPRET=1."""

import os
import time
from dataclasses import replace

import pytest
import torch

from llmdemo.decoding import DecodeSettings, fused_llama
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.beams import BeamLane
from llmdemo.decoding.graphs import GraphRun, Kernels, StaticForward
from llmdemo.decoding.lanes import Rows, TokenLane

pytestmark = pytest.mark.skipif(
    not (torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1"),
    reason="needs a CUDA GPU, or Triton's interpreter",
)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def gpu():
    from llmdemo.decoding import gpu_lanes, gpu_layers, gpu_rows

    return Kernels(gpu_layers.layers, gpu_layers.MOST_ROWS, gpu_rows.rows_of, gpu_lanes.choose)


def rows_of_logits(kind: str, rows: int = 1, size: int = 700) -> torch.Tensor:
    """[rows, size]: all different, many equal, or two values and a third of the tokens impossible."""
    logits = 3 * torch.randn(rows, size, generator=torch.Generator().manual_seed(size))
    if kind == "equal":
        logits = logits.round()
    if kind == "two":
        logits = (logits > 0).float()
        logits[:, ::3] = -torch.inf
    return logits.to(DEVICE)


def packed(numbers) -> torch.Tensor:
    return torch.cat([each.reshape(-1).double() for each in numbers])


@pytest.mark.parametrize("size", [9, 700, 3000])
def test_rows_are_torchs(gpu, size):
    logits = rows_of_logits("different", 3, size)
    logits[1, 1:4] = -torch.inf
    want, got = Rows.of(logits, 8), gpu.rows_of(logits, 8)
    assert torch.equal(got.top_tokens[:1], want.top_tokens[:1]) and torch.equal(got.every_logits, logits)
    for name in ("top_logprobs", "entropies", "logprobs"):
        torch.testing.assert_close(getattr(got, name), getattr(want, name), atol=1e-5, rtol=1e-5)
    places = torch.tensor([2, 1], device=DEVICE), torch.tensor([3, 2], device=DEVICE)
    torch.testing.assert_close(got.logprobs_of(*places), want.logprobs_of(*places), atol=1e-5, rtol=1e-5)
    assert torch.equal(got.part(2, 1).top_tokens, got.top_tokens[2:])


def test_of_equal_logits_the_first_is_the_likeliest_and_nan_is_above_all(gpu):
    logits = torch.zeros(2, 50, device=DEVICE)
    logits[0, [30, 7]] = 1.0
    logits[1, 20] = torch.nan
    got = gpu.rows_of(logits, 4)
    assert got.top_tokens[0].tolist() == [7, 30, 0, 1]
    assert got.top_tokens[1, 0] == 20 and got.top_logprobs[1].isnan().all() and got.entropies[1].isnan()


FILTERS = [
    {},
    {"top_k": 5},
    {"top_p": 0.9},
    {"top_p": 0.5, "top_k": 20},
    {"min_p": 0.1},
    {"temperature": 1.7, "top_k": 3},
    {"temperature": 0.3, "top_p": 0.95, "min_p": 0.05},
    {"top_k": 400},
]


@pytest.mark.parametrize("kind", ["different", "equal", "two"])
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_a_draw_is_torchs(gpu, kind, filters):
    lanes = [{"strategy": "sample", "name": "x", **filters}]
    lane = TokenLane(DecodeSettings.from_dict({"lanes": lanes}).lanes[0], 3, 50, [2], torch.device(DEVICE))
    logits = rows_of_logits(kind)
    for step in (0, 1):
        t = torch.tensor([step], device=DEVICE)
        want_token, _, want = lane.choose(Rows.of(logits, 10), t)
        token, parents, got = gpu.lane_chooses(lane, gpu.rows_of(logits, 10), t)
        assert token.item() == want_token.item() and parents is None
        told = 7 if kind != "different" else None  # of equal tokens others may be among the ten likeliest
        torch.testing.assert_close(packed(got)[:told], packed(want)[:told], atol=1e-5, rtol=1e-5)


def test_greedy_is_torchs(gpu):
    lane = TokenLane(DecodeSettings.from_dict({"lanes": ["greedy"]}).lanes[0], 3, 50, [2], torch.device(DEVICE))
    logits, t = rows_of_logits("different"), torch.zeros(1, dtype=torch.int64, device=DEVICE)
    want_token, _, want = lane.choose(Rows.of(logits, 10), t)
    token, _, got = gpu.lane_chooses(lane, gpu.rows_of(logits, 10), t)
    assert token.item() == want_token.item()
    torch.testing.assert_close(packed(got), packed(want), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("beams", "penalty", "eos", "early"),
    [
        (1, 1.0, [2], False),
        (2, -1.0, [], True),
        (2, 1.0, [2, 3, 4], "never"),
        (4, 0.5, [2], True),
        (4, 1.0, [2, 3, 4], False),
        (4, 2.0, [], "never"),
        (5, 2.0, [2], "never"),
        (5, 1.0, [2, 3, 4], True),
    ],
    ids=str,
)
def test_beams_are_torchs(gpu, beams, penalty, eos, early):
    values = {"lanes": ["beam"], "early_stopping": early, "length_penalty": penalty}
    settings = replace(DecodeSettings.from_dict(values).lanes[0], num_beams=beams)
    one, other = (BeamLane(settings, 8, eos, torch.device(DEVICE)) for _ in range(2))
    for step in range(8):
        logits = rows_of_logits("different", beams, 60 + step)
        logits[:, 2] += 2
        logits = logits[:1].expand(beams, -1) if step == 0 else logits
        t = torch.tensor([step], device=DEVICE)
        tokens, parents, want = one.choose(Rows.of(logits, one.width), t)
        got_tokens, got_parents, got = gpu.lane_chooses(other, gpu.rows_of(logits, one.width), t)
        want, got, over = packed(want), packed(got), bool(want[0])
        # which of equal ones is taken is open: of places without a finished text, and of beams after the end
        want[1 + beams :][:beams] *= want[1 + 3 * beams :][:beams]
        got[1 + beams :][:beams] *= got[1 + 3 * beams :][:beams]
        if over or step == 7:
            want[1:][:beams] = got[1:][:beams] = 0
        else:
            assert got_tokens.tolist() == tokens.tolist() and got_parents.tolist() == parents.tolist()
        torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-5)
        for name in ("running", "best", "sent", "open", "over"):
            a, b = getattr(other, name), getattr(one, name)
            torch.testing.assert_close(a.double(), b.double(), atol=1e-4, rtol=1e-5)
        if over:
            return


def test_lanes_with_penalties_or_other_filters_choose_by_torch(gpu, monkeypatch):
    t = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    for lane in ("typical_p", "xtc", {"strategy": "sample", "name": "x", "filter_order": "filters_first", "top_k": 4}):
        made = TokenLane(DecodeSettings.from_dict({"lanes": [lane]}).lanes[0], 3, 50, [2], torch.device(DEVICE))
        monkeypatch.setattr(made, "choose", lambda rows, t: "torch's")
        assert gpu.lane_chooses(made, gpu.rows_of(rows_of_logits("different"), 10), t) == "torch's"


@pytest.mark.parametrize(
    "lanes",
    [
        ["greedy", "top_k", "top_p", "min_p", "sample", "beam"],
        ["best_of_n", "diverse_beam"],
        ["typical_p", "eta", "xtc", "mirostat", "top_n_sigma"],
        [{"strategy": name, "name": name, "repetition_penalty": 1.3} for name in ("greedy", "sample", "beam")],
    ],
    ids=lambda lanes: str(lanes[0]),
)
def test_a_comparison_by_kernels_says_what_one_by_torch_says(gpu, tiny_llama, monkeypatch, lanes):
    for name in ("can_pack", "can_fp16"):
        monkeypatch.setattr(fused_llama, name, lambda *_: False)
    monkeypatch.setattr(fused_llama, "form_for", lambda *_: None)
    model = tiny_llama(4, hidden_size=128, intermediate_size=192, num_attention_heads=4, num_key_value_heads=2)
    weights = fused_weights(model.to(DEVICE))

    def texts(kernels):
        settings = DecodeSettings.from_dict({"max_new_tokens": 4, "lanes": lanes, "num_return_sequences": 2})
        forward = StaticForward(weights, kernels)
        run = GraphRun(forward, [5, 6, 7, 8], settings, 4, [2], time.perf_counter(), model, capture=False)
        return {name: result.token_ids for step in run.steps() for name, result in step.results.items()}

    # on a GPU the layers are for 16 bits alone
    assert texts(gpu if DEVICE == "cpu" else gpu._replace(most_rows=0)) == texts(None)
