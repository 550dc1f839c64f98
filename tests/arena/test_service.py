"""Comparisons end to end with a tiny model: states, events, forks, two models, stopping, bad input."""

import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmdemo.arena.response import ResponseAccumulator
from llmdemo.core.errors import UserError
from llmdemo.decoding import decode_lanes
from llmdemo.models import starter
from tests.conftest import make_llama, own_model

SETTINGS = {"max_new_tokens": 12, "temperature": 1.0, "num_beams": 3, "seed": 5}


def last(states):
    *_, final = states
    return final


def run(arena, **changes):
    """All events of one run."""
    request = arena.request(**{"model_ids": "starter", "prompt": "Hello", "settings": SETTINGS, **changes})
    return list(arena.events(request))


def test_compare_streams_whole_states_of_four_lanes(arena):
    states = list(arena.compare("starter", "Hello", SETTINGS))
    for state in states:
        assert set(state) >= {"lanes", "seed", "settings", "seconds"}
        assert set(state["lanes"]) == {"greedy", "top_k", "top_p", "beam"}
        for lane in state["lanes"].values():
            assert len(lane["logprobs"]) == len(lane["token_ids"])
            assert set(lane) >= {"text", "token_ids", "logprobs", "finish_reason", "tokens_per_second"}
    final = states[-1]
    assert final["seed"] == 5
    assert final["settings"]["num_beams"] == 3
    assert all(lane["finish_reason"] in ("eos", "length") for lane in final["lanes"].values())
    json.dumps(final, allow_nan=False)


def test_text_and_ids_of_a_lane_agree(arena, tiny_model_folder):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    for lane in last(arena.compare("starter", "Hello", SETTINGS))["lanes"].values():
        assert lane["text"].rstrip("\ufffd") == tokenizer.decode(lane["token_ids"], skip_special_tokens=True).rstrip(
            "\ufffd"
        )


def test_the_same_seed_gives_the_same_texts_and_another_seed_others(arena):
    def texts(seed):
        final = last(arena.compare("starter", "Hello", {**SETTINGS, "seed": seed}))
        return {name: lane["token_ids"] for name, lane in final["lanes"].items()}

    assert texts(1) == texts(1)
    assert texts(1)["top_p"] != texts(2)["top_p"]
    assert texts(1)["greedy"] == texts(2)["greedy"]


def test_a_beam_lane_has_its_score_and_the_log_probabilities_on_its_path(arena):
    beam = last(arena.compare("starter", "Hello", SETTINGS))["lanes"]["beam"]
    assert beam["score"] == pytest.approx(math.fsum(beam["logprobs"]) / len(beam["token_ids"]), abs=1e-3)


def test_metrics_come_from_the_raw_model(arena):
    lane = last(arena.compare("starter", "Hello", SETTINGS))["lanes"]["greedy"]
    mean = math.fsum(lane["logprobs"]) / len(lane["logprobs"])
    assert lane["metrics"]["perplexity"] == pytest.approx(math.exp(-mean), rel=1e-3)
    assert lane["metrics"]["first_token_seconds"] > 0


def test_every_token_that_is_mentioned_has_a_name(arena):
    named, mentioned = set(), set()
    for event in run(arena):
        if event["type"] == "names":
            named |= set(event["names"])
        elif event["type"] == "token":
            mentioned |= {event["i"], *(item[0] for item in event["a"])}
        elif event["type"] == "beam":
            mentioned |= {edge[1] for kind in ("live", "cut", "done") for edge in event[kind]}
            mentioned |= {item[0] for top in event["tops"] for item in top}
        assert mentioned <= named
    assert mentioned


def test_events_are_json_and_begin_tells_how_to_repeat_the_run(arena):
    events = run(arena)
    json.dumps(events, allow_nan=False)
    begin = next(event for event in events if event["type"] == "begin")
    assert begin["seed"] == 5 and begin["models"][0]["fingerprint"] and begin["versions"]["transformers"]
    assert events[-1]["type"] == "end" and events[-1]["state"] == "done"


def test_back_pointers_of_the_tree_spell_the_best_text(arena):
    events = run(arena)
    steps = [event for event in events if event["type"] == "beam"]
    for index, step in enumerate(steps):
        for edge in [*step["live"], *step["done"], *step["cut"]]:
            assert 0 <= edge[0] < (len(steps[index - 1]["live"]) if index else 1)


