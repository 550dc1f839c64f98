"""Stop strings and lanes of several answers through a whole comparison, against transformers and the texts themselves."""

import pickle

import pytest
from transformers import AutoTokenizer

from llmdemo.arena.text import TextStream
from llmdemo.arena.text_side import TextSide
from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings

SETTINGS = {"max_new_tokens": 24, "temperature": 1.0, "num_beams": 3, "seed": 5, "precision": "fp32"}
SEVERAL = ["best_of_n", "self_consistency", "mbr"]


def compared(arena, prompt="Hello", **settings):
    *_, final = arena.compare("starter", prompt, {**SETTINGS, **settings})
    return final["lanes"]


def executed(arena, prompt="Hello", **settings):
    """The names of the copied script once it has run."""
    names = {}
    code = arena.python(arena.request("starter", prompt, {**SETTINGS, **settings}))
    exec(compile(code, "copied", "exec"), names)  # noqa: S102 - it is our own text
    return names


def stops_in(text):
    """Stop strings out of a text: one character, several, and longer than most tokens."""
    middle = len(text) // 3
    return [[text[middle]], [text[middle : middle + 3]], [text[middle : middle + 9]], ["never said", text[middle:][:5]]]


@pytest.mark.parametrize("lane", ["greedy", "beam"])
@pytest.mark.slow
def test_a_lane_with_stop_strings_ends_at_the_token_where_generate_ends(arena, tiny_model_folder, lane):
    """generate's text still holds the stop string; ours is cut before it."""
    plain = compared(arena, lanes=[lane])[lane]["text"]
    for stop in stops_in(plain.replace("\ufffd", "")):
        got = compared(arena, lanes=[lane], stop=stop)[lane]
        names = executed(arena, lanes=[lane], stop=stop)
        theirs = names["output"][0, names["inputs"]["input_ids"].shape[1] :].tolist()
        assert theirs[: len(got["token_ids"])] == got["token_ids"] and set(theirs[len(got["token_ids"]) :]) <= {2}
        tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
        whole = tokenizer.decode(got["token_ids"], skip_special_tokens=True)
        ends = [whole.index(each) for each in stop if each in whole]
        assert got["text"] == (whole[: min(ends)] if ends else whole.rstrip("\ufffd"))
        assert got["finish_reason"] == ("stop" if ends else "length")


@pytest.mark.slow
def test_every_text_of_a_stopped_lane_and_what_was_streamed_of_it_is_without_the_stop_string(arena):
    lanes = ["greedy", "sample", "beam", "mbr"]
    plain = compared(arena, lanes=lanes)
    for name in lanes:
        for stop in stops_in(plain[name]["text"].replace("\ufffd", "")):
            for state in arena.compare("starter", "Hello", {**SETTINGS, "lanes": lanes, "stop": stop}):
                for lane in state["lanes"].values():
                    assert not any(each in lane["text"] for each in stop)
                    assert not any(each in one["text"] for one in lane.get("candidates") or [] for each in stop)


def test_without_the_stop_string_a_lane_says_all_that_it_says_anyway(arena):
    plain = compared(arena, lanes=["greedy", "beam"])
    for name in ("greedy", "beam"):
        text = plain[name]["text"]
        got = compared(arena, lanes=["greedy", "beam"], stop=[text[-2:] + "never", text[-1] + "\n\n\n\n"])[name]
        assert got["text"] == text and got["token_ids"] == plain[name]["token_ids"]


class Characters:
    """A tokenizer of one character a token."""

    all_special_ids = (0,)

    def decode(self, ids, **_):
        return "".join(map(chr, ids))


@pytest.mark.parametrize(
    ("text", "stop", "pieces"),
    [
        ("ab###cd", ("###",), ["a", "b", "", "", "", "", ""]),
        ("a##b", ("###",), ["a", "", "", "##b"]),
        ("aab", ("ab",), ["", "a", ""]),
        ("xyz", (), ["x", "y", "z"]),
        ("ababac", ("abac",), ["", "", "", "", "", ""]),
    ],
)
def test_what_may_begin_a_stop_string_is_held_back_until_it_does_not(text, stop, pieces):
    stream = TextStream(Characters(), stop)
    got = [stream.push(ord(each)) for each in text]
    whole = stream.text + stream.flush()
    want = text[: min((text.index(each) for each in stop if each in text), default=len(text))]
    assert whole == stream.text == want
    if text != "ababac":
        assert got == pieces
    assert not any(each in "".join(got) for each in stop)


def test_the_beginning_of_a_stop_string_at_the_end_is_let_out():
    stream = TextStream(Characters(), ("###",))
    assert [stream.push(ord(each)) for each in "a#"] == ["a", ""]
    assert stream.flush() == "#" and stream.text == "a#" and stream.flush() == ""


def test_in_what_was_given_no_stop_string_counts():
    stream = TextStream(Characters(), ("b",))
    assert [stream.push(ord(each), given=True) for each in "ab"] == ["a", "b"]
    assert stream.push(ord("c")) == "c" and stream.push(ord("b")) == "" and stream.text == "abc"


