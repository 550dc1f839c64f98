"""The page's texts: each language has all of them, none is missing where it is asked for, and none is there for nothing.

A new language needs no change here: what is tested of "each translation" is tested of its files too.
"""

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

from llmdemo.core.languages import ENGLISH as FIRST
from llmdemo.core.languages import FOLDER, languages, texts
from llmdemo.core.sentences import placeholders
from llmdemo.ui import words

ROOT = Path(words.__file__).resolve().parents[2]
ASSETS = ROOT / "assets"
ENGLISH, CHINESE = texts(), texts("zh-TW")
TRANSLATIONS = [tag for tag in languages() if tag != FIRST]
HAN = re.compile(r"[\u3400-\u9fff]")
PLACEHOLDER = re.compile(r"\{(\w+(?::[^{}]+)?)\}")
_LITERAL = re.compile(r"""["']([a-z][\w]*)["']""")
_TEMPLATE = re.compile(r"`([a-z][a-z0-9]*_[a-z0-9_]*)\$\{[^`]*?\}([a-z0-9_]*)`")
_JOINED = re.compile(r'"([a-z][a-z0-9_]*_)" \+')


def scripts() -> dict[str, str]:
    """{path below assets/: text} of our own scripts."""
    found = {path.relative_to(ASSETS).as_posix(): path.read_text("utf-8") for path in ASSETS.rglob("*.js")}
    return {name: text for name, text in found.items() if not name.endswith("preact.js")}


def python() -> dict[str, str]:
    folder = ROOT / "llmdemo"
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*.py")}


def asked_for() -> set[str]:
    """The keys that scripts and Python name in full; the arena's own `t` puts "arena_" before its keys."""
    keys = set()
    for name, text in scripts().items():
        prefix = "arena_" if name.startswith("arena/") else ""
        keys |= {prefix + key for key in re.findall(r"""(?<![\w.])t\(\s*"([a-z_0-9]+[a-z0-9])"[,)]""", text)}
    for name, text in python().items():
        if "from llmdemo.ui.words import" in text or name == "ui/app.py":
            keys |= set(re.findall(r"""(?<![\w.])(?:words\.)?(?:t|say)\(\s*"([a-z_0-9]+)"[,)]""", text))
    return keys


def made_up() -> list[re.Pattern]:
    """Patterns of the keys that are put together from a beginning and something else."""
    patterns = []
    for name, text in [*scripts().items(), *python().items()]:
        prefix = "arena_" if name.startswith("arena/") else ""
        parts = [(begin, end) for begin, end in _TEMPLATE.findall(text)] + [
            (begin, "") for begin in _JOINED.findall(text)
        ]
        parts += [(begin, "") for begin in re.findall(r'f"([a-z][a-z0-9_]*_)\{', text)]
        patterns += [re.compile(re.escape(prefix + begin) + r"\w+" + re.escape(end)) for begin, end in parts]
    return patterns


def literals() -> set[str]:
    """Whatever stands in quotes and could be a key."""
    found = set()
    for name, text in [*scripts().items(), *python().items()]:
        keys = set(_LITERAL.findall(text)) | set(re.findall(r"^\s*(\w+):", text, flags=re.M))
        found |= keys | ({f"arena_{key}" for key in keys} if name.startswith("arena/") else set())
    return found


@pytest.mark.parametrize(
    ("language", "words"), [("en", r"(?i)\b(dark|light|darker|lighter)\b"), ("zh-TW", "深色|淺色|顏色[越較]?[深淺]")]
)
def test_no_text_calls_a_colour_dark_or_light_as_the_dark_page_turns_them_round(language, words):
    text = json.loads((FOLDER / f"{language}.json").read_text("utf-8"))
    assert {key: each for key, each in text.items() if re.search(words, each)} == {}


def test_no_text_is_missing():
    assert asked_for() - ENGLISH.keys() == set()
    assert len(asked_for()) > 400


def test_no_text_is_there_for_nothing():
    patterns, named = made_up(), literals()
    named |= {f"{key}_hint" for key in named}  # the hint of an error
    unused = {key for key in ENGLISH.keys() - named if not any(pattern.fullmatch(key) for pattern in patterns)}
    assert unused == set()


def test_both_files_of_each_language_are_there():
    assert {path.name for path in FOLDER.glob("*.json")} == {
        f"{s}{tag}.json" for tag in languages() for s in ("", "said.")
    }


@pytest.mark.parametrize("file", ["{}.json", "said.{}.json"])
@pytest.mark.parametrize("language", TRANSLATIONS)
def test_each_translation_has_the_english_keys_in_their_order(language, file):
    english, other = (list(json.loads((FOLDER / file.format(tag)).read_text("utf-8"))) for tag in (FIRST, language))
    assert {"lacks": set(english) - set(other), "English lacks": set(other) - set(english)} == {
        "lacks": set(),
        "English lacks": set(),
    }
    assert english == other, "the order"


