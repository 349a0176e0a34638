"""Decoding: fast for good bodies, exact about bad ones."""

import json
import math
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.driving.http import decode
from adapters.driving.http.decode import Decoded, decode_batch, decode_single
from adapters.driving.http.problem import RequestError
from core.domain.errors import InvalidInput, TooLarge
from core.domain.points import POINTS_PER_REQUEST_MAX, Point

KEYS = ("name", "value", "labels", "timestamp", "source")

texts = st.text(st.characters(codec="utf-8"), max_size=12)
numbers = st.one_of(st.integers(-(10**25), 10**25), st.floats(allow_nan=False, allow_infinity=False), st.just(10**400))
anything = st.one_of(st.none(), st.booleans(), numbers, texts, st.lists(texts, max_size=2))
labels = st.dictionaries(st.one_of(texts, st.sampled_from(KEYS)), texts, max_size=3)
good_fields = st.fixed_dictionaries(
    {"name": texts, "value": numbers.filter(lambda number: number != 10**400)},
    optional={"labels": labels, "timestamp": st.one_of(texts, st.none()), "source": st.one_of(texts, st.none())},
)
any_fields = st.dictionaries(st.one_of(st.sampled_from(KEYS), texts), anything, max_size=6)
repeats = st.lists(st.tuples(st.sampled_from(KEYS), st.just("again")), max_size=1)
metrics = st.tuples(st.one_of(good_fields, good_fields, any_fields), st.one_of(st.just([]), st.just([]), repeats)).map(
    lambda parts: [*parts[0].items(), *parts[1]]
)


def written(pairs: list[tuple[str, Any]], *, ascii_only: bool) -> str:
    """A JSON object with these members, keys that repeat included."""
    members = (f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=ascii_only)}" for key, value in pairs)
    return "{" + ", ".join(members) + "}"


def acceptable(pairs: list[tuple[str, Any]]) -> bool:
    """Whether a metric with these members should decode: the slow, obvious way."""
    fields = dict(pairs)
    value = fields.get("value")
    return (
        len(fields) == len(pairs)
        and isinstance(fields.get("name"), str)
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max
        and isinstance(fields.get("timestamp"), str | None)
        and isinstance(fields.get("source"), str | None)
    )


def plain(point: Point) -> tuple[object, ...]:
    """A point's members, labels decoded."""
    return point.name, point.value, json.loads(bytes(point.labels)), point.timestamp, point.source


@given(st.lists(metrics, min_size=1, max_size=8), st.booleans())
def test_a_batch_decodes_as_a_plain_json_reader_would_have_it(
    batch: list[list[tuple[str, Any]]], ascii_only: bool
) -> None:
    """Every good metric is kept with its members, every bad one is refused by its index, and nothing else happens."""
    body = '{"metrics": [' + ", ".join(written(pairs, ascii_only=ascii_only) for pairs in batch) + "]}"
    decoded = decode_batch(body.encode())
    good = [index for index, pairs in enumerate(batch) if acceptable(pairs)]
    assert list(range(len(batch)) if decoded.indexes is None else decoded.indexes) == good
    assert [rejection.index for rejection in decoded.rejections] == sorted(set(range(len(batch))) - set(good))
    expected = [dict(batch[index]) for index in good]
    assert [plain(point) for point in decoded.points] == [
        (m["name"], float(m["value"]), m.get("labels", {}), m.get("timestamp"), m.get("source")) for m in expected
    ]


@given(metrics)
def test_a_single_metric_decodes_as_in_a_batch(pairs: list[tuple[str, Any]]) -> None:
    """The single route and the batch route agree on what a metric is."""
    text = written(pairs, ascii_only=True)
    single = decode_single(text.encode())
    batch = decode_batch(f'{{"metrics":[{text}]}}'.encode())
    assert [plain(point) for point in single.points] == [plain(point) for point in batch.points]
    assert list(single.rejections) == list(batch.rejections)


