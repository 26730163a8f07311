"""What ``octopus up`` says: one block at the start, what keeps running at the end. Text only, no effects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from octopus_hub.model.taskset import TaskSet

NAMES_SHOWN = 5


def started(
    url: str,
    user: str,
    state: Path,
    *,
    password_file: Path,
    password: str = "",
    address: str = "",
    shell: str = "in this account",
    command: str = "octopus",
    as_root: bool = False,
    differing: Sequence[str] = (),
) -> str:
    """Return the block that tells where everything is. ``password`` is given for a terminal only."""
    lines = [
        "octopus-hub is ready",
        f"  address   {url}" + (f" (listens on {address})" if address else ""),
        f"  user      {user}",
        f"  password  {password or 'in'} {'(' if password else ''}{password_file}{')' if password else ''}",
        f"  state     {state}",
        f"  shell     {command} list, or: submit --name NAME -- COMMAND ({shell})",
        "  stop      Ctrl-C here; TaskSets that run keep running",
    ]
    if differing:
        more = f" and {len(differing) - NAMES_SHOWN} more" if len(differing) > NAMES_SHOWN else ""
        names = ", ".join(differing[:NAMES_SHOWN]) + more
        lines.append(f"  queues    changed since octopus.yaml: {names} (`octopus queues reset NAME` goes back)")
    if as_root:
        lines.append("  warning   running as root: notebook servers and tasks have all rights on this machine")
    return "\n".join(lines)


def stopped(left: Sequence[TaskSet]) -> str:
    """Return what is said after hub, proxy and servers are gone."""
    if not left:
        return "octopus-hub has stopped: hub, proxy, servers; no TaskSet is left running"
    names = ", ".join(each.name for each in left[:NAMES_SHOWN])
    more = f" and {len(left) - NAMES_SHOWN} more" if len(left) > NAMES_SHOWN else ""
    running = [each for each in left if not each.status.phase.waiting]
    waiting = len(left) - len(running)
    parts = [f"{len(running)} running" if running else "", f"{waiting} waiting" if waiting else ""]
    return (
        "octopus-hub has stopped: hub, proxy, servers\n"
        f"  still there: {names}{more} ({', '.join(part for part in parts if part)}); what runs keeps running, "
        "what waits starts with the next `make run`\n"
        f"  to stop them too: `make run`, then `octopus stop {left[0].name}`; or `octopus up --stop-tasks`"
    )
