"""Selections, mended labels and a race, on data sets of the app."""

import json

import numpy as np
import pytest

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.core.store import write_json
from llmdemo.data.split import split
from llmdemo.jobs import JobFolder, Jobs
from llmdemo.maps import Maps, worker
from llmdemo.selection import Selection


@pytest.fixture
def maps(home, settings):
    with Maps(Jobs(home, settings)) as service:
        yield service


@pytest.fixture
def selection(home, maps):
    return Selection(home, maps)


@pytest.fixture
def chats(home, settings, tmp_path):
    rows = [{"instruction": f"Name thing {n} of {'ab'[n % 2]}.", "output": "word " * (n + 1)} for n in range(60)]
    (tmp_path / "chats.json").write_text(json.dumps(rows))
    return data.add_dataset(home, settings, tmp_path / "chats.json", "chats")


@pytest.fixture
def classes(home, settings, tmp_path):
    rows = [f"{'win cash' if n % 2 else 'see you'} number {n},{'spam' if n % 2 else 'ham'}" for n in range(60)]
    (tmp_path / "c.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    return data.add_dataset(home, settings, tmp_path / "c.csv", "classes")


def asked(home, dataset_id, indices):
    records = data.open_records(home, dataset_id)
    return {records[int(n)]["messages"][0]["content"] for n in indices}


def test_a_selection_is_a_version_with_its_recipe_that_holds_out_what_its_parent_does(home, selection, chats):
    made = selection.select(chats.dataset_id, {"method": "length", "number": 10})
    train, held = split(data.open_records(home, chats.dataset_id), 7, 0.1)
    own_train, own_held = split(data.open_records(home, made.dataset_id), 7, 0.1)
    assert asked(home, made.dataset_id, own_held) == asked(home, chats.dataset_id, held)
    assert asked(home, made.dataset_id, own_train) == asked(home, chats.dataset_id, train[-10:]), "the longest answers"
    assert made.parent == chats.dataset_id and made.version == 2 and made.source["selection"]["method"] == "length"
    other_seed = split(data.open_records(home, made.dataset_id), 99, 0.3)[1]
    assert np.array_equal(other_seed, own_held), "whatever the seed of a run"
    assert data.get_dataset(home, chats.dataset_id).source.get("selection") is None


def test_what_is_exported_and_added_again_is_the_same_selection(home, settings, selection, chats, tmp_path):
    made = selection.select(chats.dataset_id, {"method": "random", "number": 7})
    path = data.export_dataset(home, made.dataset_id, tmp_path)
    assert data.add_dataset(home, settings, path, "again").content_hash == made.content_hash


@pytest.mark.parametrize("method", ["k_center", "lima"])
def test_without_a_map_words_tell_how_different_records_are(home, selection, chats, method):
    made = selection.select(chats.dataset_id, {"method": method, "number": 5})
    assert len(split(data.open_records(home, made.dataset_id), 7, 0.1)[0]) == 5


def planted_map(home, info, maps, **arrays):
    folder = JobFolder(home.root / "maps" / "map-20260101-000000-abcdef")
    folder.path.mkdir(parents=True)
    about = {"id": folder.path.name, "name": "x", "created": ""}
    write_json(folder.path / "config.json", {"spec": {}, "map": about})
    found = {"content_hash": info.content_hash, "records": info.kept, "dataset_id": info.dataset_id}
    write_json(folder.path / worker.RESULT, found)
    worker._save(folder.path / worker.POINTS, arrays)
    maps.jobs.add_kind(maps.kind)
    return folder.path.name


def test_perplexity_ifd_and_clusters_read_a_map(home, selection, maps, chats, monkeypatch):
    scores = np.stack([np.linspace(1, 2, 60), np.full(60, 1.5), np.full(60, 9.0)], 1)
    arrays = {"before": scores, "cluster": np.repeat([0, 1], 30), "vectors": np.eye(60, dtype=np.float16)}
    map_id = planted_map(home, chats, maps, **arrays)
    monkeypatch.setattr(maps, "own", lambda job_id: job_id)
    train = split(data.open_records(home, chats.dataset_id), 7, 0.1)[0]

    def chosen(**recipe):
        made = selection.select(chats.dataset_id, {"map_id": map_id, "number": 6, **recipe})
        return asked(home, made.dataset_id, split(data.open_records(home, made.dataset_id), 7, 0.1)[0])

    assert chosen(method="perplexity", order="low") == asked(home, chats.dataset_id, train[:6])
    below = train[scores[train, 0] / 1.5 < 1]
    assert chosen(method="ifd") == asked(home, chats.dataset_id, below[-6:])
    first_half = asked(home, chats.dataset_id, train[train < 30])
    assert len(chosen(method="clusters") & first_half) == 3


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ([], "object"),
        ({"method": "best"}, "k_center"),
        ({"number": 0}, "number"),
        ({"method": "ifd"}, "map"),
        ({"method": "clusters"}, "map"),
        ({"method": "chosen"}, "indices"),
        ({"method": "chosen", "indices": [10**6]}, "numbered from 0"),
        ({"method": "chosen", "indices": [True]}, "numbered from 0"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_with_a_sentence(selection, chats, recipe, words):
    with pytest.raises(UserError, match=words):
        selection.select(chats.dataset_id, recipe)


def test_records_chosen_by_hand_stay_and_those_held_out_stay_held_out(home, selection, chats):
    train, held = split(data.open_records(home, chats.dataset_id), 7, 0.1)
    wanted = [int(train[0]), int(train[5]), int(held[0])]
    made = selection.select(chats.dataset_id, {"method": "chosen", "indices": wanted})
    assert len(data.open_records(home, made.dataset_id)) == 2 + len(held)
    with pytest.raises(UserError, match="no record to learn from"):
        selection.select(chats.dataset_id, {"method": "chosen", "indices": [int(held[0])]})


def test_a_race_trains_on_the_selection_and_on_all_with_one_seed_and_share(home, selection, chats, monkeypatch):
    made = selection.select(chats.dataset_id, {"number": 9, "seed": 3, "eval_share": 0.2})
    started = []
    monkeypatch.setattr(
        "llmdemo.selection.service.prepare.start",
        lambda home, runs, values, extra: started.append((values, extra)) or f"run-{len(started)}",
    )
    assert selection.race(None, made.dataset_id, {"max_steps": 5}) == ["run-1", "run-2"]
    (one, group), (two, same_group) = started
    assert [one["dataset_id"], two["dataset_id"]] == [made.dataset_id, chats.dataset_id] and group == same_group
    assert one["seed"] == two["seed"] == 3 and one["eval_share"] == 0.2 and two["max_steps"] == 5
    with pytest.raises(UserError, match="not a selection"):
        selection.race(None, chats.dataset_id)
    for other in ({"seed": 4}, {"eval_share": 0.1}, {"folds": 5}):  # all would be judged on other records
        with pytest.raises(UserError, match="selection was made with"):
            selection.race(None, made.dataset_id, other)
    assert len(started) == 2


def test_wrong_labels_are_ranked_mended_and_dropped_as_a_version(home, settings, selection, tmp_path):
    rows = [f"{'win cash' if n % 2 else 'see you'} number {n},{'spam' if n % 2 else 'ham'}" for n in range(60)]
    rows[7] = "win cash number 7,ham"
    (tmp_path / "f.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    info = data.add_dataset(home, settings, tmp_path / "f.csv", "flipped")
    found = selection.label_errors(info.dataset_id)
    worst = found["ranked"][0]
    assert worst["text"] == "win cash number 7" and worst["suggested"] == "spam" and worst["suspicious"]
    mended = selection.mend_labels(info.dataset_id, {str(worst["place"]): "spam"}, [0])
    records = data.open_records(home, mended.dataset_id)
    assert len(records) == 59 and {r["text"]: r["label"] for r in records}["win cash number 7"] == "spam"
    assert mended.version == 2 and mended.change.startswith("1 label changed, 1 record dropped")


@pytest.mark.parametrize(
    ("changes", "drops", "words"),
    [({"x": "ham"}, None, "Record x"), ({"1": "eggs"}, None, "ham and spam"), ([], [], "object"), (None, [10**9], "no record"), (None, None, ".")],
)  # fmt: skip
def test_changes_that_cannot_be_are_refused(selection, classes, changes, drops, words):
    with pytest.raises(UserError, match=words):
        selection.mend_labels(classes.dataset_id, changes, drops)


def test_telling_words_and_label_errors_need_labels(selection, chats, classes):
    assert {"win", "cash", "see", "you"} & {
        term["term"] for term in selection.telling_words(classes.dataset_id)["terms"][:4]
    }
    for asked_for in (selection.telling_words, selection.label_errors):
        with pytest.raises(UserError, match="chats"):
            asked_for(chats.dataset_id)
