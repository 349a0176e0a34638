"""The silence store port: silences, maintenance windows and inhibitions."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from core.domain.alerts import InhibitionSpec, SilenceSpec
from core.domain.errors import Conflict, InvalidInput, NotFound
from tests.support.alert_storage import AlertStorage
from tests.support.storages import Tenancy

NOW = datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPEC = SilenceSpec(matchers=("host=a",), ends_at=NOW + HOUR, reason="deploy")
FULL = SilenceSpec(
    matchers=('host=~"a|b".*', "zone!=", "alertname=Größe ✓", "path=\\x,{}\n"),
    starts_at=NOW + HOUR,
    ends_at=NOW + 2 * HOUR,
    reason="Wartung – “all” ✓\n\t" + "x" * 900,
)
INHIBITION = InhibitionSpec(
    name="Rack – “all” ✓",
    source=("alertname=rack down", "a=~b|c"),
    target=("severity=warning",),
    equal=("rack", "zone"),
)


async def test_kept_as_given(alerting: AlertStorage, other_alerting: AlertStorage, tenancy: Tenancy) -> None:
    """Every field comes back as it was given, in any process; without a start it starts now."""
    plain = await alerting.silences.create_silence(tenancy.id, SPEC, author="key:abc", now=NOW)
    full = await alerting.silences.create_silence(tenancy.id, FULL, author="Größe", now=NOW)
    assert (plain.matchers, plain.starts_at, plain.ends_at) == (SPEC.matchers, NOW, SPEC.ends_at)
    assert (plain.author, plain.reason, plain.created_at) == ("key:abc", SPEC.reason, NOW)
    assert (full.matchers, full.starts_at, full.ends_at, full.reason, full.author) == (
        FULL.matchers,
        FULL.starts_at,
        FULL.ends_at,
        FULL.reason,
        "Größe",
    )
    assert list(await other_alerting.silences.silences(tenancy.id, ended_before=None)) == [plain, full]
    assert await other_alerting.silences.silence(tenancy.id, full.id) == full


async def test_those_that_have_ended_can_be_left_out(alerting: AlertStorage, tenancy: Tenancy) -> None:
    """The range of a silence is half-open: at its end it has ended."""
    plain = await alerting.silences.create_silence(tenancy.id, SPEC, author="a", now=NOW)
    full = await alerting.silences.create_silence(tenancy.id, FULL, author="a", now=NOW)
    tick = timedelta(microseconds=1)
    for at, expected in ((SPEC.ends_at - tick, [plain, full]), (SPEC.ends_at, [full]), (FULL.ends_at, [])):
        assert list(await alerting.silences.silences(tenancy.id, ended_before=at)) == expected


async def test_a_silence_ends_after_it_starts(alerting: AlertStorage, tenancy: Tenancy) -> None:
    """One that would have ended by its start, named or not, is refused, and what was there stays."""
    with pytest.raises(InvalidInput, match="ends_at"):
        await alerting.silences.create_silence(tenancy.id, SPEC, author="a", now=SPEC.ends_at)
    created = await alerting.silences.create_silence(tenancy.id, FULL, author="a", now=NOW)
    with pytest.raises(InvalidInput, match="ends_at"):
        await alerting.silences.replace_silence(tenancy.id, created.id, SPEC)
    assert list(await alerting.silences.silences(tenancy.id, ended_before=None)) == [created]


async def test_replace(alerting: AlertStorage, tenancy: Tenancy) -> None:
    """Everything changes but who made it and when; without a start it keeps its own."""
    created = await alerting.silences.create_silence(tenancy.id, SPEC, author="a", now=NOW)
    moved = await alerting.silences.replace_silence(tenancy.id, created.id, FULL)
    assert moved == msgspec.structs.replace(
        created, matchers=FULL.matchers, starts_at=FULL.starts_at, ends_at=FULL.ends_at, reason=FULL.reason
    )
    longer = msgspec.structs.replace(SPEC, ends_at=NOW + 5 * HOUR)
    kept = await alerting.silences.replace_silence(tenancy.id, created.id, longer)
    assert (kept.starts_at, kept.ends_at, kept.matchers) == (FULL.starts_at, NOW + 5 * HOUR, SPEC.matchers)
    assert await alerting.silences.silence(tenancy.id, created.id) == kept


async def test_end(alerting: AlertStorage, tenancy: Tenancy) -> None:
    """Ending ends it at that time and again changes nothing; one that has not begun never will."""
    running = await alerting.silences.create_silence(tenancy.id, SPEC, author="a", now=NOW)
    planned = await alerting.silences.create_silence(tenancy.id, FULL, author="a", now=NOW)
    at = NOW + HOUR / 2
    for silence in (running, planned):
        await alerting.silences.end_silence(tenancy.id, silence.id, now=at)
        await alerting.silences.end_silence(tenancy.id, silence.id, now=at + HOUR)
    assert list(await alerting.silences.silences(tenancy.id, ended_before=at)) == []
    ended = await alerting.silences.silences(tenancy.id, ended_before=None)
    assert [(silence.starts_at, silence.ends_at) for silence in ended] == [(NOW, at), (at, at)]


@pytest.mark.parametrize("silence_id", [0, -1, 2**31, 2**62])
async def test_no_such_silence(alerting: AlertStorage, tenancy: Tenancy, silence_id: int) -> None:
    """An id that none has is not found, however large it is."""
    with pytest.raises(NotFound):
        await alerting.silences.silence(tenancy.id, silence_id)
    with pytest.raises(NotFound):
        await alerting.silences.replace_silence(tenancy.id, silence_id, SPEC)
    with pytest.raises(NotFound):
        await alerting.silences.end_silence(tenancy.id, silence_id, now=NOW)
    with pytest.raises(NotFound):
        await alerting.silences.delete_inhibition(tenancy.id, silence_id)


async def test_inhibitions(alerting: AlertStorage, other_alerting: AlertStorage, tenancy: Tenancy) -> None:
    """They come back as given, by name; a name is taken once until it is deleted."""
    second = await alerting.silences.create_inhibition(tenancy.id, INHIBITION)
    first = await alerting.silences.create_inhibition(tenancy.id, msgspec.structs.replace(INHIBITION, name="A"))
    assert second.spec == INHIBITION
    assert list(await other_alerting.silences.inhibitions(tenancy.id)) == [first, second]
    with pytest.raises(Conflict):
        await other_alerting.silences.create_inhibition(tenancy.id, INHIBITION)
    await other_alerting.silences.delete_inhibition(tenancy.id, second.id)
    with pytest.raises(NotFound):
        await alerting.silences.delete_inhibition(tenancy.id, second.id)
    assert list(await alerting.silences.inhibitions(tenancy.id)) == [first]
    await alerting.silences.create_inhibition(tenancy.id, INHIBITION)


async def test_tenants_apart(alerting: AlertStorage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """The neighbour neither sees, changes, ends nor deletes what is not its own."""
    silence = await alerting.silences.create_silence(tenancy.id, SPEC, author="a", now=NOW)
    inhibition = await alerting.silences.create_inhibition(tenancy.id, INHIBITION)
    assert list(await alerting.silences.silences(neighbour.id, ended_before=None)) == []
    assert list(await alerting.silences.inhibitions(neighbour.id)) == []
    for attempt in (
        alerting.silences.silence(neighbour.id, silence.id),
        alerting.silences.replace_silence(neighbour.id, silence.id, FULL),
        alerting.silences.end_silence(neighbour.id, silence.id, now=NOW),
        alerting.silences.delete_inhibition(neighbour.id, inhibition.id),
    ):
        with pytest.raises(NotFound):
            await attempt
    await alerting.silences.create_inhibition(neighbour.id, INHIBITION)
    assert await alerting.silences.silence(tenancy.id, silence.id) == silence
    assert list(await alerting.silences.inhibitions(tenancy.id)) == [inhibition]
