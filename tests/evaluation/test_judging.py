"""Judges asked for real: a local tiny model, and an endpoint that may do anything. Nothing that was done is lost."""

import gzip
import json
import shutil
import time

import pytest

from llmdemo.core.errors import UserError
from llmdemo.evaluation import judges
from llmdemo.evaluation.endpoint import Endpoint
from llmdemo.evaluation.endpoint_address import EndpointFailed, checked_key, checked_url, parsed_url
from llmdemo.evaluation.judging import judge_all
from llmdemo.settings.judge import JudgeSpec
from tests.conftest import own_model
from tests.evaluation.conftest import at

KEY = "sk-secret-4711"


def records(count=3, same=0):
    return [
        {
            "index": n,
            "prompt": f"Name fruit number {n}.",
            "instruction": f"Name fruit number {n}.",
            "reference": "apple",
            "answers": [f"pear {n}", f"pear {n}" if n < same else f"stone {n}"],
            "long": [False, False],
        }
        for n in range(count)
    ]


def likes_the_pear(body):
    asked = body["messages"][1]["content"]
    return "Well. [RESULT] A: 5, B: 2" if asked.index("pear") < asked.index("stone") else "[RESULT] A: 1, B: 4"


def test_a_judge_is_called_by_its_title_as_long_as_it_is_there(home, tiny_model_folder):
    local = JudgeSpec(kind="model", model_id="starter")
    assert judges.title_of(home, local) == "starter"
    own_model(shutil.copytree(tiny_model_folder, home.models / "starter"), home)
    assert judges.title_of(home, local) == "SmolLM2-135M-Instruct"
    assert judges.title_of(home, JudgeSpec(kind="endpoint", model="m")) == "m"


def test_both_orders_are_asked_and_the_key_goes_to_the_endpoint_alone(job, home, judge_server):
    judge_server.say = likes_the_pear
    some = records()
    found = judge_all(job, home, at(judge_server), some, KEY)
    assert found["error"] is None and found["tally"]["losses"] == 3 and found["tally"]["agreement"] == 1.0
    assert some[0]["verdict"]["scores"] == [4.5, 1.5]
    assert len(judge_server.asked) == 6 and set(judge_server.keys) == {f"Bearer {KEY}"}
    assert judge_server.asked[0]["temperature"] == 0
    written = b"".join(path.read_bytes() for path in home.root.rglob("*") if path.is_file())
    assert KEY.encode() not in written


def test_a_judge_that_always_prefers_the_first_place_decides_nothing(job, home, judge_server):
    judge_server.say = lambda body: "[RESULT] A: 5, B: 1"
    found = judge_all(job, home, at(judge_server), records(), "")
    assert (found["tally"]["ties"], found["tally"]["agreement"]) == (3, 0.0)


def test_equal_answers_are_a_tie_that_nobody_is_asked_about(job, home, judge_server):
    judge_server.say = likes_the_pear
    found = judge_all(job, home, at(judge_server), records(3, same=2), "")
    assert found["tally"]["ties"] == found["tally"]["equal"] == 2 and len(judge_server.asked) == 2
    assert found["tally"]["agreement"] == 1.0


def test_a_limit_on_what_is_judged_is_told(job, home, judge_server):
    judge_server.say = likes_the_pear
    found = judge_all(job, home, at(judge_server, limit=2), records(5), "")
    assert (found["pairs"], found["of"], found["tally"]["n"]) == (2, 5, 2)


def test_what_was_judged_is_kept_when_the_judge_fails_and_is_not_asked_again(job, home, judge_server):
    judge_server.say = lambda body: likes_the_pear(body) if len(judge_server.asked) <= 4 else 401
    found = judge_all(job, home, at(judge_server), records(), "")
    assert "key" in found["error"]["message"] and found["tally"]["n"] == 2
    judge_server.say = likes_the_pear
    judge_server.asked.clear()
    found = judge_all(job, home, at(judge_server), records(), "")
    assert found["error"] is None and found["tally"]["n"] == 3 and len(judge_server.asked) == 2


