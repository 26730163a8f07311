"""Everything between "this task shall run here" and its parent: folder, workspace, files, environment, limits.

Runs in a worker thread of the runner; raises OctopusError or OSError, which the runner turns into the task's end.
The environment starts from nothing: no variable of the engine, the hub or the proxy ever reaches a task.
"""

from __future__ import annotations

import errno
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec

from octopus_hub.backends.local import process, workspace
from octopus_hub.backends.local.limits import NICE, Cgroups, thread_environment
from octopus_hub.backends.local.logfile import Geometry
from octopus_hub.model.errors import InvalidSpec, NotFound, OctopusError
from octopus_hub.model.task import EndReason, Task, TaskSpec

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
METRICS = ".octopus/metrics.jsonl"  # below the work folder
CHECKPOINT = ".octopus/checkpoint"  # below the work folder; its time is that of the task's last checkpoint
CHECKPOINTS = ".checkpoints"  # beside the tasks' folders: one for the TaskSet, which outlives its attempts


class EnvironmentPaths(msgspec.Struct, frozen=True):
    """A resolved environment on this machine: its folder of programs ("" is the host's) and variables it needs."""

    bin: str = ""
    env: dict[str, str] = {}


class Prepared(msgspec.Struct, frozen=True):
    """A task that is ready to start: placed, with devices and ports, secrets' values and its environment."""

    spec: TaskSpec
    task: Task
    environment: EnvironmentPaths = EnvironmentPaths()
    secrets: dict[str, str] = {}  # environment variable -> value


class Account(msgspec.Struct, frozen=True):
    """The system account a task runs as."""

    name: str
    uid: int
    gid: int
    home: str


class Layout(msgspec.Struct, frozen=True):
    """Where tasks live on disk and what all of them share."""

    root: Path
    marker: str
    geometry: Geometry
    blob_path: Callable[[str], Path]
    cgroups: Cgroups
    separate_accounts: bool = False

    @property
    def tasks(self) -> Path:
        """Folder of all tasks."""
        return self.root / "tasks"

    @property
    def events(self) -> Path:
        """FIFO through which parents wake the engine."""
        return self.tasks / ".events"

    def taskset_folder(self, namespace: str, taskset: str) -> Path:
        """Return the folder of a TaskSet's tasks."""
        return self.tasks / safe_part(namespace) / safe_part(taskset)

    def folder(self, namespace: str, taskset: str, task: str) -> Path:
        """Return a task's folder."""
        return self.taskset_folder(namespace, taskset) / safe_part(task)

    def find(self, namespace: str, task: str) -> Path | None:
        """Return the folder of a task known by its name only, None if there is none."""
        base = self.tasks / safe_part(namespace)
        name = safe_part(task)
        parts = name.split("-")
        folder = base / "-".join(parts[:-3]) / name  # {taskset}-{role}-{index}-{attempt}, a role has no hyphen
        return folder if len(parts) > 3 and folder.is_dir() else None

    def marker_of(self, namespace: str, task: str) -> str:
        """Return the value that marks a task's processes."""
        return f"{self.marker}/{namespace}/{task}"

    def open(self) -> None:
        """Make the folders; under separate accounts let tasks pass through, but not look around."""
        self.tasks.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.separate_accounts:
            for entry in self.root.iterdir():  # what is passed by must not be readable
                if not entry.is_symlink() and entry != self.tasks:
                    entry.chmod(entry.stat().st_mode & 0o700)
            for folder in (self.root, self.tasks):
                folder.chmod(0o711)


def refusal(error: OSError | OctopusError) -> tuple[EndReason, str]:
    """Return end reason and message of a task that could not be prepared."""
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "DiskFull", "the disk that holds the state folder is full; free some space"
        return "StartFailed", f"the task could not be prepared: {error}"
    if isinstance(error, InvalidSpec | NotFound):  # the document's fault: trying again as it is can't help
        return "ImageMissing", str(error)
    return "StartFailed", error.message


