"""A double of the Kubernetes API server at the level of HTTP, for what collecting asks of one: lists in pages.

Written after the API's documentation (API concepts: retrieving large results sets in chunks, `Status`; the references
of Node, Pod, Deployment, HorizontalPodAutoscaler; metrics.k8s.io/v1beta1). The double for actions is its neighbour.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.support.kubernetes_api import write_kubeconfig

TOKEN = "a-service-account-token"
Object = dict[str, Any]
METRICS = "metrics.k8s.io"


class ClusterApi:
    """Objects by API group and plural, and how the server is today."""

    def __init__(self) -> None:
        self.url = ""
        self.objects: dict[tuple[str, str], list[Any]] = {}
        self.not_served: set[str] = set()
        """API groups."""
        self.forbidden: set[tuple[str, str | None]] = set()
        """Plurals (with the group, as ``pods.metrics.k8s.io``) and namespaces; None: in all namespaces."""
        self.failing: dict[tuple[str, str | None], int | bytes] = {}
        """By the same, what the server answers today instead: a status, or a body."""
        self.page_size_max = 250
        self.expiring = 0
        """How many of the next tokens are too old."""
        self.faults: list[tuple[int, dict[str, str]] | bytes] = []
        """What the next requests are answered with: a status with headers, or a body."""
        self.flood_bytes = 0
        self.requests: list[str] = []
        """Paths with queries."""

    def add(self, plural: str, *objects: Any, group: str = "") -> None:
        """Puts objects there."""
        self.objects.setdefault((group, plural), []).extend(objects)

    @asynccontextmanager
    async def served(self) -> AsyncIterator["ClusterApi"]:
        """Listens on a loopback port while the block runs."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    def kubeconfig(self, path: Path, *, token: str = TOKEN) -> Path:
        """Writes a kubeconfig file for this server."""
        return write_kubeconfig(path, self.url, token)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized", "Unauthorized")
        if self.flood_bytes:
            return await self._flood(request)
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, bytes):
                return web.Response(body=fault, content_type="application/json")
            return _status(fault[0], "Fault", "as the test wants it", fault[1])
        parts = request.path.strip("/").split("/")
        group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
        namespace, plural = (rest[1], rest[2]) if rest[0] == "namespaces" else (None, rest[0])
        full = f"{plural}.{group}" if group else plural
        if group in self.not_served:
            return web.Response(status=404, text="404 page not found")
        if (full, namespace) in self.forbidden:
            message = f'{full} is forbidden: User "system:serviceaccount:sextant:x" cannot list resource "{plural}"'
            return _status(403, "Forbidden", message)
        if (failure := self.failing.get((full, namespace))) is not None:
            if isinstance(failure, bytes):
                return web.Response(body=failure, content_type="application/json")
            return _status(failure, "Fault", "as the test wants it")
        found = [
            each
            for each in self.objects.get((group, plural), [])
            if namespace is None or each.get("metadata", {}).get("namespace") == namespace
        ]
        # metrics-server gives everything at once, whatever limit is asked for.
        size = len(found) if group == METRICS else min(int(request.query.get("limit", len(found))), self.page_size_max)
        token = request.query.get("continue")
        if token is not None and self.expiring > 0:
            self.expiring -= 1
            return _status(410, "Expired", "The provided continue parameter is too old")
        first = 0 if token is None else int(token.removeprefix("at-"))
        last = first + size
        metadata = {"resourceVersion": "1", **({"continue": f"at-{last}"} if last < len(found) else {})}
        return web.json_response({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": found[first:last]})

    async def _flood(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        sent = 0
        try:
            while sent < self.flood_bytes:
                await response.write(b" " * (1 << 20))
                sent += 1 << 20
        except ConnectionError:
            await asyncio.sleep(0)
        return response


def _status(code: int, reason: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return web.json_response(status, status=code, headers=headers or {})


def node(name: str, instance_type: str = "m5.large", *, ready: str = "True", **allocatable: str) -> Object:
    """A node of an EKS cluster."""
    return {
        "metadata": {
            "name": name,
            "labels": {
                "node.kubernetes.io/instance-type": instance_type,
                "topology.kubernetes.io/region": "eu-central-1",
                "topology.kubernetes.io/zone": "eu-central-1a",
            },
        },
        "spec": {"providerID": f"aws:///eu-central-1a/i-{name}"},
        "status": {
            "allocatable": {
                "cpu": "1930m",
                "memory": "7Gi",
                "pods": "29",
                "ephemeral-storage": "18242267924",
                **allocatable,
            },
            "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}],
        },
    }


def pod(
    namespace: str, name: str, *, node: str = "node-1", owner: tuple[str, str] | None = None, **more: Any
) -> Object:
    """A pod of one container that asks for 100m and 128Mi, and may use 256Mi."""
    owners = [] if owner is None else [{"kind": owner[0], "name": owner[1], "controller": True}]
    container = {
        "name": "app",
        "image": "shop:1",
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
    }
    return {
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": owners, "labels": more.pop("labels", {})},
        "spec": {"nodeName": node, "containers": [container], **more.pop("spec", {})},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "app", "restartCount": 2}],
            **more.pop("status", {}),
        },
    }


def deployment(
    namespace: str,
    name: str,
    *,
    replicas: int = 3,
    image: str = "shop:1",
    changed: str = "2025-12-24T18:00:00Z",
    **container: Any,
) -> Object:
    """A Deployment that kubectl changed last, and the controller after it only in its status."""
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "managedFields": [
                {"manager": "helm", "operation": "Update", "time": "2025-12-01T00:00:00Z", "fieldsV1": {"f:spec": {}}},
                {
                    "manager": "kubectl",
                    "operation": "Update",
                    "time": changed,
                    "fieldsV1": {"f:spec": {}},
                },
                {
                    "manager": "kube-controller-manager",
                    "operation": "Update",
                    "subresource": "status",
                    "time": "2025-12-31T00:00:00Z",
                    "fieldsV1": {"f:status": {}},
                },
            ],
        },
        "spec": {
            "replicas": replicas,
            "template": {"spec": {"containers": [{"name": "app", "image": image, **container}]}},
        },
    }


def autoscaler(namespace: str, name: str, target: str, low: int, high: int) -> Object:
    """A HorizontalPodAutoscaler of a Deployment."""
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "minReplicas": low,
            "maxReplicas": high,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}],
        },
    }


def node_use(name: str, cpu: str, memory: str) -> Object:
    """What metrics-server measured of a node."""
    return {"metadata": {"name": name}, "timestamp": "2025-12-31T23:59:45Z", "usage": {"cpu": cpu, "memory": memory}}


def pod_use(namespace: str, name: str, cpu: str, memory: str, *, timestamp: str = "2025-12-31T23:59:45Z") -> Object:
    """What metrics-server measured of a pod of one container."""
    return {
        "metadata": {"name": name, "namespace": namespace},
        "timestamp": timestamp,
        "containers": [{"name": "app", "usage": {"cpu": cpu, "memory": memory}}],
    }
