"""The TaskSet: what a user submits (``spec``), what the controller says about it (``status``).

Pure data (design, section 5). Parsing of user documents with all problems at once is in
:mod:`octopus_hub.model.parse`; the wire form of these structs is camelCase with defaults left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from octopus_hub.model.amounts import Amounts, total
from octopus_hub.model.base import ApiStruct
from octopus_hub.model.descriptor import Descriptors
from octopus_hub.model.flat import FlatMeta
from octopus_hub.model.quantity import parse_cpu, parse_memory
from octopus_hub.model.status import Status

API_VERSION = "octopus-hub.io/v1alpha1"
DEFAULT_CPU = "100m"
DEFAULT_MEMORY = "256Mi"
DEFAULT_SHM = "1Gi"

RestartScope = Literal["never", "task", "role", "gang"]
EventTrigger = Literal["RoleFailed", "RoleSucceeded", "RoleCompleted"]
EventAction = Literal["FailTaskSet", "SucceedTaskSet", "Ignore"]
LifetimeMode = Literal["detached", "server", "kernel"]


class Resources(ApiStruct, frozen=True, kw_only=True):
    """What one task of a role asks for. Quantities are canonical strings (``500m``, ``8Gi``) after parsing."""

    cpu: str = DEFAULT_CPU
    memory: str = DEFAULT_MEMORY
    devices: dict[str, int] = {}
    shm: str = DEFAULT_SHM

    def amounts(self) -> Amounts:
        """Return the request as integers."""
        return Amounts(
            cpu_millis=parse_cpu(self.cpu),
            memory_bytes=parse_memory(self.memory),
            devices={name: count for name, count in self.devices.items() if count},
        )


class Volume(ApiStruct, frozen=True, kw_only=True):
    """A storage volume of a kind that a storage descriptor defines (``scratch``, ``folder``, later ``pvc``)."""

    kind: str
    name: str
    mount_path: str
    read_only: bool = False
    parameters: dict[str, str] = {}


class Port(ApiStruct, frozen=True, kw_only=True):
    """A named port. ``port`` is the wished number on a cluster; on one machine a reserved one is given."""

    name: str
    port: int | None = None


class Completion(ApiStruct, frozen=True, kw_only=True):
    """When a role succeeds or fails (design, law 3)."""

    min_succeeded: int | None = None  # default: replicas - max_failed
    max_failed: int = 0


class Restart(ApiStruct, frozen=True, kw_only=True):
    """What restarts when a task fails, how often, after which delay (doubled per restart, with jitter)."""

    scope: RestartScope = "never"
    max_restarts: int = 3
    delay_seconds: float = 10.0


class RoleEvent(ApiStruct, frozen=True, kw_only=True):
    """A rule that overrides the default verdict: on a role's end, do this."""

    on: EventTrigger
    do: EventAction


class Topology(ApiStruct, frozen=True, kw_only=True):
    """Packing by a node label level."""

    level: str
    mode: Literal["preferred", "required"] = "preferred"


class PlacementPreferences(ApiStruct, frozen=True, kw_only=True):
    """Where a role's tasks may run."""

    node_selector: dict[str, str] = {}
    topology: Topology | None = None
    sku: str | None = None


class ElasticReplicas(ApiStruct, frozen=True, kw_only=True):
    """Bounds of an elastic role."""

    min: int
    max: int


