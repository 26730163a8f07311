"""Ties a TaskSet to this process (``lifetime: kernel``) or to the notebook server around it (``lifetime: server``).

A lease is held by one open connection to the service, in a thread of its own; when this process ends, however it ends,
the connection closes and the service stops what is tied to it after a minute. Nothing here for detached TaskSets.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Mapping

import msgspec

from octopus_hub.client.sync import Client
from octopus_hub.model.errors import InvalidSpec, OctopusError
from octopus_hub.model.taskset import TaskSet

SERVER_LEASE = "OCTOPUS_SERVER_LEASE"  # set by the server extension, for kernels and terminals of its server
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0


def tie(taskset: TaskSet, environ: Mapping[str, str] = os.environ, *, kernel: bool = True) -> TaskSet:
    """Return the TaskSet with the lease that its lifetime needs; raises InvalidSpec where there is nothing to tie it to.

    ``kernel`` says whether this process is one that a TaskSet may be tied to (a command is not).
    """
    lifetime = taskset.spec.lifetime
    if lifetime.mode == "detached":
        return taskset
    if lifetime.mode == "server":
        lease = environ.get(SERVER_LEASE, "")
        if not lease:
            raise InvalidSpec(
                "lifetime server ties a TaskSet to a notebook server, and there is none here; submit it from a notebook "
                "or terminal of one, or leave the lifetime detached"
            )
    elif not kernel:
        raise InvalidSpec("lifetime kernel ties a TaskSet to a notebook's kernel; submit it from a notebook")
    else:
        lease = process_lease()
    spec = msgspec.structs.replace(taskset.spec, lifetime=msgspec.structs.replace(lifetime, lease=lease))
    return msgspec.structs.replace(taskset, spec=spec)


_lock = threading.Lock()
_leases: dict[int, str] = {}
_holders: dict[tuple[int, str], threading.Thread] = {}


def process_lease() -> str:
    """Return this process's lease; a fork has its own."""
    with _lock:
        return _leases.setdefault(os.getpid(), f"kernel-{uuid.uuid4().hex}")


def hold(client: Client, taskset: TaskSet) -> None:
    """Hold the lease of a TaskSet that is tied to this process, once for all its TaskSets."""
    if taskset.spec.lifetime.mode != "kernel":
        return
    lease = process_lease()
    with _lock:
        key = (os.getpid(), client.connection.url)
        if key not in _holders:
            held = Client(client.connection.url, client.connection.token)
            _holders[key] = threading.Thread(target=_keep, args=(held, lease), name="octopus-lease", daemon=True)
            _holders[key].start()


def _keep(client: Client, lease: str) -> None:
    pause = FIRST_PAUSE_SECONDS
    while True:
        with contextlib.suppress(OctopusError):
            for _ in client.lease(lease):
                pause = FIRST_PAUSE_SECONDS
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