def safe_part(name: str) -> str:
    """Return the name if it is one plain path component; raises InvalidSpec otherwise."""
    if not name or name in (".", "..") or "/" in name or "\0" in name or len(name.encode()) > 255:
        raise InvalidSpec(f"{name!r} can't be the name of a folder")
    return name


def prepare(layout: Layout, item: Prepared) -> subprocess.Popen[bytes]:
    """Make the task's folder and start its parent, which goes on to wait at the barrier."""
    spec = item.spec
    folder = layout.folder(spec.namespace, spec.taskset, spec.name)
    account = find_account(spec.owner) if layout.separate_accounts else None
    passage = 0o711 if account else 0o700
    for part in (folder.parent.parent, folder.parent, folder):
        part.mkdir(parents=True, exist_ok=True, mode=passage)
    work = folder / "work"
    for part in (work, folder / "tmp", folder / "volumes"):  # begun by an engine that died, and maybe given away
        part.unlink() if part.is_symlink() else shutil.rmtree(part, ignore_errors=True)
    for part in (work, folder / "tmp"):
        part.mkdir(mode=0o700)
    if spec.workspace:
        workspace.unpack(layout.blob_path(spec.workspace), work)
    write_files(spec, work)
    checkpoints_folder(folder.parent, account)
    env = {**task_environment(item, folder, account), **volumes(spec, folder, work)}
    env[process.MARKER] = layout.marker_of(spec.namespace, spec.name)
    if account:
        give_away(account, work, folder / "tmp", folder / "volumes")
    limit = spec.amounts.memory_bytes
    cgroup = layout.cgroups.create(f"{spec.namespace}/{spec.name}", limit)
    write_spec(layout, item, folder, account, cgroup)
    return process.start_parent(folder, env)


def write_spec(layout: Layout, item: Prepared, folder: Path, account: Account | None, cgroup: str) -> None:
    """Write what the parent reads; never a secret."""
    spec = item.spec
    geometry = layout.geometry
    content = {
        "id": f"{spec.namespace}/{spec.name}",
        "command": spec.command,
        "work": str(folder / "work"),
        "working_dir": inside(spec.working_dir),
        "events": str(layout.events),
        "log": [geometry.head, geometry.segment, geometry.keep],
        "memory_limit": spec.amounts.memory_bytes,
        "cgroup": cgroup,
        "nice": NICE,
        "account": {"name": account.name, "uid": account.uid, "gid": account.gid} if account else None,
        "spec": msgspec.to_builtins(spec),
    }
    path = folder / "spec.json"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file)


def inside(path: str) -> str:
    """Return a working directory relative to the work folder: ``/workspace`` and "" are the folder itself."""
    parts = [part for part in Path(path).parts if part not in ("/", ".", "")]
    if parts and path.startswith("/") and parts[0] == "workspace":
        parts = parts[1:]
    if ".." in parts:
        raise InvalidSpec(f"workingDir {path!r} leaves the task's folder")
    return "/".join(parts)


def task_environment(item: Prepared, folder: Path, account: Account | None) -> dict[str, str]:
    """Return the whole environment of a task, from an empty one up."""
    spec, task, work = item.spec, item.task, folder / "work"
    own = account or own_account()
    env = {
        "PATH": ":".join(part for part in (item.environment.bin, SYSTEM_PATH) if part),
        "HOME": own.home,
        "USER": own.name,
        "LOGNAME": own.name,
        "LANG": "C.UTF-8",
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",  # so that a followed log is live
        **item.environment.env,
    }
    given = {**spec.env, **item.secrets}
    for name, value in spec.env.items():
        if value in spec.files:  # a file of ours is named by its relative path; tasks may change their folder
            given[name] = str(work / value)
    for device, variable in spec.device_env.items():
        # a task's parts may lie on one device, which is named once
        ids = ",".join(dict.fromkeys(task.devices.get(device, [])))
        env |= dict.fromkeys([variable, *spec.device_aliases.get(device, ())], ids)
    env |= thread_environment(spec, {**env, **given})
    env |= given
    env["OCTOPUS_OUTPUTS"] = str(work / "outputs")
    env["OCTOPUS_METRICS"] = str(work / METRICS)
    env["OCTOPUS_CHECKPOINTS"] = str(folder.parent / CHECKPOINTS)
    env["OCTOPUS_CHECKPOINT_REPORT"] = str(work / CHECKPOINT)
    env["OCTOPUS_DEVICES"] = ",".join(dict.fromkeys(device for ids in task.devices.values() for device in ids))
    (work / "outputs").mkdir(exist_ok=True)
    (work / METRICS).parent.mkdir(exist_ok=True)
    return {name: value for name, value in env.items() if "\0" not in name + value and "=" not in name and name}


