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
from octopus_hub.model.flat import FlatMeta, WrongArgument, known_fields, plain_value
from octopus_hub.model.parts import in_parts
from octopus_hub.model.placing import GangPlacement, PlacementPreferences
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

    cpu: str = DEFAULT_CPU  # CPUs: 2, 0.5, 500m
    memory: str = DEFAULT_MEMORY  # bytes: 8Gi, 512Mi; a task that uses more is killed, and the record says so
    devices: dict[str, int] = {}  # devices by type: gpu, virtual; gpu: 0.25 is one part, gpu-1of4: 1
    shm: str = DEFAULT_SHM  # size of /dev/shm, in memory

    def amounts(self) -> Amounts:
        """Return the request as integers."""
        return Amounts(
            cpu_millis=parse_cpu(self.cpu),
            memory_bytes=parse_memory(self.memory),
            devices={name: count for name, count in self.devices.items() if count},
        )


class Volume(ApiStruct, frozen=True, kw_only=True):
    """A storage volume of a kind that a storage descriptor defines (``scratch``, ``folder``, later ``pvc``)."""

    kind: str  # a storage kind
    name: str  # names the volume, and its folder where the kind has folders
    mount_path: str  # where the task sees it
    read_only: bool = False  # not to be written
    parameters: dict[str, str] = {}  # the kind's own


class Port(ApiStruct, frozen=True, kw_only=True):
    """A named port. ``port`` is the wished number on a cluster; on one machine a reserved one is given."""

    name: str  # the port is found under it in OCTOPUS_PEERS
    port: int | None = None  # on a cluster; on one machine a free one is reserved


class Completion(ApiStruct, frozen=True, kw_only=True):
    """When a role succeeds or fails (design, law 3)."""

    min_succeeded: int | None = None  # default: replicas - max_failed
    max_failed: int = 0  # failed tasks that the role bears


class Restart(ApiStruct, frozen=True, kw_only=True):
    """What restarts when a task fails, how often, after which delay (doubled per restart, with jitter)."""

    scope: RestartScope = "never"  # what starts again: nothing, the task, its role, the whole gang
    max_restarts: int = 3  # for failures that are the user's; the platform's faults are not counted
    delay_seconds: float = 10.0  # before the first restart


class RoleEvent(ApiStruct, frozen=True, kw_only=True):
    """A rule that overrides the default verdict: on a role's end, do this."""

    on: EventTrigger  # what happens to the role
    do: EventAction  # what follows for the TaskSet


class ElasticReplicas(ApiStruct, frozen=True, kw_only=True):
    """Bounds of an elastic role: the gang starts with ``min`` tasks or more, and grows while there is room."""

    min: int  # fewer are never run
    max: int  # more are never run


