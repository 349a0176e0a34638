"""The rule store port: what a tenant sets up to be watched, and the rules that follow its definitions."""

import asyncio

import msgspec
import pytest

from core.domain.definitions import Aggregation, AlertThreshold, MetricDefinition
from core.domain.errors import Conflict, NotFound
from core.domain.rules import AlertRule, Condition, NoData, RuleMode, RuleOrigin, definition_rule_name
from tests.support.alert_rows import alert_revision
from tests.support.alert_storage import AlertStorage
from tests.support.storages import Storage, Store, Tenancy

PLAIN = AlertRule(name="cpu high", metric="cpu", warning=90.0)
FULL = AlertRule(
    name="Größe – “all” ✓",
    metric="http.requests:total",
    matchers=('host=~"a|b".*', "zone!=", "path=\\x\n\t\x7f"),
    aggregation=Aggregation.P95,
    window="5m",
    group_by=("zone", "host"),
    condition=Condition.OUTSIDE,
    warning=(-1.7976931348623157e308, 1.7976931348623157e308),
    critical=(-1.7976931348623157e308, 1.7976931348623157e308),
    clear=(-5e-324, 5e-324),
    for_="90s",
    keep_firing_for="10m",
    no_data=NoData.ALERT,
    no_data_after="1h",
    evaluation_delay="500ms",
    labels={"team": "größe", "z": "", "a": "1"},
    annotations={"summary": "{{ labels.host }} is at {{ value | round(2) }}\n"},
    runbook_url="https://runbooks.example/cpu?a=1",
    channels=("on call", "chat"),
    remediation="restart",
    mode=RuleMode.SHADOW,
    enabled=False,
)
LONG = "m" * 199


@pytest.mark.parametrize(
    "rule",
    [
        PLAIN,
        FULL,
        msgspec.structs.replace(PLAIN, channels=(), group_by=(), window="1m"),
        *(msgspec.structs.replace(PLAIN, name=str(n), warning=n) for n in (0.0, 1e-300, 0.1 + 0.2, -3e200, 2.0**63)),
    ],
)
async def test_kept_as_given(
    alerting: AlertStorage, other_alerting: AlertStorage, tenancy: Tenancy, rule: AlertRule
) -> None:
    """Every field comes back as it was given, in any process."""
    stored = await alerting.rules.create(tenancy.id, rule)
    assert (stored.rule, stored.origin, stored.revision) == (rule, RuleOrigin.API, 1)
    assert stored.created_at == stored.updated_at
    assert await other_alerting.rules.get(tenancy.id, stored.id) == stored
    assert list(await other_alerting.rules.list(tenancy.id)) == [stored]


async def test_list_by_name(alerting: AlertStorage, tenancy: Tenancy) -> None:
    """The list ascends by name, code point by code point."""
    names = ["b", "B", "a b", "ab", "_", "ä", "z", "10", "9"]
    for name in names:
        await alerting.rules.create(tenancy.id, msgspec.structs.replace(PLAIN, name=name))
    assert [stored.rule.name for stored in await alerting.rules.list(tenancy.id)] == sorted(names)


