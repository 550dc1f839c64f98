"""Accounts: hashes, the file that holds them, and what is refused."""

import pytest

from llmdemo.access import passwords
from llmdemo.core.errors import UserError


@pytest.mark.slow
def test_a_password_fits_its_own_hash_and_no_other():
    known = passwords.hash_password("pass:word ✓")
    assert "pass" not in known and known != passwords.hash_password("pass:word ✓")
    assert passwords.verify_password("pass:word ✓", known)
    assert not passwords.verify_password("pass:word", known)


@pytest.mark.parametrize("known", ["", "plain", "scrypt$1$1$1$x$y", "scrypt$32768$8$3$" + "a" * 22 + "$short"])
def test_what_is_no_hash_fits_nothing(known):
    assert not passwords.verify_password("x", known)


@pytest.mark.parametrize("password", ["", "x" * 2000])
def test_no_password_and_a_book_are_refused(password):
    with pytest.raises(UserError):
        passwords.hash_password(password)


def test_a_file_of_accounts_may_have_comments_and_blank_lines(tmp_path):
    line = passwords.hash_password("one")
    path = tmp_path / "owners"
    path.write_text(f"# owners\n\nann:{line}\n  bob:{line}  \n")
    assert passwords.read_accounts(path) == {"ann": line, "bob": line}


@pytest.mark.parametrize(
    "line", ["ann", "ann:secret", "an n:x", ":x", "ann:scrypt$1048576$32$16$" + "a" * 22 + "$" + "b" * 43]
)
def test_a_line_that_is_no_account_is_named_without_its_secret(line, tmp_path):
    path = tmp_path / "owners"
    path.write_text(f"\n{line}\n")
    with pytest.raises(UserError) as caught:
        passwords.read_accounts(path)
    assert "secret" not in str(caught.value)


def test_a_missing_and_an_empty_file_are_said(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        passwords.read_accounts(tmp_path / "none")
    (tmp_path / "empty").write_text("# nobody\n")
    with pytest.raises(UserError, match="no account"):
        passwords.read_accounts(tmp_path / "empty")
