"""Processes as the engine sees them: who a parent is, whether it lives, how it is started, how strays are killed.

A process is known by pid, start time and boot id, so that a recycled pid is never mistaken for a task. Strays are
known by an environment marker. Decides nothing about tasks; called by :mod:`octopus_hub.backends.local.runner`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MARKER = "OCTOPUS_TASK_MARKER"
PARENT_PROGRAM = Path(__file__).with_name("parent.py")


def boot_id() -> str:
    """Return the id of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Return when the process started, in clock ticks after boot; None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def lives(identity: Mapping[str, Any] | None) -> bool:
    """Say whether the very process that wrote ``parent.json`` still runs."""
    if not identity or identity.get("boot_id") != boot_id():
        return False
    started = start_time(int(identity["pid"]))
    return started is not None and started == identity["start_time"]


def start_parent(folder: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a task's parent in a session of its own; the task's environment goes through a pipe, never to disk."""
    with open(folder / "parent.err", "ab") as errors:
        os.fchmod(errors.fileno(), 0o600)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(PARENT_PROGRAM), str(folder)],
            stdin=subprocess.PIPE,
            stdout=errors,
            stderr=errors,
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},  # nothing of the engine's environment
            cwd="/",
            start_new_session=True,
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(json.dumps(dict(env)).encode())
    return process


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[bool]:
    """Hold the lock every living parent holds; yields False when a parent has it."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def poke(folder: Path) -> None:
    """Wake a task's parent so that it looks at its files; nothing happens where none lives."""
    with contextlib.suppress(OSError):
        fd = os.open(folder / "control", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, b"!")
        finally:
            os.close(fd)


def marked(prefix: str) -> list[tuple[int, str]]:
    """Return (pid, marker) of every living process whose marker starts with ``prefix``."""
    wanted = f"{MARKER}={prefix}".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            environ = Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
        if wanted not in environ:
            continue
        for entry in environ.split(b"\0"):
            if entry.startswith(wanted):
                found.append((int(name), entry.partition(b"=")[2].decode(errors="replace")))
                break
    return found


def in_cgroup(path: str) -> list[int]:
    """Return the processes of a task's control group ("" has none)."""
    try:
        return [int(pid) for pid in (Path(path) / "cgroup.procs").read_text().split()] if path else []
    except OSError:
        return []


def kill_strays(marker: str, cgroup: str = "", main: Mapping[str, Any] | None = None) -> int:
    """Kill all that is left of a task whose parent is dead and see it gone; return how many were found.

    ``main`` is ``started.json``: a process that is just dying shows no environment any more. Blocks up to seconds
    (a process in the kernel's hands); call again until it returns 0.
    """
    pids = {pid for pid, found in marked(marker) if found == marker} | set(in_cgroup(cgroup))
    found = {pid: started for pid in pids if (started := start_time(pid)) is not None}
    if main and "start_time" in main and start_time(int(main["pid"])) == main["start_time"]:
        found[int(main["pid"])] = int(main["start_time"])
    for pid in found:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5.0
    for pid, started in found.items():
        while start_time(pid) == started and time.monotonic() < deadline:
            time.sleep(0.005)
    return len(found)


async def until_gone(identity: Mapping[str, Any]) -> None:
    """Return once the process is dead: told by the kernel (pidfd), by looking where it has none."""
    pid = int(identity["pid"])
    loop = asyncio.get_running_loop()
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError:
        while lives(identity):  # noqa: ASYNC110 - this kernel has no pidfd to wait for
            await asyncio.sleep(0.5)
        return
    gone: asyncio.Future[None] = loop.create_future()
    try:
        if not lives(identity):  # a recycled pid, looked at after the pidfd pinned it
            return
        loop.add_reader(fd, _resolve, gone)
        try:
            await gone
        finally:
            loop.remove_reader(fd)
    finally:
        os.close(fd)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
