"""Hides secrets and e-mail addresses in texts, by the patterns of the data checks, and a little beyond where those end."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from llmdemo.data.checks import PRIVATE

SECRET, EMAIL = "[secret]", "[e-mail]"
_KEY_BLOCK = r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)"
"""The check finds a key's first line; what it opens must go too, up to its last line or the text's end."""
_REST = r"[A-Za-z0-9_+/=.-]*"
"""What goes on right after a secret is part of it: a JSON web token's signature."""
_STEPS = (
    (_KEY_BLOCK, SECRET),
    (f"(?:{PRIVATE['secret']}){_REST}", SECRET),
    (PRIVATE["email"] + r"(?:\.[A-Za-z]{2,})*", EMAIL),
)


def masked(texts: Sequence[str]) -> list[str]:
    """The texts with each probable secret as "[secret]" and each e-mail address as "[e-mail]". Linear in their length."""
    array = pa.array([text.encode("utf-8", "replace").decode() for text in texts], pa.string())
    for pattern, instead in _STEPS:
        array = pc.replace_substring_regex(array, pattern=pattern, replacement=instead)
    return array.to_pylist()
