# SPDX-License-Identifier: Apache-2.0
"""The Pod Security Standards, as far as these manifests could break them.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

RESTRICTED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral",
                      "persistentVolumeClaim", "projected", "secret"}
BASELINE_CAPABILITIES = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
    "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}


def containers_of(spec):
    return spec.get("initContainers", []) + spec["containers"]


def effective(spec, container, field):
    """The container's setting, or else the pod's."""
    return container.get("securityContext", {}).get(
        field, spec.get("securityContext", {}).get(field))


def baseline_faults(spec):
    """What the level "baseline" forbids in a pod spec; names of fields."""
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield field
    if any("hostPath" in volume for volume in spec.get("volumes", [])):
        yield "hostPath volumes"
    for container in containers_of(spec):
        security = container.get("securityContext", {})
        if security.get("privileged"):
            yield "privileged"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield "hostPort"
        if set(security.get("capabilities", {}).get("add", [])) - BASELINE_CAPABILITIES:
            yield "added capabilities"
        seccomp = effective(spec, container, "seccompProfile") or {}
        if seccomp.get("type") == "Unconfined":
            yield "seccompProfile"


def restricted_faults(spec):
    """What the level "restricted" forbids in a pod spec, without what "baseline" does."""
    for volume in spec.get("volumes", []):
        if not set(volume) - {"name"} <= RESTRICTED_VOLUMES | {"hostPath"}:
            yield "volume types"
    for container in containers_of(spec):
        security = container.get("securityContext", {})
        capabilities = security.get("capabilities", {})
        if security.get("allowPrivilegeEscalation") is not False:
            yield "allowPrivilegeEscalation"
        if effective(spec, container, "runAsNonRoot") is not True:
            yield "runAsNonRoot"
        if effective(spec, container, "runAsUser") == 0:
            yield "runAsUser 0"
        if "ALL" not in capabilities.get("drop", []):
            yield "capabilities not dropped"
        if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield "added capabilities"
        seccomp = effective(spec, container, "seccompProfile") or {}
        if seccomp.get("type") not in ("RuntimeDefault", "Localhost"):
            yield "seccompProfile"
