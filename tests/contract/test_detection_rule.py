"""The alert rule that watches the risks: it follows detection's settings, and nothing else changes it."""

import asyncio

import msgspec
import pytest

from core.detection.plan import RISK_RULE, DetectionSettings
from core.domain.errors import Conflict
from core.domain.rules import AlertRule, RuleOrigin
from tests.support.alert_rows import alert_revision
from tests.support.storages import Storage, Store, Tenancy

RULE = DetectionSettings().risk_rule()
OTHERWISE = DetectionSettings(alert_risk=0.5, shadow=True)
OTHER = OTHERWISE.risk_rule()
OWN = AlertRule(name=RISK_RULE, metric="cpu", warning=90.0)


async def test_settings_are_a_rule(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Setting detection writes the rule; setting it anew changes that one."""
    await storage.detection.replace_settings(tenancy.id, DetectionSettings())
    [first] = await storage.rules.list(tenancy.id)
    assert (first.origin, first.rule, first.revision) == (RuleOrigin.DETECTION, RULE, 1)
    await storage.detection.replace_settings(tenancy.id, OTHERWISE)
    [second] = await storage.rules.list(tenancy.id)
    assert (second.id, second.rule, second.revision) == (first.id, OTHER, 2)
    assert not await storage.rules.list(neighbour.id)


async def test_changes_are_counted(storage: Storage, tenancy: Tenancy, store: Store) -> None:
    """Evaluation is told where the rule differs, and of nothing else."""
    seen = [alert_revision(store.place)]

    def told() -> bool:
        seen.append(alert_revision(store.place))
        return seen[-1] > seen[-2]

    await storage.detection_runs.ensure_rule(tenancy.id)
    assert told()
    await storage.detection_runs.ensure_rule(tenancy.id)
    await storage.detection.replace_settings(tenancy.id, DetectionSettings(interval="1h"))
    assert not told()
    await storage.detection.replace_settings(tenancy.id, OTHERWISE)
    assert told()
    await storage.detection_runs.ensure_rule(tenancy.id)
    assert not told()


async def test_many_ensure_it(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """However many make sure of it at once, there is one."""
    stores = (storage, other_storage) * 4
    await asyncio.gather(*(one.detection_runs.ensure_rule(tenancy.id) for one in stores))
    [stored] = await storage.rules.list(tenancy.id)
    assert (stored.rule, stored.revision) == (RULE, 1)


async def test_a_run_never_undoes_a_change_of_the_settings(
    storage: Storage, other_storage: Storage, tenancy: Tenancy
) -> None:
    """A run that began before the change, and one beside it, leave the rule as the settings have it."""
    for number in range(10):
        wanted = OTHERWISE if number % 2 else DetectionSettings()
        await asyncio.gather(
            other_storage.detection_runs.ensure_rule(tenancy.id),
            storage.detection.replace_settings(tenancy.id, wanted),
            other_storage.detection_runs.ensure_rule(tenancy.id),
        )
        [stored] = await storage.rules.list(tenancy.id)
        assert stored.rule == wanted.risk_rule()


async def test_it_is_changed_in_the_settings(storage: Storage, tenancy: Tenancy) -> None:
    """It can neither be replaced nor deleted as a rule, nor can its name be taken."""
    await storage.detection_runs.ensure_rule(tenancy.id)
    [stored] = await storage.rules.list(tenancy.id)
    with pytest.raises(Conflict, match="detection's settings"):
        await storage.rules.replace(tenancy.id, stored.id, OWN)
    with pytest.raises(Conflict, match="detection's settings"):
        await storage.rules.delete(tenancy.id, stored.id)
    with pytest.raises(Conflict, match=RISK_RULE):
        await storage.rules.create(tenancy.id, OWN)
    assert list(await storage.rules.list(tenancy.id)) == [stored]


@pytest.mark.parametrize("taken", [1, 2, 3])
async def test_a_rule_of_the_same_name(storage: Storage, tenancy: Tenancy, taken: int) -> None:
    """Tenants' own rules keep their names: detection's takes a free one, and has it from then on."""
    names = [RISK_RULE, f"{RISK_RULE} (detection)", f"{RISK_RULE} (detection 2)", f"{RISK_RULE} (detection 3)"]
    own = [await storage.rules.create(tenancy.id, msgspec.structs.replace(OWN, name=name)) for name in names[:taken]]
    for settings in (None, None, OTHERWISE):
        if settings is not None:
            await storage.detection.replace_settings(tenancy.id, settings)
        rule = (settings or DetectionSettings()).risk_rule()
        await storage.detection_runs.ensure_rule(tenancy.id)
        stored = {stored.rule.name: stored for stored in await storage.rules.list(tenancy.id)}
        assert stored.pop(names[taken]).rule == msgspec.structs.replace(rule, name=names[taken])
        assert stored == {kept.rule.name: kept for kept in own}
    await storage.rules.delete(tenancy.id, own[0].id)
    await storage.detection_runs.ensure_rule(tenancy.id)
    assert names[taken] in [stored.rule.name for stored in await storage.rules.list(tenancy.id)]
