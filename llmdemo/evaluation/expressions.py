"""The value of an arithmetic expression that a model wrote: exact fractions, a parser of its own, no code that is run.

Grammar: sums of products of powers of numbers, variables, functions of one or several arguments, and parentheses. What it
may take is bounded: characters, nesting, the size of numbers.
"""

import re
from collections.abc import Mapping
from fractions import Fraction

_LONGEST, _DEEPEST, _MOST_BITS, _MOST_POWER = 500, 40, 4096, 512
_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*|\.\d+)|([A-Za-z_]\w*)|(\*\*|//|[-+*/%^(),]))")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "⁄": "/"})
_FUNCTIONS = {"abs": abs, "min": min, "max": max, "floor": lambda x: Fraction(x // 1), "ceil": lambda x: -(-x // 1)}


class BadExpression(ValueError):
    """It is no expression, has no value, or would take too much."""


def value_of(text: str, variables: Mapping[str, Fraction] | None = None) -> Fraction:
    """The exact value. Raises BadExpression."""
    if len(text) > _LONGEST:
        raise BadExpression("it is too long")
    parser = _Parser(_tokens(text.translate(_SIGNS)), variables or {})
    value = parser.sum(0)
    if parser.next is not None:
        raise BadExpression(f"{parser.next!r} is left over")
    return value


def passes(answer: str, right: str) -> bool | None:
    """Whether `answer` is an expression that does what `right` asks; None where that asks nothing.

    right: an expression, whose value must be the same, or tests of variables, "x=2: 7; x=0, y=1: 3". Of an answer of several lines
    the last one counts, and of one with "=" what stands before the first: "3 * (2 + 5) = 21".
    """
    lines = [line for line in answer.strip().splitlines() if line.strip()]
    written = lines[-1].partition("=")[0].strip(" .$`") if lines else ""
    try:
        tests = _tests(right)
    except BadExpression:
        return None
    try:
        return all(value_of(written, variables) == value for variables, value in tests)
    except BadExpression:
        return False


def _tests(right: str) -> list[tuple[dict[str, Fraction], Fraction]]:
    if ":" not in right:
        return [({}, value_of(right.rpartition("=")[2]))]
    found = []
    for test in (part for part in right.split(";") if part.strip()):
        given, _, value = test.partition(":")
        pairs = [each.partition("=") for each in given.split(",")]
        found.append(({name.strip(): value_of(number) for name, _, number in pairs}, value_of(value)))
    return found


def _tokens(text: str) -> list[str]:
    found, place, text = [], 0, text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise BadExpression(f"{text[place : place + 10]!r} is no part of an expression")
        found.append(match.group().strip())
        place = match.end()
    return found


class _Parser:
    """Recursive descent: sum → product → signed → power → atom."""

    def __init__(self, tokens: list[str], variables: Mapping[str, Fraction]):
        self._tokens, self._place, self._variables = tokens, 0, variables

    @property
    def next(self) -> str | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _take(self, *signs: str) -> str | None:
        sign = self.next
        if sign is None or sign not in signs:
            return None
        self._place += 1
        return sign

    def _need(self, sign: str) -> None:
        if self._take(sign) is None:
            raise BadExpression(f"{sign!r} is missing")

    def sum(self, depth: int) -> Fraction:
        if depth > _DEEPEST:
            raise BadExpression("it is nested too deep")
        value = self._product(depth)
        while sign := self._take("+", "-"):
            other = self._product(depth)
            value = _bounded(value + other if sign == "+" else value - other)
        return value

    def _product(self, depth: int) -> Fraction:
        value = self._signed(depth)
        while sign := self._take("*", "/", "//", "%"):
            other = self._signed(depth)
            if sign != "*" and not other:
                raise BadExpression("it divides by zero")
            results = {"*": lambda a, b: a * b, "/": lambda a, b: a / b, "//": lambda a, b: Fraction(a // b)}
            value = _bounded(results.get(sign, lambda a, b: a % b)(value, other))
        return value

    def _signed(self, depth: int) -> Fraction:
        if depth > _DEEPEST:
            raise BadExpression("it is nested too deep")
        if sign := self._take("-", "+"):
            value = self._signed(depth + 1)
            return -value if sign == "-" else value
        return self._power(depth)

    def _power(self, depth: int) -> Fraction:
        base = self._atom(depth)
        if not self._take("**", "^"):
            return base
        exponent = self._signed(depth + 1)
        if exponent.denominator != 1 or abs(exponent) > _MOST_POWER or (not base and exponent < 0):
            raise BadExpression("this power has no value here")
        if (base.numerator.bit_length() + base.denominator.bit_length()) * abs(exponent) > _MOST_BITS:
            raise BadExpression("its numbers are too large")
        return Fraction(base ** int(exponent))

    def _atom(self, depth: int) -> Fraction:
        token = self.next
        if token is None:
            raise BadExpression("it ends too early")
        self._place += 1
        if token == "(":
            value = self.sum(depth + 1)
            self._need(")")
            return value
        if token[0].isdigit() or token[0] == ".":
            return _bounded(Fraction(token.rstrip(".") or "0"))
        if token in self._variables:
            return self._variables[token]
        if token not in _FUNCTIONS:
            raise BadExpression(f"{token!r} is no number and no function")
        return self._called(token, depth)

    def _called(self, name: str, depth: int) -> Fraction:
        self._need("(")
        values = [self.sum(depth + 1)]
        while self._take(","):
            values.append(self.sum(depth + 1))
        self._need(")")
        several = name in ("min", "max") and len(values) > 1
        if several != (len(values) > 1):
            raise BadExpression(f"{name} takes one value")
        return Fraction(_FUNCTIONS[name](values if name in ("min", "max") else values[0]))  # type: ignore[operator]


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MOST_BITS:
        raise BadExpression("its numbers are too large")
    return value
