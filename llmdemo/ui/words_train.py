"""The texts of the train panel, {key: (English, Traditional Chinese)}."""

WORDS: dict[str, tuple[str, str]] = {
    "train_start": ("Start", "開始"),
}
