"""Bounds what a model's chat template may take: time, turns of loops, the size of what it makes. Imports no torch.

A template is code that comes with a model and runs at each prompt, in the app and in the workers. Jinja's sandbox, which
transformers renders in, keeps it from the machine, but not from looping or from doubling a text. `install` has
transformers render in a sandbox that counts; the text of a template within the bounds stays the same.
"""

import itertools
import re
import threading
import time
from collections.abc import Iterator
from functools import lru_cache, wraps
from typing import cast

from jinja2 import TemplateRuntimeError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from llmdemo.core.sentences import say

SECONDS = 3.0
"""How long one conversation may render."""
MOST_SOURCE = 2**20
"""Characters of a template."""
MOST_MADE = 2**26
"""Characters and items that one rendering may make in all, beside 64 times what it is given."""
_MOST_TURNS = 1_000_000
_MOST_WIDTH = 10_000
_MOST_BITS = 4096
_ITEM = 64
"""What an item of a list or dict counts, in characters: about the bytes that it takes."""
_PADS = {"center", "ljust", "rjust", "zfill", "expandtabs"}
_ACROSS = {"replace", "join", "format", "center", "indent", "wordwrap", "batch", "slice", "sum", "tojson", "pprint"}
_ACROSS |= {"string", "urlize", "xmlattr", "escape", "e", "forceescape", "list", "sort", "unique", "groupby"}


_WIDE = {"indent", "center", "wordwrap", "batch", "slice", "tojson"}
"""Filters that are told a width or a number of parts."""


class TooMuch(TemplateRuntimeError):
    """The template takes more than is allowed."""

    def __init__(self, what: str):
        self.sentence = say("template_too_much", what=what)
        super().__init__(str(self.sentence))


class _Budget(threading.local):
    """What the rendering of this thread has left."""

    def __init__(self):
        self.made, self.turns, self.until = float("inf"), float("inf"), float("inf")

    def begin(self, given: int) -> None:
        self.made, self.turns = MOST_MADE + 64 * given, _MOST_TURNS
        self.until = time.monotonic() + SECONDS

    def spend(self, size: int) -> None:
        """Counts characters or items before, or right after, they are made."""
        self.made -= size
        if self.made < 0:
            raise TooMuch(say("template_long"))

    def turn(self) -> None:
        self.turns -= 1
        if self.turns < 0:
            raise TooMuch(say("template_loops", most=_MOST_TURNS))
        if time.monotonic() > self.until:
            raise TooMuch(say("template_slow", seconds=SECONDS))


_budget = _Budget()


def weigh(value) -> int:
    """Characters of the texts and items of the containers in `value`, shared ones as often as they stand there.

    Stops counting, with TooMuch, where the budget ends: a list can hold itself twice, thirty times over.
    """
    left, total = [value], 0
    while left:
        item = left.pop()
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, dict):
            left += itertools.chain(item.keys(), item.values())
        elif isinstance(item, (list, tuple, set, frozenset)):
            left += item
        elif isinstance(item, Namespace):
            left.append(item._Namespace__attrs)
        total += _ITEM
        if total + len(left) > _budget.made:
            _budget.spend(total + len(left))
    return total


def _counted(value) -> Iterator:
    """The items of what a loop goes through, each counted."""
    for item in value:
        _budget.turn()
        yield item


def _joined(parts: list) -> str:
    """What `~` makes of its parts."""
    for part in parts:
        _budget.spend(weigh(part))
    return "".join(map(str, parts))


def _concat(parts) -> str:
    """What stands in a block, or in the whole template."""
    found = []
    for part in parts:
        _budget.spend(len(part) + 1)
        found.append(part)
    return "".join(found)


def _shown(value):
    """A value that `{{ }}` is about to write."""
    if not isinstance(value, str):
        _budget.spend(weigh(value))
    return value


def _kept(value):
    """A list or dict that the template has made."""
    _budget.spend(weigh(value))
    return value


