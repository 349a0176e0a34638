"""Bytes → points and refusals.

Theory of operation. Nearly every body is well-formed and every metric in it well-typed, so one msgspec call
decodes all of it, labels left as raw bytes, in 0.2 s per million metrics. Only where that objects are the metrics
decoded one by one, so that each good one is kept and each bad one refused by index, field and reason.

A key that stands twice in one metric is refused, since either value may be meant, while JSON decoders silently
keep the last. It is found by counting: as many occurrences of a key as metrics that have it means that none
repeats. Where the counts differ (a label may be called "value" too), the metrics are looked at one by one.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from adapters.driving.http.json_text import (
    UNREADABLE,
    check_utf8,
    element_count,
    explained,
    malformed,
    repeated_key,
)
from adapters.driving.http.problem import Kind, RequestError
from core.domain.errors import InvalidInput, TooLarge
from core.domain.points import NO_LABELS, POINTS_PER_REQUEST_MAX, Point, Rejection

COUNT_ALL_KEYS_BYTES_MAX: Final = 64 * 1024
"""Up to here every key is counted; past it only the value, since five counts would take longer than decoding."""
UNCOUNTED_BYTES_MAX: Final = 4 << 20
"""A body of this size holds at most 190,000 well-typed metrics, few enough to decode before counting them."""
COMMAS_PER_METRIC_MAX: Final = 50
"""More than a metric with the most labels has; a body with more commas than this allows is counted first."""

NO_METRICS: Final = Kind(422, "no-metrics", "The request holds no metrics")


class Decoded(msgspec.Struct, frozen=True, eq=False):
    """Points in the order sent, their places where some did not decode (None: all did), the others' refusals."""

    points: Sequence[Point]
    indexes: Sequence[int] | None = None
    rejections: Sequence[Rejection] = ()


class _Batch(msgspec.Struct, gc=False):
    metrics: list[Point]


class _Metrics(msgspec.Struct, gc=False):
    metrics: list[msgspec.Raw]


class _Outline(msgspec.Struct, gc=False):
    metrics: msgspec.Raw


_point = msgspec.json.Decoder(Point)
_raw = msgspec.json.Decoder(msgspec.Raw)
_batch = msgspec.json.Decoder(_Batch)
_metrics = msgspec.json.Decoder(_Metrics)
_outline = msgspec.json.Decoder(_Outline)


def decode_single(body: bytes) -> Decoded:
    """The one metric that `body` is. Raises `RequestError` for what is not JSON."""
    check_utf8(body)
    try:
        point = _point.decode(body)
        if not _keys_may_repeat(body, (point,)):
            return Decoded((point,))
    except msgspec.ValidationError:
        pass
    except UNREADABLE as error:
        raise malformed(body, error) from None
    return _one_by_one(body, (_well_formed(body),))


def decode_batch(body: bytes) -> Decoded:
    """The metrics of ``{"metrics": […]}``.

    Raises `RequestError` for what is not JSON or holds none, `InvalidInput` for another shape, `TooLarge` for
    more than `POINTS_PER_REQUEST_MAX`.
    """
    check_utf8(body)
    try:
        if len(body) > UNCOUNTED_BYTES_MAX:
            _refuse_flood(body)
        points = _batch.decode(body).metrics
        if not points:
            raise RequestError(NO_METRICS, '"metrics" is empty; at least one is needed')
        _check_count(len(points))
        if not _keys_may_repeat(body, points):
            return Decoded(points)
    except msgspec.ValidationError:
        pass
    except UNREADABLE as error:
        raise malformed(body, error) from None
    return _one_by_one(body, _raw_metrics(body))


def _well_formed(body: bytes) -> bytes:
    """`body`, whose end the decoder has not seen where it objected to the beginning."""
    try:
        _raw.decode(body)
    except UNREADABLE as error:
        raise malformed(body, error) from None
    return body


def _keys_may_repeat(body: bytes, points: Sequence[Point]) -> bool:
    """Whether some metric may have a key twice; False is certain up to `COUNT_ALL_KEYS_BYTES_MAX`."""
    if body.count(b'"value"') != len(points):
        return True
    if len(body) > COUNT_ALL_KEYS_BYTES_MAX:
        return False
    return (
        # An escape can spell a key in other bytes.
        b"\\" in body
        or body.count(b'"name"') != len(points)
        or body.count(b'"labels"') != sum([point.labels is not NO_LABELS for point in points])
        or body.count(b'"timestamp"') != sum([point.timestamp is not None for point in points])
        or body.count(b'"source"') != sum([point.source is not None for point in points])
        or body.count(b'"metrics"') > 1
    )


def _raw_metrics(body: bytes) -> Sequence[msgspec.Raw]:
    """Each metric's own bytes."""
    try:
        _refuse_flood(body)
        raws = _metrics.decode(body).metrics
        if body.count(b'"metrics"') > 1 and repeated_key(body) is not None:
            raise InvalidInput("metrics", "a key of the body appears more than once")
    except msgspec.ValidationError as error:
        field, reason = explained(error)
        what = reason if field else f"the body {reason}"
        raise InvalidInput("metrics", f'{what}; send {{"metrics": […]}}') from None
    except UNREADABLE as error:
        raise malformed(body, error) from None
    _check_count(len(raws))
    return raws


def _one_by_one(body: bytes, raws: Sequence[msgspec.Raw | bytes]) -> Decoded:
    points: list[Point] = []
    indexes: list[int] = []
    rejections: list[Rejection] = []
    for index, raw in enumerate(raws):
        try:
            outcome = _metric(bytes(raw), index)
        except UNREADABLE as error:
            raise malformed(body, error) from None
        if isinstance(outcome, Point):
            points.append(outcome)
            indexes.append(index)
        else:
            rejections.append(outcome)
    return Decoded(points, indexes if rejections else None, rejections)


def _metric(raw: bytes, index: int) -> Point | Rejection:
    try:
        point = _point.decode(raw)
    except msgspec.ValidationError as error:
        field, reason = explained(error)
        return Rejection(index, field or "metric", reason)
    if _keys_may_repeat(raw, (point,)):
        key = repeated_key(raw)
        if key is not None:
            return Rejection(index, key, "appears more than once in this metric")
    return point


def _check_count(count: int) -> None:
    if count > POINTS_PER_REQUEST_MAX:
        raise TooLarge(
            f"more than {POINTS_PER_REQUEST_MAX} metrics in one request; send them in several",
            limit=POINTS_PER_REQUEST_MAX,
        )


def _refuse_flood(body: bytes) -> None:
    """Raises `TooLarge` where decoding would make far more objects than a request may hold metrics."""
    if body.count(b",") > COMMAS_PER_METRIC_MAX * POINTS_PER_REQUEST_MAX:
        array = bytes(_outline.decode(body).metrics)
        if array.lstrip().startswith(b"["):
            _check_count(element_count(array, count_max=POINTS_PER_REQUEST_MAX))
