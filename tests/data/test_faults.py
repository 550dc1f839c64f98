"""Data sets that are changed, deleted and read by several at once, and folders that somebody else has damaged."""

import json
import random
import threading
from functools import partial

import pytest

from llmdemo.core.errors import UserError
from llmdemo.data import (
    add_dataset,
    apply_filters,
    delete_dataset,
    export_dataset,
    get_dataset,
    list_datasets,
    merge_datasets,
    problems,
    rename_dataset,
    stats,
)

ROWS = [{"prompt": f"Which river runs through town {n}?", "completion": f"The river {n}."} for n in range(50)]


@pytest.fixture
def made(home, settings, write):
    return lambda: add_dataset(home, settings, write("a.json", [*ROWS, ROWS[0]]), "a").dataset_id


@pytest.mark.slow
def test_what_is_done_to_a_data_set_while_it_is_deleted_ends_or_says_that_it_is_gone(home, settings, made, tmp_path):
    wrong, done = [], []

    def at_random(seed: int, ids: list[str]) -> None:
        generator = random.Random(seed)
        folder = tmp_path / f"out{seed}"
        folder.mkdir()
        calls = {
            "rename": lambda one: rename_dataset(home, one, f"name {seed}"),
            "export": lambda one: export_dataset(
                home, one, folder, None, generator.choice(["csv", "jsonl", "parquet"])
            ),
            "problems": lambda one: problems(home, one),
            "filters": lambda one: apply_filters(home, one, []),
            "merge": lambda one: merge_datasets(home, settings, ids[:2], "both"),
            "stats": lambda one: stats(home, one),
            "list": lambda one: list_datasets(home),
        }
        while any((home.datasets / each).is_dir() for each in ids):
            chosen = generator.choice(ids)
            kind = generator.choice([*calls, "delete"] if generator.random() < 0.3 else [*calls])
            call = partial(delete_dataset, home, chosen) if kind == "delete" else partial(calls[kind], chosen)
            try:
                call()
                done.append(kind)
            except UserError as error:
                assert error.message and error.hint
                done.append(f"{kind}: {error.message[:20]}")
            except Exception as error:  # what the page would call a mistake of the app
                wrong.append((kind, repr(error)))

    ids = [made() for _ in range(6)]
    threads = [threading.Thread(target=at_random, args=(seed, ids)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert wrong == []
    assert sum(kind == "delete" for kind in done) == 6 and any("There is no" in kind for kind in done)
    assert not list(home.tmp.iterdir())


ODD = {
    "rows": "many", "kept": -1, "records": True, "task": "poem", "counts": {"duplicate": "x"}, "filters": ["nothing"],
    "problems": [7], "tokens": {"total": "a lot"}, "columns": [{}], "roles": [], "labels": "spam", "name": 7, "version": None,
    "source": "file", "measured": {}, "format": None, "family": [], "dataset_id": "data-1", "unused": [1],
}  # fmt: skip


@pytest.mark.parametrize("field", ODD)
def test_an_info_with_an_odd_field_is_a_damaged_data_set_and_no_mistake(home, made, field):
    good, bad = made(), made()
    path = home.datasets / bad / "info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: ODD[field]}))
    assert [info.dataset_id for info in list_datasets(home)] == [good]
    for ask in (get_dataset, stats, problems):
        with pytest.raises(UserError, match="is damaged"):
            ask(home, bad)
    delete_dataset(home, bad)


@pytest.mark.parametrize(
    "content",
    ["", "[" * 100_000, "[]", "7", "null", "{", '"x"', '{"rows": 1e999}', "\ud800".encode("utf-8", "surrogatepass")],
)
def test_an_info_that_is_no_info_is_a_damaged_data_set(home, made, content):
    dataset_id = made()
    (home.datasets / dataset_id / "info.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match="is damaged"):
        get_dataset(home, dataset_id)
    assert list_datasets(home) == []


@pytest.mark.parametrize("key", ["x" * 100_000, "../../other", "", "0123456789ABCDEF"])
def test_an_info_that_names_no_measurement_is_damaged_and_no_file_is_looked_for(home, made, key):
    dataset_id = made()
    path = home.datasets / dataset_id / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"measured": key}))
    with pytest.raises(UserError, match="is damaged"):
        get_dataset(home, dataset_id)