def test_a_fork_after_a_stop_string_goes_on(arena):
    plain = [e for e in arena.events(arena.request("starter", "Hello", {**SETTINGS, "lanes": ["greedy"]}))]
    tokens = [event for event in plain if event["type"] == "token"]
    stop = next(event["s"] for event in tokens if event["s"].strip() and "\ufffd" not in event["s"])
    at = next(i for i, event in enumerate(tokens) if event["s"] == stop)
    prefix = [event["i"] for event in tokens[: at + 1]]
    settings = {**SETTINGS, "lanes": ["greedy"], "stop": [stop]}
    forked = list(arena.events(arena.request("starter", "Hello", settings, prefix_ids=prefix)))
    assert any(event["type"] == "token" for event in forked) and forked[-1]["state"] == "done"


@pytest.mark.parametrize("strategy", SEVERAL)
def test_a_lane_of_several_answers_shows_them_all_with_their_scores(arena, strategy):
    lane = compared(arena, lanes=[strategy], num_return_sequences=5, vote_on="text")[strategy]
    candidates = lane["candidates"]
    assert len(candidates) == 5 and lane["text"] == candidates[0]["text"] and lane["score"] == candidates[0]["score"]
    assert [one["score"] for one in candidates] == sorted((one["score"] for one in candidates), reverse=True)
    assert sorted(one["row"] for one in candidates) == list(range(5))
    assert len(lane["token_ids"]) == len(lane["logprobs"]) == candidates[0]["tokens"]
    if strategy == "best_of_n":
        assert lane["score"] == pytest.approx(sum(lane["logprobs"]) / len(lane["logprobs"]), abs=1e-4)
    if strategy == "self_consistency":
        assert [one["vote"] for one in candidates] == [one["text"].strip() for one in candidates]


VOTES = [("self_consistency", vote_on) for vote_on in ("number", "text", "regex")]


@pytest.mark.parametrize(("strategy", "vote_on"), [*VOTES, ("best_of_n", "number"), ("mbr", "number")])
def test_the_copied_python_of_a_lane_of_several_chooses_one_of_its_texts(arena, capsys, strategy, vote_on):
    names = executed(arena, lanes=[strategy], num_return_sequences=3, vote_on=vote_on, vote_regex="(\\w)")
    output = names["output"]
    rows = output.sequences if strategy == "best_of_n" else output
    assert len(rows) == 3
    start = names["inputs"]["input_ids"].shape[1]
    texts = [names["tokenizer"].decode(row[start:], skip_special_tokens=True) for row in rows]
    assert capsys.readouterr().out[:-1] in texts


def test_the_text_side_can_be_sent_to_another_process(tiny_tokenizer):
    side = pickle.loads(pickle.dumps(TextSide(tiny_tokenizer, DecodeSettings(stop=("lo",)))))  # noqa: S301 - our own
    assert side.stops(tiny_tokenizer.encode("hello", add_special_tokens=False))


def test_settings_with_a_text_side_are_told_without_it(tiny_tokenizer, arena):
    whole = arena.request("starter", "Hi", {**SETTINGS, "stop": ["a\n", "b"], "lanes": SEVERAL}).settings
    assert DecodeSettings.from_dict(whole.to_dict()) == whole and whole.to_dict()["stop"] == ["a\n", "b"]


def test_a_stop_string_that_cannot_be_is_a_sentence(arena):
    with pytest.raises(UserError, match="stop holds ''"):
        arena.request("starter", "Hi", {"stop": [""]})


def test_the_copied_python_of_beams_that_transformers_lacks_says_so_and_runs(arena):
    lanes = ["diverse_beam", {"strategy": "stochastic_beam", "num_beams": 2}]
    settings = {**SETTINGS, "num_beams": 4, "lanes": lanes}
    code = arena.python(arena.request("starter", "Hello", settings))
    assert code.count("num_beam_groups=2 is left out") == 1 and code.count("diversity_penalty=1.0 is left out") == 1
    assert "generate has no stochastic beams" in code
    names = {}
    exec(compile(code, "copied", "exec"), names)  # noqa: S102 - it is our own text
    assert len(names["output"]) == 2


def test_every_search_with_beams_streams_its_tree_and_its_texts(arena):
    lanes = ["beam", "diverse_beam", "stochastic_beam"]
    final = compared(arena, lanes=lanes, num_beams=4, stop=["never said"])
    for name in lanes:
        lane = final[name]
        assert lane["text"] and len(lane["logprobs"]) == len(lane["token_ids"]) and lane["score"] is not None


def test_a_speculative_lane_tells_what_was_drafted_and_its_python_says_the_same(arena):
    settings = {**SETTINGS, "lanes": ["greedy", "speculative"]}
    events = list(arena.events(arena.request("starter", "Hello, hello, hello, hello", settings)))
    tokens = [event for event in events if event["type"] == "token" and event["lane"] == "0:speculative"]
    assert [event["i"] for event in tokens] == [
        e["i"] for e in events if e["type"] == "token" and e["lane"] == "0:greedy"
    ]
    assert {event["d"] for event in tokens} <= {0, 1}
    named = {int(token) for event in events if event["type"] == "names" for token in event["names"]}
    assert {token for event in tokens for token in event.get("x", ())} <= named
    names = executed(arena, lanes=["speculative"])
    theirs = names["output"][0, names["inputs"]["input_ids"].shape[1] :].tolist()
    assert theirs == compared(arena, lanes=["speculative"])["speculative"]["token_ids"]
