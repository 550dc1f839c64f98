"""In which batches models are asked; the answers do not depend on them."""

import pytest

from llmdemo.evaluation import answers
from llmdemo.evaluation.folder import EvaluationFolder, evaluations_folder
from llmdemo.evaluation.heldout import held_out
from llmdemo.evaluation.job import Job
from llmdemo.models import catalog
from llmdemo.settings.evaluation import Spec

NEW = 4


@pytest.fixture
def ask(home, add, models, monkeypatch):
    """ask(batch, most tokens) → (the answers' texts and losses, the prompts' lengths batch by batch)."""
    rows = [{"instruction": f"Say {n} " * (12 if n % 5 == 0 else 1), "output": str(n)} for n in range(40)]
    values = {"dataset_id": add(rows).dataset_id, "kind": "answers", "limit": 12, "max_new_tokens": NEW}
    spec = Spec.from_dict({**values, "seed": 7, "eval_share": 0.5})
    folder = EvaluationFolder(evaluations_folder(home) / "eval-test")
    folder.path.mkdir()
    real = answers.greedy

    def ask_(batch, most):
        widths = []
        monkeypatch.setattr(answers, "BATCH", batch)
        monkeypatch.setattr(answers, "MOST_TOKENS", most)
        monkeypatch.setattr(
            answers,
            "greedy",
            lambda m, prompts, *rest, **more: widths.append([*map(len, prompts)]) or real(m, prompts, *rest, **more),
        )
        for kept in (evaluations_folder(home) / "kept").glob("*"):
            kept.unlink()
        lines = answers.answers_of(Job(folder), home, catalog.resolve(home, "starter"), held_out(home, spec), spec)
        return [(line["id"], line["text"], round(line["loss"], 4)) for line in lines], widths

    return ask_


def test_long_prompts_are_asked_apart_from_short_ones_and_few_at_once(ask):
    _, widths = ask(16, 400)
    assert sum(map(len, widths)) == 12 and max(map(len, widths)) > 1
    assert all(len(batch) == 1 or len(batch) * (max(batch) + NEW) <= 400 for batch in widths)
    ordered = sorted(widths, key=lambda batch: (min(batch), max(batch)))
    assert [width for batch in ordered for width in batch] == sorted(width for batch in widths for width in batch)


def test_what_is_answered_does_not_depend_on_the_batches(ask):
    alone, widths = ask(1, 1)
    assert len(widths) == 12
    assert ask(16, 16_384)[0] == alone and ask(5, 400)[0] == alone
