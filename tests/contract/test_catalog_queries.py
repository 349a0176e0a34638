"""The sample reader port over the catalog: finding series, names, labels and their values."""

import pytest

from core.domain.matchers import label_filter, parse_matchers
from core.domain.series import series_identity
from tests.support.storages import SERIES_MAX, Store, Tenancy

LABELS: list[dict[str, str]] = [
    {"host": "a", "region": "eu"},
    {"host": "b", "region": "eu"},
    {"host": "a.b", "region": "us"},
    {"host": "A", "region": "us"},
    {"host": "a\nb"},
    {"host": ""},
    {"host": "ä", "zone": "a%_'\"\\"},
    {"k8s.io/app": "web"},
    {},
]


async def catalogue(tenancy: Tenancy, name: str = "cpu") -> list[int]:
    """The ids of one series for each of `LABELS`."""
    identities = [series_identity(name, labels, f"agent {n}") for n, labels in enumerate(LABELS)]
    resolved = await tenancy.storage.catalog.resolve(tenancy.id, identities, series_max=SERIES_MAX)
    return [series_id for series_id in resolved.series_ids if series_id is not None]


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["host=a"],
        ["host!=a"],
        ["host="],
        ["host!="],
        ["host=~a.*"],
        ["host!~a.*"],
        ["host=~A|b"],
        ["host=~"],
        ["host=~.+"],
        ["host=~(?i)a"],
        ["host=~(?s)a.b"],
        ["absent="],
        ["absent=x"],
        ["region=eu", "host=b"],
        ["region=eu", "region=us"],
        ["region!=eu", "host=~a.*"],
        ["zone=a%_'\"\\"],
        ["k8s.io/app=web"],
        ["host=ä"],
    ],
)
async def test_find(tenancy: Tenancy, neighbour: Tenancy, texts: list[str]) -> None:
    """Exactly the series that every matcher holds for are found, ascending by id, with what they are."""
    series_ids = await catalogue(tenancy)
    await catalogue(tenancy, "other")
    await catalogue(neighbour)
    matchers = parse_matchers(texts)
    holds = label_filter(matchers)
    async with tenancy.snapshot() as snapshot:
        table = await snapshot.find("cpu", matchers)
    found = [(one.series_id, one.name, one.labels, one.source) for one in table.series]
    assert found == [
        (series_id, "cpu", labels, f"agent {n}")
        for n, (series_id, labels) in enumerate(zip(series_ids, LABELS, strict=True))
        if holds(labels)
    ]
    assert table.series_ids.tolist() == [series_id for series_id, *_ in found] == sorted(table.series_ids.tolist())


async def test_find_nothing(tenancy: Tenancy, neighbour: Tenancy) -> None:
    """A name that the tenant does not have has no series, whoever else has it."""
    await catalogue(neighbour)
    async with tenancy.snapshot() as snapshot:
        table = await snapshot.find("cpu", ())
    assert (table.series_ids.tolist(), list(table.series)) == ([], [])


async def test_new_series_are_found(tenancy: Tenancy, store: Store) -> None:
    """A series is found right after it was made, also by a process that looked before."""
    first = await tenancy.series(host="a")
    async with store.open() as later:
        elsewhere = Tenancy(later, tenancy.tenant)
        async with elsewhere.snapshot() as snapshot:
            assert (await snapshot.find("cpu", ())).series_ids.tolist() == [first]
        second = await tenancy.series(host="b")
        async with elsewhere.snapshot() as snapshot:
            assert (await snapshot.find("cpu", ())).series_ids.tolist() == [first, second]


async def test_names(tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Names come once each, ascending by code point, by exact prefix, cut at the limit, the tenant's only."""
    names = ["cpu", "cpu_load", "cpuXload", "cpu.load", "cpu-load", "Cpu", "memory", "_x", ":y", "cpu:1"]
    for name in names:
        await tenancy.series(name, host="a")
        await tenancy.series(name, host="b")
    await neighbour.series("cpu_secret")
    reader = tenancy.storage.reader
    assert list(await reader.names(tenancy.id, "", 100)) == sorted(names)
    for prefix in ("cpu", "cpu_", "cpu.", "c", "C", "x", "%", "_", "memory", "memoryx"):
        expected = sorted(name for name in names if name.startswith(prefix))
        assert list(await reader.names(tenancy.id, prefix, 100)) == expected
    assert list(await reader.names(tenancy.id, "", 3)) == sorted(names)[:3]


async def test_labels(tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Label names come once each, ascending, cut at the limit, the tenant's only."""
    await catalogue(tenancy)
    await neighbour.series(secret="x")
    reader = tenancy.storage.reader
    assert list(await reader.label_names(tenancy.id, 100)) == ["host", "k8s.io/app", "region", "zone"]
    assert list(await reader.label_names(tenancy.id, 2)) == ["host", "k8s.io/app"]


async def test_label_values(tenancy: Tenancy, neighbour: Tenancy) -> None:
    """A label's values come once each, ascending by code point, cut at the limit, the tenant's only."""
    await catalogue(tenancy)
    await catalogue(tenancy, "other")
    await neighbour.series(host="secret")
    reader = tenancy.storage.reader
    values = sorted({labels["host"] for labels in LABELS if "host" in labels})
    assert list(await reader.label_values(tenancy.id, "host", 100)) == values
    assert list(await reader.label_values(tenancy.id, "host", 3)) == values[:3]
    assert list(await reader.label_values(tenancy.id, "absent", 100)) == []
    assert list(await reader.label_values(neighbour.id, "region", 100)) == []