FAILS = {
    "a wrong key": (401, "key"),
    "no such model": (404, "404"),
    "a redirect": (302, "elsewhere"),
    "a status": (418, "418"),
    "no JSON": (b"<html>hello</html>", "OpenAI"),
    "other JSON": (b'{"choices": []}', "OpenAI"),
    "JSON without end": (b"[" * 100_000, "OpenAI"),
    "too much": (b"x" * (3 * 2**20), "2 MB"),
    "a gzip bomb": ((200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * (8 * 2**20))), "compressed"),
    "brotli": ((200, {"Content-Encoding": "br"}, b"\x0b\x02\x80{}\x03"), "compressed"),
}


@pytest.mark.parametrize("case", FAILS)
def test_an_endpoint_that_fails_is_one_sentence(case, job, home, judge_server):
    said, told = FAILS[case]
    judge_server.say = lambda body: said
    found = judge_all(job, home, at(judge_server), records(), KEY)
    assert told in found["error"]["message"] and KEY not in str(found)
    assert found["tally"]["n"] == 0


def test_an_endpoint_that_hangs_is_given_up_in_time(job, home, judge_server):
    judge_server.say = lambda body: "hang"
    started = time.monotonic()
    found = judge_all(job, home, at(judge_server, timeout=0.3), records(), "")
    assert "0.3 seconds" in found["error"]["message"] and time.monotonic() - started < 5


def dripped(beginning: bytes, again: bytes):
    """An answer that goes on for ten seconds unless somebody hangs up; a piece comes long before any wait is over."""
    yield beginning
    for _ in range(500):
        yield again


DRIPS = {
    "a header": (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
    "interim answers": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
}


@pytest.mark.parametrize("case", DRIPS)
def test_an_endpoint_that_drips_is_given_up_in_time(case, job, home, judge_server):
    judge_server.say = lambda body: dripped(*DRIPS[case])
    started = time.monotonic()
    found = judge_all(job, home, at(judge_server, timeout=0.4), records(), "")
    assert "0.4 seconds" in found["error"]["message"] and time.monotonic() - started < 5


def test_what_an_endpoint_says_of_its_failure_is_quoted_in_part_and_without_the_key(job, home, judge_server):
    said = {"error": {"message": f"No model m.\nYour key {KEY} may use others: " + "gpt-x, " * 100}}
    judge_server.say = lambda body: (400, {}, json.dumps(said).encode())
    message = judge_all(job, home, at(judge_server), records(), KEY)["error"]["message"]
    assert "status 400" in message and "No model m. Your key … may use others: gpt-x" in message
    assert KEY not in message and len(message) < 260
    for odd in (b"[]", b'{"error": {"message": 3}}', b'{"error": null}', b"<html>"):
        judge_server.say = lambda body, odd=odd: (400, {}, odd)
        found = judge_all(job, home, at(judge_server), records(), KEY)
        assert found["error"]["message"] == "The endpoint answered with status 400."


def test_an_endpoint_that_is_busy_is_asked_again(judge_server, monkeypatch):
    monkeypatch.setattr(Endpoint, "_pause", lambda *_: None)
    judge_server.say = lambda body: 503 if len(judge_server.asked) < 3 else "hello"
    assert Endpoint(judge_server.url, "m").complete([]) == "hello"


def test_words_without_scores_end_the_judging_after_a_few(job, home, judge_server):
    judge_server.say = lambda body: "I like both."
    found = judge_all(job, home, at(judge_server), records(9), "")
    assert "no scores" in found["error"]["message"] and len(judge_server.asked) == 10
    assert found["tally"]["unclear"] == 4


def test_a_verdict_that_was_unclear_is_asked_for_again(job, home, judge_server):
    judge_server.say = lambda body: "I like both." if len(judge_server.asked) <= 2 else likes_the_pear(body)
    found = judge_all(job, home, at(judge_server), records(), "")
    assert (found["tally"]["unclear"], found["tally"]["losses"]) == (1, 2) and len(judge_server.asked) == 6
    found = judge_all(job, home, at(judge_server), records(), "")
    assert (found["tally"]["unclear"], found["tally"]["losses"]) == (0, 3) and len(judge_server.asked) == 8


def test_nobody_at_the_address_is_a_sentence(job, home, judge_server):
    spec = at(judge_server)
    judge_server.close()
    assert "cannot be reached" in judge_all(job, home, spec, records(), "")["error"]["message"]


@pytest.mark.parametrize(
    "url, told",
    [
        ("ftp://example.org/v1", "not an endpoint.s address"),
        ("localhost:11434", "not an endpoint.s address"),
        ("http://", "not an endpoint.s address"),
        ("http://host:port/v1", "not an endpoint.s address"),
        ("http://[localhost/v1", "not an endpoint.s address"),
        ("http://host:99999/v1", "not an endpoint.s address"),
        ("http://me:secret@localhost/v1", "password"),
        ("http://localhost/v1?key=secret", "query"),
        ("http://169.254.169.254/latest", "may be contacted"),
        ("http://[fe80::1]/v1", "may be contacted"),
        ("http://[::ffff:169.254.169.254]/v1", "may be contacted"),
        ("http://metadata.google.internal/v1", "may be contacted"),
        ("http://0.0.0.0/v1", "may be contacted"),
        ("http://93.184.216.34/v1", "unencrypted"),
    ],
)
def test_addresses_that_are_refused(url, told):
    with pytest.raises(EndpointFailed, match=told) as caught:
        checked_url(url, with_key=True)
    assert "secret" not in str(caught.value)
    with pytest.raises(EndpointFailed, match=told):  # told from its words alone, before anything is asked
        parsed_url(url, with_key=True)


def test_a_key_is_taken_without_blanks_around_it_and_one_that_no_header_can_hold_is_a_sentence():
    assert checked_key(" sk-1\n") == "sk-1" and checked_key("") == ""
    for key in ("sk-é4711", "sk-4711\nHost: x", "“sk-4711”", "sk\x004711"):
        with pytest.raises(EndpointFailed, match="characters") as caught:
            checked_key(key)
        assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:11434/v1", "http://127.0.0.1/v1/", "http://[::1]:8/v1/chat/completions"]
)
def test_a_local_endpoint_is_asked_at_its_chat_completions(url):
    address, local = checked_url(url, with_key=True)
    assert local and address.endswith("/v1/chat/completions")


