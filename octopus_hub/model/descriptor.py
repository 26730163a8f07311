"""Descriptors: frameworks, devices and storage kinds as data. Loaded by ``plugins.registry``, applied by ``core.expand``.

The content (not only the name) of every descriptor a TaskSet uses is stored with it at submission.
"""

from __future__ import annotations

from octopus_hub.model.base import ApiStruct


class RoleWiring(ApiStruct, frozen=True, kw_only=True):
    """How tasks of one role (or of every role, key ``*``) of a framework are wired."""

    env: dict[str, str] = {}  # value templates, see core.expand
    ports: list[str] = []  # port names reserved for each task of the role
    files: dict[str, str] = {}  # relative path -> template


class FrameworkDescriptor(ApiStruct, frozen=True, kw_only=True):
    """A framework: which roles it knows and how it is wired."""

    name: str
    description: str = ""
    api_version: str = "octopus-hub.io/v1alpha1"
    kind: str = "Framework"
    roles: dict[str, RoleWiring] = {}  # role name or "*"
    allowed_roles: list[str] = []  # empty: any
    rank_order: list[str] = []  # roles in rank order; roles not named follow in the order of the spec
    source: str = ""  # where the wiring is documented
    image: str = ""  # default image when a role names none


class DeviceDescriptor(ApiStruct, frozen=True, kw_only=True):
    """A device type: how it is found on a machine, how a task sees its devices, its resource name on a cluster."""

    name: str
    description: str = ""
    api_version: str = "octopus-hub.io/v1alpha1"
    kind: str = "Device"
    discovery: str = "none"  # none | nvml | declared | command
    command: list[str] = []  # discovery: command; prints a JSON list of {"id","memoryBytes","model"}
    env: dict[str, str] = {}  # templates over {ids}: e.g. CUDA_VISIBLE_DEVICES: "{ids}"
    kubernetes_resource: str = ""  # e.g. nvidia.com/gpu
    source: str = ""


class StorageDescriptor(ApiStruct, frozen=True, kw_only=True):
    """A storage kind."""

    name: str
    description: str = ""
    api_version: str = "octopus-hub.io/v1alpha1"
    kind: str = "Storage"
    provider: str = "scratch"  # scratch | folder
    root: str = ""  # folder: allowed root; the volume's name (or parameters.path) is below it
    parameters: dict[str, str] = {}


class Descriptors(ApiStruct, frozen=True, kw_only=True):
    """The descriptors one TaskSet uses, with the digest of each (``framework/pytorch`` -> ``sha256:...``)."""

    framework: FrameworkDescriptor | None = None
    devices: dict[str, DeviceDescriptor] = {}
    storage: dict[str, StorageDescriptor] = {}
    digests: dict[str, str] = {}
