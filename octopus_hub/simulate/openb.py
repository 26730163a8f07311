"""Reads pod lists and node lists in the form of Alibaba's ``openb`` traces (cluster-trace-gpu-v2023).

Pods: ``name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time``.
Nodes: ``sn,cpu_milli,memory_mib,gpu,model``. Times are seconds from the beginning of the trace. ``gpu_spec`` names the
models that a pod can use (``V100M16|V100M32``), which becomes a list of preferred SKUs. A pod that shares a GPU gets
the whole of it here, and pods that were never scheduled are left out, for nobody knows how long they would have run:
both are noted. Source of the form: Weng et al., "Beware of Fragmentation", ATC'23.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from octopus_hub.core.snapshot import NodeView, RoleNeed, Way
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.names import SKU_LABEL
from octopus_hub.model.problems import Problems, shown
from octopus_hub.simulate.jobs import LONGEST_SECONDS, Job, Trace, collect, noted, number, whole
from octopus_hub.simulate.setup import GPU
from octopus_hub.simulate.tables import opened, rows

PODS = (
    "name",
    "cpu_milli",
    "memory_mib",
    "num_gpu",
    "gpu_milli",
    "gpu_spec",
    "qos",
    "pod_phase",
    "creation_time",
    "deletion_time",
    "scheduled_time",
)
NODES = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
MIB = 1 << 20
_MOST_CPU_MILLIS, _MOST_MIB, _MOST_GPUS_HERE = 10_000_000, 1 << 30, 1_000
_NOWHERE = ("", "nan", "none")


def read(path: Path, *, first: int | None = None, strict: bool = False) -> Trace:
    """Read a pod list; see :func:`octopus_hub.simulate.philly.read`."""
    with opened(path, PODS) as lines:
        return parse(lines, first=first, strict=strict)


def parse(lines: Iterable[str], *, first: int | None = None, strict: bool = False) -> Trace:
    """Return the jobs in these lines, one for each pod that was scheduled."""
    problems, pods = Problems(), _Pods()
    jobs = (job for job in rows(lines, PODS, pods.job, problems) if job is not None)
    trace = collect(jobs, problems, first=first, strict=strict)
    return noted(
        trace,
        (pods.never, "left out, because never scheduled", "pod"),
        (pods.shares, "given a whole GPU instead of a share", "pod"),
    )


def read_nodes(path: Path) -> tuple[NodeView, ...]:
    """Read a node list; raises InvalidSpec with the lines of bad rows, because a pool with holes is another pool."""
    problems, names = Problems(), set[str]()

    def node(line: int, cells: list[str]) -> NodeView:
        name, cpu, memory, gpus, model = cells
        if not name or name in names:
            raise ValueError(f"sn is {shown(name)}, " + ("which an earlier line has" if name else "no name"))
        names.add(name)
        capacity = _amounts(cpu, memory, whole("gpu", gpus, 0, _MOST_GPUS_HERE))
        return NodeView(name, capacity, {} if model.lower() in _NOWHERE else {SKU_LABEL: model})

    with opened(path, NODES) as lines:
        found = tuple(rows(lines, NODES, node, problems))
        if len(problems):
            raise InvalidSpec(f"not every line is a node: {problems.told()[0]}", problems.told())
        if not found:
            raise InvalidSpec("it names no nodes")
    return found


class _Pods:
    """Makes jobs of rows; equal requests become the same roles, so that they are looked at once."""

    def __init__(self) -> None:
        self.never = 0
        self.shares = 0
        self._lines: dict[str, int] = {}
        self._needs: dict[tuple[str, ...], tuple[RoleNeed, ...]] = {}

    def job(self, line: int, cells: list[str]) -> Job | None:
        name, cpu, memory, gpus, milli, spec, qos, _, created, deleted, scheduled = cells
        if not name:
            raise ValueError("name is missing")
        if name in self._lines:
            raise ValueError(f"name is {shown(name)}, which line {self._lines[name]} has")
        self._lines[name] = line
        submitted = number("creation_time", created, LONGEST_SECONDS)
        count = whole("num_gpu", gpus, 0, _MOST_GPUS_HERE)
        share = whole("gpu_milli", milli or "0", 0, 1000 * max(1, count))
        key = (cpu, memory, gpus, spec)
        needs = self._needs.get(key)
        if needs is None:
            needs = self._needs[key] = _needs(_amounts(cpu, memory, count), spec)
        if not scheduled or not deleted:
            self.never += 1
            return None
        begun = number("scheduled_time", scheduled, LONGEST_SECONDS)
        ended = number("deletion_time", deleted, LONGEST_SECONDS)
        if not submitted <= begun <= ended:
            raise ValueError(
                f"created at {submitted:g}, scheduled at {begun:g}, deleted at {ended:g}: they can't follow like this"
            )
        self.shares += count == 1 and 0 < share < 1000
        return Job(f"{line:08d}", submitted, ended - begun, count, qos or "none", needs=needs)


def _needs(each: Amounts, spec: str) -> tuple[RoleNeed, ...]:
    models = [] if spec.lower() in _NOWHERE else [model.strip() for model in spec.split("|")]
    ways = [Way(each, {SKU_LABEL: model}) for model in models if model]
    if not ways:
        return (RoleNeed("worker", 1, each),)
    return (RoleNeed("worker", 1, each, node_selector=ways[0].node_selector, choices=tuple(ways[1:])),)


def _amounts(cpu: str, memory: str, gpus: int) -> Amounts:
    return Amounts(
        cpu_millis=whole("cpu_milli", cpu, 0, _MOST_CPU_MILLIS),
        memory_bytes=whole("memory_mib", memory, 0, _MOST_MIB) * MIB,
        devices={GPU: gpus} if gpus else {},
    )
