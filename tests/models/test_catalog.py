import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llmdemo.core.errors import UserError
from llmdemo.models import catalog
from tests.conftest import own_model

ROOT = Path(__file__).resolve().parents[2]


def add_run(home, folder, run_id="run-20260101-000000-abcdef", **origin):
    target = home.runs / run_id / "model"
    target.parent.mkdir()
    shutil.copytree(folder, target)
    (target / "origin.json").write_text(json.dumps(origin))
    return run_id


def test_the_starter_comes_first_and_is_not_ready_until_fetched(home):
    first = catalog.list_models(home)[0]
    assert first.id == "starter" and not first.ready
    with pytest.raises(UserError, match="not here yet"):
        catalog.resolve(home, "starter")


def test_a_finished_run_is_in_the_menu_under_its_title(home, tiny_model_folder):
    run_id = add_run(home, tiny_model_folder, title="Sums")
    entry = catalog.list_models(home)[1]
    assert (entry.id, entry.title, entry.kind, entry.ready) == (run_id, "Sums · 2026-01-01 00:00", "run", True)
    assert catalog.resolve(home, run_id).path == home.runs / run_id / "model"


@pytest.mark.parametrize(
    ("config", "title"),
    [
        ({"run": {"name": "mine", "named": True}}, "mine"),
        ({"run": {"name": "GaLore · sums", "named": False}}, "GaLore · sums · 2026-01-01 00:00"),
        ({"run": "odd"}, "Sums · 2026-01-01 00:00"),
        ([], "Sums · 2026-01-01 00:00"),
    ],
)
def test_a_models_title_is_its_runs_name_with_its_time_where_nobody_gave_it_one(home, tiny_model_folder, config, title):
    run_id = add_run(home, tiny_model_folder, title="Sums")
    (home.runs / run_id / "config.json").write_text(json.dumps(config))
    assert catalog.resolve(home, run_id).title == title


def test_a_broken_run_is_left_out_of_the_menu_and_named_when_asked_for(home, tiny_model_folder):
    run_id = add_run(home, tiny_model_folder)
    (home.runs / run_id / "model" / "model.safetensors").unlink()
    assert [entry.id for entry in catalog.list_models(home)] == ["starter"]
    with pytest.raises(UserError, match="no weights"):
        catalog.resolve(home, run_id)


@pytest.mark.parametrize("place", ["run", "starter", "folder"])
@pytest.mark.parametrize("damage", ["architectures", "header", "rights", "origin"])
def test_one_bad_model_does_not_take_the_menu_away(home, tiny_model_folder, tmp_path, monkeypatch, place, damage):
    good = add_run(home, tiny_model_folder, title="Sums")
    where = {"run": home.runs / "run-bad" / "model", "starter": home.models / "starter", "folder": tmp_path / "bad"}
    folder = where[place]
    shutil.copytree(tiny_model_folder, folder)
    if place == "folder":
        catalog.add_model(home, str(folder))
    if damage == "architectures":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "architectures": 5}))
    elif damage == "header":
        header = b'{"a": {"shape": [1e400], "data_offsets": [0, 0]}}'
        (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    elif damage == "origin":
        (folder / "origin.json").write_text('{"title": "\\ud800", "revision": "\\ud800", "source": "\\ud800"}')
    else:
        monkeypatch.setattr("llmdemo.models.check._facts", refuse_at(folder))
    entries = catalog.list_models(home)
    assert entries[0].id == "starter" and good in [entry.id for entry in entries]
    json.dumps([entry.to_dict() for entry in entries], ensure_ascii=False).encode()


def refuse_at(folder):
    from llmdemo.models import check

    real = check._facts

    def facts(asked):
        if asked == folder:
            raise PermissionError(13, "Permission denied")
        return real(asked)

    return facts


def test_a_folder_of_somebody_unknown_and_a_name_that_is_too_long_are_sentences(home):
    for model_id in ("~nobody-of-this-name/model", "/" + "x" * 300, "run-" + "x" * 50):
        with pytest.raises(UserError):
            catalog.resolve(home, model_id)


def test_a_folder_is_added_and_taken_off_again(home, tiny_model_folder):
    entry = catalog.add_model(home, str(tiny_model_folder))
    assert entry.kind == "folder" and entry in catalog.list_models(home)
    catalog.add_model(home, str(tiny_model_folder))
    assert len(catalog.list_models(home)) == 2


@pytest.mark.parametrize(
    "model_id",
    [
        "",
        "  ",
        None,
        3,
        "run-../../etc",
        "run-x/../y",
        "../up",
        "a/b/c",
        "org/na me",
        "org/\0",
        "https://evil/x",
        "~/../x y",
    ],
)
def test_an_id_outside_the_rules_is_refused_before_anything_is_asked(home, no_hub, model_id):
    with pytest.raises(UserError):
        catalog.resolve(home, model_id)


def test_a_hub_name_that_was_not_fetched_says_so(home):
    with pytest.raises(UserError, match="has not been fetched"):
        catalog.resolve(home, "org/name")


def test_a_linked_run_is_refused(home, tiny_model_folder, tmp_path):
    (home.runs / "run-link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="link"):
        catalog.resolve(home, "run-link")


def test_entries_are_json_with_the_id_first(home):
    entry = catalog.list_models(home)[0].to_dict()
    assert next(iter(entry)) == "id" and json.dumps(entry)


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("LlamaForCausalLM", "chat"),
        ("GPT2LMHeadModel", "chat"),
        ("LlamaForSequenceClassification", "classify"),
        ("BertForMaskedLM", "encode"),
        ("BertModel", "encode"),
    ],
)
@pytest.mark.slow
def test_an_entry_tells_what_its_model_can_do(home, tiny_model_folder, tmp_path, architecture, task):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": [architecture]}))
    entry = catalog.resolve(home, str(own_model(folder)))
    assert entry.task == task and entry.writes is (task == "chat") and entry.to_dict()["writes"] is entry.writes


