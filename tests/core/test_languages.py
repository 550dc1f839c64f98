"""A language is two files: one that a machine makes of English is spoken everywhere, without a line of Python or JavaScript."""

import json
import re
import shutil
from html import unescape
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from llmdemo.core import languages
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import in_language, say
from llmdemo.publish.card import Facts, card
from llmdemo.ui import chosen_language, words
from llmdemo.ui.authentication import sign_in_page
from llmdemo.ui.page_files import PageFiles
from llmdemo.ui.services import ASSETS

CASES = json.loads(Path(__file__).with_name("languages.json").read_text("utf-8"))
ITSELF = {"language_name": "Deutsch", "language_tags": "de", "list_or": " oder ", "quoted": "„{text}“"}


def upper(text: str) -> str:
    """In capitals but for the names of its places, which are the code's."""
    return "".join(part if part[:1] == "{" else part.upper() for part in re.split(r"(\{\w+(?::[^{}]+\}|\}|\|))", text))


def others(folder: str, names: list[str]) -> list[str]:
    """For shutil.copytree: what is not copied, pictures and the languages that somebody has added to these two."""
    words = [name for name in names if Path(folder).name == "words" and name.split(".")[-2] not in ("en", "zh-TW")]
    return [*words, *({"screenshots"} & set(names))]


@pytest.fixture(scope="module")
def german(tmp_path_factory):
    """A copy of assets/ with a third language, German for as much as the app can tell, in which the app then speaks."""
    root = tmp_path_factory.mktemp("assets") / "assets"
    shutil.copytree(ASSETS, root, ignore=others)
    for name in ("{}.json", "said.{}.json"):
        english = json.loads((root / "words" / name.format("en")).read_text("utf-8"))
        made = {key: ITSELF.get(key, upper(text)) for key, text in english.items()}
        (root / "words" / name.format("de")).write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(languages, "FOLDER", root / "words")
        _forget()
        yield root
    _forget()


def _forget():
    languages.languages.cache_clear()
    languages.texts.cache_clear()


@pytest.mark.parametrize("case", CASES, ids=lambda case: ",".join(case["accepted"]) or "none")
def test_a_browser_gets_the_language_that_it_wants_first_of_those_that_are_there(case, german):
    """The same cases as in tests/assets/words.test.js."""
    assert languages.wanted_language(",".join(case["accepted"])) == case["language"]
    assert languages.wanted_language("; q=0.9, ".join(case["accepted"])) == case["language"]


def test_a_language_is_found_by_its_files_and_english_comes_first(german):
    assert list(languages.languages()) == ["en", "de", "zh-TW"]
    assert languages.languages()["de"].name == "Deutsch"


def test_errors_lists_and_the_model_card_are_in_it(german):
    error = UserError("err_card_language", language="xx", names=["a", "b"])
    assert in_language(error.message, "de") == "xx IS NOT A LANGUAGE OF THIS APP."
    assert in_language(error.hint, "de") == "MODEL CARDS ARE WRITTEN IN a oder b."
    assert in_language(say("both", first=error.message, second=""), "de").startswith("xx IS NOT")
    assert "## BEFORE AND AFTER" in card(Facts("run", {}, {"worker": None}), "mit", language="de")


def test_pages_that_have_no_scripts_and_refusals_are_in_it(german):
    chosen = {"cookie": "a=b; llmdemo-language=de", "accept-language": "zh-TW"}
    assert chosen_language.language_of(chosen) == "de", (
        "what was chosen on the page comes before what the browser wants"
    )
    assert chosen_language.language_of({"cookie": "llmdemo-language=../x", "accept-language": "zh-TW"}) == "zh-TW"
    page = sign_in_page(403, chosen_language.language_of(chosen))
    assert '<html lang="de">' in page and words.say("sign_in_go").upper() in page


def test_the_page_offers_it_and_its_scripts_and_gradios_widgets_get_its_texts(german):
    files = PageFiles(german)
    assert '"de": {"name": "Deutsch", "tags": ["de"]}' in unescape(files.head())
    web = TestClient(Starlette(routes=[files.route()]))
    assert web.get(f"/{files.folder}/words/de.json").json()["tab_data"] == "DATA"
    words.t("tab_data")
    assert words.for_gradio().translations_dict["de"]["tab_data"] == "DATA"


@pytest.fixture
def words_folder(tmp_path, monkeypatch):
    """A copy of assets/words/ in which the app speaks; what is changed in it counts from then on."""
    folder = tmp_path / "words"
    shutil.copytree(ASSETS / "words", folder, ignore=others)
    monkeypatch.setattr(languages, "FOLDER", folder)
    _forget()
    yield folder
    _forget()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("zh-TW.json", b'{"title": "Tun', "zh-TW.json: "),
        ("said.zh-TW.json", b"\xff\xfe", "said.zh-TW.json: "),
        ("zh-TW.json", b'["title"]', "no object of texts"),
        ("zh-TW.json", b'{"title": 5}', "no object of texts"),
        ("zh-TW.json", b'{"title": "x"}', "zh-TW.json has no language_name"),
        ("zh-TW.json", b"[" * 100_000, "zh-TW.json: "),
        ("said.de.json", b"{}", "de.json: "),
    ],
)
def test_a_damaged_language_is_left_out_with_a_sentence_and_english_is_spoken(words_folder, capsys, name, content, why):
    (words_folder / name).write_bytes(content)
    known = ["en", "zh-TW"] if name == "said.de.json" else ["en"]
    assert list(languages.languages()) == list(languages.languages()) == known
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("A language of the page is left out: ") and why in told
    assert languages.wanted_language("zh-TW") == known[-1] and str(say("resume_run"))


def test_what_a_language_lacks_is_said_in_english_by_the_app_and_the_page(german):
    words_folder = german / "words"
    kept = {name: (words_folder / name).read_bytes() for name in ("de.json", "said.de.json")}
    try:
        for name, key in (("de.json", "tab_data"), ("said.de.json", "err_card_language")):
            (words_folder / name).write_text(json.dumps({k: v for k, v in json.loads(kept[name]).items() if k != key}))
        _forget()
        assert languages.texts("de")["tab_data"] == "Data" and languages.texts("de")["tab_train"] == "TRAIN"
        error = UserError("err_card_language", language="xx", names=["a"])
        assert in_language(error.message, "de") == "xx is not a language of this app."
        page = json.loads(PageFiles(german).files["words/de.json"])
        assert (page["tab_data"], page["tab_train"]) == ("Data", "TRAIN")
    finally:
        for name, content in kept.items():
            (words_folder / name).write_bytes(content)
        _forget()


def test_without_its_english_texts_the_app_ends_with_a_sentence(words_folder):
    (words_folder / "said.en.json").write_text("{")
    with pytest.raises(SystemExit, match=r"English texts are damaged: said\.en\.json: .*Get the folder"):
        languages.texts()
    shutil.copy(ASSETS / "words" / "said.en.json", words_folder)
