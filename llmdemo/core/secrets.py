"""The environment of a child process, without what only the app itself may know. Knows no process."""

import os
import re
from collections.abc import Collection, Mapping

HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH")
"""What a child that asks the hub for gated data needs."""
_SECRET = re.compile(
    r"(^|_)(TOKEN|TOKEN_PATH|SECRET|SECRET_KEY|PASSWORD|PASSWD|API_KEY|ACCESS_KEY|CREDENTIALS)$|^AWS_|^HUGGINGFACEHUB_"
    r"|^LLMDEMO_AUTH_FILE$",
    re.IGNORECASE,
)


def without_secrets(env: Mapping[str, str] | None = None, keep: Collection[str] = ()) -> dict[str, str]:
    """`env` (os.environ by default) without variables that hold tokens, keys and passwords, but with those in `keep`.

    A hub token that lies in the user's cache folder is not picked up either.
    """
    env = os.environ if env is None else env
    clean = {name: value for name, value in env.items() if name in keep or not _SECRET.search(name)}
    if not any(name in keep for name in HUB_TOKENS):
        clean["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1"
    return clean