def test_a_fork_goes_on_from_the_tokens_that_it_is_given(arena):
    tokens = [event["i"] for event in run(arena) if event.get("lane") == "0:greedy" and event["type"] == "token"]
    forked = run(arena, prefix_ids=tokens[:4])
    begin = next(event for event in forked if event["type"] == "begin")
    assert [token for token, _ in begin["prefix"]] == tokens[:4]
    rest = [event["i"] for event in forked if event.get("lane") == "0:greedy" and event["type"] == "token"]
    assert tokens[:4] + rest == tokens  # greedy from its own beginning says the same


def test_two_models_answer_side_by_side(arena, second_model):
    events = run(arena, model_ids=["starter", second_model])
    order = [event["lane"][0] for event in events if event["type"] == "token"]
    assert {"0", "1"} == set(order)
    assert order.index("1") < len(order) / 2  # not one after the other
    ends = {event["lane"] for event in events if event["type"] == "lane"}
    assert ends == {f"{model}:{name}" for model in (0, 1) for name in ("greedy", "top_k", "top_p", "beam")}


def test_stop_ends_a_run_within_a_step_and_the_next_run_works(arena):
    request = arena.request("starter", "Hello", {**SETTINGS, "max_new_tokens": 200})
    events = []
    for event in arena.events(request):
        events.append(event)
        if event["type"] == "step" and event["n"] == 3:
            arena.stop(request.run_id)
    assert events[-1]["state"] == "stopped"
    assert max(event["n"] for event in events if event["type"] == "step") == 3
    assert last(arena.compare("starter", "Hello", SETTINGS))["lanes"]["greedy"]["token_ids"]


def test_leaving_a_stream_stops_its_run(arena):
    started = {thread.ident for thread in threading.enumerate()}
    stream = arena.stream(arena.request("starter", "Hello", {**SETTINGS, "max_new_tokens": 240}), every=0.0)
    next(stream)
    stream.close()
    for thread in threading.enumerate():
        if thread.name == "arena" and thread.ident not in started:
            thread.join(10)
            assert not thread.is_alive()


def test_a_run_waits_for_the_model_and_can_be_stopped_meanwhile(arena):
    first = arena.events(arena.request("starter", "Hello", {**SETTINGS, "max_new_tokens": 200}))
    while next(first)["type"] != "step":
        pass
    second = arena.request("starter", "Hello", SETTINGS)
    waiting = arena.events(second)
    assert next(waiting) == {"type": "waiting", "preparing": False}
    arena.stop(second.run_id)
    assert next(waiting)["state"] == "stopped"
    first.close()
    assert run(arena)[-1]["state"] == "done"


def test_who_waits_while_a_model_is_prepared_is_not_told_of_another_comparison(arena, monkeypatch):
    asked = []

    def prepare(*_):
        comparison = arena.events(arena.request("starter", "Hello", SETTINGS))
        asked.append(next(event for event in comparison if event["type"] == "waiting"))
        comparison.close()

    with monkeypatch.context() as patch:
        patch.setattr("llmdemo.arena.service.decoding.prepare", prepare)
        arena.warm("starter")
    assert asked == [{"type": "waiting", "preparing": True}]
    assert run(arena)[-1]["state"] == "done"


def test_visitors_who_ask_at_the_same_time_get_what_each_would_get_alone(arena):
    arena.warm("starter")
    prompts = ["Hello", "What is a river?", "Name three colours."]
    alone = [last(arena.compare("starter", prompt, SETTINGS))["lanes"] for prompt in prompts]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda prompt: list(arena.compare("starter", prompt, SETTINGS))[-1]["lanes"], prompts))
    assert [{n: lane["token_ids"] for n, lane in lanes.items()} for lanes in together] == [
        {n: lane["token_ids"] for n, lane in lanes.items()} for lanes in alone
    ]


@pytest.fixture
def prefills(arena):
    """Appended to at each comparison that is computed: its settings."""
    found = []

    def decode(model, ids, settings):
        found.append(settings)
        return decode_lanes(model, ids, settings)

    arena._decode = decode
    return found