class Role(ApiStruct, frozen=True, kw_only=True, metaclass=FlatMeta):
    """A group of equal tasks. Flat form: ``Role("worker", replicas=3, devices={"gpu": 1}, command=[...])``."""

    name: str  # a letter, then at most 14 letters or digits
    replicas: int | ElasticReplicas = 1  # number of tasks, 1 to 10000
    main: bool = False  # its verdict is the TaskSet's; the others are stopped then
    image: str = ""  # "" is the default image (the machine's default environment)
    command: list[str] = []  # program and arguments, run without a shell
    args: list[str] = []  # more arguments
    env: dict[str, str] = {}  # variables of the task
    secrets: dict[str, str] = {}  # variable -> name of a secret of the owner
    working_dir: str = ""  # relative to the workspace
    resources: Resources = Resources()  # what each task of the role asks for
    volumes: list[Volume] = []  # storage the tasks see
    ports: list[Port] = []  # ports reserved for each task, beside main
    completion: Completion = Completion()  # when the role has succeeded or failed
    restart: Restart = Restart()  # what a failed task brings about
    events: list[RoleEvent] = []  # rules that come before the usual verdict
    placement: PlacementPreferences = PlacementPreferences()  # where its tasks may run
    template: dict[str, Any] = {}  # pod fields merged last; cluster only

    @staticmethod
    def __flatten__(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (), _flatten_role(args, kwargs)

    @property
    def count(self) -> int:
        """Tasks that it can't start without. How many a started attempt has: :meth:`TaskSet.size`."""
        return self.replicas if isinstance(self.replicas, int) else self.replicas.min

    def amounts(self, choice: int = 0) -> Amounts:
        """Return what each task asks for on the device model that stands at ``choice`` in ``placement.sku``."""
        asked = self.resources.amounts()
        skus = self.placement.skus
        devices = skus[choice].devices if choice < len(skus) else None
        if devices is None:
            return asked
        return msgspec.structs.replace(asked, devices=dict.fromkeys(asked.devices, devices))

    @property
    def most(self) -> int:
        """Tasks that it never has more of."""
        return self.replicas if isinstance(self.replicas, int) else self.replicas.max

    @property
    def elastic(self) -> bool:
        """Its attempts may differ in size."""
        return not isinstance(self.replicas, int)

    def must_succeed(self, size: int) -> int:
        """Return how many must succeed for the role to succeed, of ``size`` in the attempt."""
        given = self.completion.min_succeeded
        return given if given is not None else max(0, size - self.completion.max_failed)


class After(ApiStruct, frozen=True, kw_only=True):
    """A TaskSet of the same owner that must end first."""

    name: str  # name of the other TaskSet
    on: Literal["Succeeded", "Failed", "Completed"] = "Succeeded"  # how it must end; Completed is any end


class Gang(ApiStruct, frozen=True, kw_only=True):
    """Gang start: all members, bound within ``timeout_seconds`` or withdrawn whole."""

    min_available: int | Literal["all"] = "all"  # members that start together; only all so far
    timeout_seconds: float = 600.0  # for all members to be ready; then the gang is withdrawn and queues again


class Idle(ApiStruct, frozen=True, kw_only=True):
    """What to do with a TaskSet whose devices idle."""

    util_below_percent: float = 5.0  # a device used less than this is idle
    for_seconds: float = 3600.0  # for so long
    action: Literal["warn", "stop"] = "warn"  # what happens then


class Lifetime(ApiStruct, frozen=True, kw_only=True):
    """How long a TaskSet may live and what it is tied to."""

    mode: LifetimeMode = "detached"  # what it is tied to: nothing, the notebook server, the kernel
    max_runtime_seconds: float | None = None  # it is stopped and has failed after so long
    ttl_seconds_after_finished: float | None = None  # it is deleted so long after its end; its records stay
    idle: Idle | None = None  # what happens when its devices idle
    lease: str = ""  # of the server or kernel it is tied to; set by the client


class PreemptionSpec(ApiStruct, frozen=True, kw_only=True):
    """Whether and how a running TaskSet may be preempted."""

    allowed: bool = True  # other work may take its place
    notice_seconds: float = 60.0  # between the request to end and the kill
    min_runtime_seconds: float | None = None  # an attempt is left alone for so long; default: the queue's
    resumes: Literal["auto", "always", "never"] = "auto"  # goes on where it was; auto: has reported a checkpoint


class Workspace(ApiStruct, frozen=True, kw_only=True):
    """The submitter's folder, unpacked into every task. ``digest`` is set by the client after the upload."""

    snapshot: bool = True  # take the folder along
    digest: str | None = None  # sha256:... of a blob that holds a tar.gz archive
    git: dict[str, Any] | None = None  # state of the folder's git repository at submission: commit, dirty, remote


class Input(ApiStruct, frozen=True, kw_only=True):
    """A declared input."""

    uri: str  # where it comes from
    digest: str | None = None  # sha256:... it must have


class RunSpec(ApiStruct, frozen=True, kw_only=True):
    """A papermill run: the notebook, its parameters."""

    notebook: str  # path in the workspace
    parameters: dict[str, Any] = {}  # values for the cell tagged parameters


class Metadata(ApiStruct, frozen=True, kw_only=True):
    """Identity. ``namespace``, ``uid``, times and intents are set by the service, never by a submitter."""

    name: str  # a DNS label of at most 40 characters; a taken one gets a suffix
    namespace: str = ""  # the owner's
    uid: str = ""  # never used twice
    labels: dict[str, str] = {}  # for octopus list --label
    annotations: dict[str, str] = {}  # for programs; not looked at
    created_at: float = 0.0  # Unix seconds
    owner: str = ""  # hub user name
    groups: list[str] = []  # hub groups of the owner at submission
    exact_name: bool = False  # a taken name is a conflict instead of getting a suffix
    stop_requested_at: float | None = None  # Unix seconds
    stop_reason: str = ""  # in words, when it was not its owner who asked
    deletion_requested_at: float | None = None  # Unix seconds
    sizes: dict[str, int] = {}  # tasks that its owner wishes elastic roles to have
    scaled_at: float | None = None  # when that was last wished, Unix seconds
    version: int = 0  # grows at each stored change


class Spec(ApiStruct, frozen=True, kw_only=True):
    """What shall run."""

    roles: list[Role] = []  # at least one
    queue: str = ""  # "" is the owner's own queue
    priority: str = "normal"  # a priority class
    hold: bool = False  # keep it from starting until it is released
    after: list[After] = []  # TaskSets that must have ended before
    framework: str = "script"  # how tasks are wired to each other
    gang: Gang = Gang()  # how its members start together
    placement: GangPlacement = GangPlacement()  # where they run, as a whole
    lifetime: Lifetime = Lifetime()  # how long it may live
    preemption: PreemptionSpec = PreemptionSpec()  # whether other work may take its place
    workspace: Workspace = Workspace()  # the files that tasks get
    inputs: list[Input] = []  # declared inputs, kept in the record
    outputs: list[str] = []  # patterns of files that are collected: out/*.csv
    run: RunSpec | None = None  # a notebook to run instead of commands
    seed: int | None = None  # given to every task as OCTOPUS_SEED; drawn at submission when absent


class Resolved(ApiStruct, frozen=True, kw_only=True):
    """What the service fixed at submission, so that what runs is what was submitted."""

    images: dict[str, str] = {}  # role name -> image digest (sha256:...)
    image_names: dict[str, str] = {}  # role name -> resolved environment name
    descriptors: Descriptors = Descriptors()
    spec_digest: str = ""  # digest of the canonical spec as submitted


class TaskSet(ApiStruct, frozen=True, kw_only=True, metaclass=FlatMeta):
    """A distributed job: roles x replicas. Flat form: ``TaskSet("mnist", roles=[...], framework="pytorch")``."""

    api_version: str = API_VERSION  # always this
    kind: str = "TaskSet"  # always this
    metadata: Metadata  # its name
    spec: Spec = Spec()  # what shall run
    resolved: Resolved = Resolved()  # the service's
    status: Status = Status()  # the controller's

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

    def size(self, role: Role) -> int:
        """Return how many tasks the present attempt has of a role; while it has no place, how many it asks for."""
        if isinstance(role.replicas, int):
            return role.replicas
        return sum(span.count for span in self.status.placement.get(role.name, ())) or role.replicas.min

    def each(self, role: Role) -> Amounts:
        """Return what each task of a role has; while it never had a place, what it prefers to have."""
        return role.amounts(self.status.choices.get(role.name, 0))

    def most(self, role: Role) -> int:
        """Return how many tasks a role is given at most: what its owner wishes, else what it can have."""
        return min(role.most, self.metadata.sizes.get(role.name, role.most))

    def amounts(self) -> Amounts:
        """Return what the whole gang has, or asks for while it has no place."""
        return total(self.each(role).times(self.size(role)) for role in self.spec.roles)

    def to_dict(self) -> dict[str, Any]:
        """Return the wire form as plain data; paths become texts, numbers of other libraries plain numbers."""
        data: dict[str, Any] = msgspec.to_builtins(self, enc_hook=plain_value)
        return {"apiVersion": self.api_version, "kind": self.kind, **data}

    @classmethod
    def parse(cls, document: Mapping[str, Any] | bytes | str) -> TaskSet:
        """Parse a user's document (a mapping, or JSON text); raises InvalidSpec with every problem found."""
        from octopus_hub.model.parse import parse_taskset

        return parse_taskset(document)


_ROLE_RESOURCE_KEYS = ("cpu", "memory", "devices", "shm")
_SPEC_KEYS = frozenset(Spec.__struct_fields__)
_FLAT_METADATA = ("name", "labels", "annotations", "exact_name")


def _flatten_role(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    full = _with_name("Role", args, kwargs)
    flat = {key: full.pop(key) for key in _ROLE_RESOURCE_KEYS if key in full}
    if flat:
        if "resources" in full:
            raise WrongArgument(f"give resources= or {', '.join(flat)}=, not both")
        full["resources"] = Resources(**{key: _as_given(key, value) for key, value in flat.items()})
    bounds = full.get("replicas")
    if isinstance(bounds, Mapping) and bounds.keys() == {"min", "max"}:
        full["replicas"] = ElasticReplicas(**bounds)
    return known_fields(Role, full, _ROLE_RESOURCE_KEYS)


def _as_given(key: str, value: Any) -> Any:
    """Return a quantity as text; what is none is left to the check at submission, which says what is needed."""
    if isinstance(value, Mapping):
        return in_parts(value) if key == "devices" else dict(value)
    quantity = key != "devices" and value is not None and not isinstance(value, list | tuple | set | bool)
    return str(value) if quantity else value


def _flatten_taskset(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    named = _with_name("TaskSet", args, kwargs)
    flat = {key: named.pop(key) for key in list(named) if key in _SPEC_KEYS}
    if flat:
        if "spec" in named:
            raise WrongArgument(f"give spec= or {', '.join(flat)}=, not both")
        named["spec"] = Spec(**flat)
    meta = {key: named.pop(key) for key in _FLAT_METADATA if key in named}
    if meta:
        if "metadata" in named:
            raise WrongArgument(f"give metadata= or {', '.join(meta)}=, not both")
        named["metadata"] = Metadata(**meta)
    return known_fields(TaskSet, named, (*Spec.__struct_fields__, *_FLAT_METADATA))


def _with_name(kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    if len(args) > 1:
        raise WrongArgument("only the name may be given by position")
    if args and "name" in kwargs:
        raise WrongArgument(f"{kind} {args[0]}: the name is given twice")
    if not args and not kwargs.keys() & {"name", "metadata"}:
        raise WrongArgument(f'a {kind} needs a name: {kind}("name", ...)')
    return {"name": args[0], **kwargs} if args else dict(kwargs)
