"""A double of the Kubernetes API server at the level of HTTP, for what remediation asks of one.

Written after the API's documentation (API concepts: resource versions, dry-run, patch media types; API conventions:
`Status`; the references of Deployment, Scale, Pod and HorizontalPodAutoscaler). Of strategic merge patches only what
differs for containers is known: their list is merged by name. Refusals are in an API server's words.
"""

import asyncio
import copy
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from core.domain.quantities import parse_quantity

TOKEN = "a-service-account-token"
Object = dict[str, Any]
_KINDS = {
    ("apps", "v1", "deployments"): "Deployment",
    ("", "v1", "pods"): "Pod",
    ("autoscaling", "v2", "horizontalpodautoscalers"): "HorizontalPodAutoscaler",
}
_STRATEGIC = "application/strategic-merge-patch+json"
_MERGE_TYPES = {"application/merge-patch+json", _STRATEGIC}


class RefusedError(Exception):
    """An answer that is a `Status`."""

    def __init__(self, code: int, reason: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.headers = code, reason, headers or {}


def write_kubeconfig(path: Path, url: str, token: str) -> Path:
    """A kubeconfig file whose one context is a server with a user's token."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "sextant"}}],
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "sextant", "user": {"token": token}}],
    }
    path.write_text(json.dumps(content))
    return path


class KubernetesApiServer:
    """Objects and the rules by which they change."""

    def __init__(self) -> None:
        self.url = ""
        self.forbidden: set[tuple[str, str]] = set()
        """Verb and resource, such as ``("patch", "deployments/scale")``."""
        self.rights_used: set[tuple[str, str]] = set()
        """What a role must grant for the requests so far, in the same form."""
        self.refusals: list[RefusedError] = []
        """What the next requests are answered with."""
        self.refusals_of_reads: list[RefusedError] = []
        """What reads are answered with after the next write."""
        self.before_write: Callable[[], None] | None = None
        """Called once, when the next write has come but was not looked at yet."""
        self.lose_answers = 0
        """How many of the next writes are done without an answer."""
        self.hold: Awaitable[object] | None = None
        """Requests wait for it."""
        self.asked = asyncio.Event()
        """Set by each request."""
        self.requests: list[tuple[str, str]] = []
        """Method and path with query of each."""
        self.new_pods_start = True
        """Whether pods of a template that was not running before become ready."""
        self.gives_up = False
        """Whether Deployments whose pods do not start are past their deadline."""
        self.unseen_reads = 0
        """For how many reads of a Deployment its controller has not looked at it yet."""
        self.late_reads = 0
        """For how many reads after that it says what it said before the change, and old pods are left."""
        self._conditions: dict[tuple[str, str, str], Object] = {}
        """What each Deployment said of its progress last."""
        self._running: dict[tuple[str, str, str], Any] = {}
        """The template of each Deployment's pods that are ready."""
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._version = 100

    def add(self, plural: str, namespace: str, name: str, spec: Object, **metadata: Any) -> None:
        """Puts an object there; a uid, a version and a time of creation are its own unless given."""
        kind = next(kind for (_, _, known), kind in _KINDS.items() if known == plural)
        self._version += 1
        self._objects[plural, namespace, name] = {
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": f"uid-{self._version}",
                "resourceVersion": str(self._version),
                "generation": 1,
                "creationTimestamp": "2025-12-01T00:00:00Z",
                "managedFields": [{"manager": "kubectl", "operation": "Update"}],
                **metadata,
            },
            "spec": spec,
            "status": {},
        }
        self._running[plural, namespace, name] = spec.get("template")

    def get(self, plural: str, namespace: str, name: str) -> Object | None:
        """The object as it is stored."""
        return self._objects.get((plural, namespace, name))

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """Takes it away."""
        del self._objects[plural, namespace, name]

    def change(self, plural: str, namespace: str, name: str, spec: Object) -> None:
        """Somebody else changes it."""
        found = self._objects[plural, namespace, name]
        found["spec"] |= spec
        found["metadata"]["generation"] += 1
        self._version += 1
        found["metadata"]["resourceVersion"] = str(self._version)

    @property
    def writes(self) -> list[tuple[str, str]]:
        """Requests that were meant to change something."""
        return [request for request in self.requests if request[0] != "GET" and "dryRun" not in request[1]]

    @asynccontextmanager
    async def served(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["KubernetesApiServer"]:
        """Listens on a loopback port while the block runs."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            self.url = f"http{'' if tls is None else 's'}://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    def kubeconfig(self, path: Path, *, token: str = TOKEN) -> Path:
        """Writes a kubeconfig file for this server."""
        return write_kubeconfig(path, self.url, token)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        self.asked.set()
        if self.hold is not None:
            await self.hold
        try:
            answered = await self._handle(request)
        except RefusedError as refused:
            status = {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Failure",
                "message": str(refused),
                "reason": refused.reason,
                "code": refused.code,
            }
            return web.json_response(status, status=refused.code, headers=refused.headers)
        if request.method != "GET" and self.lose_answers > 0:
            self.lose_answers -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(answered)

    async def _handle(self, request: web.Request) -> Object:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise RefusedError(401, "Unauthorized", "Unauthorized")
        if self.refusals:
            raise self.refusals.pop(0)
        group, plural, namespace, name, subresource = _parsed(request.path)
        verb = request.method.lower()
        if verb != "get":
            self.refusals, self.refusals_of_reads = self.refusals_of_reads, []
        right = f"{plural}/{subresource}" if subresource else plural
        self.rights_used.add((verb, right))
        full_name = f'{plural}.{group} "{name}"' if group else f'{plural} "{name}"'
        if (verb, right) in self.forbidden:
            raise RefusedError(
                403,
                "Forbidden",
                f'{full_name} is forbidden: User "system:serviceaccount:sextant:worker" cannot {verb} resource '
                f'"{right}" in API group "{group}" in the namespace "{namespace}"',
            )
        body = await request.json() if verb != "get" else {}
        if verb != "get" and self.before_write is not None:
            before_write, self.before_write = self.before_write, None
            before_write()
        found = self._objects.get((plural, namespace, name))
        if found is None:
            raise RefusedError(404, "NotFound", f"{full_name} not found")
        dry_run = _dry_run(request)
        match verb:
            case "get":
                if plural == "deployments" and not subresource:
                    return {**found, "status": self._status_of(found)}
                return _scale_of(found) if subresource else found
            case "patch":
                _check_patch_type(request)
                if request.content_type == _STRATEGIC:
                    body = _with_containers(body, found)
                return self._patched(found, full_name, body, subresource=subresource, dry_run=dry_run)
            case "delete" if not subresource:
                return self._deleted(found, full_name, body, dry_run=dry_run)
        raise RefusedError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    def _patched(self, found: Object, full_name: str, patch: Object, *, subresource: str, dry_run: bool) -> Object:
        before = _scale_of(found) if subresource else found
        after = _merged(before, patch)
        if after["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            raise RefusedError(
                409,
                "Conflict",
                f"Operation cannot be fulfilled on {full_name}: the object has been modified; please apply your "
                "changes to the latest version and try again",
            )
        stored = _merged(found, {"spec": {"replicas": after["spec"].get("replicas", 0)}}) if subresource else after
        _check_valid(full_name, stored)
        if not dry_run and stored != found:
            self._version += 1
            stored["metadata"]["resourceVersion"] = str(self._version)
            metadata = stored["metadata"]
            metadata["generation"] += stored["spec"] != found["spec"]
            self._objects[_plural_of(stored), metadata["namespace"], metadata["name"]] = stored
        return _scale_of(stored) if subresource else stored

    def _status_of(self, found: Object) -> Object:
        """As the controller reports it: numbers that are zero are left out; a rollout adds a pod before it ends one."""
        metadata = found["metadata"]
        if self.unseen_reads > 0:
            self.unseen_reads -= 1
            return {"observedGeneration": metadata["generation"] - 1}
        key = ("deployments", metadata["namespace"], metadata["name"])
        template, wanted = found["spec"].get("template"), found["spec"].get("replicas", 1)
        if self.new_pods_start:
            self._running[key] = template
        is_late = self.late_reads > 0 and key in self._conditions
        self.late_reads -= is_late
        is_done = self._running[key] == template and not is_late
        numbers = {
            "observedGeneration": metadata["generation"],
            "replicas": wanted if is_done else wanted + 1,
            "updatedReplicas": wanted if is_done else 1,
            "availableReplicas": wanted,
        }
        progressing = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
        if not is_done:
            progressing["reason"] = "ReplicaSetUpdated"
        if not is_done and self.gives_up:
            message = f'ReplicaSet "{metadata["name"]}-6d4b75cb6d" has timed out progressing.'
            progressing |= {"status": "False", "reason": "ProgressDeadlineExceeded", "message": message}
        self._conditions[key] = self._conditions[key] if is_late else progressing
        return {
            **{name: number for name, number in numbers.items() if number},
            "conditions": [self._conditions[key]],
        }

    def _deleted(self, found: Object, full_name: str, options: Object, *, dry_run: bool) -> Object:
        metadata = found["metadata"]
        wanted = options.get("preconditions", {}).get("uid", metadata["uid"])
        if wanted != metadata["uid"]:
            raise RefusedError(
                409,
                "Conflict",
                f"Operation cannot be fulfilled on {full_name}: Precondition failed: UID in precondition: {wanted}, "
                f"UID in object meta: {metadata['uid']}",
            )
        if not dry_run:
            del self._objects[_plural_of(found), metadata["namespace"], metadata["name"]]
        return found


def _parsed(path: str) -> tuple[str, str, str, str, str]:
    """Group, plural, namespace, name and subresource of a path."""
    parts = path.strip("/").split("/")
    group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
    if len(rest) not in (4, 5) or rest[0] != "namespaces" or (group, version, rest[2]) not in _KINDS:
        raise RefusedError(404, "NotFound", "the server could not find the requested resource")
    subresource = rest[4] if len(rest) == 5 else ""
    if subresource and (rest[2], subresource) != ("deployments", "scale"):
        raise RefusedError(404, "NotFound", "the server could not find the requested resource")
    return group, rest[2], rest[1], rest[3], subresource


def _dry_run(request: web.Request) -> bool:
    value = request.query.get("dryRun")
    if value not in (None, "All"):
        raise RefusedError(422, "Invalid", f'dryRun: Unsupported value: "{value}": supported values: "All"')
    return value == "All"


def _check_patch_type(request: web.Request) -> None:
    if request.content_type not in _MERGE_TYPES:
        raise RefusedError(
            415,
            "UnsupportedMediaType",
            f"the body of the request was in an unknown format - accepted media types include: {sorted(_MERGE_TYPES)}",
        )


def _check_valid(full_name: str, stored: Object) -> None:
    spec = stored["spec"]
    replicas = spec.get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        raise RefusedError(
            422, "Invalid", f"{full_name} is invalid: spec.replicas: Invalid value: {replicas}: must be at least 0"
        )
    if spec.get("minReplicas", 1) > spec.get("maxReplicas", 1):
        raise RefusedError(
            422,
            "Invalid",
            f"{full_name} is invalid: spec.maxReplicas: Invalid value: {spec['maxReplicas']}: must be greater than or "
            "equal to `minReplicas`",
        )
    for index, container in enumerate(_containers_of(stored)):
        resources = container.get("resources", {})
        for kind, request in resources.get("requests", {}).items():
            limit = resources.get("limits", {}).get(kind)
            if limit is not None and parse_quantity("request", request) > parse_quantity("limit", limit):
                raise RefusedError(
                    422,
                    "Invalid",
                    f"{full_name} is invalid: spec.template.spec.containers[{index}].resources.requests: Invalid "
                    f'value: "{request}": must be less than or equal to {kind} limit of {limit}',
                )
    annotations = stored["metadata"].get("annotations") or {}
    if not all(isinstance(value, str) for value in annotations.values()):
        raise RefusedError(400, "BadRequest", "unable to parse requested object: annotations must be strings")


def _scale_of(deployment: Object) -> Object:
    """The `Scale` of a Deployment; a replica count of zero is left out, as in Go's JSON."""
    metadata = deployment["metadata"]
    kept = {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    replicas = deployment["spec"]["replicas"]
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": kept,
        "spec": {"replicas": replicas} if replicas else {},
        "status": {"replicas": replicas},
    }


def _containers_of(found: Object) -> list[Object]:
    template = found["spec"].get("template") or {}
    containers: list[Object] = template.get("spec", {}).get("containers", [])
    return containers


def _with_containers(patch: Object, found: Object) -> Object:
    """A strategic patch as a merge patch with the whole list of containers."""
    patched = {container["name"]: container for container in _containers_of(patch)} if "spec" in patch else {}
    if not patched:
        return patch
    whole = [_merged(container, patched.pop(container["name"], {})) for container in _containers_of(found)]
    patch = copy.deepcopy(patch)
    patch["spec"]["template"]["spec"]["containers"] = [*whole, *patched.values()]
    return patch


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = copy.deepcopy(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


def _plural_of(found: Object) -> str:
    return next(plural for (_, _, plural), kind in _KINDS.items() if kind == found["kind"])