@pytest.mark.parametrize("language", languages())
def test_no_two_fields_of_a_run_have_the_same_label(language):
    labels = [text for key, text in texts(language).items() if key.startswith("f_")]
    assert len(labels) > 10 and sorted(labels) == sorted(set(labels))


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_each_translation_fills_in_the_same_places(language):
    both = {key: (ENGLISH[key], texts(language)[key]) for key in ENGLISH}
    assert {
        key for key, texts in both.items() if not all(texts) or bool(texts[0].strip()) != bool(texts[1].strip())
    } == set()
    places = {key: [set(PLACEHOLDER.findall(text)) for text in texts] for key, texts in both.items()}
    assert {key: found for key, found in places.items() if found[0] != found[1]} == {}


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_most_texts_of_each_translation_are_translated(language):
    same = [key for key in ENGLISH if ENGLISH[key] == texts(language)[key]]
    assert len(same) < len(ENGLISH) / 10


def test_most_chinese_texts_are_chinese():
    assert sum(bool(HAN.search(text)) for text in CHINESE.values()) > 0.85 * len(CHINESE)


def test_chinese_is_punctuated_as_chinese():
    """Full-width signs beside Chinese characters; and Taiwan's words for the field's terms."""
    half = re.compile(r"[\u3400-\u9fff\u3000-\u303f\uff00-\uffef][,;:?!(]|[,;?!)][\u3400-\u9fff]")
    assert {key: text for key, text in CHINESE.items() if half.search(text)} == {}
    others = ("優化器", "抽樣", "對照場", "數據集", "訓練集", "信息", "默認", "軟件", "網絡")
    assert {key: text for key, text in CHINESE.items() if any(word in text for word in others)} == {}


def test_gradio_gets_the_texts_of_its_own_widgets_in_both_languages_and_no_others():
    words.t("tab_data")
    translations = words.for_gradio().translations_dict
    assert translations["zh-TW"]["tab_data"] == translations["zh-Hant"]["tab_data"] == CHINESE["tab_data"]
    assert "zh" not in translations  # Gradio would show it where zh-CN is wanted
    assert translations["en"]["tab_data"] == "Data" and "eval_start" in ENGLISH
    assert len(translations["en"]) < 100


def test_places_in_a_text_are_filled_in():
    assert words.say("seconds", n=5) == "5 s" and "5" in words.say("seconds", "zh-TW", n=5)


def test_an_unknown_text_is_an_error_in_python():
    for ask in (words.t, words.say):
        with pytest.raises(KeyError):
            ask("no_such_text")


def test_each_problem_of_a_record_has_its_words():
    from llmdemo.data.codes import CODES, FLAGS

    for known in (ENGLISH, CHINESE):
        assert {code for code in CODES if f"problem_{code}" not in known} == set()
        for flag in FLAGS:
            assert ("{other}" in known[f"problem_says_{flag.name}"]) == ("{other}" in flag.message)


ERRORS = {"UserError", "NotNow", "MustWait"}


@cache
def trees() -> dict[str, ast.Module]:
    return {name: ast.parse(text) for name, text in python().items()}


def raised_without_a_key() -> list[str]:
    """Where an error is made of a sentence that stands in the code: "data/format_detection.py:79"."""
    found = []
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS and node.args:
                first = node.args[0]
                sentence = isinstance(first, ast.JoinedStr) and " " in ast.unparse(first)
                sentence |= isinstance(first, ast.Constant) and first.value not in ENGLISH
                found += [f"{name}:{node.lineno}"] if sentence else []
    return found


def test_each_error_has_its_words():
    """A new error is UserError("err_…", name=value) with err_… and err_…_hint in said.<language>.json."""
    assert raised_without_a_key() == []


def test_the_values_of_an_error_are_those_of_its_words():
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") not in (*ERRORS, "say") or not node.args:
                continue
            key = getattr(node.args[0], "value", None)
            if key not in ENGLISH or any(keyword.arg is None for keyword in node.keywords):
                continue
            given, hint = {keyword.arg for keyword in node.keywords}, ENGLISH.get(f"{key}_hint", "")
            hint = "" if node.func.id == "say" or len(node.args) > 1 else hint
            known = placeholders(ENGLISH[key]) | placeholders(hint) | {"language"}
            counted = set(re.findall(r"\{(\w+)\|", ENGLISH[key] + hint))
            assert given - known - counted == set(), f"{name}:{node.lineno}"
            assert placeholders(ENGLISH[key]) <= given, f"{name}:{node.lineno}"


_COUNT = re.compile(
    r"\{n(?::,)?\} (?:held-out |different |more )?(?:records|requests|questions|pairs|prompts|runs|rows|rounds|steps|tokens"
    r"|votes|voters|texts|answers|turns|ties|folds|labels|lines|models|parts|lanes|beams|files|characters|columns|keys)\b"
)
_NEVER_ONE = {"eval_folds_about", "lesson_template_count", "lesson_judges_order_said", "lesson_judges_order_less",
              "lesson_judges_length_said", "reason_too_long", "valid_text_of", "err_all_one_label", "err_one_class",
              "err_kto_one_kind", "template_refuses_all"}  # fmt: skip


def test_what_is_counted_has_a_form_for_one():
    """ "1 records": write {n} {n|record|records}."""
    assert {key for key, text in ENGLISH.items() if _COUNT.search(text)} - _NEVER_ONE == set()


def test_no_key_is_written_twice():
    """Of two the last would count, and the first sentence be gone without a word."""

    def once(pairs):
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), {key for key in keys if keys.count(key) > 1}
        return dict(pairs)

    for path in (ASSETS / "words").glob("*.json"):
        json.loads(path.read_text("utf-8"), object_pairs_hook=once)
