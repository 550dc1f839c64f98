import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from llmdemo.core.errors import UserError
from llmdemo.data import add_dataset, measure_tokens, open_records, recommend_loss, split, stats
from llmdemo.data.split import in_order, parts, why_none


@pytest.fixture
def many(home, settings, write):
    rows = [{"prompt": f"What is the number {n} of all those?", "completion": f"It is {n}."} for n in range(2500)]
    rows[7]["completion"] += " Straße"
    return add_dataset(home, settings, write("a.json", rows), "a")


def test_records_are_read_by_number_slice_and_page(home, many):
    records = open_records(home, many.dataset_id)
    assert len(records) == 2500 and records[-1]["row"] == 2500 and records[1999]["row"] == 2000
    assert [record["row"] for record in records[998:1002]] == [999, 1000, 1001, 1002]
    page, total = records.page(offset=20, limit=5)
    assert total == 2500 and [record["index"] for record in page] == [20, 21, 22, 23, 24]
    with pytest.raises(IndexError):
        records[2500]


def test_search_does_not_mind_case_and_counts_all(home, many):
    records = open_records(home, many.dataset_id)
    assert records.page(query="STRASSE")[1] == 0 and records.page(query="straße")[1] == 1
    page, total = records.page(query="it is 249", limit=3)
    assert total == 11 and page[0]["row"] == 250
    assert records.page(query=".*")[1] == 0
    with pytest.raises(UserError, match="not a (kind of )?problem"):
        records.search(code="strange")


def test_a_split_is_decided_by_the_seed_alone(home, many):
    records = open_records(home, many.dataset_id)
    train, held = split(records, seed=1, eval_share=0.1)
    assert len(held) == 250 and len(train) == 2250 and not set(train) & set(held)
    assert np.array_equal(split(records, 1, 0.1)[1], held)
    assert not np.array_equal(split(records, 2, 0.1)[1], held)
    assert len(split(records, 1, 0)[1]) == 0
    with pytest.raises(UserError, match="share"):
        split(records, 1, 1.0)


def test_a_split_is_stratified_by_label(home, settings, write):
    rows = [
        {"text": f"this is text number {n}, {n * n}", "label": "rare" if n % 10 == 0 else "usual"} for n in range(400)
    ]
    info = add_dataset(home, settings, write("a.json", rows), "a")
    records = open_records(home, info.dataset_id)
    _, held = split(records, 3, 0.25)
    assert [records.labels()[i] for i in held].count("rare") == 10 and len(held) == 100


def planted(home, settings, write, sizes: dict):
    """Records of these kinds, a kind after the other as in a file that was put together."""
    kinds = [kind for kind, size in sizes.items() for _ in range(size)]
    rows = [
        {"prompt": f"What is {n * n} and {n}?", "completion": f"{n}.", "source": kind} for n, kind in enumerate(kinds)
    ]
    return open_records(home, add_dataset(home, settings, write("a.json", rows), "a").dataset_id)


