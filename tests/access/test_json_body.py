"""A body is parsed within bounds and written anew; what names a file that nobody uploaded goes no further."""

import json

import pytest

from llmdemo.access.json_body import Bounds, Refused, checked
from llmdemo.access.sessions import Uploads

BOUNDS = Bounds(nodes=1000, variable="LLMDEMO_X")
META = {"_type": "gradio.FileData"}
FILE = {"path": "http://192.0.2.1/x", "meta": META}


def judged(body, bounds=BOUNDS, uploads=()):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    value, written = checked(body, bounds, lambda path: path in uploads)
    assert json.loads(written) == value
    return value


def refusal(body, bounds=BOUNDS, uploads=()) -> Refused:
    with pytest.raises(Refused) as caught:
        judged(body, bounds, uploads)
    return caught.value


ORDINARY = [
    {"data": ["starter", "Hello, [world]! {\"path\": 1}", {"top_p": 0.9, "stop": ["\n", "\u4f60\u597d \U0001f600"]}]},
    {"data": {"path": "/home/me/model"}, "fn_name": "add", "seed": 2**70, "small": -1.5e-300},
    {"data": {"url": "http://127.0.0.1:11434/v1", "model": "judge"}},
    {"data": {"path": "C:\\models\\x"}},
    {"data": ['["a list as text"]', '{"meta": 1}', '{broken', '"', '{"a": {"path": "x"}}']},
    [], "text", 0, None, {}, "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("value", ORDINARY)
def test_what_the_page_sends_arrives_as_it_is(value):
    assert judged(value) == value


def nested(value, times: int):
    for _ in range(times):
        value = [{"settings": value}]
    return value


@pytest.mark.parametrize(
    "value",
    [
        *(FILE, [FILE], nested(FILE, 40), {"data": ["x", {"settings": {"deep": FILE}}]}),
        *({"path": "http://x"}, {"path": "HTTPS://x"}, {"path": " //x/y"}, {"path": "\\\\x\\y"}, {"path": "ftp:x"}),
        *({"url": "http://x", "path": "a"}, {"path": "a", "url": None}, {"path": 5, "meta": META}),
        *(
            {"meta": META},
            {"meta": {"_type": "other"}},
            {"path": "/etc/passwd", "meta": META},
            {"path": "a", "meta": 1},
        ),
        *(json.dumps(FILE), [json.dumps([json.dumps({"x": FILE})])], " \n" + json.dumps([FILE])),
    ],
)
def test_a_file_that_nobody_uploaded_is_refused_wherever_it_stands(value):
    refused = refusal(value)
    assert refused.status == 403 and "handle_file" in str(refused)


@pytest.mark.parametrize(
    "text",
    [
        r'{"\u0070ath": "\u0068ttp://x", "\u006deta": {"_type": "x"}}',
        '{"path": "ok", "path": "http://x", "meta": 1}',
        '{"path": "/up/1", "meta": {"_type": "gradio.FileData"}, "path": "/etc/passwd"}',
    ],
)
def test_escapes_and_doubled_keys_mean_what_the_handler_would_get(text):
    assert refusal(text.encode(), uploads=("/up/1",)).status == 403


def test_an_uploaded_file_passes_with_what_may_be_said_of_it_only():
    given = {
        **{"path": "/up/1", "url": "http://evil.example/x", "orig_name": "a.json", "size": 3, "is_stream": True},
        **{"mime_type": None, "meta": {**META, "x": FILE}},
    }
    assert judged({"data": [given]}, uploads=("/up/1",)) == {
        "data": [{"path": "/up/1", "orig_name": "a.json", "size": 3, "meta": META}]
    }


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_another_encoding_than_utf_8_is_refused(encoding):
    assert refusal(json.dumps({"data": "hello"}).encode(encoding)).status == 400


@pytest.mark.parametrize("text", [b"{", b"", b"NaN", b"[Infinity]", b"[1e999]", b'{"a": -1e400}', b"\xff", b"[1] x"])
def test_what_is_no_json_is_a_sentence(text):
    refused = refusal(text)
    assert refused.status == 400 and str(refused).endswith(".")


def test_depth_and_number_of_values_are_bounded_before_anything_is_made_of_them():
    assert refusal(b"[" * 200 + b"]" * 200).status == 413
    assert refusal(b"[" * 900 + b"]" * 900).status == 413
    assert refusal(b"[" * 10**6).status == 413
    many = refusal(b"[" + b"{}," * 2000 + b"{}]")
    assert many.status == 413 and "LLMDEMO_X" in str(many)
    assert refusal(json.dumps({str(n): n for n in range(2000)}).encode()).status == 413
    assert judged(nested(1, 40)) == nested(1, 40)


def test_commas_and_brackets_in_texts_are_no_values():
    text = 'one, two, [three], {four} "quoted, \\" ' * 500
    assert judged({"data": [text, text]}) == {"data": [text, text]}


def test_many_short_texts_are_counted_without_being_made():
    assert refusal(b'["' + b'","' * 10**6 + b'"]').status == 413


def test_json_inside_json_is_looked_into_and_does_not_go_on_for_ever():
    value: object = FILE
    for _ in range(6):
        value = json.dumps(value)
    assert refusal([value]).status == 403
    value = "[1]"
    for _ in range(10):
        value = json.dumps(value)
    assert refusal([value]).status == 413
    assert judged(["[" * 500, "[1, 2", "{x"]) == ["[" * 500, "[1, 2", "{x"]  # just texts
    assert refusal(["[" + "[]," * 2000 + "1]"]).status == 413
    assert refusal(["[" + "[]," * 300 + "1]"] * 5).status == 413  # all of them together


def test_uploads_are_known_by_who_made_them_and_the_oldest_are_forgotten():
    uploads = Uploads(most=2)
    uploads.add("owner ann", ["/a", "/b"])
    assert uploads.has("owner ann", "/a") and not uploads.has("owner bob", "/a")
    uploads.add("owner bob", ["/c"])
    assert not uploads.has("owner ann", "/a") and uploads.has("owner ann", "/b")