@given(st.binary(max_size=200))
def test_any_bytes_give_points_or_a_refusal(body: bytes) -> None:
    """No bytes whatever make decoding fail otherwise than by its own errors."""
    for decoder in (decode_single, decode_batch):
        with suppress(RequestError, InvalidInput, TooLarge):
            assert isinstance(decoder(body), Decoded)


@pytest.mark.parametrize(
    ("metric", "field", "reason"),
    [
        ('{"value":1}', "name", "is missing"),
        ('{"name":"a"}', "value", "is missing"),
        ('{"name":"a","value":"1"}', "value", "must be a number, not a string"),
        ('{"name":"a","value":true}', "value", "must be a number, not true or false"),
        ('{"name":"a","value":null}', "value", "must be a number, not null"),
        ('{"name":"a","value":1e400}', "value", "is beyond what a 64-bit floating-point number holds"),
        ('{"name":5,"value":1}', "name", "must be a string, not a whole number"),
        (
            '{"name":"a","value":1,"timestamp":5}',
            "timestamp",
            'must be an RFC 3339 string such as "2026-01-31T12:00:00Z", not a whole number',
        ),
        ('{"name":"a","value":1,"source":[]}', "source", "must be a string or null, not a list"),
        ("[]", "metric", "must be an object, not a list"),
        ('{"name":"a","value":1,"value":2}', "value", "appears more than once in this metric"),
        ('{"name":"a","name":"b","value":2}', "name", "appears more than once in this metric"),
        ('{"name":"a","value":1,"v\\u0061lue":2}', "value", "appears more than once in this metric"),
        ('{"name":"a","value":1,"labels":{},"labels":{"a":"b"}}', "labels", "appears more than once in this metric"),
    ],
)
def test_a_bad_metric_is_refused_in_plain_words(metric: str, field: str, reason: str) -> None:
    """The refusal names the field and says what would be right, and the metric's neighbours are kept."""
    body = f'{{"metrics":[{{"name":"ok","value":1}},{metric},{{"name":"ok","value":2}}]}}'
    decoded = decode_batch(body.encode())
    assert [point.value for point in decoded.points] == [1.0, 2.0]
    assert decoded.indexes == [0, 2]
    assert [(r.index, r.field, r.reason) for r in decoded.rejections] == [(1, field, reason)]


def test_a_repeat_that_another_metric_balances_is_found() -> None:
    """Two timestamps in one metric and none in the next count like one in each, and are still told apart."""
    body = '{"metrics":[{"name":"a","value":1,"timestamp":"x","timestamp":"y"},{"name":"b","value":2}]}'
    decoded = decode_batch(body.encode())
    assert [(r.index, r.field) for r in decoded.rejections] == [(0, "timestamp")]
    assert [point.name for point in decoded.points] == ["b"]


def test_a_repeated_value_is_found_in_a_large_batch() -> None:
    """Past the size where every key is counted, values still are."""
    good = '{"name":"a","value":1,"labels":{"host":"h"}},' * 5_000
    decoded = decode_batch(f'{{"metrics":[{good}{{"name":"a","value":1,"value":2}}]}}'.encode())
    assert len(decoded.points) == 5_000
    assert [(r.index, r.field) for r in decoded.rejections] == [(5_000, "value")]


def test_labels_called_like_fields_are_no_repeats() -> None:
    """A label may be named, or hold, "value"; it only takes the longer way."""
    body = b'{"metrics":[{"name":"value","value":1,"labels":{"value":"value","name":"x"}}]}'
    decoded = decode_batch(body)
    assert list(decoded.rejections) == []
    assert decoded.points[0].name == "value"


