"""Limits of a task on this machine: a control group where one can be had, and defaults for thread counts.

Looks for a writable memory control group (v2, delegated, or v1) once; without one the task's parent watches memory
itself. Nothing here may fail a task: the weaker limit is used instead. Called by the runner.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from octopus_hub.model.task import TaskSpec

NICE = 5  # tasks yield to the hub, the engine and notebook servers
_THREADS = ("OMP_NUM_THREADS",)
CGROUP_ROOT = Path("/sys/fs/cgroup")


class Cgroups:
    """Control groups for tasks below one group of our own; ``base`` is None where none can be had."""

    def __init__(self, base: Path | None, version: int = 0) -> None:
        self.base = base
        self.version = version

    @classmethod
    def discover(cls, root: Path, mount: Path = CGROUP_ROOT) -> Cgroups:
        """Find (and make) our group; ``root`` is the state folder, so that two engines do not share one."""
        name = "octopus-" + hashlib.sha256(str(root).encode()).hexdigest()[:12]
        for version, base in _candidates(mount):
            try:
                return cls(_make(base, name, version), version)
            except OSError:
                continue
        return cls(None)

    def create(self, task: str, memory_bytes: int) -> str:
        """Make a task's group with its memory limit; returns its path, or "" (the parent watches then)."""
        if self.base is None or memory_bytes <= 0:
            return ""
        path = self.base / _group_name(task)
        try:
            self.base.mkdir(exist_ok=True)
            path.mkdir(exist_ok=True)
            if self.version == 2:
                (path / "memory.max").write_text(str(memory_bytes))
                with contextlib.suppress(OSError):
                    (path / "memory.swap.max").write_text("0")
            else:
                (path / "memory.limit_in_bytes").write_text(str(memory_bytes))
                with contextlib.suppress(OSError):
                    (path / "memory.memsw.limit_in_bytes").write_text(str(memory_bytes))
        except OSError:
            with contextlib.suppress(OSError):
                path.rmdir()
            return ""
        return str(path)

    def sweep(self, tasks: Collection[str]) -> None:
        """Remove empty groups of tasks other than those given (left by a crash)."""
        if self.base is not None and self.base.is_dir():
            kept = {_group_name(task) for task in tasks}
            for path in self.base.iterdir():
                if path.is_dir() and path.name not in kept:
                    self.remove(str(path))

    def close(self) -> None:
        """Remove our own group if no task is in it."""
        if self.base is not None:
            with contextlib.suppress(OSError):
                self.base.rmdir()

    @staticmethod
    def remove(path: str) -> None:
        """Remove an empty group."""
        if path:
            with contextlib.suppress(OSError):
                os.rmdir(path)


def _group_name(task: str) -> str:
    return hashlib.sha256(task.encode()).hexdigest()[:24]


def thread_environment(spec: TaskSpec, given: Mapping[str, str]) -> dict[str, str]:
    """Return thread counts after the CPU request, unless the user (or the environment) has set them."""
    count = str(max(1, -(-spec.amounts.cpu_millis // 1000)))
    return {name: count for name in _THREADS if name not in given}


def _candidates(mount: Path) -> list[tuple[int, Path]]:
    """Return (version, our own group) of every hierarchy that could limit memory."""
    found: list[tuple[int, Path]] = []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            found.append((1, mount / "memory" / path.lstrip("/")))
        elif not controllers and (mount / "cgroup.controllers").exists():
            found.append((2, mount / path.lstrip("/")))
    return found


def _make(base: Path, name: str, version: int) -> Path:
    if version == 1:
        ours = base / name
        ours.mkdir(exist_ok=True)  # also the proof that we may
        (ours / "memory.limit_in_bytes").read_text()
        with contextlib.suppress(OSError):
            (ours / "memory.use_hierarchy").write_text("1")
        return ours
    if "memory" not in (base / "cgroup.controllers").read_text().split():
        raise OSError("no memory controller")
    ours = base / name
    ours.mkdir(exist_ok=True)
    try:
        # refused where processes live in the group itself ("no internal processes"): then there is no limit to be had
        (base / "cgroup.subtree_control").write_text("+memory")
        (ours / "cgroup.subtree_control").write_text("+memory")
    except OSError:
        ours.rmdir()
        raise
    return ours
