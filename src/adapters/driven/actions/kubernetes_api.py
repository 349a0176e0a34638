"""Talking to one cluster's API server: what is asked, and what its refusals mean.

kubernetes-asyncio finds the server and proves who we are (`kubernetes_connection`); requests are made and answers read
here, because only a few fields of each object matter and everything else must pass through untouched.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeVar

import aiohttp
import msgspec

from adapters.driven.actions.shown import shown
from ports.driven.action_runner import ActionError

REASON_CHARS_MAX: Final = 500
FIELD_MANAGER: Final = "sextant"
"""Who changed a field, as the cluster records it."""
MERGE_PATCH: Final = "application/merge-patch+json"
"""RFC 7386: lists are replaced."""
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
"""Kubernetes' own: containers are told apart by name, and those that are not named stay as they are."""

T = TypeVar("T")


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One object, or a subresource of it."""

    group: str
    """Empty for the core."""
    version: str
    plural: str
    namespace: str
    name: str
    subresource: str = ""

    @property
    def path(self) -> str:
        """Names are checked before they come here: nothing needs encoding."""
        api = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        subresource = f"/{self.subresource}" if self.subresource else ""
        return f"{api}/namespaces/{self.namespace}/{self.plural}/{self.name}{subresource}"

    @property
    def right(self) -> str:
        """As a role names it: ``deployments/scale`` in API group ``apps``."""
        subresource = f"/{self.subresource}" if self.subresource else ""
        group = f" of API group {self.group}" if self.group else ""
        return f"{self.plural}{subresource}{group}"

    def __str__(self) -> str:
        return f"{self.plural} {self.namespace}/{self.name}"


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""


class NotThere(ActionError):
    """The object does not exist."""


class ApiCaller(Protocol):
    """The part of kubernetes-asyncio's ``ApiClient`` that is used."""

    async def call_api(
        self,
        resource_path: str,
        method: str,
        *,
        query_params: list[tuple[str, str]],
        header_params: dict[str, str],
        body: dict[str, Any] | None,
        auth_settings: list[str],
        _preload_content: bool,
    ) -> aiohttp.ClientResponse:
        """The answer, whatever its status, where `_preload_content` is False."""
        ...


class KubernetesApi:
    """Requests to one API server. All raise `ActionError`."""

    def __init__(self, client: ApiCaller) -> None:
        self._client = client

    async def get(self, resource: Resource, of: type[T]) -> T:
        """The object; fields that `of` lacks are passed over."""
        content = await self._request("get", resource, None, dry_run=False)
        try:
            return msgspec.json.decode(content, type=of)
        except msgspec.DecodeError:
            raise ActionError(f"the API server's answer about {resource} cannot be read", retryable=False) from None

    async def patch(
        self, resource: Resource, body: dict[str, Any], *, dry_run: bool, patch_type: str = MERGE_PATCH
    ) -> None:
        """A patch of one of the types above."""
        await self._request("patch", resource, body, dry_run=dry_run, patch_type=patch_type)

    async def delete(self, resource: Resource, *, uid: str, dry_run: bool) -> None:
        """Deletes the object that has this uid, and no other of its name."""
        await self._request("delete", resource, {"preconditions": {"uid": uid}}, dry_run=dry_run)

    async def _request(
        self,
        verb: str,
        resource: Resource,
        body: dict[str, Any] | None,
        *,
        dry_run: bool,
        patch_type: str = MERGE_PATCH,
    ) -> bytes:
        headers = {"Accept": "application/json"}
        query = [("dryRun", "All")] if dry_run else []
        if verb == "patch":
            headers["Content-Type"] = patch_type
            query.append(("fieldManager", FIELD_MANAGER))
        try:
            response = await self._client.call_api(
                resource.path,
                verb.upper(),
                query_params=query,
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
            )
            async with response:
                content: bytes = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            # Their texts hold addresses inside the operator's network, which are not for tenants.
            raise ActionError(
                f"the Kubernetes API server cannot be reached ({type(error).__name__})", retryable=True
            ) from None
        if not 200 <= response.status < 300:
            raise _refused(verb, resource, response.status, response.headers.get("Retry-After"), content)
        return content


Connect = Callable[[], AbstractAsyncContextManager[KubernetesApi]]
"""Opens a connection for one action; raises `ActionError`."""


def no_connection() -> AbstractAsyncContextManager[KubernetesApi]:
    """Where the operator named no cluster."""
    raise ActionError(
        "this worker has no Kubernetes; its operator can set SEXTANT_WORKER_KUBECONFIG or "
        "SEXTANT_WORKER_KUBERNETES_IN_CLUSTER",
        retryable=False,
    )


def _refused(verb: str, resource: Resource, status: int, retry_after: str | None, content: bytes) -> ActionError:
    """What a status means, by the Kubernetes API conventions."""
    try:
        said = msgspec.json.decode(content, type=_Status).message
    except msgspec.DecodeError:
        said = ""
    said = f": {shown(said, chars_max=REASON_CHARS_MAX)}" if said else ""
    match status:
        case 401:
            return ActionError("the Kubernetes API server does not know the worker's credentials", retryable=False)
        case 403:
            return ActionError(
                f"the worker lacks the Kubernetes right to {verb} {resource.right} in namespace {resource.namespace}",
                retryable=False,
            )
        case 404:
            return NotThere(f"there is no {resource}", retryable=False)
        case 409:
            return ActionError(f"{resource} was changed by someone else meanwhile", retryable=True)
        case 429 | 500 | 502 | 503 | 504:
            wait = f", asking to wait {retry_after} s" if retry_after is not None and retry_after.isdecimal() else ""
            return ActionError(f"the Kubernetes API server answered {status}{wait}{said}", retryable=True)
        case _:
            return ActionError(
                f"the Kubernetes API server refused to {verb} {resource} ({status}){said}", retryable=False
            )
