"""The page where an owner signs in: one form, no scripts, nothing from elsewhere. Knows no accounts."""

from html import escape

_WORDS = {
    "title": ("Sign in", "登入"),
    "about": ("For the owners of this app. Visitors need no password: the arena is open to them.", "供本應用程式的擁有者使用。訪客不需密碼即可使用對照場。"),
    "name": ("Name", "名稱"),
    "password": ("Password", "密碼"),
    "go": ("Sign in", "登入"),
    "back": ("Back to the arena", "回到對照場"),
    403: ("The name or the password is wrong.", "名稱或密碼不正確。"),
    429: ("Too many tries from this address. Wait a minute.", "此位址嘗試次數過多，請稍候一分鐘。"),
}  # fmt: skip
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


def sign_in_page(status: int = 200, chinese: bool = False) -> str:
    """The page as HTML; `status` 403 and 429 say why the last try failed."""
    words = {key: escape(pair[chinese]) for key, pair in _WORDS.items()}
    notice = f'<p class="notice" role="alert">{words[status]}</p>' if status in words else ""
    return f"""<!doctype html>
<html lang="{"zh-Hant" if chinese else "en"}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{words["title"]}</title>
<style>{_STYLE}</style></head><body><main>
<h1>{words["title"]}</h1><p>{words["about"]}</p>{notice}
<form method="post" action="./sign-in">
<label>{words["name"]}<input name="name" autocomplete="username" required autofocus maxlength="64"></label>
<label>{words["password"]}<input name="password" type="password" autocomplete="current-password" required maxlength="1024"></label>
<button>{words["go"]}</button><a href="./">{words["back"]}</a></form></main></body></html>"""
