"""Texts of requests: kept only where an owner says so, masked, bounded, for a time; and gone from the disk afterwards."""

import sqlite3

import pytest

from llmdemo.core.errors import UserError
from llmdemo.serving.kept import Kept, Text


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def kept(tmp_path, clock):
    return Kept(tmp_path / "serving", clock)


def text(number=0, prompt="Hello", answer="Hi", **more) -> Text:
    turns = [{"role": "user", "content": prompt}]
    return Text(f"chatcmpl-{number}", 0, "mine", "starter", "chat", turns, [answer], **more)


def on_disk(kept) -> bytes:
    return b"".join(file.read_bytes() for file in kept._folder.iterdir())


def test_nothing_is_kept_until_an_owner_says_so(kept):
    assert not kept.add(text()) and kept.page("mine", "all") == ([], 0) and not kept._folder.exists()
    kept.keep(True)
    assert kept.add(text()) and kept.page("mine", "all")[1] == 1
    kept.keep(False)
    assert not kept.add(text(1)) and kept.page("mine", "all")[1] == 1


def test_secrets_and_addresses_are_masked_before_they_reach_the_disk(kept):
    kept.keep(True)
    secret, mail = "sk-" + "a1B2" * 8, "ann.smith@mail.example.org"
    block = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----"
    kept.add(text(1, f"My key is {secret}, write to {mail}", f"Sure, {mail}. {block} Bye"))
    kept.correct("chatcmpl-1", 0, 1, f"Ask {mail}")
    kept.add_beside("chatcmpl-1", "other", f"password: hunter2hunter2 of {mail}")
    found = kept.by_id("chatcmpl-1")
    assert found.prompt[0]["content"] == "My key is [secret], write to [e-mail]"
    assert found.answers == ["Sure, [e-mail]. [secret] Bye"] and found.correction == "Ask [e-mail]"
    assert found.beside == "[secret] of [e-mail]"
    data = on_disk(kept)
    assert not any(part in data for part in (secret.encode(), b"ann.smith", b"MIIEvQ", b"hunter2"))


def test_the_oldest_go_beyond_the_bound_and_all_go_by_age_and_leave_no_bytes(kept, clock):
    kept.keep(True, most=3, days=10)
    for number in range(5):
        kept.add(text(number, f"marker{number}"))
    assert [each.id for each in kept.page("mine", "all")[0]] == ["chatcmpl-4", "chatcmpl-3", "chatcmpl-2"]
    assert b"marker1" not in on_disk(kept) and b"marker2" in on_disk(kept)
    clock.now += 9 * 86_400
    kept.add(text(9, "marker9"))
    clock.now += 2 * 86_400
    assert [each.id for each in kept.page("mine", "all")[0]] == ["chatcmpl-9"]
    assert b"marker4" not in on_disk(kept)
    kept.forget()
    assert b"marker9" not in on_disk(kept)


def test_what_is_removed_is_overwritten_in_the_journal_too_which_is_never_unlinked(kept):
    kept.keep(True)
    kept.add(text(1, "marker1 " * 300))
    kept.add(text(2, "marker2 " * 300))
    journal = kept._folder / "requests.sqlite-journal"
    with open(journal, "rb") as opened:  # as who reads the disk's blocks: an unlinked file keeps its bytes
        kept.forget()
        opened.seek(0)
        data = opened.read()
    assert len(data) > 2000 and not any(data)
    assert b"marker" not in on_disk(kept)
    assert kept.add(text(3, "later")) and Kept(kept._folder, kept._clock).page("mine", "all")[1] == 1


def test_a_clock_that_is_set_back_removes_the_oldest_all_the_same(kept, clock):
    kept.keep(True, most=2, days=1)
    for number in range(4):
        kept.add(text(number))
        clock.now -= 40_000
    assert [each.id for each in kept.page("mine", "all")[0]] == ["chatcmpl-3", "chatcmpl-2"]


def test_a_full_disk_or_a_damaged_file_loses_the_text_and_raises_nothing(kept, monkeypatch):
    kept.keep(True)
    kept.add(text())
    kept._connection.close()
    kept._connection = None
    (kept._folder / "requests.sqlite").write_bytes(b"no database at all" * 100)
    assert not kept.add(text(1))
    with pytest.raises(UserError, match="damaged"):
        kept.page("mine", "all")

    class Full:
        def __enter__(self):
            raise sqlite3.OperationalError("database or disk is full")

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(kept, "_db", Full)
    assert not kept.add(text(2))
    kept.add_beside("chatcmpl-0", "other", "x")


def test_bounds_that_make_no_sense_are_refused(kept):
    for values in ({"most": 0}, {"most": 10**7}, {"days": 1000}, {"days": True}, {"most": "9"}):
        with pytest.raises(UserError, match=next(iter(values))):
            kept.keep(True, **values)
    (kept._folder).mkdir(exist_ok=True)
    (kept._folder / "keeping.json").write_text('{"on": true, "odd": 1}')
    assert not kept.keeping().on


