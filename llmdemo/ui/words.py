"""Every text of the page, by key, in the languages that it speaks. Knows nothing of where a text is shown.

The texts are in assets/words/ (core/languages.py), which our scripts read too. Gradio's own widgets get theirs
through gr.I18n. In a text, {name} is filled in by whoever shows it.
"""

import gradio as gr

from llmdemo.core.languages import ENGLISH, languages, texts
from llmdemo.core.sentences import fill

_asked: set[str] = set()


def t(key: str):
    """The text `key` as Gradio's widgets want it. Raises KeyError for a text that is not there."""
    texts()[key]
    _asked.add(key)
    return gr.I18n()(key)


def say(key: str, language: str = ENGLISH, **values) -> str:
    """The text `key` in `language` with its places filled in. Raises KeyError for a text that is not there."""
    return fill(texts(language)[key], values, language)


def for_gradio() -> gr.I18n:
    """The texts that Gradio's widgets have been given so far: it puts all of them into each page, so no others."""
    chosen: dict[str, dict[str, str]] = {}
    for language in languages().values():
        asked = {key: texts(language.tag)[key] for key in sorted(_asked)}
        # Gradio takes "zh" for "zh-CN" too, so it gets no bare tag of a language that is for some regions.
        chosen |= {tag: asked for tag in language.tags if "-" in tag or "-" not in language.tag}
    return gr.I18n(**chosen)
