"""`sextant recommendations`: agreeing, applying, following, and what came of it."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest

from adapters.driving.cli import recommendation_run
from adapters.driving.cli.api import Api
from adapters.runtime.clock import SystemClock
from core.domain.audit import AuditKind, AuditRecord
from core.domain.remediation import RemediationState
from core.domain.telemetry import CPU_USAGE
from core.domain.tenants import Scope
from core.domain.times import MINUTE_US
from tests.support.cluster_telemetry import pod_samples, write_pods
from tests.support.recommending import drift_event, recommendation
from tests.support.storages import Storage
from tests.unit.cli.ingest_double import until
from tests.unit.cli.served_api import Commands, ServedApi

REC = "2026-11-22-cpu-over-request-shop-checkout-1a2b3c4d-fix"
TOLD: Mapping[str, bool] = {"changed": False}


@pytest.fixture
def recommended(api: ServedApi) -> ServedApi:
    """Return a server that recommends something."""
    api.within(api.storage.drift.add(api.tenant.id, drift_event()))
    api.within(api.storage.recommendations.add(api.tenant.id, recommendation(REC)))
    return api


async def turning(
    api: ServedApi, state: RemediationState, *, detail: str | None, last_error: str | None, told: Mapping[str, bool]
) -> None:
    """What a worker would make of the next remediation, whose step `told` what it would change."""
    remediations = api.database.remediations
    await until(lambda: bool(remediations))
    [row] = remediations.values()
    entry = AuditRecord(
        key="1", kind=AuditKind.RESPONSE, actor="sextant", summary="would set cpu \x1b[31mto 500m",
        remediation_id=row.remediation.id, details={"step": "right size", **told},
    )  # fmt: skip
    await api.storage.audit_log.append(api.tenant.id, entry, now=datetime.now(UTC))
    row.remediation = msgspec.structs.replace(row.remediation, state=state, detail=detail, last_error=last_error)


def applied(
    api: ServedApi,
    sextant: Commands,
    state: RemediationState,
    *words: str,
    detail: str | None = None,
    last_error: str | None = None,
    told: Mapping[str, bool] = TOLD,
    status: int = 0,
) -> str:
    """What `apply` prints while a worker does so much."""
    turned = turning(api, state, detail=detail, last_error=last_error, told=told)
    work = asyncio.run_coroutine_threadsafe(turned, api.loop)
    printed = sextant("recommendations", "apply", REC, *words, status=status)
    work.result(20)
    return printed


def test_recommendations_are_listed_and_shown(recommended: ServedApi, sextant: Commands) -> None:
    """With what it saves, what it would change, and by a part of its id."""
    lines = [line.split() for line in sextant("recommendations", "list", "--cluster", "prod-eu").splitlines()]
    assert lines[0] == ["ID", "TYPE", "CLUSTER", "MADE", "STATE", "SAVES", "DRIFT"]
    assert (*lines[1][:3], *lines[1][-3:]) == (REC, "right_size", "prod-eu", "proposed", "$40.00", "drift-1")
    shown = sextant("recommendations", "show", "1a2b3c4d-fix")
    assert "$40.00 a month saved" in shown
    assert "cpu request of shop/checkout: 2 → 500m" in shown
    document = json.loads(sextant("recommendations", "show", REC, "--json"))
    assert document["recommendation"]["rec_id"] == REC
    assert "no recommendations" in sextant("recommendations", "list", "--state", "applied")
    assert "no recommendation named 'absent'" in sextant.refused("recommendations", "show", "absent")


def test_somebody_agrees_or_does_not(recommended: ServedApi, sextant: Commands) -> None:
    """Only with the right; what was rejected is not applied."""
    key = recommended.new_key(Scope.QUERY)
    assert "remediate" in sextant.refused("recommendations", "approve", REC, "--key", key, status=2)
    shown = sextant("recommendations", "approve", "1a2b3c4d-fix").splitlines()
    assert [line.strip() for line in shown] == [
        "cpu request of shop/checkout: 2 → 500m",
        "approved: right_size in prod-eu",
    ]
    assert json.loads(sextant("recommendations", "reject", REC, "--reason", "no", "--json"))["state"] == "rejected"
    assert "no" in sextant("recommendations", "show", REC)
    assert sextant.refused("recommendations", "apply", REC, "--execute")


def test_only_what_is_shown_is_approved(
    recommended: ServedApi, sextant: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is renewed between being read and being approved it is not."""
    [row] = recommended.database.clusters.recommendations[recommended.tenant.id].values()
    read = Api.get

    async def renewed_after(self: Api, path: str, kind: type[Any], *rest: Any) -> Any:
        found = await read(self, path, kind, *rest)
        row.recommendation = msgspec.structs.replace(row.recommendation, updated_at=datetime.now(UTC))
        return found

    monkeypatch.setattr(Api, "get", renewed_after)
    assert "look at it again" in sextant.refused("recommendations", "approve", REC)
    assert row.approved is None


