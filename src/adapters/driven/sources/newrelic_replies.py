"""NerdGraph's answers: what they hold, and what is wrong where they say so. GraphQL says it with status 200."""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Final

import msgspec

from adapters.driven.sources.naming import label_set
from adapters.driven.sources.newrelic_signals import Ask
from adapters.driven.sources.points import NotPoints, columns, series_points
from adapters.driven.sources.vendor_failures import Refusal
from core.domain.collection import ProblemKind
from core.domain.times import SECOND_US, TimeRange
from ports.driven.metric_source import SeriesPoints

_NO_VALUES: Final = frozenset({"beginTimeSeconds", "endTimeSeconds", "facet", "inspectedCount", "comparison"})
_NO_ACCESS: Final = frozenset({"ACCESS_DENIED", "FORBIDDEN", "UNAUTHORIZED"})
_LIMITED: Final = frozenset({"TOO_MANY_REQUESTS", "RATE_LIMITED"})
_BAD_QUERY: Final = frozenset({"INVALID_INPUT", "BAD_USER_INPUT", "NOT_FOUND"})

Row = Mapping[str, Any]
"""One bucket of one facet; what it holds beside its time depends on the query."""
Facet = tuple[str | None, ...]


class Nrql(msgspec.Struct):
    """A query's result."""

    results: list[dict[str, Any]]


class _Account(msgspec.Struct):
    nrql: Nrql | None = None


class _Actor(msgspec.Struct):
    account: _Account | None = None


class _Data(msgspec.Struct):
    actor: _Actor | None = None


class _Extensions(msgspec.Struct, rename={"error_class": "errorClass"}):
    error_class: str = ""
    error_code: str = ""


class _Error(msgspec.Struct):
    message: str = ""
    extensions: _Extensions | None = None


class Reply(msgspec.Struct):
    """An answer of NerdGraph."""

    data: _Data | None = None
    errors: list[_Error] | None = None

    @property
    def nrql(self) -> Nrql | None:
        """The query's result, where there is one."""
        actor = self.data.actor if self.data else None
        return actor.account.nrql if actor and actor.account else None


def judged(reply: Reply, account_id: int) -> Refusal | None:
    """What is wrong with an answer of status 200; None: nothing."""
    if reply.errors:
        return _refusal(reply.errors[0], account_id)
    if reply.nrql is None:
        return Refusal(kind=ProblemKind.BAD_ANSWER, message="New Relic answered neither results nor what is wrong")
    return None


def unknown_key() -> Refusal:
    """What status 401 means."""
    return Refusal(
        kind=ProblemKind.CREDENTIALS,
        message="New Relic does not know the key: it must be a user key (NRAK-…), not revoked, and of the region "
        "(us or eu) that this source names",
    )


def by_facet(ask: Ask, rows: Sequence[Row]) -> dict[Facet, list[Row]]:
    """The rows of each facet; raises `NotPoints` where they do not have the facets that were asked for."""
    found: dict[Facet, list[Row]] = {}
    for row in rows:
        facet = row.get("facet")
        values = tuple(facet) if isinstance(facet, list) else (facet,) if ask.facets else ()
        if len(values) != len(ask.facets) or not all(each is None or isinstance(each, str) for each in values):
            raise NotPoints(f"a row with {len(values)} of {len(ask.facets)} facets")
        found.setdefault(values, []).append(row)
    return found


def series_of(ask: Ask, faceted: Mapping[Facet, Sequence[Row]], piece: TimeRange) -> Iterator[SeriesPoints]:
    """Each facet's series, one for each metric of `ask`; raises `NotPoints`."""
    no_values = _NO_VALUES.union(attribute for attribute, _ in ask.facets)
    for facet, rows in faceted.items():
        named = zip(ask.facets, facet, strict=True)
        labels = label_set((label, value) for (_, label), value in named if value is not None)
        for name, alias in ask.metrics:
            pairs = [[row.get("beginTimeSeconds"), _value(row, alias, no_values)] for row in rows]
            yield series_points(name, labels, columns(pairs, SECOND_US, piece, nulls=True))


def _value(row: Row, alias: str | None, no_values: Set[str]) -> Any:
    """The row's value; a percentile stands in an object with the percentage as its only key."""
    if alias is None:
        # Facets stand in a row a second time, by their own names, or by those that the query gives them.
        values = [value for name, value in row.items() if name not in no_values and not isinstance(value, str)]
        if len(values) != 1:
            raise NotPoints(f"{len(values)} values in a row; a query selects one")
        value = values[0]
    else:
        value = row.get(alias)
    if isinstance(value, dict):
        if len(value) != 1:
            raise NotPoints(f"{len(value)} percentiles in one value; a query selects one")
        (value,) = value.values()
    return value


def _refusal(error: _Error, account_id: int) -> Refusal:
    extensions = error.extensions or _Extensions()
    code = extensions.error_class or extensions.error_code
    said = f"New Relic ({code or 'no class'}): {error.message}"
    text = error.message.lower()
    if code == "BAD_API_KEY":
        return unknown_key()
    if code in _NO_ACCESS:
        return Refusal(
            kind=ProblemKind.PERMISSION,
            message=f"the key's user may not query account {account_id}: it needs a role there with the permission to "
            f"read NRQL query data. {said}",
        )
    if code in _LIMITED or "rate limit" in text or "too many requests" in text:
        return Refusal(kind=ProblemKind.RATE_LIMITED, message=said, again=True)
    if code == "TIMEOUT" or "timed out" in text or "timeout" in text:
        # A shorter range is less work.
        return Refusal(kind=ProblemKind.UNREACHABLE, message=f"the query took too long. {said}", too_large=True)
    if code in _BAD_QUERY or "nrql syntax" in text or "resulted in 400" in text:
        return Refusal(kind=ProblemKind.BAD_QUERY, message=said)
    return Refusal(kind=ProblemKind.UNREACHABLE, message=said, again=True)
