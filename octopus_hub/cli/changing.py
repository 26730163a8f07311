"""Commands that change: ``stop``, ``hold``, ``release``, ``scale``, ``delete``, ``prune``. Several names: all are tried."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Sequence

from octopus_hub.cli import exits, show
from octopus_hub.cli.naming import namespace_and_name, pairs, seconds
from octopus_hub.client import jobtext
from octopus_hub.client.sync import Client
from octopus_hub.model.errors import InvalidSpec, NotFound, OctopusError, Unavailable


def stop(arguments: Namespace) -> int:
    """``octopus stop``."""

    def one(name: str, namespace: str) -> str:
        phase = client.stop(name, namespace).status.phase
        return f"{name} has ended: {phase.value}" if phase.terminal else f"stopping {name}"

    with Client() as client:
        return _each(arguments.names, one)


def hold(arguments: Namespace) -> int:
    """``octopus hold``."""
    with Client() as client:
        return _each(arguments.names, lambda name, namespace: f"held {client.hold(name, namespace).name}")


def release(arguments: Namespace) -> int:
    """``octopus release``."""
    with Client() as client:
        return _each(arguments.names, lambda name, namespace: f"released {client.release(name, namespace).name}")


def scale(arguments: Namespace) -> int:
    """``octopus scale``."""
    namespace, name = namespace_and_name(arguments.name)
    sizes = {role: _size(role, text) for role, text in pairs(arguments.sizes, "scale", "ROLE=N").items()}
    with Client() as client:
        taskset = client.scale(name, sizes, namespace)
    for role in taskset.spec.roles:
        if role.name in sizes:
            has = jobtext.tasks_of(taskset, role)
            wish = f"wished: {taskset.most(role)}" if sizes[role.name] is not None else "no wish any more"
            show.write(f"{role.name} of {taskset.name}: {has}; {wish}\n")
    return exits.OK


def _size(role: str, text: str) -> int | None:
    """Return a wished size, None for ``any``."""
    if text == "any":
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidSpec(f"{text!r} is no number of tasks; give one, or {role}=any to take the wish back")
    return int(text)


def delete(arguments: Namespace) -> int:
    """``octopus delete``."""

    def one(name: str, namespace: str) -> str:
        client.delete(name, namespace)
        return f"deleting {name}"

    with Client() as client:
        return _each(arguments.names, one)


def prune(arguments: Namespace) -> int:
    """``octopus prune``."""
    before = time.time() - seconds(arguments.older_than)
    with Client() as client:
        old = [
            view.taskset
            for view in client.list()
            if view.taskset.status.phase.terminal and (view.taskset.status.finished_at or 0.0) <= before
        ]
        for taskset in old:
            if not arguments.dry_run:
                try:
                    client.delete(taskset.name, taskset.metadata.namespace)
                except NotFound:
                    continue  # somebody was faster
            show.write(f"{'would delete' if arguments.dry_run else 'deleting'} {taskset.name}\n")
    if not old:
        show.aside(f"nothing ended longer than {arguments.older_than} ago")
    return exits.OK


def _each(names: Sequence[str], act: Callable[[str, str], str]) -> int:
    code = exits.OK
    for text in names:
        try:
            namespace, name = namespace_and_name(text)
            show.write(act(name, namespace) + "\n")
        except Unavailable:
            raise
        except OctopusError as error:
            show.note(str(error))
            code = code or exits.exit_code(error)
    return code