def test_a_dry_run_is_followed_to_its_end(recommended: ServedApi, sextant: Commands) -> None:
    """What it would change, then what it said; nothing that a terminal obeys."""
    printed = applied(recommended, sextant, RemediationState.DRY_RUN, detail="would change 1 of 1")
    lines = printed.splitlines()
    assert lines[0].strip() == "cpu request of shop/checkout: 2 → 500m"
    assert lines[1] == "remediation 1, a dry run, which changes nothing: followed for a minute at most"
    assert "would set cpu to 500m" in printed
    assert lines[-1] == "remediation 1: dry_run, would change 1 of 1"
    assert "\x1b" not in printed
    assert "sextant remediations show 1 tells" in sextant("recommendations", "show", REC)


def test_a_dry_run_that_could_not_say_it_is_status_1(recommended: ServedApi, sextant: Commands) -> None:
    """A worker without a cluster, for one."""
    printed = applied(recommended, sextant, RemediationState.DRY_RUN, detail="nothing; but", told={}, status=1)
    assert printed.splitlines()[-1] == "remediation 1: dry_run, nothing; but"


def test_what_fails_is_status_1(recommended: ServedApi, sextant: Commands) -> None:
    """It needed approval and something to verify it by, and says what became of it."""
    assert "could not be verified" in sextant.refused("recommendations", "apply", REC, "--execute")
    start_us = SystemClock().now_us() - 60 * MINUTE_US
    samples = [pod_samples(CPU_USAGE, [0.2] * 60, start_us, workload="checkout", pod="checkout-1")]
    recommended.within(write_pods(cast("Storage", recommended.storage), recommended.tenant.id, samples))
    assert "approve" in sextant.refused("recommendations", "apply", REC, "--execute")
    sextant("recommendations", "approve", REC)
    printed = applied(recommended, sextant, RemediationState.ROLLED_BACK, "--execute", detail="latency rose", status=1)
    assert "remediation 1, changing it: " in printed
    assert printed.splitlines()[-1] == "remediation 1: rolled_back, latency rose"


def test_what_waits_for_a_person_says_so(recommended: ServedApi, sextant: Commands) -> None:
    """At once, not after a minute."""
    printed = applied(recommended, sextant, RemediationState.AWAITING_APPROVAL)
    assert printed.splitlines()[-1] == "sextant remediations approve 1, or reject 1, answers it"


@pytest.mark.parametrize("last_error", [None, "Temporal at \x1b[31mt:7233 cannot be reached"])
def test_without_a_worker_it_says_why_it_waits(
    recommended: ServedApi, sextant: Commands, monkeypatch: pytest.MonkeyPatch, last_error: str | None
) -> None:
    """After a minute, which here has passed at once; it goes on when there is one."""
    monkeypatch.setattr(recommendation_run, "FOLLOWED_S", 2.0)
    printed = applied(recommended, sextant, RemediationState.WAITING, last_error=last_error, status=1)
    last = printed.splitlines()[-2:]
    why = "no worker has taken it" if last_error is None else "Temporal at t:7233 cannot be reached"
    assert last[0].startswith(f"it is not started yet: {why}")
    assert last[1] == "it goes on by itself: sextant remediations show 1 follows it"


def test_json_is_the_remediation(recommended: ServedApi, sextant: Commands) -> None:
    """And nothing else."""
    document = json.loads(applied(recommended, sextant, RemediationState.DRY_RUN, "--json"))
    assert (document["state"], document["recommendation"]) == ("dry_run", REC)
