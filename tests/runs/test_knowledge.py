"""What the events of a run say of what the model knew before."""

from llmdemo.runs.digest import Digest

RECORDS = [
    {"index": n, "class": name, "trained": True, "question": f"q{n}", "expected": f"a{n}"}
    for n, name in ((1, "highly"), (2, "maybe"), (3, "unknown"), (4, "unknown"))
]


def known(step, right):
    groups = [{"class": "highly", "trained": True, "n": 1, "right": int(1 in right), "loss": 0.5}]
    wrong = [[n, f"wrong {n}"] for n in (1, 2, 3, 4) if n not in right]
    return {"type": "known", "t": step, "step": step, "groups": groups, "right": right, "wrong": wrong}


def digested(*events):
    digest = Digest()
    for event in ({"type": "asked", "t": 0, "records": RECORDS}, *events):
        digest.feed(event)
    return digest


def test_what_was_right_and_is_wrong_now_is_lost_with_the_last_step_at_which_it_was_right():
    found = digested(known(0, [2]), known(5, [1, 2, 3]), known(9, [3, 4])).knowledge.result()
    assert [(each["index"], each["step"], each["answer"]) for each in found["lost"]] == [
        (1, 5, "wrong 1"), (2, 5, "wrong 2")
    ]  # fmt: skip
    assert [(each["index"], each["step"]) for each in found["learned"]] == [(3, 5), (4, 9)]
    assert [each["groups"][0]["right"] for each in found["evaluations"]] == [0, 1, 0] and found["records"] == 4


def test_a_highly_known_record_is_lost_though_no_evaluation_of_the_run_had_it_right():
    (lost,) = digested(known(0, [2]), known(5, [2])).knowledge.result()["lost"]
    assert (lost["index"], lost["step"]) == (1, None), (
        "it was right before the run; a maybe known one need not have been"
    )


def test_a_run_that_resumes_forgets_the_evaluations_it_makes_again():
    digest = digested(known(0, [1]), known(5, []), known(9, []))
    digest.feed({"type": "start", "t": 10, "step": 5})
    assert [each["step"] for each in digest.knowledge.result()["evaluations"]] == [0, 5]


def test_events_from_elsewhere_are_checked():
    odd = [
        {"type": "asked", "t": 0, "records": [{"index": "x"}, 3, {"index": 9, "class": "all"}]},
        {"type": "known", "t": 0, "step": "a", "right": [], "wrong": []},
        {"type": "known", "t": 0, "step": 1, "right": {}, "wrong": []},
        {"type": "known", "t": 0, "step": 1, "right": ["1", None], "wrong": [[1], "x"], "groups": [{"class": 5}]},
    ]
    found = digested(*odd).knowledge.result()
    assert found["records"] == 4 and found["evaluations"] == [{"step": 1, "seconds": 0.0, "groups": []}]
    assert Digest().knowledge.result() == {}
