"""The series catalog port: one id for one identity, whoever asks and how often."""

import asyncio

from core.domain.series import SeriesIdentity, series_identity
from tests.support.storages import SERIES_MAX, Storage, Tenancy


def hosts(count: int, name: str = "cpu") -> list[SeriesIdentity]:
    """Identities that differ in one label, and share another."""
    return [series_identity(name, {"host": f"h{n}", "region": "eu"}, None) for n in range(count)]


async def resolve(tenancy: Tenancy, identities: list[SeriesIdentity], series_max: int = SERIES_MAX) -> list[int | None]:
    """The ids of identities."""
    return (await tenancy.storage.catalog.resolve(tenancy.id, identities, series_max=series_max)).series_ids


async def test_ids_are_stable(tenancy: Tenancy, other_storage: Storage) -> None:
    """Resolving again, in another order and by another process, gives the same ids."""
    identities = hosts(5)
    series_ids = await resolve(tenancy, identities)
    assert len(set(series_ids)) == 5
    assert None not in series_ids
    assert await resolve(tenancy, identities[::-1]) == series_ids[::-1]
    assert await resolve(Tenancy(other_storage, tenancy.tenant), identities) == series_ids


async def test_known_and_new_together(tenancy: Tenancy) -> None:
    """Known and new identities in one call each get their own id, in the places asked for."""
    known = await resolve(tenancy, hosts(2))
    both = await resolve(tenancy, [hosts(4)[3], hosts(4)[0], hosts(4)[2], hosts(4)[1]])
    assert (both[1], both[3]) == (known[0], known[1])
    assert len(set(both)) == 4


async def test_every_part_counts(tenancy: Tenancy) -> None:
    """Name, each label's name and value, and source all make a difference; the labels' order does not."""
    identities = [
        series_identity("cpu", {}, None),
        series_identity("Cpu", {}, None),
        series_identity("cpu", {}, "agent"),
        series_identity("cpu", {"a": "b"}, None),
        series_identity("cpu", {"a": "B"}, None),
        series_identity("cpu", {"a": "b "}, None),
        series_identity("cpu", {"b": "a"}, None),
        series_identity("cpu", {"a": ""}, None),
        series_identity("cpu", {"a": "é"}, None),
        series_identity("cpu", {"a": "e\u0301"}, None),
        series_identity("cpu", {"a": '"\\\n\t\x01'}, None),
        series_identity("cpu", {"a": "\U0001f9ed"}, None),
    ]
    series_ids = await resolve(tenancy, identities)
    assert len(set(series_ids)) == len(identities)
    assert await resolve(tenancy, [series_identity("cpu", {"y": "1", "x": "2"}, None)]) == await resolve(
        tenancy, [series_identity("cpu", {"x": "2", "y": "1"}, None)]
    )


async def test_concurrent_creators_agree(tenancy: Tenancy, other_storage: Storage) -> None:
    """However many resolve the same new series at once, in whatever order, all get the same ids."""
    elsewhere = Tenancy(other_storage, tenancy.tenant)
    identities = hosts(30)
    answers = await asyncio.gather(
        *(resolve((tenancy, elsewhere)[n % 2], identities[n:] + identities[:n]) for n in range(8))
    )
    ids = dict(zip(identities, answers[0], strict=True))
    assert None not in ids.values()
    assert len(set(ids.values())) == 30
    for n, answer in enumerate(answers):
        assert answer == [ids[identity] for identity in identities[n:] + identities[:n]]


async def test_tenants_apart(tenancy: Tenancy, neighbour: Tenancy) -> None:
    """The same identity is another series for another tenant."""
    ours, theirs = await resolve(tenancy, hosts(3)), await resolve(neighbour, hosts(3))
    assert not set(ours) & set(theirs)


async def test_limit(tenancy: Tenancy) -> None:
    """Past the limit new series get none, in the order asked; known ones are found all the same."""
    series_ids = await resolve(tenancy, hosts(3), series_max=3)
    assert None not in series_ids
    more = await tenancy.storage.catalog.resolve(tenancy.id, hosts(6), series_max=5)
    assert more.series_ids[:3] == series_ids
    assert None not in more.series_ids[:5]
    assert more.series_ids[5] is None
    again = await tenancy.storage.catalog.resolve(tenancy.id, hosts(6), series_max=1)
    assert again.series_ids == more.series_ids


async def test_limit_is_the_tenants(tenancy: Tenancy, neighbour: Tenancy) -> None:
    """One tenant's series do not use up another's limit."""
    await resolve(tenancy, hosts(3), series_max=3)
    assert None not in await resolve(neighbour, hosts(3), series_max=3)


async def test_limit_under_concurrency(tenancy: Tenancy, other_storage: Storage) -> None:
    """Concurrent creators of different series get exactly as many as the limit allows."""
    elsewhere = Tenancy(other_storage, tenancy.tenant)
    answers = await asyncio.gather(
        *(resolve((tenancy, elsewhere)[n % 2], hosts(4, f"metric{n}"), series_max=10) for n in range(5))
    )
    created = [series_id for answer in answers for series_id in answer if series_id is not None]
    assert len(created) == len(set(created)) == 10


async def test_worst_label(tenancy: Tenancy) -> None:
    """Where series are refused, the label with the most values is named; else none is."""
    within = await tenancy.storage.catalog.resolve(tenancy.id, hosts(7), series_max=7)
    assert within.worst_label is None
    refused = await tenancy.storage.catalog.resolve(tenancy.id, hosts(8), series_max=7)
    assert refused.worst_label is not None
    assert (refused.worst_label.label, refused.worst_label.values) == ("host", 7)


async def test_no_label_to_blame(tenancy: Tenancy) -> None:
    """Series without labels over the limit are refused without blaming a label."""
    resolved = await tenancy.storage.catalog.resolve(
        tenancy.id, [series_identity(f"m{n}", {}, None) for n in range(2)], series_max=1
    )
    assert resolved.series_ids[1] is None
    assert resolved.worst_label is None


async def test_many_at_once(tenancy: Tenancy) -> None:
    """A whole batch of new series, the most that one request can bring, is resolved in one call."""
    identities = hosts(10_000)
    series_ids = await resolve(tenancy, identities)
    assert len(set(series_ids)) == 10_000
    assert await resolve(tenancy, identities[5_000:5_003]) == series_ids[5_000:5_003]


async def test_nothing(tenancy: Tenancy) -> None:
    """Resolving nothing gives nothing."""
    assert await resolve(tenancy, []) == []