class _Counting(NodeTransformer):
    """Puts the counters into a template: into its loops, its `~`, and the lists and dicts that it writes down."""

    def _call(self, name: str, node: nodes.Node) -> nodes.Node:
        return nodes.Filter(cast(nodes.Expr, node), name, [], [], None, None).set_lineno(node.lineno)

    def visit_For(self, node: nodes.For):
        self.generic_visit(node)
        node.iter = self._call("counted", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat):
        self.generic_visit(node)
        return self._call("joined", nodes.List(node.nodes).set_lineno(node.lineno))

    def _container(self, node: nodes.Expr):
        self.generic_visit(node)
        stored = getattr(node, "ctx", "load") != "load"
        return node if stored or node.find(nodes.Name) is None else self._call("kept", node)

    visit_List = visit_Dict = visit_Tuple = _container


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox of `base`, with bounds."""

    intercepted_binops = frozenset(["+", "*", "%", "**"])
    concat = staticmethod(_concat)

    def __init__(self, base: ImmutableSandboxedEnvironment):
        super().__init__(
            trim_blocks=base.trim_blocks,
            lstrip_blocks=base.lstrip_blocks,
            keep_trailing_newline=base.keep_trailing_newline,
            extensions=[type(extension) for extension in base.extensions.values()],
            finalize=_shown,
        )
        self.globals.update(base.globals)
        self.globals.pop("lipsum", None)
        self.filters.update(base.filters)
        for name in _ACROSS & self.filters.keys():
            self.filters[name] = _weighed(name, self.filters[name])
        self.filters |= {"counted": _counted, "joined": _joined, "kept": _kept}

    def _parse(self, source, name, filename):
        if len(source) > MOST_SOURCE:
            raise TooMuch(say("template_source_long", n=len(source)))
        return _Counting().visit(super()._parse(source, name, filename))

    def call_binop(self, context, operator, left, right):
        if operator == "*":
            _check_product(left, right)
        elif operator == "**" and not _is_small_power(left, right):
            raise TooMuch(say("template_power"))
        elif operator == "%" and isinstance(left, str):
            _check_format(left)
            _budget.spend(weigh(right))
        elif operator == "+" and isinstance(left, (str, list, tuple)):
            size = len(left) + (len(right) if isinstance(right, (str, list, tuple)) else 0)
            _budget.spend(size if isinstance(left, str) else _ITEM * size)
        return super().call_binop(context, operator, left, right)

    def call(self, context, called, *args, **kwargs):
        _budget.turn()
        owner, name = getattr(called, "__self__", None), getattr(called, "__name__", "")
        if isinstance(owner, str):
            _check_method(owner, name, args, kwargs)
        for value in (*args, *kwargs.values()):
            if not isinstance(value, str):
                _budget.spend(weigh(value))
        result = super().call(context, called, *args, **kwargs)
        if isinstance(result, (str, list, tuple, dict)):
            _budget.spend(len(result))
        return result

    def wrap_str_format(self, value):
        wrapped = super().wrap_str_format(value)
        if wrapped is not None:
            _check_format(value.__self__)
        return wrapped


def _check_product(left, right) -> None:
    for text, number in ((left, right), (right, left)):
        if isinstance(text, (str, list, tuple)) and isinstance(number, int):
            _budget.spend(len(text) * max(0, number) * (1 if isinstance(text, str) else _ITEM))
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > _MOST_BITS:
        raise TooMuch(say("template_digits"))


def _is_small_power(left, right) -> bool:
    return not isinstance(right, int) or not isinstance(left, int) or left.bit_length() * abs(right) <= _MOST_BITS


def _check_format(text: str) -> None:
    """Raises TooMuch where a format asks for a width of its own, or of many digits."""
    if re.search(r"\d{5}|%[^a-zA-Z%]*\*|\{[^{}]*\{", text):
        raise TooMuch(say("template_pads"))
    _budget.spend(10 * len(text))


def _check_method(text: str, name: str, args: tuple, kwargs: dict) -> None:
    """Counts what a method of a text will make before it makes it."""
    if name in _PADS:
        widths = [value for value in (*args, *kwargs.values()) if isinstance(value, int)]
        if any(width > _MOST_WIDTH for width in widths):
            raise TooMuch(say("template_pads"))
        _budget.spend(len(text) * (max(widths, default=8) if name == "expandtabs" else 1) + max(widths, default=0))
    elif name == "replace" and len(args) >= 2:
        _count_replaced(text, *args[:2])
    elif name == "join" and args:
        parts = args[0] if isinstance(args[0], (list, tuple, str)) else ()
        _budget.spend(len(text) * len(parts) + weigh(parts))
    elif name in ("format", "format_map"):
        _check_format(text)
    elif name == "translate":
        _budget.spend(len(text) * (1 + weigh(args[0] if args else "")))
    _budget.spend(len(text))


def _count_replaced(text: str, old, new) -> None:
    if isinstance(old, str) and isinstance(new, str):
        _budget.spend(text.count(old) * len(new) + len(text))


def _weighed(name: str, used):
    """The filter `used`, which makes no more than the budget has left of what it is given."""

    @wraps(used)
    def bounded(*args, **kwargs):
        _budget.turn()
        values = [value for value in (*args, *kwargs.values()) if _is_plain(value)]
        if name in _WIDE and any(isinstance(value, int) and value > _MOST_WIDTH for value in values[1:]):
            raise TooMuch(say("template_pads"))
        sizes = [weigh(value) for value in values]
        texts = [value for value in values if isinstance(value, str)]
        if name == "replace" and len(texts) >= 3:
            _count_replaced(*texts[:3])
        elif name == "format" and texts:
            _check_format(texts[0])
        elif name == "join" or name in _WIDE:
            spare = [value if isinstance(value, int) else len(value) for value in values[1:] if _is_plain(value)]
            sizes.append((sizes or [0])[0] * max([0, *(each for each in spare if isinstance(each, int))]))
        elif name == "sum":
            sizes.append(sizes[0] ** 2 if values and _holds_lists(values[0]) else 0)
        _budget.spend(sum(sizes))
        return used(*args, **kwargs)

    return bounded


def _is_plain(value) -> bool:
    return isinstance(value, (str, int, float, list, tuple, dict, set, frozenset, Namespace))


def _holds_lists(value) -> bool:
    return isinstance(value, (list, tuple)) and any(isinstance(item, (list, tuple, str)) for item in value)


class _Bounded:
    """A compiled template whose `render` keeps to the budget; all else is the template's own."""

    def __init__(self, template):
        self._template = template

    def render(self, **given) -> str:
        outer = dict(_budget.__dict__)
        _budget.begin(_size(given))
        try:
            return self._template.render(**given)
        except (MemoryError, RecursionError, OverflowError) as error:
            raise TooMuch(say("template_ends_in", kind=type(error).__name__)) from error
        finally:
            _budget.__dict__.update(outer)

    def __getattr__(self, name: str):
        return getattr(self._template, name)


def _size(given) -> int:
    left, total = [given], 0
    while left:
        item = left.pop()
        left += item.values() if isinstance(item, dict) else item if isinstance(item, (list, tuple)) else ()
        total += len(item) if isinstance(item, str) else 1
    return total


def install() -> None:
    """Has transformers compile chat templates in the sandbox with bounds. Harmless when done again."""
    from transformers.utils import chat_template_utils

    plain = chat_template_utils._compile_jinja_template
    if getattr(plain, "bounded", False):
        return

    @lru_cache(maxsize=32)
    def compile_bounded(source: str) -> _Bounded:
        if len(source) > MOST_SOURCE:
            raise TooMuch(say("template_source_long", n=len(source)))
        try:
            return _Bounded(BoundedEnvironment(plain("").environment).from_string(source))
        except (RecursionError, MemoryError, OverflowError) as error:
            raise TooMuch(say("template_nested", kind=type(error).__name__)) from error

    compile_bounded.bounded = True  # type: ignore[attr-defined]
    chat_template_utils._compile_jinja_template = compile_bounded