def test_a_class_that_asks_the_same_is_computed_once(arena, prefills):
    def ask(_):
        return last(arena.compare("starter", "Hello", SETTINGS))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert len(prefills) == 1
    assert all(answer["lanes"] == answers[0]["lanes"] for answer in answers)
    assert sorted(answer["shared"] for answer in answers) == [False] + [True] * 7
    later = ask(None)
    assert len(prefills) == 1 and later["shared"]
    assert later["lanes"] == answers[0]["lanes"] and later["seconds"] > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {**SETTINGS, "seed": 6}},
        {"settings": {**SETTINGS, "top_k": 3}},
        {"prompt": {"raw": "Hello"}},
        {"prefix_ids": [5]},
    ],
)
def test_what_differs_in_anything_is_computed_by_itself(arena, prefills, changes):
    run(arena)
    run(arena, **changes)
    assert len(prefills) == 2


def test_a_kept_step_answers_as_its_model_without_a_folder_and_is_loaded_ahead(arena, home, kept_steps):
    def texts(model_id):
        lanes = last(arena.compare(model_id, "Hello", {**SETTINGS, "precision": "fp32"}))["lanes"]
        return {name: lane["token_ids"] for name, lane in lanes.items()}

    arena.warm(f"{kept_steps}@4", "fp32", make_room=False)
    asked = arena.request(f"{kept_steps}@4", "Hello", {**SETTINGS, "precision": "fp32"})
    assert "loading" not in [event["type"] for event in arena.events(asked)], "it was loaded ahead"
    assert texts(f"{kept_steps}@0") == texts("starter") != texts(kept_steps) == texts(f"{kept_steps}@4")
    assert not (home.runs / kept_steps / "at").exists()
    with pytest.raises(UserError, match="not kept"):
        last(arena.compare(f"{kept_steps}@3", "Hello", SETTINGS))


def test_a_model_that_has_changed_answers_anew(arena, prefills, second_model, home, tiny_tokenizer):
    before = run(arena, model_ids=second_model)
    make_llama(len(tiny_tokenizer), seed=3).save_pretrained(home.runs / second_model / "model")
    after = run(arena, model_ids=second_model)
    assert len(prefills) == 2 and "shared" not in after[-1]
    assert [e["i"] for e in before if e["type"] == "token"] != [e["i"] for e in after if e["type"] == "token"]


def test_with_the_weights_ready_nobody_waits_for_another_visitor(arena):
    arena.warm("starter")
    first = arena.events(arena.request("starter", "Hello", {**SETTINGS, "max_new_tokens": 200}))
    while next(first)["type"] != "step":
        pass
    assert "waiting" not in [event["type"] for event in run(arena)]
    first.close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": ""}, "empty"),
        ({"settings": {"num_beams": 0}}, "num_beams"),
        ({"settings": {"num_beams": 1000}}, "num_beams"),
        ({"settings": {"temperature": math.nan}}, "temperature"),
        ({"settings": {"top_p": 0}}, "top_p"),
        ({"settings": {"max_new_tokens": 10_000}}, "max_new_tokens"),
        ({"settings": "hot"}, "settings"),
        ({"model_ids": []}, "No model was chosen"),
        ({"model_ids": ["starter"] * 3}, "3 models"),
        ({"prefix_ids": ["x"]}, "token ids"),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(arena, changes, words):
    with pytest.raises(UserError) as caught:
        arena.request(**{"model_ids": "starter", "prompt": "Hello", "settings": SETTINGS, **changes})
    assert words in str(caught.value) and caught.value.hint


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_ids": "nothing"}, "is not the name of a model"),
        ({"model_ids": "/no/such/folder"}, "folder"),
        ({"prompt": "word " * 400}, "tokens long"),
        ({"prefix_ids": [10**9]}, "token"),
    ],
)
def test_what_only_the_model_knows_ends_the_run_with_a_sentence(arena, changes, words):
    end = run(arena, **changes)[-1]
    assert end["state"] == "failed"
    assert words in end["message"] and end["hint"]


def test_a_model_whose_logits_are_nan_is_refused_and_the_next_request_works(arena, second_model, home, tiny_tokenizer):
    broken = make_llama(len(tiny_tokenizer), seed=2)
    with torch.no_grad():
        broken.model.norm.weight.fill_(math.nan)
    broken.save_pretrained(home.runs / second_model / "model")
    assert run(arena, model_ids=second_model)[-1]["state"] == "failed"
    assert run(arena)[-1]["state"] == "done"


def test_compare_raises_what_went_wrong(arena):
    with pytest.raises(UserError, match="is not the name of a model"):
        list(arena.compare("nothing", "Hello", SETTINGS))