def test_unknown_members_are_ignored() -> None:
    """What a newer agent adds does not make its metrics unreadable."""
    decoded = decode_single(b'{"name":"a","value":1,"exemplar":{"trace":"x"}}')
    assert len(decoded.points) == 1
    assert decoded.rejections == ()


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body is empty; a JSON object is needed"),
        (b'{"name":5,', "the JSON ends too early, after byte 10"),
        (b"{", "the JSON ends too early, after byte 1"),
        (b'{"name":"a","value":1}x', "JSON is malformed: trailing characters (at byte 23)"),
        (b'{"name":"a","value":NaN}', "JSON has no NaN or Infinity, as at byte 20; leave the metric out"),
        (b'{"name":"a","value":-Infinity}', "JSON has no NaN or Infinity, as at byte 21; leave the metric out"),
        (b'{"name":"\xff","value":1}', "the body is not UTF-8 at byte 9: invalid start byte"),
        (b'{"name":"a","value":1,"labels":{"a":"\xff"}}', "the body is not UTF-8 at byte 37: invalid start byte"),
        (b'{"name":"a\x00","value":1}', "JSON is malformed: invalid character (at byte 10)"),
        (b'{"name":"a","value":1,"labels":' + b"[" * 100_000, "the JSON is nested too deeply"),
        (b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "the JSON is nested too deeply"),
    ],
)
def test_what_is_not_json_is_refused_whole_with_the_place(body: bytes, detail: str) -> None:
    """A malformed body says where, and stores nothing; alone or as a metric among others."""
    with pytest.raises(RequestError) as refusal:
        decode_single(body)
    assert (refusal.value.kind.status, str(refusal.value)) == (400, detail)
    with pytest.raises((RequestError, InvalidInput)):
        decode_batch(b'{"metrics":[{"name":"a","value":1},' + body + b"]}" if body else body)


@pytest.mark.parametrize("body", [b"[]", b"5", b"{}", b'{"metrics":5}', b'{"metrics":null}', b'"metrics"'])
def test_another_shape_than_a_batch_is_refused(body: bytes) -> None:
    """The refusal names the member that is needed."""
    with pytest.raises(InvalidInput) as refusal:
        decode_batch(body)
    assert refusal.value.field == "metrics"
    assert refusal.value.reason.endswith('send {"metrics": […]}')


def test_a_batch_given_twice_is_refused() -> None:
    """Two lists under one key would lose one of them."""
    with pytest.raises(InvalidInput):
        decode_batch(b'{"metrics":[{"name":"a","value":1}],"metrics":[{"name":"b","value":1}]}')


def test_an_empty_batch_is_refused() -> None:
    """Nothing to store is a sender's mistake worth telling."""
    with pytest.raises(RequestError) as refusal:
        decode_batch(b'{"metrics":[]}')
    assert refusal.value.kind.status == 422


@pytest.mark.parametrize("metric", [b'{"name":"a","value":1}', b"0"], ids=["good", "bad"])
def test_more_metrics_than_a_request_may_hold_are_refused(metric: bytes) -> None:
    """One more than the limit is too many, whether they would decode or not; the limit itself is not."""
    decode_batch(b'{"metrics":[' + b",".join([metric] * POINTS_PER_REQUEST_MAX) + b"]}")
    with pytest.raises(TooLarge) as refusal:
        decode_batch(b'{"metrics":[' + b",".join([metric] * (POINTS_PER_REQUEST_MAX + 1)) + b"]}")
    assert refusal.value.limit == POINTS_PER_REQUEST_MAX


@pytest.mark.parametrize("metric", [b'{"name":"a","value":1}', b"0"], ids=["good", "bad"])
def test_a_flood_of_metrics_is_counted_before_it_is_decoded(metric: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions of tiny metrics are refused without making an object for each."""
    monkeypatch.setattr(decode, "_batch", None)
    monkeypatch.setattr(decode, "_metrics", None)
    monkeypatch.setattr(decode, "UNCOUNTED_BYTES_MAX", 1_000)
    count = 50 * POINTS_PER_REQUEST_MAX + 10
    with pytest.raises(TooLarge):
        decode_batch(b'{ "metrics" : [ ' + b" , ".join([metric] * count) + b"]}")


def test_values_keep_every_bit() -> None:
    """Any finite float comes back as it was written in its shortest form."""
    for value in (0.1, -0.0, 5e-324, 1.7976931348623157e308, 2**53 + 1.0):
        point = decode_single(json.dumps({"name": "a", "value": value}).encode()).points[0]
        assert point.value == value
        assert math.copysign(1, point.value) == math.copysign(1, value)
