"""What the data panel's tools get: packed points, texts, hits, versions."""

import base64
import json
from types import SimpleNamespace

import numpy as np
import pytest

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.generation import DataRaces, Generations
from llmdemo.jobs import Jobs
from llmdemo.knowledge import Probes
from llmdemo.maps import Maps
from llmdemo.selection import Selection
from llmdemo.ui.data_tools_pages import DataToolsPages
from tests.ui.conftest import by_name


@pytest.fixture
def pages(home, settings):
    jobs = Jobs(home, settings)
    maps = Maps(jobs)
    races = DataRaces(jobs, None, Generations(jobs))
    services = SimpleNamespace(
        home=home, maps=maps, probes=Probes(jobs), selection=Selection(home, maps), runs=None, data_races=races
    )
    with maps:
        yield DataToolsPages(services)


@pytest.fixture
def sums(home, settings, tmp_path):
    rows = [{"instruction": f"Add {n} and one.", "output": f"It is {n + 1}."} for n in range(30)]
    (tmp_path / "sums.json").write_text(json.dumps(rows))
    return data.add_dataset(home, settings, tmp_path / "sums.json", "sums").dataset_id


def test_a_search_marks_the_records_that_hold_the_text(pages, sums):
    answer = pages.search({"dataset_id": sums, "text": "add 2"})
    hits = np.frombuffer(base64.b64decode(answer["found"]), np.uint8)
    texts = pages.texts({"dataset_id": sums, "indices": np.flatnonzero(hits).tolist()})["texts"]
    assert answer["total"] == hits.sum() == len(texts) == 11
    assert all("Add 2" in each["turns"][0]["content"] for each in texts)


@pytest.mark.parametrize("indices", [None, [10**6], [-1], ["1"]])
def test_texts_of_records_that_are_none_are_refused(pages, sums, indices):
    with pytest.raises(UserError, match="indices"):
        pages.texts({"dataset_id": sums, "indices": indices})


def test_a_selection_is_made_by_the_endpoint_that_scripts_call(pages, sums):
    asked = by_name(pages.functions())
    made = asked.select_records({"dataset_id": sums, "recipe": {"method": "random", "number": 5}})
    assert made["dataset_id"] != sums and made["kept"] < 30
    assert asked.list_maps({"dataset_id": sums}) == asked.list_probes({"dataset_id": sums}) == []
    for wrong in ({}, {"dataset_id": [sums], "recipe": {}}):
        with pytest.raises(UserError, match="dataset_id"):
            asked.select_records(wrong)


def test_made_data_race_against_what_people_wrote_alone(pages, sums, home, settings):
    rows = [{"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]}]
    made = data.append.rows_as_dataset(home, settings, rows, "made", "chat", {"generated": {"kind": "magpie"}})
    offered = pages.races({"dataset_id": made.dataset_id})
    assert [each["dataset_id"] for each in offered["people"]] == [sums] and offered["races"] == []
    with pytest.raises(UserError, match="1 made"):
        pages.start_race({"dataset_id": made.dataset_id, "people_id": sums, "number": 500})