def test_a_bug_is_told_as_a_failure_and_frees_the_model(arena):
    def decode(*_):
        raise ZeroDivisionError
        yield

    arena._decode = decode
    with pytest.raises(UserError, match="ZeroDivisionError"):
        list(arena.compare("starter", "Hello", SETTINGS))
    arena._decode = None
    assert run(arena)[-1]["state"] == "done"


def test_the_copied_python_repeats_greedy_and_beam_search(arena, capsys):
    settings = {**SETTINGS, "lanes": ["greedy", "beam"]}
    request = arena.request("starter", "Say <b>'hi'</b>", settings)
    exec(compile(arena.python(request), "copied", "exec"), {})  # noqa: S102 - it is our own text
    printed = capsys.readouterr().out
    final = last(arena.compare("starter", "Say <b>'hi'</b>", {**settings, "precision": "fp32"}))
    for name in ("greedy", "beam"):
        assert final["lanes"][name]["text"].rstrip("\ufffd") in printed


@pytest.mark.parametrize(
    ("prompt", "lane"),
    [
        ("Name three fruits", {"strategy": "greedy"}),
        ("Name three fruits", {"strategy": "beam", "num_beams": 3, "length_penalty": 2.0, "early_stopping": "never"}),
        ({"raw": "The quick brown"}, {"strategy": "beam", "num_beams": 2, "early_stopping": True}),
        ([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}], {"strategy": "greedy"}),
        ("Name three fruits", {"strategy": "greedy", "repetition_penalty": 1.3, "min_new_tokens": 9}),
        ("Name three fruits", {"strategy": "beam", "no_repeat_ngram_size": 2, "repetition_penalty": 1.2}),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "own penalties", "no template"])
@pytest.mark.slow
def test_the_copied_python_gives_the_same_tokens(arena, home, prompt, lane, kind):
    folder = home.models / "starter"
    if kind == "own penalties":  # such as Qwen's: generate applies them unless it is told not to
        config = json.loads((folder / "generation_config.json").read_text())
        config |= {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "min_new_tokens": 6}
        (folder / "generation_config.json").write_text(json.dumps(config))
    if kind == "no template":
        without_template(folder)
    own_model(folder)
    settings = {**SETTINGS, "max_new_tokens": 16, "precision": "fp32", "lanes": [{**lane, "name": "it"}]}
    ours = last(arena.compare("starter", prompt, settings))["lanes"]["it"]["token_ids"]
    names = {}
    exec(compile(arena.python(arena.request("starter", prompt, settings)), "copied", "exec"), names)  # noqa: S102 - it is our own text
    theirs = names["output"][0, names["inputs"]["input_ids"].shape[1] :].tolist()
    assert theirs[: len(ours)] == ours and set(theirs[len(ours) :]) <= {2}  # generate pads finished beams with EOS


def test_the_copied_python_of_two_models_asks_both(arena, second_model, capsys):
    settings = {**SETTINGS, "precision": "fp32", "lanes": ["greedy"]}
    exec(compile(arena.python(arena.request(["starter", second_model], "Hello", settings)), "copied", "exec"), {})  # noqa: S102
    printed = capsys.readouterr().out
    for model_id in ("starter", second_model):
        text = last(arena.compare(model_id, "Hello", settings))["lanes"]["greedy"]["text"]
        assert text.rstrip("\ufffd") in printed


def test_the_copied_python_sets_every_filter(arena):
    code = arena.python(arena.request("starter", {"raw": "It's"}, {**SETTINGS, "lanes": ["top_p", "min_p"]}))
    assert "top_k=0" in code and "top_p=0.9" in code and "min_p=0.05" in code and "set_seed(5)" in code
    compile(code, "copied", "exec")


def test_the_copied_python_bans_and_biases_the_same_words(arena):
    plain = last(arena.compare("starter", "Hello", {**SETTINGS, "lanes": ["greedy"]}))["lanes"]["greedy"]["token_ids"]
    settings = {**SETTINGS, "precision": "fp32", "lanes": ["greedy"], "logit_bias": {str(plain[0]): -100, "the": 4}}
    settings["bad_words"] = ["and so", "Hello"]
    ours = last(arena.compare("starter", "Hello", settings))["lanes"]["greedy"]["token_ids"]
    code = arena.python(arena.request("starter", "Hello", settings))
    names = {}
    exec(compile(code, "copied", "exec"), names)  # noqa: S102 - it is our own text
    theirs = names["output"][0, names["inputs"]["input_ids"].shape[1] :].tolist()
    assert theirs == ours and ours[0] != plain[0]
    assert "bad_words_ids=" in code and "sequence_bias=" in code


