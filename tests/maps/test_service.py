"""What may be asked of maps, and what they refuse."""

import pytest

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.jobs import Jobs
from llmdemo.maps import Maps


@pytest.fixture
def maps(home, settings):
    with Maps(Jobs(home, settings)) as service:
        yield service


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "data set"),
        ({"dataset_id": "data-x"}, "data-x"),
        ({"dataset_id": "../etc"}, "id"),
        ({"depth": 2}, "depth"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(maps, starter, values, words):
    with pytest.raises(UserError, match=words):
        maps.start(values)


def test_losses_of_labels_are_refused(maps, starter, home, settings, tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"word {n},{'ab'[n % 2]}\n" for n in range(8)))
    info = data.add_dataset(home, settings, tmp_path / "a.csv", "labels")
    with pytest.raises(UserError, match="classification"):
        maps.start({"dataset_id": info.dataset_id, "losses": True})


def test_a_map_that_is_not_ready_says_so(maps, starter, two_kinds):
    job_id = maps.start({"dataset_id": two_kinds})
    maps.stop(job_id)
    assert maps.status(job_id)["ready"] is False and maps.newest(two_kinds) == ""
    with pytest.raises(UserError, match="not finished"):
        maps.points(job_id)
