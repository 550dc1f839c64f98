"""API keys: kept as hashes, shown once, limited to what they were made for, gone when they are revoked."""

import json

import pytest

from llmdemo.access.api_keys import MOST_KEYS, PREFIX, ApiKeys
from llmdemo.core.errors import UserError


@pytest.fixture
def keys(tmp_path) -> ApiKeys:
    return ApiKeys(tmp_path / "serving" / "keys.json")


def test_a_key_is_known_by_itself_alone_and_stands_in_no_file(keys, tmp_path):
    key, secret = keys.create("laptop")
    assert secret.startswith(PREFIX) and len(secret) > 40
    assert keys.check(secret) == key and keys.check(secret[:-1]) is None and keys.check("") is None
    file = tmp_path / "serving" / "keys.json"
    assert secret not in file.read_text() and file.stat().st_mode & 0o077 == 0
    assert "digest" not in key.to_dict() and next(iter(key.to_dict())) == "key_id"


def test_a_revoked_key_is_still_known_as_one_and_opens_nothing(keys):
    key, secret = keys.create("old", ["mine"])
    assert key.opens("mine") and not key.opens("other")
    assert keys.revoke(key.key_id).revoked and keys.revoke(key.key_id).revoked
    found = keys.check(secret)
    assert found.revoked and not found.opens("mine")


def test_another_app_on_the_same_home_sees_a_change_at_once(keys, tmp_path):
    other = ApiKeys(tmp_path / "serving" / "keys.json")
    key, secret = keys.create("one")
    assert other.check(secret) == key
    other.revoke(key.key_id)
    assert keys.check(secret).revoked


def test_a_damaged_file_opens_nothing_and_is_not_written_over(keys, tmp_path):
    _, secret = keys.create("one")
    file = tmp_path / "serving" / "keys.json"
    for content in (
        "{",
        '{"keys": [{}]}',
        '{"keys": 3}',
        "[]",
        '{"keys": [{"key_id": "a", "name": "b", "digest": 1}]}',
    ):
        file.write_text(content)
        assert keys.check(secret) is None
        with pytest.raises(UserError, match="damaged"):
            keys.create("two")
        assert file.read_text() == content


def test_values_that_make_no_sense_are_refused_and_nothing_is_made(keys):
    for arguments in ({"name": "x" * 81}, {"name": 3}, {"name": "a\nb"}):
        with pytest.raises(UserError, match="name"):
            keys.create(**arguments)
    for rate in (0, -1, True, 1.5, "many", 10**9):
        with pytest.raises(UserError, match="requests_per_minute"):
            keys.create("x", [], rate)
    with pytest.raises(UserError, match="no key"):
        keys.revoke("key-nonsense")
    assert keys.list() == []


def test_there_are_only_so_many_keys_and_revoked_ones_make_room(keys, tmp_path):
    key, _ = keys.create("first")
    known = json.loads((tmp_path / "serving" / "keys.json").read_text())["keys"][0]
    many = [{**known, "key_id": f"key-{n}"} for n in range(MOST_KEYS)]
    (tmp_path / "serving" / "keys.json").write_text(json.dumps({"keys": many}))
    with pytest.raises(UserError, match="200 keys"):
        keys.create("one more")
    keys.revoke("key-7")
    keys.create("one more")


def test_a_keys_limit_is_its_own(keys):
    slow, _ = keys.create("slow", [], 1)
    fast, _ = keys.create("fast", [], 3)
    assert keys.wait(slow) == 0 and keys.wait(slow) > 0
    assert [keys.wait(fast) == 0 for _ in range(4)] == [True, True, True, False]
