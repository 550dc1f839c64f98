"""The page where an owner signs in: one form, no scripts, nothing from elsewhere. Knows no accounts."""

from html import escape

from llmdemo.core.languages import ENGLISH
from llmdemo.ui.words import say

_KEYS = ("title", "about", "name", "password", "go", "back", "403", "429")
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
body { max-width: 22rem; margin: 12vh auto; padding: 0 1.5rem; color: #1b1f24; background: #f7f8fa; }
h1 { font-size: 18px; } label { display: block; margin: 0 0 12px; }
input { display: block; width: 100%; box-sizing: border-box; font: inherit; padding: 8px; border: 1px solid #8c96a1; border-radius: 8px; }
button { font: inherit; font-weight: 600; padding: 8px 18px; border: 0; border-radius: 8px; color: #fff; background: #1b1f24; }
.notice { padding: 8px 12px; border-radius: 8px; color: #8a2c12; background: #fff4f1; } a { color: #0a5c8f; margin-left: 12px; }
:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
@media (prefers-color-scheme: dark) {
  body { color: #e8ebef; background: #13171b; } button { color: #13171b; background: #e8ebef; } a { color: #7cc4f0; }
  .notice { color: #f2b8a8; background: #2b1d1b; }
}"""


def sign_in_page(status: int = 200, language: str = ENGLISH) -> str:
    """The page as HTML; `status` 403 and 429 say why the last try failed."""
    words = {key: escape(say(f"sign_in_{key}", language)) for key in _KEYS}
    notice = f'<p class="notice" role="alert">{words[str(status)]}</p>' if str(status) in words else ""
    return f"""<!doctype html>
<html lang="{language}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{words["title"]}</title>
<style>{_STYLE}</style></head><body><main>
<h1>{words["title"]}</h1><p>{words["about"]}</p>{notice}
<form method="post" action="./sign-in">
<label>{words["name"]}<input name="name" autocomplete="username" required autofocus maxlength="64"></label>
<label>{words["password"]}<input name="password" type="password" autocomplete="current-password" required maxlength="1024"></label>
<button>{words["go"]}</button><a href="./">{words["back"]}</a></form></main></body></html>"""
