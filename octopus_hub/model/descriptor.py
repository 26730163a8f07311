"""Descriptors: frameworks, devices and storage kinds as data. Loaded by ``plugins.registry``, applied by ``core.expand``.

The content (not only the name) of every descriptor a TaskSet uses is stored with it at submission.
"""

from __future__ import annotations

from octopus_hub.model.base import ApiStruct


class RoleWiring(ApiStruct, frozen=True, kw_only=True):
    """How tasks of one role (or of every role, key ``*``) of a framework are wired."""

    env: dict[str, str] = {}  # value templates, see model.template
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
    service_roles: list[str] = []  # roles that need not end (ps): stopped once all others succeeded
    rank_order: list[str] = []  # roles in rank order; roles not named follow in the order of the spec
    source: str = ""  # where the wiring is documented
    image: str = ""  # default image when a role names none


class DeviceParts(ApiStruct, frozen=True, kw_only=True):
    """That devices of a type can be divided into equal parts; which ones are is said in octopus.yaml."""

    max: int  # a device is divided into 2 to so many
    env: dict[str, str] = {}  # variables of a task with a part: {parts}, and {percent} = 100 / parts, rounded down


class DeviceDescriptor(ApiStruct, frozen=True, kw_only=True):
    """A device type: how it is found on a machine, how a task sees its devices, its resource name on a cluster."""

    name: str
    description: str = ""
    api_version: str = "octopus-hub.io/v1alpha1"
    kind: str = "Device"
    discovery: str = "none"  # none | nvml | declared | command
    command: list[str] = []  # discovery: command; what it prints: plugins.discovery.Listed; "./x" is beside the file
    env: dict[str, str] = {}  # variables that get the assigned ids: CUDA_VISIBLE_DEVICES: "{ids}"
    parts: DeviceParts | None = None  # None: devices of this type can't be divided
    hide: bool = False  # a task that asks for none gets the variables empty, so that it sees none
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


class HookDescriptor(ApiStruct, frozen=True, kw_only=True):
    """A hook: a program or an HTTP endpoint asked at stages of a TaskSet's life; one JSON in, one JSON out."""

    name: str
    description: str = ""
    api_version: str = "octopus-hub.io/v1alpha1"
    kind: str = "Hook"
    stages: list[str] = []  # expand | prepare | finish
    http: str = ""  # a URL to POST to; exactly one of http and command
    command: list[str] = []  # JSON on stdin, JSON on stdout; "./x" is relative to the file that defines the hook
    env: dict[str, str] = {}  # command: variables beside PATH, HOME, LANG; nothing else is inherited
    timeout_seconds: float = 10.0  # of one try
    retries: int = 2  # further tries after the first, with back-off
    parallel: int = 4  # calls under way at once
    required: bool = False  # true: a call that fails stops the TaskSet; false: it is shown as a condition only


class Descriptors(ApiStruct, frozen=True, kw_only=True):
    """The descriptors one TaskSet uses, with the digest of each (``framework/pytorch`` -> ``sha256:...``)."""

    framework: FrameworkDescriptor | None = None
    devices: dict[str, DeviceDescriptor] = {}
    storage: dict[str, StorageDescriptor] = {}
    digests: dict[str, str] = {}