async def test_names_are_taken_once(alerting: AlertStorage, other_alerting: AlertStorage, tenancy: Tenancy) -> None:
    """Of several that create one name at once one succeeds; another rule cannot take the name either."""
    answers = await asyncio.gather(
        *((alerting, other_alerting)[n % 2].rules.create(tenancy.id, PLAIN) for n in range(4)), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict"] * 3 + ["StoredRule"]
    other = await alerting.rules.create(tenancy.id, msgspec.structs.replace(PLAIN, name="other"))
    with pytest.raises(Conflict):
        await alerting.rules.replace(tenancy.id, other.id, PLAIN)
    assert await alerting.rules.get(tenancy.id, other.id) == other


async def test_replace(alerting: AlertStorage, tenancy: Tenancy) -> None:
    """Every change counts the revision up by one; an equal rule changes nothing."""
    created = await alerting.rules.create(tenancy.id, PLAIN)
    for revision, rule in ((2, FULL), (3, PLAIN), (4, msgspec.structs.replace(PLAIN, name="renamed"))):
        replaced = await alerting.rules.replace(tenancy.id, created.id, rule)
        assert (replaced.id, replaced.rule, replaced.revision) == (created.id, rule, revision)
        assert replaced.created_at == created.created_at
        assert replaced.updated_at >= created.updated_at
        assert await alerting.rules.replace(tenancy.id, created.id, rule) == replaced
        assert await alerting.rules.get(tenancy.id, created.id) == replaced


async def test_delete(alerting: AlertStorage, tenancy: Tenancy) -> None:
    """What was deleted is gone, its name is free, its id is never given again."""
    created = await alerting.rules.create(tenancy.id, PLAIN)
    await alerting.rules.delete(tenancy.id, created.id)
    assert list(await alerting.rules.list(tenancy.id)) == []
    assert (await alerting.rules.create(tenancy.id, PLAIN)).id > created.id


@pytest.mark.parametrize("rule_id", [0, -1, 2**31, 2**62])
async def test_no_such_rule(alerting: AlertStorage, tenancy: Tenancy, rule_id: int) -> None:
    """An id that no rule has is not found, however large it is."""
    with pytest.raises(NotFound):
        await alerting.rules.get(tenancy.id, rule_id)
    with pytest.raises(NotFound):
        await alerting.rules.replace(tenancy.id, rule_id, PLAIN)
    with pytest.raises(NotFound):
        await alerting.rules.delete(tenancy.id, rule_id)


async def test_changes_are_counted(alerting: AlertStorage, storage: Storage, tenancy: Tenancy, store: Store) -> None:
    """Evaluation is told of every change of a rule, those of definitions too, and of nothing else."""
    seen = [alert_revision(store.place)]

    def told() -> bool:
        seen.append(alert_revision(store.place))
        return seen[-1] > seen[-2]

    created = await alerting.rules.create(tenancy.id, PLAIN)
    assert told()
    await alerting.rules.replace(tenancy.id, created.id, PLAIN)
    with pytest.raises(Conflict):
        await alerting.rules.create(tenancy.id, PLAIN)
    assert not told()
    await alerting.rules.replace(tenancy.id, created.id, msgspec.structs.replace(PLAIN, warning=91.0))
    assert told()
    await alerting.rules.delete(tenancy.id, created.id)
    assert told()
    await storage.definitions.create(tenancy.id, MetricDefinition(name="cpu"))
    assert not told()
    await storage.definitions.put(tenancy.id, watched("cpu", 1.0))
    assert told()
    await storage.definitions.put(tenancy.id, msgspec.structs.replace(watched("cpu", 1.0), unit="%"))
    assert not told()
    await storage.definitions.delete(tenancy.id, "cpu")
    assert told()


async def test_a_definition_is_a_rule(alerting: AlertStorage, storage: Storage, tenancy: Tenancy) -> None:
    """A definition's threshold is a rule from the moment the definition is there, and follows it until it is gone."""
    await storage.definitions.create(tenancy.id, watched("cpu", warning=80.0, critical=90.0))
    [stored] = await alerting.rules.list(tenancy.id)
    assert (stored.origin, stored.revision) == (RuleOrigin.DEFINITION, 1)
    assert stored.rule == AlertRule(name="threshold of cpu", metric="cpu", warning=80.0, critical=90.0)
    await storage.definitions.put(tenancy.id, watched("cpu", warning=20.0, critical=10.0))
    [falling] = await alerting.rules.list(tenancy.id)
    assert (falling.id, falling.revision, falling.rule.condition) == (stored.id, 2, Condition.BELOW)
    await storage.definitions.put(tenancy.id, watched("cpu"))
    assert list(await alerting.rules.list(tenancy.id)) == []
    await storage.definitions.put(tenancy.id, watched("cpu", critical=1.0))
    assert len(await alerting.rules.list(tenancy.id)) == 1
    await storage.definitions.delete(tenancy.id, "cpu")
    assert list(await alerting.rules.list(tenancy.id)) == []


async def test_the_rule_of_a_definition_is_changed_there(
    alerting: AlertStorage, storage: Storage, tenancy: Tenancy
) -> None:
    """It can neither be replaced nor deleted as a rule."""
    await storage.definitions.create(tenancy.id, watched("cpu", 1.0))
    [stored] = await alerting.rules.list(tenancy.id)
    with pytest.raises(Conflict, match="definition"):
        await alerting.rules.replace(tenancy.id, stored.id, PLAIN)
    with pytest.raises(Conflict, match="definition"):
        await alerting.rules.delete(tenancy.id, stored.id)
    assert list(await alerting.rules.list(tenancy.id)) == [stored]


async def test_a_rule_of_the_same_name(alerting: AlertStorage, storage: Storage, tenancy: Tenancy) -> None:
    """A tenant's own rule keeps a name that a definition's rule would need: the definition is refused, whole."""
    own = await alerting.rules.create(tenancy.id, msgspec.structs.replace(PLAIN, name="threshold of cpu"))
    with pytest.raises(Conflict, match="threshold of cpu"):
        await storage.definitions.create(tenancy.id, watched("cpu", 1.0))
    with pytest.raises(NotFound):
        await storage.definitions.get(tenancy.id, "cpu")
    await storage.definitions.create(tenancy.id, MetricDefinition(name="cpu"))
    with pytest.raises(Conflict, match="threshold of cpu"):
        await storage.definitions.put(tenancy.id, watched("cpu", 1.0))
    assert await storage.definitions.get(tenancy.id, "cpu") == MetricDefinition(name="cpu")
    await storage.definitions.delete(tenancy.id, "cpu")
    assert list(await alerting.rules.list(tenancy.id)) == [own]


async def test_definitions_of_long_names(alerting: AlertStorage, storage: Storage, tenancy: Tenancy) -> None:
    """Metrics whose names differ in their last character only have rules of their own."""
    for metric in (LONG + "a", LONG + "b", LONG):
        await storage.definitions.create(tenancy.id, watched(metric, 1.0))
    rules = [stored.rule for stored in await alerting.rules.list(tenancy.id)]
    assert {rule.metric: rule.name for rule in rules} == {
        metric: definition_rule_name(metric) for metric in (LONG + "a", LONG + "b", LONG)
    }
    assert len({rule.name for rule in rules}) == 3
    await storage.definitions.delete(tenancy.id, LONG + "a")
    assert {stored.rule.metric for stored in await alerting.rules.list(tenancy.id)} == {LONG + "b", LONG}


async def test_tenants_apart(alerting: AlertStorage, storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """A rule is its tenant's alone: the neighbour neither sees, changes nor deletes it, and may use its name."""
    stored = await alerting.rules.create(tenancy.id, PLAIN)
    await storage.definitions.create(tenancy.id, watched("cpu", 1.0))
    assert list(await alerting.rules.list(neighbour.id)) == []
    for attempt in (
        alerting.rules.get(neighbour.id, stored.id),
        alerting.rules.replace(neighbour.id, stored.id, FULL),
        alerting.rules.delete(neighbour.id, stored.id),
    ):
        with pytest.raises(NotFound):
            await attempt
    await alerting.rules.create(neighbour.id, PLAIN)
    await storage.definitions.create(neighbour.id, watched("cpu", 2.0))
    await storage.definitions.delete(neighbour.id, "cpu")
    assert len(await alerting.rules.list(tenancy.id)) == 2
    assert await alerting.rules.get(tenancy.id, stored.id) == stored


def watched(metric: str, warning: float | None = None, critical: float | None = None) -> MetricDefinition:
    """A definition with thresholds."""
    return MetricDefinition(name=metric, alert_threshold=AlertThreshold(warning=warning, critical=critical))
