"""Cookies: what was signed here counts, and nothing else."""

import json
import stat

import pytest

from llmdemo.access import session_cookies
from llmdemo.access.session_cookies import SessionCookies, secret_key

STAMPS = {"ann": "s1"}


@pytest.fixture
def made():
    return SessionCookies(b"k" * 32, STAMPS.get)


def test_a_session_says_whose_it_is(made):
    assert made.name(made.session("ann")) == "ann"


def test_a_forged_changed_or_foreign_value_says_nothing(made):
    value = made.session("ann")
    others = SessionCookies(b"x" * 32, STAMPS.get).session("ann")
    for forged in ("", "x", value[:-1], value[1:], others, made.new_guest(), "a" * 100_000):
        assert made.name(forged) == ""


def test_a_changed_password_and_a_removed_account_end_their_sessions():
    stamps = {"ann": "s1"}
    made = SessionCookies(b"k" * 32, stamps.get)
    value = made.session("ann")
    stamps["ann"] = "s2"
    assert made.name(value) == ""
    del stamps["ann"]
    assert made.name(value) == "" and made.name(made.session("ann")) == ""


def test_signing_out_ends_one_session_and_no_other(made):
    one, other = made.session("ann"), made.session("ann")
    made.sign_out(one)
    made.sign_out("nonsense")
    assert made.name(one) == "" and made.name(other) == "ann"


def test_who_signed_out_stays_so_after_a_restart(tmp_path):
    kept = tmp_path / "signed-out.json"
    before = SessionCookies(b"k" * 32, STAMPS.get, kept)
    one, other = before.session("ann"), before.session("ann")
    before.sign_out(one)
    after = SessionCookies(b"k" * 32, STAMPS.get, kept)
    assert after.name(one) == "" and after.name(other) == "ann"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_of_the_sessions_that_were_signed_out_only_those_that_would_still_count_are_kept(tmp_path, monkeypatch):
    kept = tmp_path / "signed-out.json"
    made = SessionCookies(b"k" * 32, STAMPS.get, kept)
    sessions = [made.session("ann") for _ in range(6)]
    monkeypatch.setattr(session_cookies.time, "time", lambda: 1000.0)
    made.sign_out(sessions[0])
    monkeypatch.undo()
    monkeypatch.setattr(session_cookies, "_MOST_SIGNED_OUT", 4)
    for session in sessions[1:]:
        made.sign_out(session)
    known = json.loads(kept.read_text())
    assert len(known) == 4 and min(known.values()) > 1000 + session_cookies.SESSION_SECONDS
    assert [made.name(session) for session in sessions[2:]] == [""] * 4


@pytest.mark.parametrize("content", ["", "nonsense", "[]", '{"x": "y"}'])
def test_a_damaged_file_of_signed_out_sessions_stops_nobody(content, tmp_path):
    kept = tmp_path / "signed-out.json"
    kept.write_text(content)
    made = SessionCookies(b"k" * 32, STAMPS.get, kept)
    value = made.session("ann")
    made.sign_out(value)
    assert SessionCookies(b"k" * 32, STAMPS.get, kept).name(value) == ""


def test_an_old_session_is_over(made, monkeypatch):
    value = made.session("ann")
    monkeypatch.setattr(session_cookies, "SESSION_SECONDS", -1)
    assert made.name(value) == ""


def test_guests_are_told_apart(made):
    one, other = made.new_guest(), made.new_guest()
    assert made.guest(one) and made.guest(one) != made.guest(other)
    assert made.guest("x") == made.guest(made.session("ann")) == ""


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    path = tmp_path / "secret.key"
    key = secret_key(path)
    assert len(key) == 32 and secret_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
