"""`sextant drift`: finding it, listing it, settling it."""

import json
from typing import cast

import pytest

from adapters.driving.cli.short_ids import short_ids
from adapters.runtime.clock import SystemClock
from core.domain import telemetry as names
from core.domain.drift import DriftSeverity
from core.domain.times import HOUR_US, MINUTE_US
from tests.support.cluster_telemetry import pod_samples, write_pods
from tests.support.recommending import drift_event, recommendation
from tests.support.storages import Storage
from tests.unit.cli.served_api import Commands, ServedApi

LONG = "2026-11-22-cpu-over-request-shop-checkout-1a2b3c4d"


def with_drift(api: ServedApi, drift_id: str = LONG, **changes: object) -> None:
    """An open drift, as somebody reported it."""
    message = "uses \x1b[31mtoo\u202e much"
    event = drift_event(drift_id, message=message, evidence={"observed": 1.8, "why\x1b[0m": "a\nb"}, **changes)
    api.within(api.storage.drift.add(api.tenant.id, event))


def test_drift_is_listed_and_shown(api: ServedApi, sextant: Commands) -> None:
    """Open ones, unless asked otherwise; with what shows it and what is recommended."""
    assert "no open drift" in sextant("drift", "list")
    with_drift(api)
    with_drift(api, "b-2", severity=DriftSeverity.CRITICAL, cluster_id="other")
    api.within(api.storage.recommendations.add(api.tenant.id, recommendation(drift_id=LONG)))
    printed = sextant("drift", "list", "--cluster", "prod-eu")
    assert printed.splitlines()[0].split() == ["ID", "SEVERITY", "SINCE", "WHAT", "WHERE", "MESSAGE"]
    words = printed.splitlines()[1].split()
    assert (words[0], words[4], words[-1]) == (LONG, "cpu_memory", "much")
    assert "b-2" in sextant("drift", "list", "--severity", "critical")
    assert "there are more" in sextant("drift", "list", "--limit", "1")
    for typed in (LONG, "1a2b3c4d", LONG[:20]):
        shown = sextant("drift", "show", typed)
        assert "prod-eu/shop/checkout" in shown
        assert "recommended: right_size (proposed): sextant recommendations show rec-1" in shown
    assert [text for text in printed + shown if not text.isprintable() and text != "\n"] == []
    assert json.loads(sextant("drift", "show", "1a2b3c4d", "--json"))["drift_id"] == LONG
    assert "no drift event named 'absent'" in sextant.refused("drift", "show", "absent")


def test_drift_is_settled_with_a_note(api: ServedApi, sextant: Commands) -> None:
    """By whoever has the right; settled ones are listed when asked for."""
    with_drift(api)
    for verb, status in (("acknowledge", "acknowledged"), ("ignore", "ignored"), ("resolve", "resolved")):
        assert sextant("drift", verb, "1a2b3c4d", "--note", "known") == f"{status}: uses too\\u202e much\n"
    assert "no open drift" in sextant("drift", "list")
    lines = sextant("drift", "list", "--all").splitlines()
    assert lines[0].split()[5] == "STATUS"
    assert "resolved" in lines[1]
    shown = sextant("drift", "show", LONG)
    assert "resolved by " in shown
    assert "known" in shown
    assert sextant("drift", "list", "--status", "ignored") == "no drift\n"
    assert json.loads(sextant("drift", "ignore", LONG, "--json"))["status"] == "ignored"


def test_a_cluster_is_looked_at_now(api: ServedApi, sextant: Commands) -> None:
    """What is found is said, and where to read on."""
    start_us = SystemClock().now_us() - 4 * HOUR_US
    values = {names.CPU_USAGE: 1.8, names.CPU_REQUEST: 0.5}
    samples = [pod_samples(metric, [value] * 48, start_us, every_us=5 * MINUTE_US) for metric, value in values.items()]
    api.within(write_pods(cast("Storage", api.storage), api.tenant.id, samples))
    lines = sextant("drift", "find", "prod-eu").splitlines()
    assert lines[0] == "prod-eu: 1 found, 1 new, 0 resolved"
    assert lines[-1] == "sextant drift list --cluster prod-eu lists them"
    assert json.loads(sextant("drift", "find", "prod-eu", "--json"))["opened"] == 0
    assert "asks for" in sextant("drift", "list")


def test_a_terminal_of_80_columns_has_room_for_it(
    api: ServedApi, sextant: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids are what commands take, whole on their line; the message has the room that is left."""
    with_drift(api)
    with_drift(api, "2026-11-21-memory-shift-shop-checkout-5e6f7a8b")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    lines = sextant("drift", "list").splitlines()
    assert {line.split()[0] for line in lines[1:]} >= {"1a2b3c4d", "5e6f7a8b"}
    assert max(map(len, lines)) <= 80


def test_what_several_ids_have_in_common_is_told_apart(api: ServedApi, sextant: Commands) -> None:
    """Nothing is done to either."""
    for drift_id in ("one-long-name", "one-long-word"):
        with_drift(api, drift_id)
    said = sextant.refused("drift", "resolve", "one-long", status=2)
    assert "is part of several ids: " in said
    assert "one-long-name" in said
    assert len(sextant("drift", "list").splitlines()) == 3


def test_a_terminal_shows_what_tells_ids_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole words of the end, or the beginning; piped, all of it."""
    ids = [LONG, "2026-11-21-cpu-over-request-shop-checkout-1a2b3c4d", "x-0a0b0c0d-2", "short"]
    assert short_ids(ids, by_end=True) == ids
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert short_ids(ids, by_end=True) == [ids[0][8:], ids[1][8:], "0a0b0c0d-2", "short"]
    assert short_ids([LONG, "2026-11-21-x-5e6f7a8b"], by_end=True) == ["1a2b3c4d", "5e6f7a8b"]
    assert short_ids(["0123456789", "0123456700", "abc"], by_end=False) == ["012345678", "012345670", "abc"]
    assert short_ids([], by_end=True) == []