def kinds_of(records, places):
    numbers, names = records.kinds()
    counts = np.bincount(numbers[places], minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def test_each_kind_is_held_out_in_its_share(home, settings, write):
    sizes = {"web": 170, "books": 90, "code": 40}
    records = planted(home, settings, write, sizes)
    drawn = set()
    for seed in range(20):
        train, held = split(records, seed, 0.1)
        found = kinds_of(records, held)
        assert len(held) == 30 and not set(train) & set(held)
        assert all(abs(found[kind] - 0.1 * size) <= 1 for kind, size in sizes.items()), found
        drawn |= set(held.tolist())
    assert len(drawn) > 200  # another seed draws others
    blind = [kinds_of(records, split(records, seed, 0.1, version=1)[1])["web"] for seed in range(20)]
    assert max(abs(count - 17) for count in blind) > 2  # a draw that does not heed kinds misses by more


def test_many_small_kinds_do_not_keep_each_other_from_being_held_out(home, settings, write):
    records = planted(home, settings, write, {f"kind {n}": 4 for n in range(20)})
    held_by_seed = [split(records, seed, 0.1)[1] for seed in range(20)]
    assert {len(held) for held in held_by_seed} == {8}
    assert all(max(kinds_of(records, held).values()) == 1 for held in held_by_seed)
    assert sum(np.array(list(kinds_of(records, held).values())) for held in held_by_seed).min() > 0


def test_held_out_records_are_asked_in_an_order_with_the_mix_of_kinds(home, settings, write):
    records = planted(home, settings, write, {"a": 300, "b": 100})
    _, held = split(records, 7, 0.2)
    order = in_order(records, held, 7)
    for size in (8, 16, 40, 80):
        assert abs(kinds_of(records, order[:size])["b"] - size / 4) <= 1


def test_folds_have_the_mix_of_kinds(home, settings, write):
    records = planted(home, settings, write, {"a": 60, "b": 15})
    part = parts(records, 3, 5)
    assert [kinds_of(records, part == n) for n in range(5)] == [{"a": 12, "b": 3}] * 5


def test_figures_name_the_kinds(home, settings, write):
    records = planted(home, settings, write, {"a": 6, "b": 20})
    assert stats(home, records.info.dataset_id)["kinds"] == {"b": 20, "a": 6}


def test_records_without_kinds_and_those_of_an_earlier_version_are_drawn_as_before(home, settings, write):
    before = [4, 24, 26, 32, 42, 50, 53, 54, 70, 88]  # as drawn when kinds were not heeded
    assert split(planted(home, settings, write, {"a": 100}), 7, 0.1)[1].tolist() == before
    records = planted(home, settings, write, {"a": 50, "b": 50})
    path = home.datasets / records.info.dataset_id / "records.arrow"
    table = pa.ipc.open_file(path).read_all().drop_columns(["kind"])
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    records = open_records(home, records.info.dataset_id)
    assert records.kinds()[1] == [] and records[0]["row"] == 1
    assert split(records, 7, 0.1)[1].tolist() == before


def test_each_label_with_two_records_stands_on_both_sides(home, settings, write):
    labels = ["usual"] * 90 + ["Rare", "rare"] + ["few"] * 3 + ["once"]
    rows = [{"text": f"this is text number {n}, {n * n}", "label": label} for n, label in enumerate(labels)]
    records = open_records(home, add_dataset(home, settings, write("a.json", rows), "a").dataset_id)
    for seed in range(20):
        train, held = split(records, seed, 0.1)
        sides = [{records.labels()[i].lower() for i in side} for side in (train, held)]
        assert sides[0] == {"usual", "rare", "few", "once"} and sides[1] == {"usual", "rare", "few"}
        assert 9 <= len(held) <= 12
    assert "rare" not in {records.labels()[i].lower() for i in split(records, 0, 0.1, version=1)[1]}


def test_a_fixed_instruction_does_not_make_one_group_of_everything(home, settings, write):
    fixed = "Read the message of a customer with care and answer with one line that has the day and the number. " * 4
    other = "You are an assistant who names the fruit that stands in the sentence, and nothing else at all. " * 4
    rows = [
        {"prompt": f"{(fixed, other)[n % 2]} Message: {n} loaves for day {n * 7 % 31}", "completion": str(n)}
        for n in range(200)
    ]
    rows += [{"prompt": rows[n]["prompt"] + ".", "completion": "x"} for n in range(10)]
    info = add_dataset(home, settings, write("a.json", rows), "a")
    records = open_records(home, info.dataset_id)
    assert len(np.unique(records.groups)) == 200 and info.counts["near_duplicate"] == 10
    train, held = split(records, 7, 0.1)
    assert len(held) == 21 and not set(records.groups[train]) & set(records.groups[held])


def test_few_records_behind_a_long_system_prompt_are_told_apart(home, settings, write):
    system = {"role": "system", "content": "You are careful. " + "Rule: be kind and clear to everyone who asks. " * 200}
    rows = [
        {
            "messages": [
                system,
                {"role": "user", "content": f"What is {n} and {n}?"},
                {"role": "assistant", "content": "?"},
            ]
        }
        for n in range(12)
    ]
    records = open_records(home, add_dataset(home, settings, write("a.json", rows), "a").dataset_id)
    assert len(np.unique(records.groups)) == 12 and len(split(records, 7, 0.1)[1]) == 1


def test_held_out_records_are_asked_in_a_drawn_order_with_the_mix_of_labels(classify_records):
    _, held = split(classify_records, 3, 0.3)
    order = in_order(classify_records, held, 3)
    assert sorted(order) == held.tolist() and order.tolist() != held.tolist()
    assert np.array_equal(order, in_order(classify_records, held, 3))
    assert not np.array_equal(order, in_order(classify_records, held, 4))
    labels = np.array(classify_records.labels())
    share = (labels[held] == "rare").mean()
    for size in (10, 20, 40, 60):
        assert abs((labels[order[:size]] == "rare").sum() - share * size) <= 1


def test_what_cannot_be_held_out_is_a_sentence(home, settings, write):
    rows = [{"prompt": "Say hi", "completion": f"Hi {n}!"} for n in range(20)]
    records = open_records(home, add_dataset(home, settings, write("a.json", rows), "a").dataset_id)
    assert not len(split(records, 7, 0.1)[1])
    assert "all 20 records ask the same" in why_none(records, 0.1) and "eval_share is 0" in why_none(records, 0.0)


def test_a_split_never_parts_records_that_are_nearly_the_same(home, settings, write):
    words = [" ".join(f"w{n * 31 + k}" for k in range(60)) for n in range(40)]
    rows = [
        {"prompt": text + end, "completion": end or "plain"} for text in words for end in ("", " indeed", " Indeed!")
    ]
    info = add_dataset(home, settings, write("a.json", rows), "a")
    records = open_records(home, info.dataset_id)
    train, held = split(records, 5, 0.3)
    assert len(held) == 36
    assert not {records[i]["row"] // 3 if records[i]["row"] % 3 else records[i]["row"] // 3 - 1 for i in held} & {
        records[i]["row"] // 3 if records[i]["row"] % 3 else records[i]["row"] // 3 - 1 for i in train
    }


def test_a_fixed_split_is_honoured_and_leaks_are_left_out(home, settings, write):
    rows = {
        "train": [{"prompt": "one", "completion": "1"}, {"prompt": "two", "completion": "2"}],
        "test": [{"prompt": "Two", "completion": "2"}, {"prompt": "three", "completion": "3"}],
    }
    info = add_dataset(home, settings, write("a.json", rows), "a")
    assert info.counts == {"leak": 1} and info.kept == 3
    assert [array.tolist() for array in split(open_records(home, info.dataset_id), 0, 0.5)] == [[0], [1, 2]]


def test_stats_hold_every_figure(home, many, tokenizer):
    measure_tokens(home, many.dataset_id, tokenizer, 64)
    found = stats(home, many.dataset_id, tokenizer, tokens_per_second=100.0)
    assert found["records"] == 2500 and 0 < found["trained_share"] < 1
    assert sum(bar["count"] for bar in found["histogram"]["bars"]) == 2500
    assert found["histogram"]["bars"][-1]["to"] == found["tokens"]["longest"]
    assert found["vocabulary"]["used"] <= found["vocabulary"]["size"] and found["vocabulary"]["bytes"] > 0
    assert found["epoch"]["seconds"] == pytest.approx(found["tokens"]["total"] / 100, abs=0.1)
    assert found["languages"][0]["language"] == "en"


def test_long_instructions_with_short_answers_recommend_loss_on_all(home, settings, write):
    long = [{"prompt": f"word {n} " * 40, "completion": "yes"} for n in range(10)]
    short = [{"prompt": f"word {n}", "completion": "a long answer " * 9} for n in range(10)]
    chosen = []
    for rows in (long, short):
        info = add_dataset(home, settings, write("a.json", rows), "a")
        chosen.append(recommend_loss(home, info.dataset_id)["loss_on"])
    assert chosen == ["all", "response"]


def test_the_package_imports_no_torch_transformers_or_gradio():
    code = "import sys, llmdemo.data; print([m for m in ('torch', 'transformers', 'gradio', 'datasets') if m in sys.modules])"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def classify_records(home, settings, write):
    rows = [
        {"text": f"message {n * 7919} about {n % 13} {n * n}", "label": "rare" if n % 10 == 0 else "usual"}
        for n in range(300)
    ]
    rows += [{"text": row["text"].upper(), "label": row["label"]} for row in rows[:20]]
    return open_records(home, add_dataset(home, settings, write("twins.json", rows), "twins").dataset_id)


def test_folds_hold_each_record_out_once_with_the_mix_of_labels_and_no_twin_on_both_sides(classify_records):
    seen = np.zeros(len(classify_records), int)
    labels, groups = np.array(classify_records.labels()), classify_records.groups
    for fold in range(5):
        train, held = split(classify_records, 3, 0.1, fold, 5)
        seen[held] += 1
        assert not set(groups[train]) & set(groups[held])
        for label in np.unique(labels):
            assert abs((labels[held] == label).sum() - (labels == label).sum() / 5) <= 3
    assert (seen == 1).all()
    assert (parts(classify_records, 3, 5) == parts(classify_records, 3, 5)).all()


@pytest.mark.parametrize(("folds", "said"), [(1, "into 1 part\\."), (10_000, "into 10_?,?000 parts\\.")])
def test_folds_that_cannot_be_are_a_sentence(classify_records, folds, said):
    with pytest.raises(UserError, match=said):
        split(classify_records, 3, 0.1, 0, folds)
