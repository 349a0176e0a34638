"""PromQL as far as alerting expressions go that may be plain thresholds: text to a tree, or the reason why not.

Source: https://prometheus.io/docs/prometheus/latest/querying/basics/ and …/operators/
"""

from typing import Final

import msgspec

from adapters.driving.cli.promql_tokens import Token, duration_us, quoted, tokens
from core.domain.matchers import MatchOp

DEPTH_MAX: Final = 60
"""Of parentheses and calls within each other; nobody reads more."""
OPERATORS_MAX: Final = 300
"""In one expression; a tree of as many can still be walked."""
AGGREGATORS: Final = frozenset(
    {"sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "topk", "bottomk", "quantile", "count_values"}
)
COMPARISONS: Final = frozenset({"==", "!=", ">", "<", ">=", "<="})
SET_OPERATORS: Final = frozenset({"and", "or", "unless"})

_PRECEDENCE: Final = {
    "or": 1,
    "and": 2,
    "unless": 2,
    **dict.fromkeys(COMPARISONS, 3),
    "+": 4,
    "-": 4,
    "*": 5,
    "/": 5,
    "%": 5,
    "atan2": 5,
    "^": 6,
}
_MATCH_OPS: Final = {"=": MatchOp.EQUAL, "!=": MatchOp.NOT_EQUAL, "=~": MatchOp.MATCHES, "!~": MatchOp.NOT_MATCHES}


class Untranslatable(Exception):  # it is a finding about a rule, not a fault
    """Why an expression means nothing that a Sextant rule can say."""


class Number(msgspec.Struct, frozen=True):
    """A constant."""

    value: float


class Text(msgspec.Struct, frozen=True):
    """A string, which only stands as an argument."""

    value: str


class Selector(msgspec.Struct, frozen=True):
    """Series of one metric; `range_us` None: their latest samples."""

    metric: str
    matchers: tuple[tuple[str, MatchOp, str], ...]
    range_us: int | None = None


class Call(msgspec.Struct, frozen=True):
    """A function."""

    name: str
    arguments: tuple["Expression", ...]


class Aggregate(msgspec.Struct, frozen=True):
    """An aggregation over series; `by` None where it says neither by nor without."""

    name: str
    by: tuple[str, ...] | None
    without: bool
    arguments: tuple["Expression", ...]


class Binary(msgspec.Struct, frozen=True):
    """Two operands."""

    operator: str
    left: "Expression"
    right: "Expression"
    is_bool: bool = False


Expression = Number | Text | Selector | Call | Aggregate | Binary


def parse(text: str) -> Expression:
    """The tree of an expression; raises `Untranslatable`, and nothing else, for any text."""
    parser = _Parser(text)
    expression = parser.expression(0, 0)
    if parser.here.kind != "end":
        raise parser.unexpected()
    return expression


class _Parser:
    def __init__(self, text: str) -> None:
        try:
            self._tokens = tokens(text)
        except ValueError as error:
            raise Untranslatable(str(error)) from None
        self._place = 0
        self._operators = 0

    @property
    def here(self) -> Token:
        return self._tokens[self._place]

    def unexpected(self) -> Untranslatable:
        found = "the end" if self.here.kind == "end" else repr(self.here.text[:40])
        return Untranslatable(f"is not PromQL that can be read: unexpected {found}")

    def expression(self, binding: int, depth: int) -> Expression:
        """Everything from here whose operators bind more tightly than `binding`."""
        if depth > DEPTH_MAX:
            raise Untranslatable(f"is nested more than {DEPTH_MAX} deep")
        left = self._unary(depth)
        while True:
            operator = self.here.word
            precedence = _PRECEDENCE.get(operator, 0) if self.here.kind in ("operator", "name") else 0
            if precedence <= binding:
                return left
            self._place += 1
            self._operators += 1
            if self._operators > OPERATORS_MAX:
                raise Untranslatable(f"has more than {OPERATORS_MAX} operators")
            is_bool = self._take_word("bool")
            for word in ("on", "ignoring", "group_left", "group_right"):
                if self.here.kind == "name" and self.here.word == word:
                    raise Untranslatable(f"matches two sets of series with {word}()")
            right = self.expression(precedence - 1 if operator == "^" else precedence, depth + 1)
            left = Binary(operator, left, right, is_bool)

    def _unary(self, depth: int) -> Expression:
        if self.here.kind == "operator" and self.here.text in "+-":
            sign = self._next().text
            operand = self.expression(_PRECEDENCE["*"], depth + 1)
            return operand if sign == "+" else Binary("-", Number(0.0), operand)
        return self._modified(self._primary(depth))

    def _modified(self, expression: Expression) -> Expression:
        """What follows an operand in brackets, or behind offset and @."""
        if self.here.kind == "range":
            range_text = self._next().text
            if ":" in range_text:
                raise Untranslatable("has a subquery")
            if not isinstance(expression, Selector) or expression.range_us is not None:
                self._place -= 1
                raise self.unexpected()
            try:
                expression = msgspec.structs.replace(expression, range_us=duration_us(range_text.strip()))
            except ValueError as error:
                raise Untranslatable(str(error)) from None
            return self._modified(expression)
        if self.here.kind == "name" and self.here.word == "offset":
            raise Untranslatable("looks at another time with offset")
        if self.here.text == "@":
            raise Untranslatable("looks at another time with @")
        return expression

    def _primary(self, depth: int) -> Expression:
        token = self._next()
        match token.kind:
            case "number":
                return Number(token.number)
            case "string":
                return Text(self._string(token))
            case "name" if self.here.text == "(" and token.word not in _PRECEDENCE:
                if token.word in AGGREGATORS:
                    return self._aggregate(token.word, depth)
                return Call(token.text, self._arguments(depth))
            case "name" if token.word in AGGREGATORS and self.here.word in ("by", "without"):
                return self._aggregate(token.word, depth)
            case "name" if token.word not in _PRECEDENCE:
                return self._selector(token.text)
            case "operator" if token.text == "(":
                inner = self.expression(0, depth + 1)
                self._expect(")")
                return inner
            case "operator" if token.text == "{":
                self._place -= 1
                return self._selector(None)
            case _:
                self._place -= 1
                raise self.unexpected()

    def _aggregate(self, name: str, depth: int) -> Expression:
        by, without = self._grouping()
        arguments = self._arguments(depth)
        if by is None and not without:
            by, without = self._grouping()
        return Aggregate(name, by, without, arguments)

    def _grouping(self) -> tuple[tuple[str, ...] | None, bool]:
        if self.here.kind != "name" or self.here.word not in ("by", "without"):
            return None, False
        without = self._next().word == "without"
        self._expect("(")
        labels = []
        while self.here.text != ")":
            token = self._next()
            if token.kind not in ("name", "string"):
                self._place -= 1
                raise self.unexpected()
            labels.append(self._string(token) if token.kind == "string" else token.text)
            if not self._take(","):
                break
        self._expect(")")
        return tuple(dict.fromkeys(labels)), without

    def _arguments(self, depth: int) -> tuple[Expression, ...]:
        self._expect("(")
        arguments = []
        while self.here.text != ")":
            arguments.append(self.expression(0, depth + 1))
            if not self._take(","):
                break
        self._expect(")")
        return tuple(arguments)

    def _selector(self, metric: str | None) -> Selector:
        matchers = []
        for label, operator, value in self._matchers() if self.here.text == "{" else []:
            if label != "__name__":
                matchers.append((label, operator, value))
            elif operator is not MatchOp.EQUAL or metric is not None:
                raise Untranslatable("chooses several metrics by their names")
            else:
                metric = value
        if metric is None:
            raise Untranslatable("names no metric")
        return Selector(metric, tuple(matchers))

    def _matchers(self) -> list[tuple[str, MatchOp, str]]:
        self._expect("{")
        found = []
        while self.here.text != "}" or self.here.kind == "string":
            token = self._next()
            if token.kind not in ("name", "string"):
                self._place -= 1
                raise self.unexpected()
            label = self._string(token) if token.kind == "string" else token.text
            operator = _MATCH_OPS.get(self.here.text) if self.here.kind == "operator" else None
            if operator is not None:
                self._place += 1
                if self.here.kind != "string":
                    raise self.unexpected()
                found.append((label, operator, self._string(self._next())))
            elif token.kind == "string":
                found.append(("__name__", MatchOp.EQUAL, label))
            else:
                raise self.unexpected()
            if not self._take(","):
                break
        self._expect("}")
        return found

    def _next(self) -> Token:
        token = self.here
        if token.kind == "end":
            raise self.unexpected()
        self._place += 1
        return token

    def _take(self, text: str) -> bool:
        taken = self.here.kind == "operator" and self.here.text == text
        self._place += taken
        return taken

    def _take_word(self, word: str) -> bool:
        taken = self.here.kind == "name" and self.here.word == word
        self._place += taken
        return taken

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self.unexpected()

    def _string(self, token: Token) -> str:
        try:
            return quoted(token.text)
        except ValueError as error:
            raise Untranslatable(str(error)) from None
