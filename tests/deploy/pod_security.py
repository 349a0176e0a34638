"""The restricted Pod Security Standard.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from typing import Any

VOLUMES_ALLOWED = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


def violations(pod: dict[str, Any]) -> list[str]:
    """What in a pod's spec the standard forbids, baseline's controls included; for Linux."""
    found = [f"{field} is set" for field in ("hostNetwork", "hostPID", "hostIPC") if pod.get(field)]
    for volume in pod.get("volumes", ()):
        found += [f"volume of type {kind}" for kind in volume.keys() - {"name"} - VOLUMES_ALLOWED]
    shared = pod.get("securityContext", {})
    if shared.get("sysctls"):
        found.append("sysctls are set")
    containers = [one for kind in ("initContainers", "containers", "ephemeralContainers") for one in pod.get(kind, ())]
    return found + [problem for one in containers for problem in _of_container(one, shared)]


def _of_container(container: dict[str, Any], shared: dict[str, Any]) -> list[str]:
    own = container.get("securityContext", {})
    merged = {**shared, **own}
    capabilities = own.get("capabilities", {})
    found = []
    if own.get("allowPrivilegeEscalation") is not False:
        found.append("privileges may escalate")
    if own.get("privileged"):
        found.append("privileged")
    if merged.get("runAsNonRoot") is not True:
        found.append("may run as root")
    if merged.get("runAsUser") == 0:
        found.append("runs as root")
    if merged.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        found.append("no seccomp profile")
    if "ALL" not in capabilities.get("drop", ()):
        found.append("capabilities are kept")
    if not set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"}:
        found.append("capabilities are added")
    if own.get("procMount", "Default") != "Default":
        found.append("procMount is set")
    if any(port.get("hostPort") for port in container.get("ports", ())):
        found.append("a port of the host")
    return found