def test_a_local_model_whose_context_is_shorter_than_the_rubric_judges_nothing(job, home, models):
    spec = JudgeSpec.from_value({"kind": "model", "model_id": "starter", "criteria": "Is it short?"})
    assert judge_all(job, home, spec, records(5), "")["tally"]["unclear"] == 5


def test_a_local_model_judges_by_its_probabilities_and_its_verdicts_are_kept(job, home, models, monkeypatch):
    asked = []

    class Short(judges.LocalJudge):
        """The tiny model's context is shorter than the rubric, so that it is told less."""

        def scores(self, conversations):
            asked.extend(conversations)
            places = [(said.index("pear"), said.index("stone")) for said in (c[1]["content"] for c in conversations)]
            talks = [[{"role": "user", "content": "pear" if a < b else "stone"}] for a, b in places]
            return super().scores(talks)

    monkeypatch.setattr(judges, "LocalJudge", Short)
    spec = JudgeSpec.from_value({"kind": "model", "model_id": "starter"})
    some = records(5)
    found = judge_all(job, home, spec, some, "")
    assert found["error"] is None and len(asked) == 10
    assert (found["tally"]["n"], found["tally"]["unclear"]) == (5, 0)
    assert all(1 <= score <= 5 for record in some for score in record["verdict"]["scores"])
    again = records(5)
    assert judge_all(job, home, spec, again, "")["tally"] == found["tally"] and len(asked) == 10
    assert [record["verdict"] for record in again] == [record["verdict"] for record in some]


def test_a_judge_must_be_named_whole():
    for value in ({"kind": "model"}, {"kind": "endpoint", "url": "http://x"}, {"kind": "oracle"}, {"who": 1}, "yes"):
        with pytest.raises(UserError):
            JudgeSpec.from_value(value)


def test_half_a_character_in_a_judges_answer_is_a_question_mark():
    """JSON can hold half of a surrogate pair; a file of records in UTF-8 cannot, and the evaluation would end there."""
    judge = Endpoint("http://127.0.0.1:9/v1", "m")
    said = judge._read_answer(
        200,
        b'{"choices": [{"message": {"content": "good \\ud83d [RESULT] 4"}}]}',
        lambda choice: choice["message"]["content"],
    ).text
    assert said == "good ? [RESULT] 4"
    judge.close()
