"""The routes of alert rules."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from litestar import Controller, Response, delete, get, post, put

from adapters.driving.http.alert_parameters import RuleInPath, existing_id
from adapters.driving.http.guards import ApiRequest, ClockDependency, ServicesDependency, authenticated, json_body
from adapters.driving.http.parameters import End, Start, time_range
from core.domain.alerts import StoredRule
from core.domain.rules import AlertRule, RuleOrigin
from ports.driving.alerting import Backtest

PATH: Final = "/api/v1/alerts/rules"
TAG: Final = "Alert rules"


class RuleReply(AlertRule, frozen=True, kw_only=True, rename={"for_": "for"}):
    """A rule with what the server knows of it."""

    id: int
    origin: RuleOrigin
    """`definition`: it follows a metric definition's `alert_threshold` and is changed there."""
    revision: int
    created_at: datetime
    updated_at: datetime


class RulesReply(msgspec.Struct, frozen=True):
    """All rules of the tenant, by name."""

    data: Sequence[RuleReply]


_rule = msgspec.json.Decoder(AlertRule)


class RuleController(Controller):
    """Reading needs scope ``alerts`` or ``query``, changing ``alerts``."""

    path = PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="list_rules", summary="All rules")
    async def list_all(self, request: ApiRequest, services: ServicesDependency) -> RulesReply:
        """The tenant's alert rules by name, those included that metric definitions' thresholds are."""
        return RulesReply([_reply(stored) for stored in await services.rules.list(request.user)])

    @post("/", operation_id="create_rule", summary="Add a rule")
    async def create(self, request: ApiRequest, services: ServicesDependency) -> Response[RuleReply]:
        """Adds a rule; samples that arrive from now on are compared with it. The channels and the remediation policy
        that it names must be there."""
        stored = await services.rules.create(request.user, await json_body(request, _rule))
        return Response(_reply(stored), status_code=201, headers={"location": f"{PATH}/{stored.id}"})

    @get("/{rule_id:int}", operation_id="get_rule", summary="One rule")
    async def get_one(self, request: ApiRequest, services: ServicesDependency, rule_id: RuleInPath) -> RuleReply:
        """The rule of this id."""
        return _reply(await services.rules.get(request.user, _id(rule_id)))

    @put("/{rule_id:int}", operation_id="put_rule", summary="Replace a rule")
    async def replace(self, request: ApiRequest, services: ServicesDependency, rule_id: RuleInPath) -> RuleReply:
        """Replaces the rule whole. An edit of what it watches (metric, matchers, aggregation, window, group_by, mode)
        resolves its open alerts; any other keeps them."""
        rule = await json_body(request, _rule)
        return _reply(await services.rules.replace(request.user, _id(rule_id), rule))

    @delete("/{rule_id:int}", operation_id="delete_rule", summary="Delete a rule")
    async def remove(self, request: ApiRequest, services: ServicesDependency, rule_id: RuleInPath) -> None:
        """Removes the rule; its open alerts resolve."""
        await services.rules.delete(request.user, _id(rule_id))

    @post("/{rule_id:int}/backtest", operation_id="backtest_rule", summary="Backtest a rule", status_code=200)
    async def backtest(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        clock: ClockDependency,
        rule_id: RuleInPath,
        start: Start = None,
        end: End = None,
    ) -> Backtest:
        """Runs stored samples through the rule as it is now: which alerts would have fired, when, for how long, who
        would have been told and what repaired. Nothing is stored, nobody is told."""
        stored = await services.rules.get(request.user, _id(rule_id))
        return await services.rules.backtest(request.user, stored.rule, time_range(start, end, clock))

    @post("/backtest", operation_id="backtest_unsaved_rule", summary="Backtest an unsaved rule", status_code=200)
    async def backtest_unsaved(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        clock: ClockDependency,
        start: Start = None,
        end: End = None,
    ) -> Backtest:
        """The same for a rule that is not stored: it is the body."""
        rule = await json_body(request, _rule)
        return await services.rules.backtest(request.user, rule, time_range(start, end, clock))


def _id(number: int) -> int:
    return existing_id("alert rule", number)


def _reply(stored: StoredRule) -> RuleReply:
    return RuleReply(
        **msgspec.structs.asdict(stored.rule),
        id=stored.id,
        origin=stored.origin,
        revision=stored.revision,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
    )
