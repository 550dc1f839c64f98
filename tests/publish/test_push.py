"""Pushing to a hub: everything arrives, what breaks off goes on, and what is refused is said without the token."""

import json

import pytest

from llmdemo.core.errors import UserError
from llmdemo.publish.push import MARKER, Stopped, push

TOKEN = "hf_goodgoodgoodgood"


@pytest.fixture
def files(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(range(256)) * 4000)
    more = tmp_path / "more.safetensors"
    more.write_bytes(bytes(range(255)) * 4000)
    return {
        "model.safetensors": weights,
        "more.safetensors": more,
        "README.md": b"# card",
        MARKER: json.dumps({"run": "run-1"}).encode(),
    }


def test_everything_arrives_in_a_private_repository_of_the_tokens_owner(hub, files):
    seen = []
    made = push(files, "tuned", TOKEN, progress=lambda *state: seen.append(state))
    assert made["repo"] == "ann/tuned" and made["url"] == f"{hub.url}/ann/tuned" and made["revision"]
    stored = hub.repos["ann/tuned"]
    assert {name: data for name, data in stored.items() if name != MARKER}.keys() == files.keys() - {MARKER}
    assert stored["model.safetensors"] == files["model.safetensors"].read_bytes()
    assert hub.private["ann/tuned"] is True
    sent = [state[0] for state in seen]
    assert sent == sorted(sent) and seen[-1][0] == seen[-1][1] > 2_000_000
    assert len({state[0] for state in seen}) > 4, "the progress goes on within a file"


def test_a_space_is_made_private_with_gradio_and_may_be_sent_again(hub, files):
    made = push(files, "chat", TOKEN, kind="space")
    assert made["url"] == f"{hub.url}/spaces/ann/chat" and hub.private["ann/chat"] is True
    assert hub.kinds["ann/chat"] == ("space", "gradio")
    files["README.md"] = b"# better"
    push(files, "chat", TOKEN, kind="space")
    assert hub.repos["ann/chat"]["README.md"] == b"# better" and len(hub.uploads) == 2
    hub.repos["ann/begun"] = {".gitattributes": b"", "README.md": b"as the hub makes it"}
    hub.private["ann/begun"] = True
    push(files, "begun", TOKEN, kind="space")
    assert hub.repos["ann/begun"]["README.md"] == b"# better"


def test_it_can_be_public_where_that_is_wanted(hub, files):
    push(files, "ann/open", TOKEN, private=False)
    assert hub.private["ann/open"] is False


def test_a_push_that_broke_off_goes_on_without_sending_again_what_has_arrived(hub, files):
    hub.refuse_commits = 100
    with pytest.raises(UserError, match="HTTP 500"):
        push(files, "tuned", TOKEN)
    assert len(hub.uploads) == 2
    hub.refuse_commits = 0
    push(files, "tuned", TOKEN)
    assert len(hub.uploads) == 2 and "README.md" in hub.repos["ann/tuned"]


def test_a_broken_connection_is_said_with_what_has_been_sent_and_the_next_push_ends_it(hub, files):
    hub.break_uploads = 100
    with pytest.raises(UserError, match="broke after") as caught:
        push(files, "tuned", TOKEN)
    assert "Push again" in caught.value.hint and TOKEN not in str(caught.value)
    hub.break_uploads = 0
    push(files, "tuned", TOKEN)
    assert hub.repos["ann/tuned"]["more.safetensors"] == files["more.safetensors"].read_bytes()


def test_a_short_break_is_not_even_noticed(hub, files):
    hub.break_uploads = 1
    push(files, "tuned", TOKEN)
    assert len(hub.uploads) == 2


def test_the_same_run_may_be_pushed_again(hub, files):
    push(files, "tuned", TOKEN)
    files["README.md"] = b"# better card"
    push(files, "tuned", TOKEN)
    assert hub.repos["ann/tuned"]["README.md"] == b"# better card" and len(hub.uploads) == 2


def test_a_name_that_is_taken_is_not_written_over(hub, files):
    hub.repos["ann/tuned"] = {"README.md": b"mine", ".gitattributes": b""}
    with pytest.raises(UserError, match="already"):
        push(files, "tuned", TOKEN)
    hub.repos["ann/tuned"][MARKER] = b'{"run": "another"}'
    with pytest.raises(UserError, match="does not belong to this run"):
        push(files, "tuned", TOKEN)
    assert hub.repos["ann/tuned"]["README.md"] == b"mine" and hub.uploads == []


@pytest.mark.parametrize("of_this_run", [False, True])
def test_what_shall_be_private_never_goes_into_a_public_repository(of_this_run, hub, files):
    there = {MARKER: files[MARKER]} if of_this_run else {}
    hub.repos["ann/tuned"], hub.private["ann/tuned"] = dict(there), False
    with pytest.raises(UserError, match="public") as caught:
        push(files, "tuned", TOKEN, private=True)
    assert "Untick Private" in caught.value.hint
    assert hub.repos["ann/tuned"] == there and hub.uploads == []
    push(files, "tuned", TOKEN, private=False)
    assert "README.md" in hub.repos["ann/tuned"] and hub.private["ann/tuned"] is False


def test_a_push_that_is_not_private_leaves_a_private_repository_private(hub, files):
    hub.repos["ann/tuned"], hub.private["ann/tuned"] = {}, True
    push(files, "tuned", TOKEN, private=False)
    assert "README.md" in hub.repos["ann/tuned"] and hub.private["ann/tuned"] is True


def test_an_expired_token_is_said_and_sends_nothing(hub, files):
    with pytest.raises(UserError, match="expired"):
        push(files, "tuned", "hf_oldoldoldold")
    assert hub.repos == {} and hub.uploads == []


def test_a_token_without_the_right_is_said(hub, files):
    with pytest.raises(UserError, match="may not write"):
        push(files, "lab/tuned", TOKEN)


@pytest.mark.parametrize("token", ["", "x", None, "hf_ with space in it", "hf_\nInjected: header", "ü" * 20, "x" * 600])
def test_what_is_no_token_is_refused_before_anything_is_asked(token, hub, files):
    with pytest.raises(UserError, match="not an access token"):
        push(files, "tuned", token)
    assert hub.seen_tokens == set()


@pytest.mark.parametrize("repo", ["", "a/b/c", "../x", "a b", "x" * 97, None, "http://x/y", "a--b"])
def test_what_is_no_name_is_refused_before_anything_is_asked(repo, hub, files):
    with pytest.raises(UserError, match="name"):
        push(files, repo, TOKEN)
    assert hub.seen_tokens == set()


def test_a_hub_that_is_not_there_is_said(files, monkeypatch, hub):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="connection"):
        push(files, "tuned", TOKEN)


def test_it_stops_when_the_person_says_so(hub, files):
    with pytest.raises(Stopped):
        push(files, "tuned", TOKEN, should_stop=lambda: bool(hub.repos))
    assert "README.md" not in hub.repos["ann/tuned"]


def test_the_token_is_in_no_log(hub, files, caplog):
    caplog.set_level("DEBUG")
    hub.break_uploads = 100
    with pytest.raises(UserError):
        push(files, "tuned", TOKEN)
    assert TOKEN not in caplog.text
