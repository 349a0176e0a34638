"""The routes of remediation policies."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from litestar import Controller, Response, delete, get, post, put

from adapters.driving.http.alert_parameters import PolicyInPath, existing_id
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, json_body
from core.domain.remediation import RemediationPolicy, StoredPolicy

PATH: Final = "/api/v1/remediation/policies"
TAG: Final = "Remediation"


class PolicyBody(RemediationPolicy, frozen=True, kw_only=True):
    """A policy with what its HTTP actions' `secret_headers` name."""

    secrets: dict[str, str] | None = None
    """All of them by name; null or absent keeps those that are set."""

    def policy(self) -> RemediationPolicy:
        """The policy without its secrets."""
        return RemediationPolicy(**{field: getattr(self, field) for field in RemediationPolicy.__struct_fields__})


class PolicyReply(RemediationPolicy, frozen=True, kw_only=True):
    """A policy with what the server knows of it; secrets by name only."""

    id: int
    secret_names: tuple[str, ...]
    revision: int
    created_at: datetime
    updated_at: datetime


class PoliciesReply(msgspec.Struct, frozen=True):
    """All policies of the tenant, by name."""

    data: Sequence[PolicyReply]


_policy = msgspec.json.Decoder(PolicyBody)


class PolicyController(Controller):
    """Reading needs scope ``remediate``, ``alerts`` or ``query``, changing ``remediate``."""

    path = PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="list_policies", summary="All policies")
    async def list_all(self, request: ApiRequest, services: ServicesDependency) -> PoliciesReply:
        """The tenant's remediation policies by name. Secrets are never shown, only their names."""
        return PoliciesReply([_reply(stored) for stored in await services.policies.list(request.user)])

    @post("/", operation_id="create_policy", summary="Add a policy")
    async def create(self, request: ApiRequest, services: ServicesDependency) -> Response[PolicyReply]:
        """Adds a policy, which rules then name as `remediation`. It is a dry run until `dry_run` is false: everything
        happens but the actions, which say what they would have changed."""
        body = await json_body(request, _policy)
        stored = await services.policies.create(request.user, body.policy(), body.secrets or {})
        return Response(_reply(stored), status_code=201, headers={"location": f"{PATH}/{stored.id}"})

    @get("/{policy_id:int}", operation_id="get_policy", summary="One policy")
    async def get_one(self, request: ApiRequest, services: ServicesDependency, policy_id: PolicyInPath) -> PolicyReply:
        """The policy of this id."""
        return _reply(await services.policies.get(request.user, _id(policy_id)))

    @put("/{policy_id:int}", operation_id="put_policy", summary="Replace a policy")
    async def replace(self, request: ApiRequest, services: ServicesDependency, policy_id: PolicyInPath) -> PolicyReply:
        """Replaces the policy whole; without `secrets` it keeps those it has. A remediation that runs goes on as it
        began. Its name cannot change while rules name it."""
        body = await json_body(request, _policy)
        return _reply(await services.policies.replace(request.user, _id(policy_id), body.policy(), body.secrets))

    @delete("/{policy_id:int}", operation_id="delete_policy", summary="Delete a policy")
    async def remove(self, request: ApiRequest, services: ServicesDependency, policy_id: PolicyInPath) -> None:
        """Removes the policy; a conflict while rules name it."""
        await services.policies.delete(request.user, _id(policy_id))


def _id(number: int) -> int:
    return existing_id("remediation policy", number)


def _reply(stored: StoredPolicy) -> PolicyReply:
    return PolicyReply(
        **msgspec.structs.asdict(stored.policy),
        id=stored.id,
        secret_names=stored.secret_names,
        revision=stored.revision,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
    )
