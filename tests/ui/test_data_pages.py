"""What the data panel's script gets: records as tokens, lists, problems, figures, versions."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.ui import data_api, samples
from llmdemo.ui.data_pages import DataPages
from tests.ui.conftest import by_name


@pytest.fixture(scope="module")
def pages(services):
    return DataPages(services)


@pytest.fixture(scope="module")
def dataset_id(services, tmp_path_factory):
    """Thirty records, of which the third repeats the first, the fifth is longer than a record may be, the sixth empty."""
    rows = [{"instruction": f"What is {n} plus {n}?", "input": "", "output": f"It is {2 * n}."} for n in range(30)]
    rows[2], rows[4]["output"], rows[5]["output"] = dict(rows[0]), "word " * 900, ""
    path = tmp_path_factory.mktemp("files") / "sums.json"
    path.write_text(json.dumps(rows))
    tokenizer = services.tokenizers.get("starter")
    return data.add_dataset(services.home, services.settings, path, "sums", tokenizer=tokenizer).dataset_id


def test_a_record_is_shown_token_by_token_with_what_is_cut(pages, dataset_id):
    cut = next(p for p in pages.problems({"dataset_id": dataset_id})["problems"] if p["code"] == "response_cut")
    shown = pages.record({"dataset_id": dataset_id, "place": cut["place"]})
    row = shown["rows"][0]
    assert shown["kept"] and row["cut"] > 0 and row["length"] == row["cut"] + shown["max_length"]
    assert row["tokens"][shown["max_length"]]["cut"] and not row["tokens"][shown["max_length"] - 1]["cut"]
    first = pages.record({"dataset_id": dataset_id, "index": 0})["rows"][0]
    assert first["cut"] == 0 and any(token["eos"] and token["trained"] for token in first["tokens"])
    everything = pages.record({"dataset_id": dataset_id, "index": 0, "loss_on": "all"})["rows"][0]
    assert everything["trained"] > first["trained"]


def test_a_problem_opens_its_record_also_one_that_is_left_out(pages, dataset_id):
    problems = {each["code"]: each for each in pages.problems({"dataset_id": dataset_id})["problems"]}
    duplicate = problems["duplicate"]
    shown = pages.record({"dataset_id": dataset_id, "place": duplicate["place"]})
    assert (shown["row"], shown["kept"], shown["index"]) == (3, False, None) and shown["turns"]
    assert problems["empty_response"]["place"] is None, "there is no record"


def test_all_records_are_listed_page_by_page_and_found(pages, dataset_id):
    first = pages.listing({"dataset_id": dataset_id})
    assert first["total"] == 29 and len(first["records"]) == 20 and first["records"][2]["kept"] is False
    assert first["records"][2]["problems"] == ["duplicates"]
    assert len(pages.listing({"dataset_id": dataset_id, "offset": 20})["records"]) == 9
    found = pages.listing({"dataset_id": dataset_id, "query": "17 PLUS"})
    assert found["total"] == 1 and found["records"][0]["row"] == 18


def test_the_figures_tell_what_is_held_out_and_what_an_epoch_costs(pages, dataset_id):
    stats = pages.stats({"dataset_id": dataset_id})
    assert 1 <= stats["held_out"] <= 4 and stats["vocabulary"]["unknown"] == 0 and stats["languages"]
    cost = pages.cost({"dataset_id": dataset_id})
    assert cost["seconds"] >= 0 and cost["memory_bytes"] > 0 and cost["steps"] == 4 and cost["rough"]


def test_of_labelled_texts_a_fifth_is_held_out_as_a_run_will(pages, services, tmp_path):
    (tmp_path / "t.tsv").write_text("".join(f"{'ab'[n % 2]}\tword{n} of{n * 7} text{n * n}\n" for n in range(100)))
    info = data.add_dataset(services.home, services.settings, tmp_path / "t.tsv", "t")
    assert info.task == "classify" and 18 <= pages.stats({"dataset_id": info.dataset_id})["held_out"] <= 22


def test_the_report_has_codes_titles_and_shapes(pages, dataset_id):
    report = pages.report({"dataset_id": dataset_id})
    assert {kind["code"] for kind in report["kinds"]} >= {"duplicate", "response_cut", "empty_response"}
    assert report["shapes"] == ("messages", "sharegpt", "alpaca", "pairs")


def test_a_record_is_edited_by_its_place_and_what_fits_none_is_a_sentence(services, dataset_id):
    edit = by_name(data_api.of_data_sets(services)).edit_record
    made = edit(dataset_id, 1, ["What is one plus one?", "It is two."])
    assert data.open_records(services.home, made["dataset_id"], everything=True)[1]["messages"][1]["content"] == (
        "It is two."
    )
    assert data.open_records(services.home, dataset_id, everything=True)[1]["messages"][1]["content"] == "It is 2."
    for place in (29, -1, "1", None):
        with pytest.raises(UserError, match="There is no record"):
            edit(dataset_id, place, ["Hello there", "Hi"])
    for contents in (["one alone"], "ab", None):
        with pytest.raises(UserError, match="changed"):
            edit(dataset_id, 1, contents)


def test_the_sample_is_added_once_by_two_who_ask_at_the_same_time(services):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: samples.add_sample(services).dataset_id, range(2))
    assert first == second
    assert [info.name for info in data.list_datasets(services.home)].count(samples.SAMPLE_NAME) == 1
