"""Range queries by Prometheus' HTTP API: https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries

Points stand at whole multiples of the step since the epoch, whatever window is asked for: the same window, or one that
overlaps, gives the same points again.
"""

import base64
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

import msgspec

from adapters.driven.sources.points import NotPoints, columns, in_parts
from adapters.driven.sources.turns import Pieces
from adapters.driven.sources.vendor_failures import AnswerTooLarge, Refusal
from adapters.driven.sources.vendor_http import Vendor, VendorHttp
from adapters.runtime.outbound import OutboundReply
from core.domain.collection import ProblemKind
from core.domain.columns import Float64s, Int64s
from core.domain.times import SECOND_US, TimeRange
from ports.driven.metric_source import Collected, SeriesPoints

STEPS_PER_CALL: Final = 1_000
"""Prometheus takes 11,000; with a thousand series that would be ten million points."""
WARNING_CHARS_MAX: Final = 200


class Answered(msgspec.Struct, frozen=True, eq=False):
    """One series of an answer: its labels as Prometheus gives them, and its points."""

    labels: Mapping[str, str]
    points: tuple[Int64s, Float64s]


class RangeQueries:
    """Asks one server for ranges. Not for concurrent calls."""

    def __init__(self, http: VendorHttp, *, step_us: int) -> None:
        self._http = http
        self._step_us = step_us

    async def parts(
        self, key: str, promql: str, within: TimeRange, named: Callable[[Answered], SeriesPoints | None]
    ) -> AsyncGenerator[Collected, None]:
        """The query's series as `named` has them (None: not wanted), piece after piece of the range; histograms are
        left out. No part is `complete`.

        Raises `VendorFailed` and `BudgetSpent`; with `UNREACHABLE` at the end of a piece that the server, by its own
        word, answered in part only.
        """
        step_us = self._step_us
        pieces = Pieces(within, length_us=STEPS_PER_CALL * step_us, shortest_us=step_us)
        for piece in pieces:
            first, last = -(-piece.start_us // step_us), (piece.end_us - 1) // step_us
            if first > last:
                continue
            params = {
                "query": promql,
                "start": _seconds(first * step_us),
                "end": _seconds(last * step_us),
                "step": _seconds(step_us),
            }
            try:
                answer = await self._http.form("/api/v1/query_range", _Answer, params)
            except AnswerTooLarge as too_large:
                pieces.shorten(piece, too_large)
                continue
            partial = [each for each in answer.warnings or () if not each.startswith("PromQL ")]
            series = (each for each in map(named, self._series(answer, piece)) if each is not None)
            for part in in_parts(key, series, answered_until_us=None if partial else piece.end_us):
                yield part
            if partial:
                raise self._http.failure(
                    ProblemKind.UNREACHABLE,
                    f"{self._http.vendor.name} answered in part only: {partial[0][:WARNING_CHARS_MAX]}",
                )

    def _series(self, answer: "_Answer", piece: TimeRange) -> list[Answered]:
        name = self._http.vendor.name
        if answer.status != "success" or answer.data is None:
            raise self._http.failure(ProblemKind.BAD_QUERY, f"{name} refused the query: {answer.error}")
        if answer.data.result_type != "matrix":
            raise self._http.failure(
                ProblemKind.BAD_ANSWER, f"{name} answered a {answer.data.result_type[:32]!r}, not a matrix"
            )
        try:
            return [
                Answered(each.metric, columns(each.values, SECOND_US, piece, nulls=False))
                for each in answer.data.result
            ]
        except NotPoints as error:
            raise self._http.failure(ProblemKind.BAD_ANSWER, f"{name} answered {error}") from None


def prometheus_vendor(base_url: str, credentials: Mapping[str, str], *, name: str = "Prometheus") -> Vendor:
    """A server at `base_url`, asked with a `bearer_token`, or `username` and `password`, or nothing."""
    headers, secrets = {}, []
    if "bearer_token" in credentials:
        headers["Authorization"] = f"Bearer {credentials['bearer_token']}"
        secrets.append(credentials["bearer_token"])
    elif "username" in credentials:
        pair = f"{credentials['username']}:{credentials['password']}"
        encoded = base64.b64encode(pair.encode()).decode()
        headers["Authorization"] = f"Basic {encoded}"
        secrets += [encoded, credentials["password"]]

    def explain(reply: OutboundReply) -> Refusal | None:
        return _explained(name, reply)

    return Vendor(name=name, base_url=base_url, headers=headers, secrets=tuple(secrets), explain=explain)


class _Series(msgspec.Struct):
    metric: dict[str, str]
    values: list[Any] = []


class _Data(msgspec.Struct, rename={"result_type": "resultType"}):
    result_type: str
    result: list[_Series]


class _Answer(msgspec.Struct, rename={"error_type": "errorType"}):
    status: str
    data: _Data | None = None
    error_type: str = ""
    error: str = ""
    warnings: list[str] | None = None


class _Error(msgspec.Struct, rename={"error_type": "errorType"}):
    status: str
    error_type: str
    error: str = ""


def _explained(name: str, reply: OutboundReply) -> Refusal | None:
    """By `errorType`, as Prometheus documents it; proxies before it answer in other forms."""
    try:
        error = msgspec.json.decode(reply.body, type=_Error)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    said = f"{name} answered {reply.status} ({error.error_type}): {error.error}"
    match error.error_type:
        case "bad_data" | "execution" if "too many samples" in error.error:
            return Refusal(kind=ProblemKind.BAD_QUERY, message=said, too_large=True)
        case "bad_data" | "execution":
            return Refusal(kind=ProblemKind.BAD_QUERY, message=said)
        case "timeout" | "canceled":
            # A shorter window is less work.
            return Refusal(kind=ProblemKind.UNREACHABLE, message=said, too_large=True)
        case "unavailable" | "internal":
            return Refusal(kind=ProblemKind.UNREACHABLE, message=said, again=True)
        case _:
            return None


def _seconds(ts_us: int) -> str:
    whole, rest_us = divmod(ts_us, SECOND_US)
    return f"{whole}.{rest_us // 1_000:03d}" if rest_us else str(whole)
