"""Passwords as salted scrypt hashes, and the accounts file that holds them. Knows no HTTP and no page.

A hash is "scrypt$N$r$p$salt$key", salt and key in URL-safe base64. The costs are those that OWASP's Password Storage
Cheat Sheet gives for scrypt: N = 2^15, r = 8, p = 3, which takes 32 MiB and about a third of a second.
"""

import base64
import hashlib
import hmac
import re
import secrets
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say

_N, _R, _P = 2**15, 8, 3
_KEY_BYTES = 32
_MOST_BYTES = 1024
_NAME = re.compile(r"[^\s:$#][^\s:$]{0,63}")
_HASH = re.compile(r"scrypt\$(\d{4,7})\$(\d{1,2})\$(\d{1,2})\$([\w-]{16,88})\$([\w-]{43})")
_MOST_COST = 2**27
"""Most memory that a hash from a file may ask for, in bytes."""


def hash_password(password: str) -> str:
    """The salted hash of `password`; raises UserError when it is empty or longer than 1,024 bytes."""
    if not password or len(password.encode()) > _MOST_BYTES:
        raise UserError("err_password_length", most=_MOST_BYTES)
    salt = secrets.token_bytes(16)
    return "$".join(("scrypt", str(_N), str(_R), str(_P), _text(salt), _text(_derive(password, salt, _N, _R, _P))))


def verify_password(password: str, known: str) -> bool:
    """Whether `password` is the one whose hash is `known`; takes as long for a wrong one as for the right one."""
    match = _HASH.fullmatch(known)
    if not match or len(password.encode("utf-8", "replace")) > _MOST_BYTES:
        return False
    n, r, p = (int(group) for group in match.groups()[:3])
    key = _derive(password, _bytes(match[4]), n, r, p)
    return hmac.compare_digest(key, _bytes(match[5]))


def read_accounts(path: Path) -> dict[str, str]:
    """{name: hash} from a file with one "name:hash" a line; blank lines and those that begin with # are skipped.

    Raises UserError, naming the line, when the file cannot be read or a line is no account.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError("err_accounts_unreadable", _HOW, path=path, error=error) from error
    accounts = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, _, known = line.strip().partition(":")
            accounts[checked_name(name)] = _checked_hash(known, path, number)
    if not accounts:
        raise UserError("err_no_account", _HOW, path=path)
    return accounts


def checked_name(name: str) -> str:
    """`name`, or a UserError: 1 to 64 characters without spaces, ":" and "$"."""
    if not _NAME.fullmatch(name):
        raise UserError("err_account_name", name=repr(name[:80]))
    return name


_HOW = say("how_accounts")


def _checked_hash(known: str, path: Path, number: int) -> str:
    match = _HASH.fullmatch(known)
    if not match:
        raise UserError("err_no_hash", _HOW, number=number, path=path)
    n, r, p = (int(group) for group in match.groups()[:3])
    if n & (n - 1) or not 0 < 128 * r * n <= _MOST_COST or not 1 <= p <= 16:
        raise UserError("err_hash_costs", _HOW, number=number, path=path)
    return known


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    data = password.encode("utf-8", "replace")
    return hashlib.scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=256 * r * (n + p), dklen=_KEY_BYTES)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
