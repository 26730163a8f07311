"""The pod template of a seed role to fields of ours: container, resources, environment, volumes, ports. Pure.

Called by :mod:`octopus_hub.model.seed` only. What has no equivalent becomes a warning, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.quantity import parse_cpu, parse_memory

DEVICES = {
    "nvidia.com/gpu": "gpu",
    "amd.com/gpu": "gpu",
    "huawei.com/Ascend910": "npu",
    "huawei.com/Ascend310": "npu",
    "npu.huawei.com/NPU": "npu",
    "cambricon.com/mlu": "mlu",
}
# What the seed's controller put into every container, and where the same is here.
VARIABLES = {
    "TASKSET_NAME": "OCTOPUS_TASKSET",
    "TASKROLE_NAME": "OCTOPUS_ROLE",
    "TASKROLE_REPLICA_INDEX": "OCTOPUS_INDEX",
}
_WHY = {
    "schedulerName": "gangs are scheduled whole here, without another scheduler",
    "initContainers": "put what they do into the command, or into a TaskSet that comes first (spec.after)",
    "hostNetwork": "tasks reach each other by OCTOPUS_PEERS",
    "serviceAccountName": "tasks get no rights on the cluster",
    "imagePullSecrets": "an administrator gives access to images",
    "priorityClassName": "name one of the priorities here in spec.priority",
    "activeDeadlineSeconds": "spec.lifetime.maxRuntimeSeconds bounds the whole TaskSet",
    "tolerations": "an administrator says which nodes are for whom",
    "envFrom": "name the variables one by one",
    "livenessProbe": "a task that hangs is bounded by spec.lifetime.maxRuntimeSeconds",
}
_EXPECTED = {"restartPolicy": ("Never", None), "dnsPolicy": ("ClusterFirst", None), "hostNetwork": (False, None)}
_SHM = "/dev/shm"

Note = Callable[[str, str], None]


def role_fields(template: Mapping[str, Any], path: str, note: Note) -> dict[str, Any]:
    """Return the fields of our role that a pod template gives; ``note(path, what)`` takes what is not taken over."""
    pod = mapping(template.get("spec"))
    where = f"{path}.spec"
    for name in sorted(mapping(mapping(template.get("metadata")).get("annotations"))):
        why = "gangs start whole without it" if name == "scheduling.k8s.io/group-name" else "has no equivalent"
        note(f"{path}.metadata.annotations.{name}", why)
    containers = entries(pod.get("containers"))
    if not containers:
        note(f"{where}.containers", "there is no container, so there is no command")
        return {}
    for at in range(1, len(containers)):
        note(f"{where}.containers[{at}]", "only the first container is taken over; a role has one command")
    unmapped(pod, {"containers", "nodeSelector", "volumes"}, where, note)
    found = _container(containers[0], f"{where}.containers[0]", note)
    selector = {str(key): str(value) for key, value in mapping(pod.get("nodeSelector")).items()}
    if selector:
        found["placement"] = {"nodeSelector": selector}
    _volumes(containers[0], pod, found, where, note)
    return found


def _container(container: Mapping[str, Any], path: str, note: Note) -> dict[str, Any]:
    taken = {"name", "image", "command", "args", "env", "resources", "volumeMounts", "ports", "workingDir"}
    unmapped(container, {*taken, "imagePullPolicy", "terminationMessagePath", "terminationMessagePolicy"}, path, note)
    found = {name: container[name] for name in ("image", "command", "args") if container.get(name)}
    if found.get("image", "host") != "host":
        note(
            f"{path}.image",
            f"{found['image']} is kept; on one machine an image is an environment (images: in octopus.yaml)",
        )
    env, secrets = _environment(entries(container.get("env")), f"{path}.env", note)
    if env:
        found["env"] = env
    if secrets:
        found["secrets"] = secrets
    resources = _resources(mapping(container.get("resources")), f"{path}.resources", note)
    if resources:
        found["resources"] = resources
    folder = container.get("workingDir")
    if isinstance(folder, str) and (folder == "/workspace" or folder.startswith("/workspace/")):
        found["workingDir"] = folder
    elif folder:
        note(f"{path}.workingDir", f"{folder} is not inside the workspace, where every task starts here")
    ports = _ports(entries(container.get("ports")), f"{path}.ports", note)
    if ports:
        found["ports"] = ports
    _used_variables(container, path, note)
    return found


def _environment(given: list[Mapping[str, Any]], path: str, note: Note) -> tuple[dict[str, Any], dict[str, str]]:
    env: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    for at, each in enumerate(given):
        name = str(each.get("name", ""))
        source = mapping(each.get("valueFrom"))
        secret = mapping(source.get("secretKeyRef"))
        if "value" in each or not source:
            value = each.get("value")
            env[name] = "" if value is None else value
        elif secret.get("name"):
            secrets[name] = str(secret["name"])
            note(f"{path}[{at}]", f"{name} is the secret {secret['name']} here: octopus secret set {secret['name']}")
        else:
            note(f"{path}[{at}].valueFrom", f"{name} has no value here; give it in env")
    return env, secrets


def _resources(given: Mapping[str, Any], path: str, note: Note) -> dict[str, Any]:
    """Return limits, or requests where there is no limit: ours are both."""
    limits, requests = mapping(given.get("limits")), mapping(given.get("requests"))
    found: dict[str, Any] = {}
    devices: dict[str, Any] = {}
    for name, amount in {**requests, **limits}.items():
        if name in ("cpu", "memory"):
            found[name] = amount
            asked = requests.get(name, amount)
            if not _same(name, asked, amount):
                note(f"{path}.requests.{name}", f"{asked} differs from the limit, which is taken: {amount}")
        elif "/" in name:
            device = DEVICES.get(name)
            if device is None:
                device = re.sub("[^a-z0-9]+", "-", name.split("/")[1].lower()).strip("-")[:31]
                note(f"{path}.limits.{name}", f"is the device type {device} here; correct it if yours has another name")
            devices[device] = _count(amount)
        else:
            note(f"{path}.limits.{name}", "has no equivalent")
    return {**found, "devices": devices} if devices else found


def _same(name: str, left: Any, right: Any) -> bool:
    parse = parse_cpu if name == "cpu" else parse_memory
    try:
        return parse(str(left)) == parse(str(right))
    except InvalidSpec:
        return bool(left == right)


def _count(amount: Any) -> Any:
    return int(amount) if isinstance(amount, str) and amount.isascii() and amount.isdigit() else amount


def _ports(given: list[Mapping[str, Any]], path: str, note: Note) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for at, each in enumerate(given):
        number = each.get("containerPort")
        found.append({"name": str(each.get("name") or f"port{number}"), "port": number})
        if each.get("protocol", "TCP") != "TCP":
            note(f"{path}[{at}].protocol", f"{each['protocol']} is not taken over; a port is reserved for TCP")
        if each.get("hostPort"):
            note(f"{path}[{at}].hostPort", "has no equivalent")
    return found


def _volumes(
    container: Mapping[str, Any], pod: Mapping[str, Any], found: dict[str, Any], path: str, note: Note
) -> None:
    sources = {str(each.get("name")): each for each in entries(pod.get("volumes"))}
    volumes: list[dict[str, Any]] = []
    for at, mount in enumerate(entries(container.get("volumeMounts"))):
        where = f"{path}.containers[0].volumeMounts[{at}]"
        source, place = sources.get(str(mount.get("name")), {}), str(mount.get("mountPath", ""))
        if mount.get("subPath"):
            note(f"{where}.subPath", f"{mount['subPath']} has no equivalent; the whole volume is mounted")
        if "emptyDir" in source and place == _SHM:
            limit = mapping(source["emptyDir"]).get("sizeLimit")
            if limit:
                found.setdefault("resources", {})["shm"] = limit
            continue
        volume = _volume(source, place, where, note)
        if volume:
            volumes.append({**volume, "mountPath": place, **({"readOnly": True} if mount.get("readOnly") else {})})
    if volumes:
        found["volumes"] = volumes


def _volume(source: Mapping[str, Any], place: str, where: str, note: Note) -> dict[str, Any]:
    name = str(source.get("name", ""))
    if "emptyDir" in source:
        return {"kind": "scratch", "name": name}
    if "persistentVolumeClaim" in source:
        claim = str(mapping(source["persistentVolumeClaim"]).get("claimName", ""))
        note(where, f"{place} is the claim {claim}; it needs the storage kind pvc, which clusters have")
        return {"kind": "pvc", "name": claim}
    if "hostPath" in source:
        folder = mapping(source["hostPath"]).get("path")
        note(where, f"{place} was the folder {folder} of the node; ask for a storage kind that gives it (octopus.yaml)")
    else:
        kinds = ", ".join(sorted(set(source) - {"name"})) or "a volume that is not declared"
        note(where, f"{place} was {kinds}, which has no equivalent")
    return {}


def _used_variables(container: Mapping[str, Any], path: str, note: Note) -> None:
    """Programs know the seed's variables by name; say where the values are now."""
    for field in ("command", "args"):
        given = container.get(field)
        text = " ".join(str(each) for each in given) if isinstance(given, list | tuple) else ""
        for old, new in VARIABLES.items():
            if re.search(rf"\b{old}\b", text):
                note(f"{path}.{field}", f"uses {old}, which is {new} here")


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping, empty for anything else."""
    return value if isinstance(value, Mapping) else {}


def entries(value: Any) -> list[Mapping[str, Any]]:
    """Return the mappings in a list."""
    return [mapping(each) for each in value] if isinstance(value, list | tuple) else []


def unmapped(given: Mapping[str, Any], taken: set[str], path: str, note: Note) -> None:
    """Note the fields that nothing here stands for."""
    for name, value in given.items():
        if name in taken or value in _EXPECTED.get(name, ()) or value in (None, "", [], {}):
            continue
        note(f"{path}.{name}", _WHY.get(name, "has no equivalent"))