class Role(ApiStruct, frozen=True, kw_only=True, metaclass=FlatMeta):
    """A group of equal tasks. Flat form: ``Role("worker", replicas=3, devices={"gpu": 1}, command=[...])``."""

    name: str
    replicas: int | ElasticReplicas = 1
    main: bool = False
    image: str = ""  # "" is the default image (the machine's default environment)
    command: list[str] = []
    args: list[str] = []
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    working_dir: str = ""
    resources: Resources = Resources()
    volumes: list[Volume] = []
    ports: list[Port] = []
    completion: Completion = Completion()
    restart: Restart = Restart()
    events: list[RoleEvent] = []
    placement: PlacementPreferences = PlacementPreferences()
    template: dict[str, Any] = {}

    @staticmethod
    def __flatten__(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (), _flatten_role(args, kwargs)

    @property
    def count(self) -> int:
        """Number of tasks that are started (elastic roles start at their minimum)."""
        return self.replicas if isinstance(self.replicas, int) else self.replicas.min

    @property
    def min_succeeded(self) -> int:
        """Tasks that must succeed for the role to succeed."""
        given = self.completion.min_succeeded
        return given if given is not None else max(0, self.count - self.completion.max_failed)


class After(ApiStruct, frozen=True, kw_only=True):
    """A TaskSet of the same owner that must end first."""

    name: str
    on: Literal["Succeeded", "Failed", "Completed"] = "Succeeded"


class Gang(ApiStruct, frozen=True, kw_only=True):
    """Gang start: all members, bound within ``timeout_seconds`` or withdrawn whole."""

    min_available: int | Literal["all"] = "all"
    timeout_seconds: float = 600.0


class Idle(ApiStruct, frozen=True, kw_only=True):
    """What to do with a TaskSet whose devices idle."""

    util_below_percent: float = 5.0
    for_seconds: float = 3600.0
    action: Literal["warn", "stop"] = "warn"


class Lifetime(ApiStruct, frozen=True, kw_only=True):
    """How long a TaskSet may live and what it is tied to."""

    mode: LifetimeMode = "detached"
    max_runtime_seconds: float | None = None
    ttl_seconds_after_finished: float | None = None
    idle: Idle | None = None


class PreemptionSpec(ApiStruct, frozen=True, kw_only=True):
    """Whether and how a running TaskSet may be preempted."""

    allowed: bool = True
    notice_seconds: float = 60.0
    min_runtime_seconds: float = 0.0


class Workspace(ApiStruct, frozen=True, kw_only=True):
    """The submitter's folder, unpacked into every task. ``digest`` is set by the client after the upload."""

    snapshot: bool = True
    digest: str | None = None  # sha256:... of a blob that holds a tar.gz archive
    git: dict[str, Any] | None = None  # state of the folder's git repository at submission: commit, dirty, remote


class Input(ApiStruct, frozen=True, kw_only=True):
    """A declared input."""

    uri: str
    digest: str | None = None


class RunSpec(ApiStruct, frozen=True, kw_only=True):
    """A papermill run: the notebook, its parameters."""

    notebook: str
    parameters: dict[str, Any] = {}


class Metadata(ApiStruct, frozen=True, kw_only=True):
    """Identity. ``namespace``, ``uid``, times and intents are set by the service, never by a submitter."""

    name: str
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    created_at: float = 0.0
    owner: str = ""  # hub user name
    exact_name: bool = False  # a taken name is a conflict instead of getting a suffix
    stop_requested_at: float | None = None
    deletion_requested_at: float | None = None
    version: int = 0  # grows at each stored change


class Spec(ApiStruct, frozen=True, kw_only=True):
    """What shall run."""

    roles: list[Role] = []
    queue: str = ""  # "" is the owner's own queue
    priority: str = "normal"
    hold: bool = False
    after: list[After] = []
    framework: str = "script"
    gang: Gang = Gang()
    lifetime: Lifetime = Lifetime()
    preemption: PreemptionSpec = PreemptionSpec()
    workspace: Workspace = Workspace()
    inputs: list[Input] = []
    outputs: list[str] = []
    run: RunSpec | None = None
    seed: int | None = None  # given to every task as OCTOPUS_SEED; drawn at submission when absent


class Resolved(ApiStruct, frozen=True, kw_only=True):
    """What the service fixed at submission, so that what runs is what was submitted."""

    images: dict[str, str] = {}  # role name -> image digest (sha256:...)
    image_names: dict[str, str] = {}  # role name -> resolved environment name
    descriptors: Descriptors = Descriptors()
    spec_digest: str = ""  # digest of the canonical spec as submitted


class TaskSet(ApiStruct, frozen=True, kw_only=True, metaclass=FlatMeta):
    """A distributed job: roles x replicas. Flat form: ``TaskSet("mnist", roles=[...], framework="pytorch")``."""

    api_version: str = API_VERSION
    kind: str = "TaskSet"
    metadata: Metadata
    spec: Spec = Spec()
    resolved: Resolved = Resolved()
    status: Status = Status()

    @staticmethod
    def __flatten__(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (), _flatten_taskset(args, kwargs)

    @property
    def name(self) -> str:
        """The name within the owner's namespace."""
        return self.metadata.name

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return self.metadata.namespace, self.metadata.name

    def role(self, name: str) -> Role:
        """Return the role of that name (KeyError if there is none)."""
        for role in self.spec.roles:
            if role.name == name:
                return role
        raise KeyError(name)

    def amounts(self) -> Amounts:
        """Return what the whole gang asks for."""
        return total(role.resources.amounts().times(role.count) for role in self.spec.roles)

    def to_dict(self) -> dict[str, Any]:
        """Return the wire form as plain data."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return {"apiVersion": self.api_version, "kind": self.kind, **data}

    @classmethod
    def parse(cls, document: Mapping[str, Any] | bytes | str) -> TaskSet:
        """Parse a user's document (a mapping, or JSON text); raises InvalidSpec with every problem found."""
        from octopus_hub.model.parse import parse_taskset

        return parse_taskset(document)


_ROLE_RESOURCE_KEYS = ("cpu", "memory", "devices", "shm")
_SPEC_KEYS = frozenset(Spec.__struct_fields__)


def _flatten_role(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    full = _with_name(args, kwargs)
    flat = {key: full.pop(key) for key in _ROLE_RESOURCE_KEYS if key in full}
    if flat:
        if "resources" in full:
            raise TypeError(f"give resources= or {', '.join(flat)}=, not both")
        full["resources"] = Resources(
            **{key: str(value) if key != "devices" else dict(value) for key, value in flat.items()}
        )
    return full


def _flatten_taskset(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    named = _with_name(args, kwargs)
    flat = {key: named.pop(key) for key in list(named) if key in _SPEC_KEYS}
    if flat:
        if "spec" in named:
            raise TypeError(f"give spec= or {', '.join(flat)}=, not both")
        named["spec"] = Spec(**flat)
    meta = {key: named.pop(key) for key in ("name", "labels", "annotations", "exact_name") if key in named}
    if meta:
        if "metadata" in named:
            raise TypeError(f"give metadata= or {', '.join(meta)}=, not both")
        named["metadata"] = Metadata(**meta)
    return named


def _with_name(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    if len(args) > 1:
        raise TypeError("only the name may be given by position")
    return {"name": args[0], **kwargs} if args else dict(kwargs)
