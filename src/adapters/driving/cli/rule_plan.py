"""What stands between a document and a server: the changes, as a person reads them, and carrying them out."""

import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from adapters.driving.cli.api import Api
from adapters.driving.cli.client import ConfigurationError
from adapters.driving.cli.display import clean
from adapters.driving.cli.output import CommandError
from adapters.driving.cli.rule_document import RuleDocument, StoredPolicy, StoredRule, plain
from core.domain.remediation import RemediationPolicy
from core.domain.rules import AlertRule, RuleOrigin

RULES_PATH: Final = "/api/v1/alerts/rules"
POLICIES_PATH: Final = "/api/v1/remediation/policies"
FOLLOWED: Final = {
    RuleOrigin.DEFINITION: "a metric definition's; change its alert_threshold instead",
    RuleOrigin.DETECTION: "detection's; change its settings instead",
}
"""Rules that no document may name, and what to do about them."""

Spec = AlertRule | RemediationPolicy


class Verb(enum.Enum):
    """What is done to one thing."""

    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"


class Difference(msgspec.Struct, frozen=True):
    """A field, before and after; None where it is as it would be anyway."""

    field: str
    before: Any
    after: Any


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do."""

    verb: Verb
    kind: str
    """`rule` or `policy`."""
    name: str
    id: int | None = None
    """Of what is there."""
    spec: Spec | None = None
    """What it shall be; None where it is removed."""
    fields: tuple[Difference, ...] = ()
    resolves: bool = False
    """Whether open alerts of the rule end by it."""

    @property
    def path(self) -> str:
        """Where to do it."""
        base = RULES_PATH if self.kind == "rule" else POLICIES_PATH
        return base if self.id is None else f"{base}/{self.id}"


class Failure(msgspec.Struct, frozen=True):
    """A change that was not made."""

    change: Change
    reason: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, in an order in which everything that something names is there."""

    changes: tuple[Change, ...]
    unchanged: int
    left_alone: int
    """Things on the server that the document does not name."""


async def make_plan(api: Api, document: RuleDocument, *, prune: bool) -> Plan:
    """What `document` asks to be changed; raises `CommandError`, also where it names a rule that follows something."""
    rules = await api.all(RULES_PATH, StoredRule)
    policies = await api.all(POLICIES_PATH, StoredPolicy) if document.policies is not None else []
    return compare(document, rules, policies, prune=prune)


def compare(
    document: RuleDocument, rules: Sequence[StoredRule], policies: Sequence[StoredPolicy], *, prune: bool
) -> Plan:
    """The same against what the server has."""
    followed = {rule.name: FOLLOWED[rule.origin] for rule in rules if rule.origin in FOLLOWED}
    for rule in document.rules or ():
        if rule.name in followed:
            raise CommandError(f"the rule {clean(rule.name)!r} is {followed[rule.name]}")
    stored_rules = {rule.name: (rule.id, rule.rule) for rule in rules if rule.origin is RuleOrigin.API}
    stored_policies = {policy.name: (policy.id, policy.policy) for policy in policies}
    wanted_rules = {rule.name: rule for rule in document.rules or ()}
    wanted_policies = {policy.name: policy for policy in document.policies or ()}
    edits = (*_edits("policy", wanted_policies, stored_policies), *_edits("rule", wanted_rules, stored_rules))
    surplus = []
    if document.rules is not None:
        surplus += _removals("rule", wanted_rules, stored_rules)
    if document.policies is not None:
        surplus += _removals("policy", wanted_policies, stored_policies)
    return Plan(
        changes=(*edits, *surplus) if prune else edits,
        unchanged=len(wanted_rules) + len(wanted_policies) - len(edits),
        left_alone=0 if prune else len(surplus),
    )


async def carry_out(api: Api, changes: Sequence[Change]) -> list[Failure]:
    """Makes the changes one by one; returns those that could not be made. Raises `ConfigurationError`."""
    failures = []
    for change in changes:
        try:
            match change.verb:
                case Verb.ADD:
                    await api.send("POST", change.path, msgspec.Raw, change.spec)
                case Verb.CHANGE:
                    await api.send("PUT", change.path, msgspec.Raw, change.spec)
                case Verb.REMOVE:
                    await api.delete(change.path)
        except ConfigurationError:
            if change is changes[0]:
                raise
            failures.append(Failure(change, "the key may not do this, or the server has gone"))
        except CommandError as error:
            failures.append(Failure(change, str(error)))
    return failures


def _edits(kind: str, wanted: Mapping[str, Spec], stored: Mapping[str, tuple[int, Any]]) -> Iterator[Change]:
    for name, spec in wanted.items():
        if name not in stored:
            yield Change(verb=Verb.ADD, kind=kind, name=name, spec=spec)
            continue
        stored_id, before = stored[name]
        fields = tuple(_differences(plain(before), plain(spec)))
        if not fields:
            continue
        resolves = isinstance(spec, AlertRule) and (spec.subject != before.subject or before.enabled > spec.enabled)
        yield Change(verb=Verb.CHANGE, kind=kind, name=name, id=stored_id, spec=spec, fields=fields, resolves=resolves)


def _removals(kind: str, wanted: Mapping[str, Spec], stored: Mapping[str, tuple[int, Any]]) -> list[Change]:
    return [
        Change(verb=Verb.REMOVE, kind=kind, name=name, id=stored_id, resolves=kind == "rule")
        for name, (stored_id, _) in stored.items()
        if name not in wanted
    ]


def _differences(before: Any, after: Any, field: str = "") -> Iterator[Difference]:
    """Fields that differ, those within others by their whole path."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in {**before, **after}:
            within = f"{field}.{name}" if field else name
            yield from _differences(before.get(name), after.get(name), within)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differences(old, new, f"{field}[{index}]")
    elif before != after:
        yield Difference(field, before, after)
