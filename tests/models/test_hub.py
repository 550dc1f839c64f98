import socket

import pytest

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import readable_size
from llmdemo.models import hub as module

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def served(hub, tiny_model_folder):
    hub.repos["org/tiny"] = {path.name: path.read_bytes() for path in tiny_model_folder.iterdir()}
    hub.repos["org/tiny"]["README.md"] = b"# card"
    hub.repos["org/tiny"]["modeling.py"] = b"raise SystemExit"
    return hub


def test_a_repository_is_fetched_at_its_commit_and_joins_the_menu(served, home):
    entry = module.fetch(home, "org/tiny")
    assert entry.kind == "hub" and entry.revision == SHA and entry.ready
    names = {path.name for path in entry.path.iterdir()}
    assert "model.safetensors" in names and not names & {"modeling.py", "README.md"}
    assert all("/resolve/" not in path or SHA in path for path in served.asked)
    assert not list(home.tmp.iterdir())


def test_a_fetched_model_loads_and_generates(served, home):
    from llmdemo.models.load import load_causal

    model, tokenizer = load_causal(module.fetch(home, "org/tiny@main"), device="cpu")
    ids = tokenizer("Add", return_tensors="pt")
    assert model.generate(**ids, max_new_tokens=3, do_sample=False).shape[1] > ids["input_ids"].shape[1]


def test_a_repository_with_pickles_only_is_refused_before_it_is_downloaded(served, home):
    files = served.repos["org/tiny"]
    files["pytorch_model.bin"] = files.pop("model.safetensors")
    with pytest.raises(UserError, match="only pickle weights"):
        module.fetch(home, "org/tiny")
    assert not any("/resolve/" in path for path in served.asked) and not list(home.tmp.iterdir())


def test_a_repository_whose_index_points_outside_is_refused_and_leaves_nothing(served, home):
    served.repos["org/tiny"]["model.safetensors.index.json"] = b'{"weight_map": {"a": "../x.safetensors"}}'
    with pytest.raises(UserError, match="not a safetensors file of this folder"):
        module.fetch(home, "org/tiny")
    assert not list(home.tmp.iterdir()) and not list(home.models.iterdir())


def test_only_the_files_at_the_top_and_one_index_are_fetched(served, home):
    for name in ("pytorch_model.bin.index.json", "model.fp16.safetensors.index.json", "onnx/config.json"):
        served.repos["org/tiny"][name] = b"{}"
    names = {path.name for path in module.fetch(home, "org/tiny").path.iterdir()}
    assert not any(name.endswith(".index.json") for name in names) and "onnx" not in names
    assert not any("onnx/" in path for path in served.asked)


def test_a_repository_that_names_other_weights_or_holds_an_adapter_is_refused_and_leaves_nothing(served, home):
    files = served.repos["org/tiny"]
    config = files["config.json"]
    files["config.json"] = config[: config.rindex(b"}")] + b', "transformers_weights": "adapter_model.bin"}'
    with pytest.raises(UserError, match="other files"):
        module.fetch(home, "org/tiny")
    files["config.json"], files["adapter_config.json"] = config, b"{}"
    served.asked.clear()
    with pytest.raises(UserError, match="adapter"):
        module.fetch(home, "org/tiny")
    assert not any("/resolve/" in path for path in served.asked)
    assert not list(home.tmp.iterdir()) and not list(home.models.iterdir())


def test_the_token_of_who_runs_the_app_is_not_shown_to_the_hub(served, home, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    module.fetch(home, "org/tiny")
    assert served.asked and served.tokens == [None] * len(served.asked)


def test_a_gated_repository_says_that_it_must_be_downloaded_by_hand(served, home):
    served.gated.add("org/tiny")
    with pytest.raises(UserError, match="no public repository org/tiny.*by hand"):
        module.fetch(home, "org/tiny")
    assert not list(home.tmp.iterdir()) and not list(home.models.iterdir())


def test_a_gated_repository_is_fetched_with_a_token_that_was_given_for_it(served, home):
    served.gated.add("org/tiny")
    assert module.fetch(home, "org/tiny", token="hf_ann").id == "org/tiny"
    assert set(served.tokens) == {"Bearer hf_ann"}


def test_an_unknown_repository_is_named(served, home):
    with pytest.raises(UserError, match="knows no public repository org/other"):
        module.fetch(home, "org/other")


def test_a_hub_that_refuses_the_connection_says_so_after_one_attempt(no_hub, home, monkeypatch):
    """The hub's client tries some questions again, with pauses that double."""
    connect, asked = socket.create_connection, []

    def create_connection(address, timeout=None, **more):
        asked.append((address, timeout))
        return connect(address, timeout, **more)

    monkeypatch.setattr(socket, "create_connection", create_connection)
    with pytest.raises(UserError, match="cannot be reached"):
        module.fetch(home, "org/tiny")
    assert asked == [(("127.0.0.1", 9), module.PROBE_SECONDS)]


def test_a_repository_that_the_disk_has_no_room_for_is_refused_in_the_unit_that_suits_it(served, home, monkeypatch):
    """Twice its bytes are asked for; of a few kilobytes, 0.0 GB would be no size."""
    wanted = sum(len(data) for name, data in served.repos["org/tiny"].items() if module._wanted(name))
    monkeypatch.setattr(module.store, "free_bytes", lambda folder: 2 * wanted - 1)
    assert 2_000 < wanted < 400_000_000
    with pytest.raises(UserError, match=f"org/tiny needs {readable_size(2 * wanted)} of space"):
        module.fetch(home, "org/tiny")
    assert not any("/resolve/" in path for path in served.asked)


@pytest.mark.parametrize("model_id", ["", "name", "a/b/c", "../x/y", "org/na me", "http://x/y", "org/x@../y z"])
def test_what_is_no_repository_is_refused_without_asking(served, home, model_id):
    with pytest.raises(UserError, match="not a hub repository"):
        module.fetch(home, model_id)
    assert served.asked == []
