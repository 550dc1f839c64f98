import importlib.util
import io
import json
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmdemo.core.errors import UserError
from llmdemo.data import Stopped, hub, open_records
from llmdemo.data.library import list_datasets

_spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub_server.py"))
hub_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hub_server)

ROWS = [{"instruction": f"question {n}", "output": f"answer {n}"} for n in range(300)]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch, tmp_path):
    repos = {
        "org/lines": {
            "train.jsonl": lines(ROWS),
            "test.jsonl": lines(ROWS[:3]),
            "README.md": b"---\nlicense: mit\n---\n",
        },
        "org/table": {"data/train-00000-of-00001.parquet": parquet(ROWS)},
        "org/gated": {"train.jsonl": lines(ROWS)},
        "org/nothing": {"notes.bin": b"\x00"},
    }
    server = hub_server.HubServer(repos, gated=("org/gated",))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield server
    server.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["org/lines", "org/table"])
def test_a_data_set_of_the_hub_is_streamed_up_to_the_row_limit(home, settings, server, name):
    info = hub.add_from_hub(home, settings, name, row_limit=20)
    assert (info.rows, info.kept, info.shape) == (20, 20, "Alpaca")
    assert info.source["revision"] == hub_server.SHA and info.source["licence"] == "cc-by-4.0"
    assert open_records(home, info.dataset_id)[19]["messages"][0]["content"] == "question 19"


@pytest.mark.slow
def test_a_local_folder_gives_the_same_records_and_no_torch_is_imported_for_it(
    home, settings, server, tmp_path, monkeypatch
):
    (tmp_path / "path" / "torch").mkdir(parents=True)
    (tmp_path / "path" / "torch" / "__init__.py").write_text("raise RuntimeError('torch was imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.jsonl").write_bytes(lines(ROWS))
    local = hub.add_from_hub(home, settings, str(tmp_path / "folder"), row_limit=50)
    assert local.format == "local folder" and local.kept == 50
    assert local.content_hash == hub.add_from_hub(home, settings, "org/lines", row_limit=50).content_hash


