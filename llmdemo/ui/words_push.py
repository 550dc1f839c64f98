"""The texts of pushing to the hub, {key: (English, Traditional Chinese)}."""

WORDS: dict[str, tuple[str, str]] = {
    "push_title": ("Push to the Hugging Face hub", "推送到 Hugging Face Hub"),
    "push_repo": ("Repository: name, or owner/name", "儲存庫：名稱，或 擁有者/名稱"),
    "push_token": ("Your access token, with the right to write", "您的存取權杖（需有寫入權限）"),
    "push_token_about": (
        "It is used for this push and kept nowhere. Make one at huggingface.co/settings/tokens.",
        "只用於這次推送，不會保存。可在 huggingface.co/settings/tokens 建立。",
    ),
    "push_licence": ("Licence", "授權條款"),
    "push_private": ("Private: only you can see it", "私人：只有您看得到"),
    "push_go": ("Push", "推送"),
    "push_stop": ("Stop", "停止"),
    "push_begins": ("Asking the hub…", "正在聯絡 Hub…"),
    "push_sending": ("{sent} of {total} · {file}", "{sent} / {total} · {file}"),
    "push_done": ("The model is on the hub:", "模型已在 Hub 上："),
    "push_given": (
        "Without a token of its own, your sign-in with Hugging Face is used.",
        "若未填權杖，將使用您的 Hugging Face 登入。",
    ),
    "disk_goes": (
        "The disk of this Space does not last: what is on it is gone after a restart.",
        "此 Space 的磁碟不是永久的：重新啟動後內容會消失。",
    ),
    "disk_bundle": ("Download bundle", "下載套件"),
}
