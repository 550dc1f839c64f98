"""One text through the fused weights: the model's own logits, whatever is drafted, taken back and read again."""

import pytest
import torch

from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.fused_text import FusedText
from llmdemo.decoding.own_forward import OwnForward

PROMPT = [5, 6, 7, 8, 5, 6, 7]


def said(forward) -> torch.Tensor:
    """The logits of a text that is drafted three times: all taken back, some kept, all kept; and of two tokens unread."""
    ids = list(PROMPT)
    found = [forward.after(ids)[0]]
    for draft, kept in (([9, 10], []), ([11, 12, 13], [11]), ([14], [14]), ([], [20]), ([15, 16, 17], [15, 16, 17])):
        ids.append(30 + len(draft))
        found.append(forward.after(ids, draft)[0])
        ids += kept
    found.append(forward.after([*ids, 3])[0])
    return torch.cat(found)


@pytest.mark.parametrize("static", [False, True])
@torch.inference_mode()
def test_its_logits_are_the_models_own(tiny_llama, static):
    model = tiny_llama(3)
    want = said(OwnForward(model))
    got = said(FusedText(fused_weights(model), 40, 4, static=static))
    assert want.shape == got.shape and torch.allclose(want, got, atol=2e-5)


@torch.inference_mode()
def test_one_token_at_a_time_as_a_draft_model_reads(tiny_llama):
    model = tiny_llama(3)
    for static in (False, True):
        assert torch.allclose(
            said(FusedText(fused_weights(model), 40, 1, static=static)), said(OwnForward(model)), atol=2e-5
        )


@torch.inference_mode()
def test_a_token_that_was_taken_back_and_still_seen_would_show(tiny_llama):
    model = tiny_llama(3)
    forward = FusedText(fused_weights(model), 40, 4)
    forward.after(PROMPT), forward.after([*PROMPT, 9], [10, 11])
    forward._columns = torch.zeros_like(forward._columns)  # the mutant: nothing is hidden
    want = OwnForward(model).after([*PROMPT, 9, 12])[0]
    assert not torch.allclose(forward._logits(torch.tensor([12]), torch.tensor([8]), 20).float(), want, atol=2e-5)