def checkpoints_folder(taskset: Path, account: Account | None) -> None:
    """Make the folder for checkpoints, once for a TaskSet; only the folder itself is given away, what is in it is theirs."""
    folder = taskset / CHECKPOINTS
    folder.mkdir(exist_ok=True, mode=0o700)
    if account and folder.lstat().st_uid != account.uid:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)


def write_files(spec: TaskSpec, work: Path) -> None:
    """Write the rendered files of the task (cluster lists) below its work folder."""
    for relative, content in spec.files.items():
        target = work / relative
        if os.path.isabs(relative) or ".." in Path(relative).parts:
            raise InvalidSpec(f"file {relative!r} leaves the task's folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.parent.resolve().is_relative_to(work.resolve()):
            raise InvalidSpec(f"file {relative!r} leaves the task's folder through a link of the workspace")
        target.unlink(missing_ok=True)
        target.write_text(content)


def volumes(spec: TaskSpec, folder: Path, work: Path) -> dict[str, str]:
    """Lay out the volumes; returns ``OCTOPUS_VOLUME_{NAME}`` for each.

    Processes share the machine's file system, so a mount path is a link below the work folder (``/data`` is
    ``data`` there), made where nothing stands; the variable always holds the real path.
    """
    env = {}
    for mount in spec.mounts:
        if mount.source:
            source = Path(mount.source)
            if not source.is_dir():
                raise InvalidSpec(f"volume {mount.name}: the folder {source} does not exist on this machine")
            if mount.root and not source.resolve().is_relative_to(Path(mount.root).resolve()):
                raise InvalidSpec(
                    f"volume {mount.name}: {source} leaves the allowed root {mount.root} through a link; name another folder"
                )
        else:
            source = folder / "volumes" / safe_part(mount.name)
            source.mkdir(parents=True, exist_ok=True, mode=0o700)
        link = work / inside(mount.mount_path) if inside(mount.mount_path) else work / safe_part(mount.name)
        if not os.path.lexists(link) and link.parent.resolve().is_relative_to(work.resolve()):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source)
        env[f"OCTOPUS_VOLUME_{mount.name.upper().replace('-', '_')}"] = str(source)
    return env


def find_account(name: str) -> Account:
    """Return the system account of a hub user; raises InvalidSpec."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise InvalidSpec(f"no system account {name!r} on this machine; ask its administrator to create it") from None
    if entry.pw_uid == 0:
        raise InvalidSpec("tasks do not run as root where accounts are separated")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def own_account() -> Account:
    """Return the engine's own account."""
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:  # a container may run under a number without a name
        return Account(str(os.getuid()), os.getuid(), os.getgid(), os.environ.get("HOME", "/"))
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def give_away(account: Account, *folders: Path) -> None:
    """Make the folders and all in them the account's.

    From the leaves up: until its top folder is given away nobody but us can reach into it, so no link can take the
    place of what we are about to give.
    """
    for top in folders:
        if not top.is_dir():
            continue
        for here, names, files in os.walk(top, topdown=False):
            for name in (*names, *files):
                os.chown(os.path.join(here, name), account.uid, account.gid, follow_symlinks=False)
        shutil.chown(top, account.uid, account.gid)