def test_nothing_is_removed_by_bounds_that_cannot_be_read(kept):
    kept.keep(True, most=3000)
    with kept._changing() as db:
        row = (
            "(id, place, at, name, model_id, kind, prompt, answers) VALUES (?, 0, 1e6, 'mine', 'x', 'chat', '[]', '[]')"
        )
        db.executemany(f"INSERT INTO texts {row}", [(str(n),) for n in range(2100)])
    for damaged in ("{", '{"on": true, "most": "3000"}'):
        (kept._folder / "keeping.json").write_text(damaged)
        assert not kept.keeping().on and kept.page("mine", "all")[1] == 2100


def test_what_an_owner_has_reviewed_is_changed_by_no_caller(kept):
    kept.keep(True)
    kept.add(text())
    kept.correct("chatcmpl-0", 0, -1, "Better")
    kept.review(kept.by_id("chatcmpl-0").number, verdict="take")
    assert not kept.correct("chatcmpl-0", 0, 1, "What nobody has read")
    assert kept.by_id("chatcmpl-0").correction == "Better"


def test_a_request_goes_through_the_lists_as_it_is_reviewed(kept):
    kept.keep(True)
    kept.add(text())
    assert kept.counts("mine")["new"] == 0
    kept.correct("chatcmpl-0", 0, -1, "Better")
    found = kept.page("mine", "new")[0][0]
    assert (found.thumb, found.correction) == (-1, "Better")
    kept.review(found.number, verdict="take")
    assert {state: count for state, count in kept.counts("mine").items() if count} == {"all": 1, "taken": 1}
    kept.used([found.number], "data-x")
    assert kept.counts("mine")["taken"] == 0 and kept.counts("mine")["done"] == 1
    with pytest.raises(UserError, match="no longer stored"):
        kept.review(999, verdict="take")
    with pytest.raises(UserError, match="list"):
        kept.page("mine", "1 OR 1=1")


def test_an_opinion_said_again_stays_where_it_was_in_time(kept, clock):
    first = clock.now
    assert kept.opinion(text(), 1, None) == (None, None, None, None)
    between, clock.now = clock.now + 1, clock.now + 2
    assert kept.opinion(text(), 1, None) == (1, None, first, None) and kept.opinions(since=between) == {}
    assert kept.opinion(text(), -1, None) == (1, None, first, None)
    assert kept.opinions(since=between)["mine", "starter"]["down"] == 1


SORTED = Text("classify-1", 0, "sorts", "run-1", "classify", "", ["spam"])


def test_a_thumb_and_a_label_each_have_a_time_of_their_own(kept, clock):
    times = [clock.now, clock.now + 10, clock.now + 20]
    kept.opinion(SORTED, 1, None)
    clock.now = times[1]
    assert kept.opinion(SORTED, 1, "ham") == (1, None, times[0], None), "with the same thumb again"
    later = kept.opinions(since=times[0] + 1)["sorts", "run-1"]
    assert later == {"up": 0, "down": 0, "labelled": 1, "right": 0}, "the thumb was said before"
    clock.now = times[2]
    assert kept.opinion(SORTED, -1, None) == (1, "ham", times[0], times[1])
    assert kept.opinions(since=times[1] + 1)["sorts", "run-1"] == {"up": 0, "down": 1, "labelled": 0, "right": 0}
    assert kept.opinion(SORTED, None, "spam") == (-1, "ham", times[2], times[1])
    assert kept.opinions()["sorts", "run-1"] == {"up": 0, "down": 1, "labelled": 1, "right": 1}
    assert kept.opinions(since=times[2]) == {}


def test_opinions_of_an_earlier_version_keep_their_one_time(kept, clock, tmp_path):
    kept.opinion(SORTED, 1, "ham")
    first, clock.now = clock.now, clock.now + 10
    with sqlite3.connect(tmp_path / "serving" / "requests.sqlite") as db:
        db.execute("ALTER TABLE opinions DROP COLUMN label_at")
    again = Kept(tmp_path / "serving", clock)
    assert again.opinion(SORTED, -1, None) == (1, "ham", first, first)
    assert again.opinion(SORTED, None, "spam") == (-1, "ham", clock.now, first)
    assert again.opinions(since=first) == {("sorts", "run-1"): {"up": 0, "down": 1, "labelled": 1, "right": 1}}


def test_an_opinion_is_counted_once_by_version_and_survives_a_restart(kept, tmp_path):
    for thumb in (1, -1, -1):
        kept.opinion(text(), thumb, None)
    kept.opinion(Text("classify-1", 0, "sorts", "run-1", "classify", "", ["spam"]), None, "ham")
    kept.opinion(Text("classify-1", 1, "sorts", "run-1", "classify", "", ["spam"]), None, "spam")
    again = Kept(tmp_path / "serving").opinions()
    assert again["mine", "starter"] == {"up": 0, "down": 1, "labelled": 0, "right": 0}
    assert again["sorts", "run-1"] == {"up": 0, "down": 0, "labelled": 2, "right": 1}