def test_a_finished_run_carries_its_task(home, tiny_model_folder):
    add_run(home, tiny_model_folder, task="preference")
    assert catalog.list_models(home)[1].task == "preference"


def test_where_others_come_only_folders_below_the_allowed_ones_can_be_chosen(tmp_path, tiny_model_folder):
    import shutil

    from llmdemo.core.store import Home

    for place in ("allowed/model", "elsewhere/model"):
        shutil.copytree(tiny_model_folder, tmp_path / place)
    (tmp_path / "allowed" / "link").symlink_to(tmp_path / "elsewhere" / "model")
    home = Home(tmp_path / "home", (tmp_path / "allowed",)).prepare()
    assert catalog.resolve(home, str(tmp_path / "allowed" / "model")).ready
    for outside in ("elsewhere/model", "allowed/../elsewhere/model", "allowed/link"):
        with pytest.raises(UserError, match="cannot be opened"):
            catalog.resolve(home, str(tmp_path / outside))
    catalog.add_model(Home(home.root), str(tmp_path / "elsewhere" / "model"))  # by who sits at the computer
    assert catalog.resolve(home, str(tmp_path / "elsewhere" / "model")).ready


_ADD = """
import sys
from pathlib import Path
from llmdemo.models import catalog
from llmdemo.core.store import Home
home = Home(Path(sys.argv[1]))
sys.stdin.readline()  # both begin at once
for folder in sys.argv[2:]:
    catalog.add_model(home, folder)
"""


@pytest.mark.timeout(60)
@pytest.mark.slow
def test_of_eight_models_that_two_apps_add_at_once_all_are_on_both_menus(home, tiny_model_folder, tmp_path):
    folders = [str(shutil.copytree(tiny_model_folder, tmp_path / f"model-{number}")) for number in range(8)]
    catalog.resolve(home, folders[0])  # tried once, so that the two below get to the menu at the same moment
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _ADD, str(home.root), *some],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for some in (folders[::2], folders[1::2])
    ]
    for child in children:
        child.stdin.write(b"\n")
        child.stdin.flush()
    assert [child.wait() for child in children] == [0, 0]
    assert sorted(entry.id for entry in catalog.list_models(home)[1:]) == sorted(folders)


def test_threads_that_add_models_at_once_lose_none(home, monkeypatch):
    real, seen = catalog._added, []

    def slow(home):
        known = real(home)
        seen.append(threading.get_ident())
        threading.Event().wait(0.02)  # the other thread would read the same list meanwhile
        return known

    monkeypatch.setattr(catalog, "resolve", lambda home, model_id: catalog.ModelEntry(model_id, "", "folder", None))
    monkeypatch.setattr(catalog, "_added", slow)
    threads = [threading.Thread(target=catalog.add_model, args=(home, f"/m{number}")) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(real(home)) == [f"/m{number}" for number in range(8)]
