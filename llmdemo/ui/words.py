"""Every text of the page, in English and in Traditional Chinese. Knows nothing of where a text is shown.

Gradio's own widgets get them through gr.I18n, our scripts through window.llmdemoWords; both follow the browser's
language. In a text, {name} is filled in by the script that shows it.
"""

import gradio as gr

from llmdemo.ui import words_arena, words_data, words_evaluate, words_experiments, words_learn, words_push, words_train

_SHELL: dict[str, tuple[str, str]] = {
    "title": ("Tune & Decode", "調校與解碼"),
    "tab_data": ("Data", "資料"),
    "tab_train": ("Train", "訓練"),
    "tab_arena": ("Arena", "對照場"),
    "status_ready": ("{model} · ready", "{model} · 就緒"),
    "status_running": ("{method} · step {step} of {total}", "{method} · 第 {step} / {total} 步"),
    "status_starting": ("{method} · starting", "{method} · 啟動中"),
    "status_queued": ("{n} in the queue", "佇列中有 {n} 個"),
    "guest_guests": (
        "Shared without a password: visitors can use the arena only.",
        "未設密碼的分享連結：訪客只能使用對照場。",
    ),
    "guest_accounts": ("You are a visitor: the arena is open to you.", "您是訪客：可使用對照場。"),
    "guest_space": (
        "You are a visitor: the arena is open to you. The Space's owner can sign in.",
        "您是訪客：可使用對照場。Space 的擁有者可以登入。",
    ),
    "guest_open": (
        "Opened under another computer's name: the arena only.",
        "以其他電腦的名稱開啟：只能使用對照場。",
    ),
    "sign_in": ("Sign in", "登入"),
    "sign_out": ("Sign out {name}", "登出 {name}"),
    "starter_unpacking": (
        "Unpacking the starter model: once, about half a minute",
        "正在解開入門模型：只需一次，約半分鐘",
    ),
    "starter_fetching": ("Fetching the starter model from {source}", "正在從 {source} 下載入門模型"),
    "starter_preparing": ("Preparing the starter model", "正在準備入門模型"),
    "starter_failed": ("The starter model could not be fetched.", "無法取得入門模型。"),
    "starter_retry": ("Try again", "再試一次"),
    "starter_meanwhile": ("You can add data meanwhile.", "您可以先加入資料。"),
    "close": ("Close", "關閉"),
    "loading": ("Loading…", "載入中…"),
    "connection_lost": ("The app does not answer. Is it still running?", "應用程式沒有回應。它還在執行嗎？"),
    "why": ("Why?", "為什麼？"),
    "seconds": ("{n} s", "{n} 秒"),
    "minutes": ("{m} min {s} s", "{m} 分 {s} 秒"),
    "hours": ("{h} h {m} min", "{h} 小時 {m} 分"),
    "footer": (
        "Everything stays on this computer.",
        "所有內容都留在這台電腦上。",
    ),
}

WORDS = (
    _SHELL
    | words_push.WORDS
    | words_data.WORDS
    | words_evaluate.WORDS
    | words_train.WORDS
    | words_experiments.WORDS
    | words_learn.WORDS
    | words_arena.WORDS
)
_ENGLISH = {key: pair[0] for key, pair in WORDS.items()}
_CHINESE = {key: pair[1] for key, pair in WORDS.items()}

# zh-HK and zh-Hant are what browsers in Hong Kong and with script subtags ask for; the words are the same.
I18N = gr.I18n(**{"en": _ENGLISH, "zh-TW": _CHINESE, "zh-HK": _CHINESE, "zh-Hant": _CHINESE})


def t(key: str):
    """The text `key` as Gradio's widgets want it. Raises KeyError for a text that is not there."""
    WORDS[key]
    return I18N(key)


def for_scripts() -> dict[str, dict[str, str]]:
    """{"en": {key: text}, "zh": {key: text}} for window.llmdemoWords."""
    return {"en": _ENGLISH, "zh": _CHINESE}
