"""Owners and guests, by policy."""

import pytest

from llmdemo.access.people import GUEST, OWNER, Access, names_this_computer, space_access
from tests.conftest import quick_hash

ANN = quick_hash("right")
SPACE = {"SPACE_ID": "lab/demo", "SPACE_AUTHOR_NAME": "lab", "OAUTH_CLIENT_ID": "x", "OAUTH_CLIENT_SECRET": "y"}


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:7860", "127.0.0.1:7860", "[::1]:80", "[::1]", "app.localhost:1"]
)
def test_names_of_this_computer(host):
    assert names_this_computer(host)
    assert Access().role(host) == OWNER


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:7860", "127.0.0.1.evil.example", "10.0.0.7:80", "localhost.evil.example"]
)
def test_a_name_that_leads_here_from_elsewhere_is_not_this_computers(host):
    assert not names_this_computer(host)
    assert Access().role(host) == GUEST


def test_without_accounts_nobody_owns_a_shared_app():
    access = Access("guests")
    assert access.role("localhost", "ann", {"preferred_username": "ann"}) == GUEST
    assert access.has_guests and not access.has_owners


def test_an_account_owns_and_an_unknown_one_does_not():
    access = Access("accounts", {"ann": ANN})
    assert access.role("localhost") == GUEST
    assert access.role("demo.example", "ann") == OWNER
    assert access.role("demo.example", "bob") == GUEST
    assert access.sign_in("ann", "right") and not access.sign_in("ann", "wrong") and not access.sign_in("bob", "right")


def test_a_session_is_tied_to_the_password():
    assert Access("accounts", {"ann": ANN}).stamp("ann") != Access("accounts", {"ann": quick_hash("right")}).stamp(
        "ann"
    )
    assert Access("accounts", {"ann": ANN}).stamp("bob") is None


@pytest.mark.parametrize(
    ("user", "role"),
    [
        ({"preferred_username": "lab"}, OWNER),
        ({"preferred_username": "LAB"}, OWNER),
        ({"preferred_username": "ann", "orgs": [{"preferred_username": "lab", "roleInOrg": "admin"}]}, OWNER),
        ({"preferred_username": "ann", "orgs": [{"preferred_username": "lab", "roleInOrg": "write"}]}, OWNER),
        ({"preferred_username": "ann", "orgs": [{"preferred_username": "lab", "roleInOrg": "read"}]}, GUEST),
        ({"preferred_username": "ann", "orgs": [{"preferred_username": "other", "roleInOrg": "admin"}]}, GUEST),
        ({"preferred_username": "ann", "orgs": ["lab", None, 7]}, GUEST),
        ({"preferred_username": "ann", "orgs": "lab"}, GUEST),
        ({"name": "lab"}, GUEST),
        ({}, GUEST),
        (None, GUEST),
    ],
)
def test_a_space_belongs_to_its_owner_and_to_who_may_write_there(user, role):
    assert space_access(SPACE).role("lab-demo.hf.space", "", user) == role


def test_a_space_without_sign_in_has_guests_only():
    assert space_access({"SPACE_ID": "lab/demo"}) == Access("guests")
