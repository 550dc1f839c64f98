import dataclasses
import io
import json
import sqlite3
import stat
import struct
import zipfile

import pytest

from llmdemo.core.errors import UserError
from llmdemo.models import catalog
from tests.waiting import until


def bundle_of(path, files: dict, **config):
    """A bundle with the `files` {name: bytes} and a config.json unless they hold one."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in ({"config.json": json.dumps(config).encode()} | files).items():
            if content is not None:
                bundle.writestr(name, content)
    return path


EVENTS = b'{"type": "start", "step": 0}\n{"type": "end", "state": "completed", "model_id": "run-of-elsewhere"}\n'


def model_files(folder, **changes) -> dict:
    """The files of the model in `folder` as a bundle names them, with `changes` to its config.json."""
    files = {f"model/{path.name}": path.read_bytes() for path in folder.iterdir()}
    config = json.loads(files["model/config.json"]) | changes
    return files | {"model/config.json": json.dumps(config).encode(), "events.jsonl": EVENTS}


@pytest.fixture
def done(bench):
    """An app with a completed run: (app, run_id)."""
    app = bench.open()
    run_id = app.start(
        {"dataset_id": "d", "model": {"id": "starter", "path": "/somewhere"}, "steps": 12}, name="Receipts"
    )
    bench.wait(app, run_id, "completed")
    catalog.trust_model(bench.home, bench.home.runs / run_id / "model")  # as the real worker does
    return app, run_id


def test_a_run_travels_to_another_installation(bench, done, tmp_path):
    app, run_id = done
    path = app.export_bundle(run_id, tmp_path / "run.zip", with_model=True)
    new_id = app.import_bundle(path)
    assert new_id != run_id
    old, new = app.status(run_id), app.status(new_id)
    for key in ("name", "state", "step", "loss", "eval_loss", "total_steps", "message"):
        assert new[key] == old[key], key
    assert app.series(new_id) == app.series(run_id)
    assert app.samples(new_id) == app.samples(run_id)
    assert app.refreshes(new_id)["layers"] == ["layers.0.q", "layers.0.k"]
    assert app.config(new_id)["model"] == {"id": "starter"}, "paths of the other machine mean nothing here"
    assert (bench.home.runs / new_id / "model" / "config.json").exists()
    app.delete(new_id)


def test_an_imported_run_is_shown_but_not_run(bench, tmp_path):
    app = bench.open()
    path = bundle_of(tmp_path / "a.zip", {"events.jsonl": b'{"type": "start", "step": 0}\n'}, dataset_id="d")
    run_id = app.import_bundle(path)
    assert app.status(run_id)["state"] == "stopped", "what has no end here did not go on here"
    with pytest.raises(UserError, match="made elsewhere"):
        app.resume(run_id)


def test_a_run_with_its_checkpoint_is_resumed_in_another_installation(bench, tmp_path):
    app = bench.open(stop_grace_seconds=20)
    run_id = app.start({"dataset_id": "d", "steps": 30, "step_seconds": 0.02, "data": True})
    until(lambda: app.status(run_id)["step"] >= 7)
    app.stop(run_id)
    stopped = bench.wait(app, run_id, "stopped")
    new_id = app.import_bundle(app.export_bundle(run_id, tmp_path / "run.zip", with_checkpoint=True))
    assert app.status(new_id)["can_resume"] and app.status(new_id)["imported"]
    app.resume(new_id)
    status = bench.wait(app, new_id, "completed", "failed")
    assert status["state"] == "completed" and status["step"] == 30, app.log_tail(new_id)
    starts = [event["step"] for event in app.events(new_id)[0] if event["type"] == "start"]
    assert starts == [0, stopped["step"]]
    app.resume(run_id)
    bench.wait(app, run_id, "completed")
    models = [(bench.home.runs / each / "model" / "config.json").read_bytes() for each in (run_id, new_id)]
    assert models[0] == models[1]


def test_a_run_without_a_checkpoint_says_so_when_one_is_asked_for(bench, done, tmp_path):
    app, run_id = done
    fresh = app.start({"steps": 10_000, "checkpoint_every": 10**6})
    bench.wait(app, fresh, "running")
    with pytest.raises(UserError, match="no checkpoint yet"):
        app.export_bundle(fresh, tmp_path / "run.zip", with_checkpoint=True)
    assert not list(tmp_path.glob("*.zip")) and not list(tmp_path.glob(".run*"))
    app.stop(fresh)


def test_the_model_is_left_out_unless_wanted_and_a_live_run_can_be_exported(bench, done, tmp_path):
    app, run_id = done
    with zipfile.ZipFile(app.export_bundle(run_id, tmp_path / "run.zip")) as bundle:
        assert sorted(bundle.namelist()) == ["config.json", "events.jsonl", "log.txt"]
    live = app.start({"steps": 10_000})
    bench.wait(app, live, "running")
    new_id = app.import_bundle(app.export_bundle(live, tmp_path / "live.zip"))
    assert app.status(new_id)["state"] in ("stopped", "failed")
    app.stop(live)


@pytest.mark.parametrize(
    "name",
    [
        *("../evil.json", "/etc/evil", "model/../../evil.json", "model/sub/a.json", "..\\evil.json", "C:\\evil.json"),
        *("model/pytorch_model.bin", "model/code.py", "model/.hidden.json", "checkpoints/step-1/a.safetensors"),
        *("checkpoints/step-000001/a.bin", "checkpoints/step-000001/x/state.json", "checkpoints/../data.json"),
        *("process.json", "stop", "model/", "other.txt", "CONFIG.json", "model/a\nb.json"),
    ],
)
def test_a_name_that_is_no_part_of_a_run_is_refused(bench, tmp_path, name):
    app = bench.open()
    before = {path for path in tmp_path.rglob("*") if "runs.sqlite" not in path.name}
    with pytest.raises(UserError, match="not part of a run"):
        app.import_bundle(bundle_of(tmp_path / "a.zip", {name: b"x"}))
    assert {path for path in tmp_path.rglob("*") if "runs.sqlite" not in path.name} - before == {tmp_path / "a.zip"}
    assert app.list() == []


def test_links_and_devices_are_refused(bench, tmp_path):
    app = bench.open()
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR):
        entry = zipfile.ZipInfo("log.txt")
        entry.external_attr = (kind | 0o777) << 16
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as bundle:
            bundle.writestr("config.json", "{}")
            bundle.writestr(entry, "/etc/passwd")
        with pytest.raises(UserError, match="not a plain file"):
            app.import_bundle(tmp_path / "a.zip")


def test_a_log_that_repeats_one_line_is_no_bomb(bench, tmp_path):
    app, log = bench.open(), b"The same warning once more.\n" * 90_000
    run_id = app.import_bundle(bundle_of(tmp_path / "a.zip", {"log.txt": log}))
    assert (bench.home.runs / run_id / "log.txt").read_bytes() == log


def test_bombs_are_refused(bench, tmp_path):
    app = bench.open()
    with pytest.raises(UserError, match="too large"):
        app.import_bundle(bundle_of(tmp_path / "a.zip", {"events.jsonl": b"\0" * 30_000_000}))
    with pytest.raises(UserError, match="too large"):
        app.import_bundle(bundle_of(tmp_path / "a.zip", {"config.json": b"{" + b" " * 2_000_000 + b"}"}))
    many = {f"model/a{index}.json": b"" for index in range(501)}
    with pytest.raises(UserError, match="files"):
        app.import_bundle(bundle_of(tmp_path / "a.zip", many))


def test_a_file_that_announces_less_than_it_holds_is_cut_or_refused(bench, tmp_path):
    app = bench.open()
    path = bundle_of(tmp_path / "a.zip", {"log.txt": b"\0" * 5_000_000})
    data = path.read_bytes().replace(struct.pack("<I", 5_000_000), struct.pack("<I", 100))
    path.write_bytes(data)
    with pytest.raises(UserError):
        app.import_bundle(path)
    assert not any(bench.home.runs.iterdir()) and not any(bench.home.tmp.iterdir())


def test_what_does_not_fit_on_the_disk_is_refused_before_it_is_written(bench, tmp_path):
    app = bench.open(min_free_bytes=2**60)
    with pytest.raises(UserError, match="may be used"):
        app.import_bundle(bundle_of(tmp_path / "a.zip", {"log.txt": b"x"}))


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"not a zip at all", b"{}", zipfile.ZipFile(io.BytesIO(), "w").filename or b"\0" * 100]
)
def test_a_file_that_is_no_zip_is_a_sentence(bench, tmp_path, content):
    app = bench.open()
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError):
        app.import_bundle(tmp_path / "a.zip")
    with pytest.raises(UserError):
        app.import_bundle(tmp_path / "none.zip")


@pytest.mark.parametrize("config", [None, b"", b"[]", b"[" * 100_000, b'{"a": ', b"\xff\xfe"])
def test_a_bundle_without_a_sound_config_is_refused(bench, tmp_path, config):
    app = bench.open()
    with pytest.raises(UserError):
        app.import_bundle(bundle_of(tmp_path / "a.zip", {"config.json": config}))
    assert not any(bench.home.runs.iterdir()) and not any(bench.home.tmp.iterdir())


def test_names_and_figures_of_a_foreign_run_are_only_text_and_numbers(bench, tmp_path):
    app = bench.open()
    events = (
        b'{"type": "step", "step": 1e999, "loss": "<b>"}\n{"type": "end", "state": "completed", "model_id": ["x"]}\n'
    )
    config = {"run": {"name": {"a": 1}, "created": "yesterday", "id": "../x"}, "model": {"id": 5}}
    run_id = app.import_bundle(bundle_of(tmp_path / "a.zip", {"events.jsonl": events}, **config))
    status = app.status(run_id)
    json.dumps(status, allow_nan=False)
    assert status["state"] == "completed" and isinstance(status["name"], str) and isinstance(status["created"], float)


def test_every_cut_of_a_bundle_is_refused_or_whole(bench, done, tmp_path):
    app, run_id = done
    whole = app.export_bundle(run_id, tmp_path / "run.zip").read_bytes()
    for cut in range(0, len(whole), max(1, len(whole) // 60)):
        (tmp_path / "cut.zip").write_bytes(whole[:cut])
        with pytest.raises(UserError):
            app.import_bundle(tmp_path / "cut.zip")
    assert len(list(bench.home.runs.iterdir())) == 1


@pytest.mark.parametrize("step", [1, 7])
def test_a_bundle_in_which_bytes_were_flipped_is_refused_or_whole(bench, done, tmp_path, step):
    app, run_id = done
    whole = app.export_bundle(run_id, tmp_path / "run.zip").read_bytes()
    for place in range(step, len(whole), max(1, len(whole) // 150)):
        (tmp_path / "flipped.zip").write_bytes(
            whole[:place] + bytes([whole[place] ^ (1 << step % 8)]) + whole[place + 1 :]
        )
        try:
            app.delete(app.import_bundle(tmp_path / "flipped.zip"))
        except UserError as error:
            assert error.hint
    assert [status["run_id"] for status in app.list()] == [run_id] and not list(bench.home.tmp.iterdir())


def test_a_damaged_stream_is_a_sentence(bench, tmp_path):
    app = bench.open()
    path = bundle_of(tmp_path / "a.zip", {"log.txt": bytes(range(256)) * 50})
    data = bytearray(path.read_bytes())
    start = data.index(b"log.txt") + len("log.txt")
    data[start : start + 20] = b"\xff" * 20
    path.write_bytes(data)
    with pytest.raises(UserError, match="not a readable bundle"):
        app.import_bundle(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_bundle_that_is_packed_in_another_way_is_refused(bench, tmp_path, method):
    app = bench.open()
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as bundle:
        bundle.writestr("config.json", "{}")
    with pytest.raises(UserError, match="compressed in another way"):
        app.import_bundle(tmp_path / "a.zip")


def test_a_surrogate_in_an_event_cannot_stop_the_app(bench, tmp_path):
    app = bench.open()
    events = b'{"type": "end", "state": "failed", "message": "\\ud800", "hint": "\\udfff"}\n'
    run_id = app.import_bundle(bundle_of(tmp_path / "a.zip", {"events.jsonl": events}))
    json.dumps([app.status(run_id), app.events(run_id)], ensure_ascii=False).encode()
    bench.close(app)
    bench.home.database.unlink()
    assert bench.open().status(run_id)["message"] == "?"


def test_a_bundle_that_cannot_be_put_in_the_table_leaves_no_folder(bench, tmp_path, monkeypatch):
    app = bench.open()
    path = bundle_of(tmp_path / "a.zip", {"events.jsonl": EVENTS})
    for trouble in (sqlite3.OperationalError("database or disk is full"), UnicodeEncodeError("utf-8", "", 0, 1, "x")):

        def add(*_, trouble=trouble, **__):
            raise trouble

        monkeypatch.setattr(app.jobs._table, "add", add)
        with pytest.raises((UserError, UnicodeEncodeError)):
            app.import_bundle(path)
        assert not list(bench.home.runs.iterdir()) and not list(bench.home.tmp.iterdir())


def test_an_imported_run_names_the_model_that_is_here_or_none(bench, tmp_path, tiny_model_folder):
    app = bench.open()
    bare = app.import_bundle(bundle_of(tmp_path / "a.zip", {"events.jsonl": EVENTS}))
    whole = app.import_bundle(bundle_of(tmp_path / "b.zip", model_files(tiny_model_folder)))
    assert app.status(bare)["state"] == app.status(whole)["state"] == "completed"
    assert app.status(bare)["model_id"] is None and app.status(whole)["model_id"] == whole
    assert catalog.resolve(bench.home, whole).ready
    app.prune(whole, "To save room.")
    assert app.status(whole)["model_id"] is None


@pytest.mark.parametrize(
    "changes, files",
    [
        ({"transformers_weights": "adapter_model.bin"}, {}),
        ({"text_config": {"transformers_weights": "evil.safetensors.index.json"}}, {}),
        ({"architectures": 5}, {}),
        ({}, {"model/adapter_config.json": b"{}"}),
        ({}, {"model/evil.safetensors.index.json": b'{"weight_map": {"a": "../../x"}}'}),
        ({}, {"model/model.safetensors": b"short"}),
        ({}, {"model/model.safetensors": None}),
        ({}, {"model/config.json": None}),
        (
            {},
            {
                "model/chat_template.jinja": b"{% for i in range(9**9) %}{% for j in range(9**9) %}{% endfor %}{% endfor %}"
            },
        ),
    ],
)
def test_a_bundle_whose_model_may_not_be_loaded_is_refused(bench, tmp_path, tiny_model_folder, changes, files):
    app = bench.open()
    path = bundle_of(tmp_path / "a.zip", model_files(tiny_model_folder, **changes) | files)
    with pytest.raises(UserError, match="model in the bundle is refused") as caught:
        app.import_bundle(path)
    assert "without its model" in caught.value.hint
    assert not list(bench.home.runs.iterdir()) and not list(bench.home.tmp.iterdir())


def test_a_bundle_goes_on_only_from_a_model_folder_that_is_open(bench, tmp_path):
    bench.home = dataclasses.replace(bench.home, model_roots=(bench.home.root,))
    app = bench.open()
    files = {"checkpoints/step-000001/state.json": b'{"step": 1, "weights": "x"}', "data.json": b"{}"}
    closed = app.import_bundle(bundle_of(tmp_path / "a.zip", files, model_id=str(tmp_path / "secret")))
    with pytest.raises(UserError, match="cannot be opened"):
        app.resume(closed)
    assert app.status(closed)["state"] == "stopped"
    own = app.import_bundle(bundle_of(tmp_path / "b.zip", files, model_id="starter", steps=2))
    app.resume(own)
    bench.wait(app, own, "completed")
