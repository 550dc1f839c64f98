"""A chat template is bounded where it renders: in time, in turns of loops, in what it makes; a good one writes the same."""

import time

import pytest
from transformers.utils import chat_template_utils

from llmdemo.core.errors import UserError
from llmdemo.data.render import render
from llmdemo.models import template
from llmdemo.models.load import load_tokenizer

CONVERSATION = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "One {x} and 5 %d?"},
    {"role": "assistant", "content": "Two <b>, and 'three'."},
    {"role": "user", "content": "And\nthen?"},
]
GROW = "{% set ns = namespace(s='a', l=[1], d={}, n=3) %}{% for i in range(40) %}STEP{% endfor %}{{ ns.s }}{{ ns.l }}{{ ns.d }}"
STEPS = {
    "joined": "{% set ns.s = ns.s ~ ns.s %}",
    "added": "{% set ns.s = ns.s + ns.s %}",
    "replaced by a filter": "{% set ns.s = ns.s|replace('a', 'aa') %}",
    "replaced by a method": "{% set ns.s = ns.s.replace('a', 'aaaa') %}",
    "joined by a filter": "{% set ns.s = [ns.s, ns.s, 'aa']|join(ns.s) %}",
    "formatted": "{% set ns.s = '%s%s' % (ns.s, ns.s) %}",
    "a block": "{% set x %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = x %}",
    "a list": "{% set ns.l = [ns.l, ns.l] %}",
    "a tuple": "{% set ns.l = (ns.l, ns.l) %}",
    "lists added": "{% set ns.l = ns.l + ns.l %}",
    "an object": "{% set ns.d = {'a': ns.d, 'b': ns.d} %}",
    "a dict": "{% set ns.d = dict(a=ns.d, b=ns.d) %}",
    "namespaces": "{% set ns.d = namespace(a=ns.d, b=ns.d) %}",
    "a number": "{% set ns.n = ns.n * ns.n %}",
}
ONCE = {
    "loops in loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "a list in a loop": "{% for i in range(99999) %}{% set x = range(99999)|sort|list %}{% endfor %}",
    "a macro": "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "a macro without end": "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "times": "{{ 'a' * 9999999999 }}",
    "times a list": "{{ ([1] * 9999999999)|length }}",
    "a power": "{{ 10 ** (10 ** 10) }}",
    "centred": "{{ 'a'|center(9999999999) }}",
    "a pad": "{{ 'a'.ljust(9999999999) }}",
    "a width": "{{ '%9999999999d' % 1 }}",
    "a width of its own": "{{ '%*d' % (999999999, 1) }}",
    "a format": "{{ '{:>9999999999}'.format(1) }}",
    "a format in a format": "{{ '{:>{}}'.format(1, 999999999) }}",
    "batches": "{{ [1]|batch(999999999, 'x')|list }}",
    "an indent": "{{ ('\n' * 100000)|indent(9999) }}",
    "tabs": "{{ ('\t' * 10000).expandtabs(10000) }}",
    "a range": "{{ range(9999999999999999999) }}",
    "brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "a source": "a" * (2**20 + 1),
}


@pytest.fixture
def tokenizer(tiny_model_folder):
    return load_tokenizer(tiny_model_folder)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("source", [*(GROW.replace("STEP", step) for step in STEPS.values()), *ONCE.values()],
                         ids=[*STEPS, *ONCE])  # fmt: skip
@pytest.mark.slow
def test_a_template_that_grows_or_loops_without_end_is_a_sentence_within_seconds(tokenizer, source):
    tokenizer.chat_template = source
    began = time.monotonic()
    with pytest.raises(UserError, match="chat template refuses a conversation: it .*more than a chat template may"):
        render([CONVERSATION], tokenizer, generation=True)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{{ loop.index ~ '/' ~ loop.length ~ loop.last }}{{ m.role|upper }}{{ m['content'] }}{% endfor %}",
        "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ [m.role, 'x']|join(',') }}{% endfor %}",
        "{% set ns = namespace(x=0) %}{% for i in range(5) %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }} {{ 2 ** 10 }}",
        "{{ 20260101|string }} {{ '%05d|%-6s' % (7, 'a') }} {{ '{} {:>4}'.format('a', 'b') }} {{ 'a' * 3 + 'b' }}",
        "{{ messages|tojson(indent=2) }}{{ messages[::-1]|map(attribute='role')|list }}{{ {'a': messages[0]} }}",
        "{% macro f(a, b=1) %}<{{ a }}{{ b }}>{% endmacro %}{{ f('q') }}{{ ' a '.strip().replace('a', 'bb') }}{{ none }}",
        "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}{{ nothing }}{{ 'abc'|center(9)|indent(2) }}",
        "{% for m in messages if m.role != 'system' %}{{ m.content|trim }}{% else %}none{% endfor %}{{ bos_token }}",
    ],
)  # fmt: skip
def test_a_template_within_the_bounds_writes_what_transformers_writes(source):
    given = {"messages": CONVERSATION, "tools": None, "add_generation_prompt": True, "bos_token": "<s>"}
    plain = chat_template_utils._cached_compile_jinja_template(source).render(**given)
    assert chat_template_utils._compile_jinja_template(source).render(**given) == plain != ""


def test_the_sandbox_still_keeps_a_template_from_the_machine(tokenizer):
    for source in ("{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ cycler.__init__.__globals__.os }}"):
        tokenizer.chat_template = source
        try:
            (text,) = render([CONVERSATION], tokenizer, generation=True)
        except UserError:
            continue
        assert text == ""


def test_a_long_conversation_is_not_taken_for_an_attack(tokenizer):
    turns = [{"role": ("user", "assistant")[i % 2], "content": "word " * 4000} for i in range(200)]
    (text,) = render([turns], tokenizer, generation=True)
    assert len(text) > 4_000_000


def test_the_bounds_are_installed_once():
    template.install()
    assert chat_template_utils._compile_jinja_template("a") is chat_template_utils._compile_jinja_template("a")