def test_the_copied_python_says_what_transformers_does_not_have(arena):
    settings = {**SETTINGS, "lanes": ["greedy", "beam"], "frequency_penalty": 0.5}
    code = arena.python(arena.request("starter", "Hello", settings))
    assert code.count("# frequency_penalty=0.5 is left out: transformers' generate has no such setting.\n") == 2
    assert "presence" not in code
    compile(code, "copied", "exec")


def test_the_copied_python_of_the_rarer_strategies_gives_what_generate_has_and_names_the_rest(arena):
    lanes = ["typical_p", "epsilon", "eta", "top_n_sigma", "xtc", "mirostat"]
    code = arena.python(arena.request("starter", "Hello", {**SETTINGS, "lanes": lanes}))
    for given in ("typical_p=0.9,", "epsilon_cutoff=0.001,", "eta_cutoff=0.002,"):
        assert code.count(f"    {given}\n") == 1
    for key in ("top_n_sigma", "xtc_threshold", "xtc_probability", "mirostat_tau", "mirostat_eta"):
        assert code.count(f"# {key}=") == 1 and f"    {key}=" not in code
    exec(compile(code, "copied", "exec"), {})  # noqa: S102 - it is our own text


def test_the_rarer_strategies_answer_beside_the_others(arena):
    lanes = ["greedy", "typical_p", "epsilon", "eta", "top_n_sigma", "xtc", "mirostat"]
    final = last(arena.compare("starter", "Hello", {**SETTINGS, "lanes": lanes}))
    assert list(final["lanes"]) == lanes and all(lane["token_ids"] for lane in final["lanes"].values())
    json.dumps(final, allow_nan=False)


def test_no_lane_says_a_banned_word(arena, tiny_model_folder):
    plain = last(arena.compare("starter", "Hello", SETTINGS))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    said = {token for lane in plain["lanes"].values() for token in lane["token_ids"]}
    words = [tokenizer.decode([token]) for token in said - set(tokenizer.all_special_ids)]
    banned = [word for word in words if word.strip() and "\ufffd" not in word][:20]
    again = last(arena.compare("starter", "Hello", {**SETTINGS, "bad_words": banned}))
    assert banned and again["settings"]["bad_words"] == banned
    for lane in again["lanes"].values():
        assert not {tokenizer.decode([token]) for token in lane["token_ids"]} & set(banned)


def test_a_fork_goes_on_with_the_penalties_of_the_whole_answer(arena):
    settings = {**SETTINGS, "lanes": ["greedy"], "frequency_penalty": 2.0, "min_new_tokens": 10}
    whole = [event["i"] for event in run(arena, settings=settings) if event["type"] == "token"]
    forked = [e["i"] for e in run(arena, settings=settings, prefix_ids=whole[:5]) if e["type"] == "token"]
    assert forked == whole[5:]


def test_the_copied_python_of_a_guest_pins_the_starters_commit(arena, home):
    request = arena.request("starter", "Hi", SETTINGS)
    assert "4 bits" in arena.python(request, guest=True)  # where the copy is not the repository's
    origin = {"source": "hub", "repository": starter.REPOSITORY, "revision": starter.REVISION}
    (home.models / "starter" / "origin.json").write_text(json.dumps(origin))
    code = arena.python(request, guest=True)
    assert code.count(f"revision={starter.REVISION!r}") == 2 and "4 bits" not in code


def test_no_name_of_a_lane_gets_out_of_its_comment_in_the_copied_python(arena):
    lanes = [{"strategy": "greedy", "name": f"a{end}raise SystemExit"} for end in ("\n", "\r", "\x0c", "\u2028")]
    code = arena.python(arena.request("starter", "Hi", {**SETTINGS, "lanes": lanes}))
    assert code.count("\n# a raise SystemExit\n") == 4


def test_states_add_up_to_the_same_whatever_is_asked_in_between(arena):
    events = run(arena)
    curious, patient = ResponseAccumulator(), ResponseAccumulator()
    for event in events:
        curious.add(event)
        patient.add(event)
        if curious.begun:
            curious.whole()
    assert curious.whole() == patient.whole()


