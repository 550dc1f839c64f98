"""What may be asked of the making of data, and what it refuses."""

import pytest

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.generation import Generations
from llmdemo.jobs import Jobs


@pytest.fixture
def generations(home, settings):
    with Generations(Jobs(home, settings)) as service:
        yield service


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"number": 0}, "number"),
        ({"number": 10**9}, "number"),
        ({"kind": "evol"}, "magpie"),
        ({"temperature": -1}, "temperature"),
        ({"kind": "answers"}, "No data set was named"),
        ({"kind": "answers", "dataset_id": "data-x"}, "data-x"),
        ({"model_id": "nobody"}, "nobody"),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(generations, starter, values, words):
    with pytest.raises(UserError, match=words):
        generations.start(values)


def test_raw_text_has_no_prompts_to_answer(generations, starter, home, settings, tmp_path):
    (tmp_path / "a.txt").write_text("A text.\n\nAnother text of a few words.\n")
    info = data.add_dataset(home, settings, tmp_path / "a.txt", "texts")
    with pytest.raises(UserError, match="its task is text"):
        generations.start({"kind": "answers", "dataset_id": info.dataset_id})


def test_a_job_is_listed_with_its_settings(generations, starter):
    job_id = generations.start({"number": 3, "name": "Three"})
    generations.stop(job_id)
    (shown,) = generations.list()
    assert list(shown)[0] == "job_id" and shown["job_id"] == job_id and shown["name"] == "Three"
    assert shown["spec"]["number"] == 3 and shown["dataset_id"] == ""
