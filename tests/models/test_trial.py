"""What a folder holds beside its weights is tried once, in a process of its own, and refused with a sentence in seconds."""

import json
import re
import shutil
import time

import pytest

from llmdemo.core.bounded_child import BoundedChild
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import unpack
from llmdemo.core.store import Home
from llmdemo.models import catalog, trial, trial_child


def change(folder, name, **changes):
    path = folder / name
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **changes}))


def nested(depth):
    value = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def added(count):
    return [
        {"id": 384 + each, "content": f"<{each}>", "special": False, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": True}
        for each in range(count)
    ]  # fmt: skip


REPLACE = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}
TEMPLATE = {
    "twice": "{% set ns = namespace(s='a') %}{% for i in range(33) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
}
ATTACKS = {
    "added tokens": (lambda f: change(f, "tokenizer.json", added_tokens=added(150_000)), "150,000 added tokens"),
    "normalizers": (
        lambda f: change(f, "tokenizer.json", normalizer={"type": "Sequence", "normalizers": [REPLACE] * 3}),
        "The normalizer in tokenizer.json makes over 256",
    ),
    "a decoder": (
        lambda f: change(f, "tokenizer.json", decoder={"type": "Sequence", "decoders": [REPLACE] * 3}),
        "The decoder in tokenizer.json makes over 256",
    ),
    "a slow pattern": (
        lambda f: change(
            f, "tokenizer.json",
            pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a|a|aa)+b"}, "behavior": "Isolated", "invert": False},
        ),
        "takes more time or memory|cannot be read|makes",
    ),
    "tokenizer.json nested": (
        lambda f: (f / "tokenizer.json").write_text('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}"),
        "tokenizer.json is not valid JSON .it nests too deep",
    ),
    "tokenizer_config.json nested": (
        lambda f: (f / "tokenizer_config.json").write_text('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}"),
        "cannot be read",
    ),
    "no tokenizer.json": (lambda f: (f / "tokenizer.json").write_text("[]"), "holds no JSON object"),
    "a class that is a number": (
        lambda f: change(f, "tokenizer_config.json", tokenizer_class=5), "[Tt]okenizer.* cannot be read"),
    "a class that is a list": (
        lambda f: change(f, "tokenizer_config.json", tokenizer_class=["a"]), "[Tt]okenizer.* cannot be read"),
    "a class that is none": (
        lambda f: change(f, "tokenizer_config.json", tokenizer_class="RagTokenizer"), "[Tt]okenizer.* cannot be read"),
    "generation_config nested": (
        lambda f: (f / "generation_config.json").write_text(json.dumps(nested(900)).replace("1", "[" * 10**5 + "]" * 10**5)),
        "generation_config.json is not valid JSON",
    ),
    "generation ids": (
        lambda f: change(f, "generation_config.json", eos_token_id=list(range(10_000))), "10,000 numbers in eos_token_id"),
    "a template that doubles": (lambda f: (f / "chat_template.jinja").write_text(TEMPLATE["twice"]), "chat template is refused"),
    "a template that loops": (lambda f: (f / "chat_template.jinja").write_text(TEMPLATE["loops"]), "chat template is refused"),
    "a large template": (lambda f: (f / "chat_template.jinja").write_text("a" * 2**21), "chat_template.jinja has 2,097,152"),
    "a large tokenizer": (lambda f: (f / "tokenizer.json").write_bytes(b" " * (2**27 + 1)), "tokenizer.json has 134,217,729"),
}  # fmt: skip


BEFORE_THE_CHILD = ("a large template", "a large tokenizer")
WITH_LIMITS = ("a slow pattern", "a template that loops", "added tokens")
ONE_CHILD = """
import json, os, sys
from pathlib import Path
from llmdemo.models import trial_child
trial_child.begin(60, 3 * 2**30)
trial_child._stage = trial_child._stages.append
for folder in sys.argv[1:]:
    trial_child._write(trial_child.read(Path(folder)))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.timeout(120)
def test_what_would_take_for_ever_is_a_sentence_to_the_child(tiny_model_folder, tmp_path):
    attacks = [name for name in ATTACKS if name not in (*BEFORE_THE_CHILD, *WITH_LIMITS)]
    folders = [shutil.copytree(tiny_model_folder, tmp_path / str(number)) for number in range(len(attacks))]
    for folder, attack in zip(folders, attacks, strict=True):
        ATTACKS[attack][0](folder)
    good = shutil.copytree(tiny_model_folder, tmp_path / "good")
    script = tmp_path / "one_child.py"
    script.write_text(ONE_CHILD)
    child = BoundedChild([str(script), *map(str, [*folders, good])], 100)
    answers = [unpack(json.loads(line)) for line in child.answer(100_000)]
    assert child.end(10) == 0 and len(answers) == len(attacks) + 1
    for attack, answer in zip(attacks, answers, strict=False):
        assert re.search(ATTACKS[attack][1], answer["error"]) and answer["hint"], attack
    assert answers[-1] == {}  # and nothing that they did stays behind


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "attack", [*BEFORE_THE_CHILD, *(pytest.param(each, marks=pytest.mark.slow) for each in WITH_LIMITS)]
)
def test_a_folder_that_takes_too_much_does_not_come_on_the_menu(model_copy, tmp_path, attack):
    spoil, found = ATTACKS[attack]
    spoil(model_copy)
    home = Home(tmp_path / "home").prepare()
    began = time.monotonic()
    with pytest.raises(UserError, match=found) as caught:
        catalog.add_model(home, str(model_copy))
    assert time.monotonic() - began < 60 and caught.value.hint
    assert [entry.id for entry in catalog.list_models(home)] == ["starter"]


def test_a_good_folder_is_tried_once_and_its_copies_and_later_apps_not_again(model_copy, tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(trial, "_try", tried.append)
    change(model_copy, "tokenizer_config.json", a_key_of_this_test=str(tmp_path))
    for _ in range(3):
        trial.require_tried(model_copy, tmp_path / "kept")
    assert len(tried) == 1
    monkeypatch.setattr(trial, "_passed", set())  # as after another start
    trial.require_tried(shutil.copytree(model_copy, tmp_path / "copy"), tmp_path / "kept")
    assert len(tried) == 1
    change(model_copy, "tokenizer_config.json", a_key_of_this_test="another")
    trial.require_tried(model_copy, tmp_path / "kept")
    assert len(tried) == 2


def test_what_the_app_wrote_itself_is_not_tried_until_it_is_changed(model_copy, home, monkeypatch):
    tried = []
    monkeypatch.setattr(trial, "_try", tried.append)
    change(model_copy, "tokenizer_config.json", a_key_of_this_test=str(home.root))
    catalog.trust_model(home, model_copy)
    assert catalog.resolve(home, str(model_copy)).path == model_copy and tried == []
    change(model_copy, "tokenizer_config.json", a_key_of_this_test="another")
    catalog.resolve(home, str(model_copy))
    assert tried == [model_copy]


def test_the_menu_is_drawn_without_a_trial(home, model_copy, monkeypatch):
    catalog.trust_model(home, model_copy)
    catalog.add_model(home, str(model_copy))
    monkeypatch.setattr(trial, "_passed", set())
    monkeypatch.setattr(trial, "_try", lambda folder: pytest.fail("a child for a list"))
    assert len(catalog.list_models(home)) == 2


def test_a_child_that_takes_too_long_is_ended(model_copy, tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "PATIENCE", 0.05)
    change(model_copy, "tokenizer_config.json", a_key_of_this_test=str(tmp_path))
    with pytest.raises(UserError, match="takes more time or memory than is allowed"):
        trial.require_tried(model_copy, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_how_much_replacements_lengthen_a_text():
    assert trial_child.growth(None) == 1
    assert trial_child.growth({"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}) == 1
    assert trial_child.growth({"normalizers": [REPLACE] * 3}) == 1000**3
    assert trial_child.growth({"type": "Replace", "pattern": {"Regex": ""}, "content": "ab"}) == 3