def without_template(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = None
    for file in folder.glob("chat_template*"):
        file.unlink()
    tokenizer.save_pretrained(folder)


def test_a_tokenizer_without_chat_template_still_takes_a_chat(arena, home):
    without_template(home.models / "starter")
    assert run(arena)[-1]["state"] == "done"


@pytest.mark.slow
def test_a_tokenizer_without_pad_or_any_end_token_still_decodes(arena, home):
    folder = home.models / "starter"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token = tokenizer.bos_token = None
    tokenizer.save_pretrained(folder)
    own_model(folder)
    assert run(arena)[-1]["state"] == "done"
    assert run(arena, prompt={"raw": "Hello"})[-1]["state"] == "done"


def test_an_encoder_decoder_is_refused_plainly_and_the_next_request_works(arena, home, tiny_tokenizer):
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=len(tiny_tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    folder = home.root / "t5"
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    end = run(arena, model_ids=str(folder))[-1]
    assert end["state"] == "failed" and end["hint"]
    assert "T5ForConditionalGeneration" in end["message"] or "encoder-decoder" in end["message"]
    assert run(arena)[-1]["state"] == "done"


@pytest.mark.parametrize(("tokens", "state"), [(255, "done"), (256, "failed"), (257, "failed")])
def test_a_prompt_at_the_context_is_refused_and_one_token_under_it_gets_one_token(arena, tiny_tokenizer, tokens, state):
    ids = tiny_tokenizer("a" * 600)["input_ids"][:tokens]
    events = run(arena, prompt={"raw": tiny_tokenizer.decode(ids)})
    assert next((e["prompt_tokens"] for e in events if e["type"] == "begin"), [tokens]) == [tokens]
    assert events[-1]["state"] == state
    if state == "failed":
        assert f"{tokens} tokens long" in events[-1]["message"]


def test_a_run_says_what_computes_it_and_how_far_int8_is_off(arena):
    forwards = {}
    for precision in ("fp32", "int8"):
        begin = next(e for e in run(arena, settings={**SETTINGS, "precision": precision}) if e["type"] == "begin")
        forwards[precision] = begin["models"][0]["forward"]
    assert forwards["fp32"]["fused"] and forwards["fp32"]["error"] < 1e-4
    assert forwards["int8"]["form"] == "int8" and 1e-4 < forwards["int8"]["error"] < 0.5


def test_a_fork_of_two_models_that_cut_text_differently_is_refused_in_a_sentence(arena, second_model, home):
    from tests.conftest import make_tokenizer

    make_tokenizer(vocab_size=300).save_pretrained(home.runs / second_model / "model")
    own_model(home.runs / second_model / "model")
    end = run(arena, model_ids=["starter", second_model], prefix_ids=[350])[-1]
    assert end["state"] == "failed" and "different tokens" in end["message"]


def test_the_model_menu_lists_starter_and_runs(arena, second_model):
    assert [model["id"] for model in arena.models()] == ["starter", second_model]
    assert AutoModelForCausalLM is not None


def test_a_warm_model_is_in_memory_before_it_is_asked(arena):
    arena.warm("starter", "fp32")
    assert not [event for event in run(arena, settings={**SETTINGS, "precision": "fp32"}) if event["type"] == "loading"]
    with pytest.raises(UserError):
        arena.warm("nothing")


def test_a_guest_is_told_the_guests_limits(arena, settings):
    limits = replace(settings, guest_prompt_tokens=5, guest_prompts=2).for_guests()
    end = list(arena.events(arena.request("starter", "word " * 20, SETTINGS, limits=limits)))[-1]
    assert "LLMDEMO_GUEST_PROMPT_TOKENS" in end["message"]
    with pytest.raises(UserError) as caught:
        arena.batch_request("starter", ["a", "b", "c"], SETTINGS, limits=limits)
    assert "LLMDEMO_GUEST_PROMPTS" in caught.value.hint


def test_the_copied_python_loads_a_tokenizer_once_until_it_changes(arena, monkeypatch):
    from llmdemo.arena import service

    loads, load = [], service.load.load_tokenizer
    monkeypatch.setattr(service.load, "load_tokenizer", lambda entry: (loads.append(entry.id), load(entry))[1])
    request = arena.request("starter", "Hi", SETTINGS)
    assert arena.python(request) == arena.python(request) and loads == ["starter"]
    config = arena._home.models / "starter" / "tokenizer_config.json"
    config.write_text(config.read_text() + " ")
    own_model(config.parent)
    arena.python(request)
    assert loads == ["starter"] * 2