@pytest.mark.slow
def test_unknown_gated_and_unreadable_data_sets_get_a_sentence(home, settings, server):
    for name, words in (("org/none", "no public data set"), ("org/gated", "terms"), ("org/nothing", "cannot be read")):
        with pytest.raises(UserError, match=words):
            hub.add_from_hub(home, settings, name)
    with pytest.raises(UserError, match="no split"):
        hub.add_from_hub(home, settings, "org/lines", split="moon")
    for name in ("../../etc", "a b", "x/y/z", "", "https://example.org/x"):
        with pytest.raises(UserError, match="not the name of a data set"):
            hub.add_from_hub(home, settings, name)
    with pytest.raises(UserError, match="row limit"):
        hub.add_from_hub(home, settings, "org/lines", row_limit=0)
    assert list_datasets(home) == [] and list(home.tmp.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://never.invalid"])
def test_a_hub_that_cannot_be_reached_says_so_within_a_second(home, settings, monkeypatch, url):
    """After one attempt: at once where that is refused, else before it has an answer, which a look-up may give after minutes."""
    connect, asked, answered, over = hub.socket.create_connection, [], [], threading.Event()

    def create_connection(address, timeout):
        asked.append(timeout)
        if "never" not in url:
            return connect(address, timeout)
        answered.append(over.wait(120))
        raise TimeoutError

    monkeypatch.setattr(hub.socket, "create_connection", create_connection)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", url)
    with pytest.raises(UserError, match="not reachable"):
        hub.add_from_hub(home, settings, "alpaca")
    assert asked == [hub.REACH_SECONDS] and hub.REACH_SECONDS < 1 and not answered
    over.set()


def test_each_preset_says_what_it_is():
    assert [preset.key for preset in hub.PRESETS] == [
        "alpaca", "alpaca-gpt4", "lima", "ultrachat", "ultrachat-805k", "capybara", "dolly", "magpie", "smoltalk", "tulu3",
        "openhermes", "ultrafeedback",
    ]  # fmt: skip
    for preset in hub.PRESETS:
        assert preset.rows and preset.licence and "20" in preset.citation
        assert set(preset.to_dict()) >= {"key", "title", "hub_id", "rows", "megabytes", "licence", "citation"}


def test_a_stream_stops_when_asked(home, settings, server):
    with pytest.raises(Stopped):
        hub.add_from_hub(home, settings, "org/lines", should_stop=lambda: True)
    assert list_datasets(home) == [] and list(home.tmp.iterdir()) == []


SCRIPT = b"raise SystemExit('a script of a data set was run')\n"
TURNS = [{"conversations": [f"question {n}", f"answer {n}"], "source": "wiki"} for n in range(30)]
CHATS = [
    {
        "prompt": f"q {n}",
        "prompt_id": str(n),
        "messages": [{"role": r, "content": f"{r} {n}"} for r in ("user", "assistant")],
    }
    for n in range(30)
]
DOLLY = [{"instruction": f"q {n}", "context": "", "response": f"a {n}", "category": "open_qa"} for n in range(30)]
ALPACA = [{**row, "input": "", "text": f"Below is {n}"} for n, row in enumerate(ROWS[:30])]
ULTRACHAT = b"""---
configs:
- config_name: default
  data_files:
  - split: train_sft
    path: data/train_sft-*
  - split: test_sft
    path: data/test_sft-*
---
"""
SMOLTALK = b"""---
configs:
- config_name: all
  data_files:
  - split: train
    path: data/all/train-*
- config_name: smol-rewrite
  data_files:
  - split: train
    path: data/smol-rewrite/train-*
---
"""
SHARED = [
    {"conversations": [{"from": "human", "value": f"q {n}"}, {"from": "gpt", "value": f"a {n}"}], "uuid": str(n)}
    for n in range(30)
]
PAIRED = [
    {
        "source": "Dove",
        "conversation": [{"input": f"q {n}", "output": f"more {n}"}, {"input": "Go on.", "output": f"a {n}"}],
    }
    for n in range(30)
]
MESSAGES = [{"messages": row["messages"], "source": "x"} for row in CHATS]
PREFERRED = [
    {
        "prompt": f"q {n}",
        "chosen": [{"role": "user", "content": f"q {n}"}, {"role": "assistant", "content": f"good {n}"}],
        "rejected": [{"role": "user", "content": f"q {n}"}, {"role": "assistant", "content": f"bad {n}"}],
        "messages": [{"role": "user", "content": f"q {n}"}, {"role": "assistant", "content": f"good {n}"}],
        "score_chosen": 8.0,
        "score_rejected": 3.0,
    }
    for n in range(30)
]
LAYOUTS = {
    "alpaca": {"data/train-00000-of-00001-a09b74b3ef9c3b56.parquet": ALPACA},
    "alpaca-gpt4": {"data/train-00000-of-00001-6ef3991c06080e14.parquet": ALPACA},
    "lima": {"lima.py": SCRIPT, "train.jsonl": TURNS, "test.jsonl": [{"conversations": ["only a question"], "source": "x"}]},
    "ultrachat": {"README.md": ULTRACHAT, "data/train_sft-00000-of-00001-a.parquet": CHATS,
                  "data/test_sft-00000-of-00001-b.parquet": CHATS[:3]},
    "ultrachat-805k": {"README.md": b"---\nlicense: mit\n---\n", "ultrachat.jsonl": SHARED},
    "capybara": {"README.md": b"---\nlicense: apache-2.0\n---\n", "CapybaraPure_Decontaminated.jsonl": PAIRED},
    "dolly": {"databricks-dolly-15k.jsonl": DOLLY, "README.md": b"# Dolly\n"},
    "magpie": {"data/train-00000-of-00003.parquet": SHARED, "data/train-00001-of-00003.parquet": SHARED},
    "smoltalk": {"README.md": SMOLTALK, "data/all/train-00000-of-00009.parquet": MESSAGES,
                 "data/smol-rewrite/train-00000-of-00001.parquet": MESSAGES[:3]},
    "tulu3": {"data/train-00000-of-00006.parquet": MESSAGES},
    "openhermes": {"openhermes2_5.json": json.dumps(SHARED).encode()},
    "ultrafeedback": {"data/train_prefs-00000-of-00001.parquet": PREFERRED,
                      "README.md": ULTRACHAT.replace(b"_sft", b"_prefs"), "data/test_prefs-00000-of-00001.parquet": PREFERRED[:3]},
}  # fmt: skip
"""The files of each preset's repository, as they lie on the hub, with fewer rows."""


def _file(name, content):
    return content if isinstance(content, bytes) else parquet(content) if name.endswith(".parquet") else lines(content)


@pytest.mark.slow
@pytest.mark.parametrize("key", LAYOUTS)
def test_each_preset_loads_from_a_repository_laid_out_as_its_own(home, settings, server, key):
    preset = next(each for each in hub.PRESETS if each.key == key)
    server.repos[preset.hub_id] = {name: _file(name, content) for name, content in LAYOUTS[key].items()}
    info = hub.add_from_hub(home, settings, key, row_limit=20)
    task = "preference" if key == "ultrafeedback" else "chat"
    assert (info.name, info.task, info.rows, info.kept) == (preset.title, task, 20, 20)
    assert info.source["citation"] == preset.citation
    records = open_records(home, info.dataset_id)
    answers = [record.get("chosen") or record["messages"][-1]["content"] for record in records]
    assert answers[0] in ("answer 0", "assistant 0", "a 0", "good 0") and len(set(answers)) == 20


@pytest.mark.slow
def test_a_script_without_data_files_gets_a_sentence(home, settings, server):
    server.repos["org/script"] = {"script.py": SCRIPT, "README.md": b"# x\n"}
    with pytest.raises(UserError, match="script|cannot be read"):
        hub.add_from_hub(home, settings, "org/script")
