"""Every text of the page, by key, in the languages that it speaks. Knows nothing of where a text is shown.

The texts are in assets/words/, a JSON file a language, which our scripts read too. Gradio's own widgets get theirs
through gr.I18n. In a text, {name} is filled in by whoever shows it.
"""

import gradio as gr

from llmdemo.core.sentences import texts

LANGUAGES = ("en", "zh-TW")
# zh-HK and zh-Hant are what browsers in Hong Kong and with script subtags ask for; the texts are the same.
_BROWSERS = {"en": ("en",), "zh-TW": ("zh-TW", "zh-HK", "zh-Hant")}
_asked: set[str] = set()


def t(key: str):
    """The text `key` as Gradio's widgets want it. Raises KeyError for a text that is not there."""
    texts()[key]
    _asked.add(key)
    return gr.I18n()(key)


def say(key: str, language: str = "en", **values) -> str:
    """The text `key` in `language` with its places filled in. Raises KeyError for a text that is not there."""
    text = texts(language)[key]
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def for_gradio() -> gr.I18n:
    """The texts that Gradio's widgets have been given so far: it puts all of them into each page, so no others."""
    chosen = {language: {key: texts(language)[key] for key in sorted(_asked)} for language in LANGUAGES}
    return gr.I18n(**{tag: chosen[language] for language, tags in _BROWSERS.items() for tag in tags})
