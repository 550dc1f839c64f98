"""The page's texts: both languages have all of them, and the scripts ask for none that is not there."""

import re
from pathlib import Path

import pytest

from llmdemo.ui import words

ASSETS = Path(words.__file__).resolve().parents[2] / "assets"
CHINESE = re.compile(r"[\u3400-\u9fff]")
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def asked_for() -> set[str]:
    """The keys that the scripts outside of the arena name in full."""
    scripts = "".join(path.read_text(encoding="utf-8") for path in ASSETS.glob("*.js") if path.name != "arena.js")
    return set(re.findall(r"""(?<![\w.])t\(\s*"([a-z_0-9]+)\"""", scripts))


def test_the_scripts_ask_only_for_words_that_are_there():
    assert asked_for() - words.WORDS.keys() == set()
    assert len(asked_for()) > 80


@pytest.mark.parametrize("key", sorted(words.WORDS))
def test_both_languages_fill_in_the_same_places(key):
    english, chinese = words.WORDS[key]
    assert english.strip() and chinese.strip()
    assert set(PLACEHOLDER.findall(english)) == set(PLACEHOLDER.findall(chinese))


def test_most_chinese_texts_are_chinese():
    same = [key for key, (english, chinese) in words.WORDS.items() if english == chinese]
    assert len(same) < len(words.WORDS) / 10
    assert sum(bool(CHINESE.search(chinese)) for _, chinese in words.WORDS.values()) > 0.85 * len(words.WORDS)


def test_gradio_gets_every_text_in_traditional_chinese():
    translations = words.I18N.translations_dict
    assert translations["zh-TW"].keys() == translations["en"].keys() == words.WORDS.keys()


def test_an_unknown_text_is_an_error_in_python():
    with pytest.raises(KeyError):
        words.t("no_such_text")
