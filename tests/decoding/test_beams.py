import itertools

import pytest
import torch

PENALTIES = (0.0, 1.0, -0.5, 2.0)
STOPPING = (False, True, "never")
GRID = list(itertools.product(PENALTIES, STOPPING))


def same(got, want, beams):
    """Tokens equal and scores within 1e-4 (relative above 1) for every returned sequence."""
    assert [sequence.token_ids for sequence in got] == [tokens for tokens, _ in want][: len(got)]
    assert len(got) == beams
    for sequence, (_, score) in zip(got, want, strict=True):
        assert sequence.score == pytest.approx(score, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize(("penalty", "stopping"), GRID)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.slow
def test_beams_are_those_of_generate_with_all_that_it_returns(tiny_llama, run, reference, seed, penalty, stopping):
    eos = [2, 7, 9] if seed % 2 else 2
    beams = (2, 3, 4, 5)[seed]
    model = tiny_llama(seed, eos_token_id=eos)
    prompt = torch.randint(3, 61, (3 + seed,), generator=torch.Generator().manual_seed(seed)).tolist()
    values = dict(num_beams=beams, length_penalty=penalty, early_stopping=stopping, max_new_tokens=12)
    _, results = run(model, prompt, lanes=["beam"], **values)
    same(results["beam"].sequences, reference(model, prompt, num_return_sequences=beams, **values), beams)


@pytest.mark.parametrize("seed", range(6))
def test_beams_are_those_of_generate_when_texts_end_early(tiny_llama, run, reference, seed):
    model = tiny_llama(10 + seed, eos_token_id=[2, 3, 4, 5, 6, 7, 8], initializer_range=0.3)
    for stopping in STOPPING:
        values = dict(num_beams=3, length_penalty=1.0, early_stopping=stopping, max_new_tokens=15)
        _, results = run(model, [20, 30, 40], lanes=["beam"], **values)
        want = reference(model, [20, 30, 40], num_return_sequences=3, **values)
        same(results["beam"].sequences, want, 3)
        assert results["beam"].finish_reason == ("eos" if want[0][0][-1] < 9 else "length")


def test_beams_of_a_model_without_an_end_token_run_to_the_limit(tiny_llama, run, reference):
    model = tiny_llama(3, eos_token_id=None)
    model.generation_config.eos_token_id = None
    _, results = run(model, [4, 5], lanes=["beam"], num_beams=4, max_new_tokens=10)
    same(results["beam"].sequences, reference(model, [4, 5], num_beams=4, num_return_sequences=4, max_new_tokens=10), 4)
    assert results["beam"].finish_reason == "length"


def test_one_beam_is_greedy_search(tiny_llama, run):
    for seed in range(5):
        model = tiny_llama(seed, eos_token_id=[2, 3, 4, 5, 6])
        _, results = run(model, [9, 8, 7], lanes=["greedy", "beam"], num_beams=1, max_new_tokens=15)
        assert results["beam"].token_ids == results["greedy"].token_ids


# --- brute force: every text of a tiny vocabulary ----------------------------------------------------------------

LENGTH, VOCABULARY, END = 4, 4, 0


def every_text(model, prompt):
    """{text: sum of log-probabilities} of each text that ends with END or has LENGTH tokens."""
    found, growing = {}, {(): 0.0}
    for _ in range(LENGTH):
        texts = list(growing)
        batch = torch.tensor([[*prompt, *text] for text in texts])
        with torch.inference_mode():
            logprobs = model(input_ids=batch).logits[:, -1].double().log_softmax(-1)
        grown = {
            (*text, v): growing[text] + logprobs[i, v].item() for i, text in enumerate(texts) for v in range(VOCABULARY)
        }
        found |= {text: score for text, score in grown.items() if text[-1] == END}
        growing = {text: score for text, score in grown.items() if text[-1] != END}
    return found | growing


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0, 2.0])
def test_beams_that_cover_the_tree_find_the_best_of_all_texts(tiny_llama, run, seed, penalty):
    model = tiny_llama(
        seed, vocab_size=VOCABULARY, eos_token_id=END, bos_token_id=None, pad_token_id=None, initializer_range=0.2
    )
    scores = {text: score / len(text) ** penalty for text, score in every_text(model, [1, 2, 3]).items()}
    best = max(scores, key=scores.get)
    # "never" waits until nothing can win; False stops at a guess, so that only with a penalty of 0 it is sure to wait
    for stopping in ("never",) if penalty else ("never", False):
        _, results = run(
            model,
            [1, 2, 3],
            lanes=["beam"],
            num_beams=16,
            length_penalty=penalty,
            early_stopping=stopping,
            max_new_tokens=LENGTH,
        )
        assert results["beam"].token_ids == best
        assert results["beam"].score == pytest.approx(scores[best], abs=1e-5)


@pytest.mark.parametrize("stopping", STOPPING)
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_with_covering_beams_every_returned_score_is_true(tiny_llama, run, stopping, penalty):
    model = tiny_llama(
        8, vocab_size=VOCABULARY, eos_token_id=END, bos_token_id=None, pad_token_id=None, initializer_range=0.2
    )
    scores = every_text(model, [3, 1])
    values = dict(num_beams=16, length_penalty=penalty, early_stopping=stopping, max_new_tokens=LENGTH)
    _, results = run(model, [3, 1], lanes=["beam"], **values)
    for sequence in results["beam"].sequences:
        assert sequence.score == pytest.approx(
            scores[sequence.token_ids] / len(sequence.token_ids) ** penalty, abs=1e-5
        )
        assert sum(sequence.logprobs) == pytest.approx(scores[sequence.token_ids], abs=1e-5)


# --- the tree that a page draws ----------------------------------------------------------------------------------


def test_back_pointers_lead_from_every_branch_to_its_text_and_score(tiny_llama, run):
    model = tiny_llama(1)
    steps, results = run(model, [5, 6, 7], lanes=["beam"], num_beams=4, max_new_tokens=12)
    live = [((), 0.0)]
    finished = {}
    for step in steps:
        beam = step.lanes["beam"]
        assert len(beam.tops) == len(beam.entropies) == len(live)

        def grow(branch, live=live):
            text, score = live[branch.parent]
            assert branch.score == pytest.approx(score + branch.logprob, abs=1e-4)
            return (*text, branch.token), branch.score

        finished |= {grow(branch)[0]: branch.sequence_score for branch in beam.finished}
        assert {branch.token for branch in beam.live} <= {t for top in beam.tops for t in top.tokens}
        live = [grow(branch) for branch in beam.live]
        assert beam.best in [text for text, _ in live] or beam.best in finished
    assert beam.best == results["beam"].token_ids
    assert live == []  # the length limit ended them all
    for sequence in results["beam"].sequences:
        assert finished[sequence.token_ids] == pytest.approx(sequence.score, abs=1e-5)


def test_no_candidate_is_both_pruned_and_kept(tiny_llama, run):
    steps, _ = run(tiny_llama(2), [5, 6, 7], lanes=["beam"], num_beams=3, max_new_tokens=8)
    for step in steps:
        beam = step.lanes["beam"]
        kept = {(b.parent, b.token) for b in (*beam.live, *beam.finished)}
        cut = {(b.parent, b.token) for b in beam.pruned}
        assert not kept & cut and len(kept) + len(cut) == 6
