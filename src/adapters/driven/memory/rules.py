"""Alert rules in memory, those that follow metric definitions or detection's settings too."""

from collections.abc import Sequence

import msgspec

from adapters.driven.memory.database import MemoryDatabase
from core.domain.alerts import StoredRule
from core.domain.definitions import AlertThreshold
from core.domain.errors import Conflict, NotFound
from core.domain.rules import AlertRule, RuleOrigin, definition_rule, definition_rule_name, detection_rule_names


class MemoryRuleStore:
    """Implements `RuleStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def list(self, tenant_id: int) -> Sequence[StoredRule]:
        """All, by name."""
        return sorted(self._database.rules.get(tenant_id, {}).values(), key=lambda stored: stored.rule.name)

    async def get(self, tenant_id: int, rule_id: int) -> StoredRule:
        """One, or `NotFound`."""
        stored = self._database.rules.get(tenant_id, {}).get(rule_id)
        if stored is None:
            raise NotFound("alert rule", str(rule_id))
        return stored

    async def create(self, tenant_id: int, rule: AlertRule) -> StoredRule:
        """Adds one, or raises `Conflict`."""
        return _create(self._database, tenant_id, rule, RuleOrigin.API)

    async def replace(self, tenant_id: int, rule_id: int, rule: AlertRule) -> StoredRule:
        """Replaces one whole; an equal rule stays as it is."""
        return _replace(self._database, tenant_id, await self._own(tenant_id, rule_id), rule)

    async def delete(self, tenant_id: int, rule_id: int) -> None:
        """Removes one."""
        _delete(self._database, tenant_id, await self._own(tenant_id, rule_id))

    async def _own(self, tenant_id: int, rule_id: int) -> StoredRule:
        stored = await self.get(tenant_id, rule_id)
        match stored.origin:
            case RuleOrigin.API:
                return stored
            case RuleOrigin.DEFINITION:
                raise Conflict(f"the rule {stored.rule.name!r} follows a definition: change the threshold there")
            case RuleOrigin.DETECTION:
                raise Conflict(f"the rule {stored.rule.name!r} follows detection's settings: change those")


def check_free(database: MemoryDatabase, tenant_id: int, metric: str, threshold: AlertThreshold | None) -> None:
    """Raises `Conflict` where the rule of a definition cannot be, since a rule of the tenant's own bears its name."""
    rule = definition_rule(metric, threshold or AlertThreshold())
    taken = _named(database, tenant_id, definition_rule_name(metric))
    if rule is not None and taken is not None and taken.origin is not RuleOrigin.DEFINITION:
        raise _taken(rule)


def follow_definition(database: MemoryDatabase, tenant_id: int, metric: str, threshold: AlertThreshold | None) -> None:
    """Makes the rule of a metric's definition what its threshold says; call `check_free` before."""
    rule = definition_rule(metric, threshold or AlertThreshold())
    stored = _named(database, tenant_id, definition_rule_name(metric))
    if rule is not None:
        if stored is None:
            _create(database, tenant_id, rule, RuleOrigin.DEFINITION)
        else:
            _replace(database, tenant_id, stored, rule)
    elif stored is not None and stored.origin is RuleOrigin.DEFINITION:
        _delete(database, tenant_id, stored)


def follow_detection(database: MemoryDatabase, tenant_id: int, rule: AlertRule) -> None:
    """Makes the rule that watches the risks be just this; a name that is taken it leaves to the rule that has it."""
    rules = database.rules.get(tenant_id, {}).values()
    stored = next((stored for stored in rules if stored.origin is RuleOrigin.DETECTION), None)
    if stored is not None:
        _replace(database, tenant_id, stored, msgspec.structs.replace(rule, name=stored.rule.name))
        return
    free = next(name for name in detection_rule_names(rule.name) if _named(database, tenant_id, name) is None)
    _create(database, tenant_id, msgspec.structs.replace(rule, name=free), RuleOrigin.DETECTION)


def _create(database: MemoryDatabase, tenant_id: int, rule: AlertRule, origin: RuleOrigin) -> StoredRule:
    if _named(database, tenant_id, rule.name) is not None:
        raise _taken(rule)
    now = database.now()
    stored = StoredRule(
        id=database.next_id("rules"), origin=origin, rule=rule, revision=1, created_at=now, updated_at=now
    )
    database.rules.setdefault(tenant_id, {})[stored.id] = stored
    database.alert_revision += 1
    return stored


def _replace(database: MemoryDatabase, tenant_id: int, stored: StoredRule, rule: AlertRule) -> StoredRule:
    if stored.rule == rule:
        return stored
    namesake = _named(database, tenant_id, rule.name)
    if namesake is not None and namesake.id != stored.id:
        raise _taken(rule)
    replaced = msgspec.structs.replace(stored, rule=rule, revision=stored.revision + 1, updated_at=database.now())
    database.rules[tenant_id][stored.id] = replaced
    database.alert_revision += 1
    return replaced


def _delete(database: MemoryDatabase, tenant_id: int, stored: StoredRule) -> None:
    del database.rules[tenant_id][stored.id]
    database.alert_revision += 1


def _named(database: MemoryDatabase, tenant_id: int, name: str) -> StoredRule | None:
    rules = database.rules.get(tenant_id, {}).values()
    return next((stored for stored in rules if stored.rule.name == name), None)


def _taken(rule: AlertRule) -> Conflict:
    return Conflict(f"there is an alert rule {rule.name!r} already")
