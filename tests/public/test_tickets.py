"""Cookies: what was signed here counts, and nothing else."""

import stat

import pytest

from llmdemo.public import tickets
from llmdemo.public.tickets import Tickets, secret_key

STAMPS = {"ann": "s1"}


@pytest.fixture
def made():
    return Tickets(b"k" * 32, STAMPS.get)


def test_a_session_says_whose_it_is(made):
    assert made.name(made.session("ann")) == "ann"


def test_a_forged_changed_or_foreign_value_says_nothing(made):
    value = made.session("ann")
    others = Tickets(b"x" * 32, STAMPS.get).session("ann")
    for forged in ("", "x", value[:-1], value[1:], others, made.new_guest(), "a" * 100_000):
        assert made.name(forged) == ""


def test_a_changed_password_and_a_removed_account_end_their_sessions():
    stamps = {"ann": "s1"}
    made = Tickets(b"k" * 32, stamps.get)
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


def test_an_old_session_is_over(made, monkeypatch):
    value = made.session("ann")
    monkeypatch.setattr(tickets, "SESSION_SECONDS", -1)
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
