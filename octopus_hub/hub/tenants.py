"""Who may log in from where: several users need system accounts of their own before other machines can reach the hub.

With one account for all, servers and tasks can read each other's files, the state folder and its secrets.
"""

from __future__ import annotations

import ipaddress
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.spawner import SimpleLocalProcessSpawner
from traitlets.config import Config

from octopus_hub.hub.given import given, names
from octopus_hub.model.errors import Refused

OWN_SPAWNER = "octopus_hub.hub.spawner.OctopusLocalSpawner"
_TASKS = "set `accounts: {separate: true}` in octopus.yaml"


def check_tenants(c: Config, bind_url: str, *, separate_tasks: bool) -> None:
    """Refuse what would leave no border between users; raises Refused with the way out.

    Parameters
    ----------
    c : Config
        JupyterHub's configuration, complete.
    bind_url : str
        Where browsers reach the hub.
    separate_tasks : bool
        The engine runs tasks as the system accounts of their owners.
    """
    apart = _servers_apart(c)
    if apart and not separate_tasks:
        raise Refused(
            "servers run as system accounts of their own, but tasks would all run as the account of the engine and "
            f"could read everything; {_TASKS}"
        )
    host = urlsplit(bind_url).hostname or ""
    if _loopback(host) or apart:
        return
    users, doors = allowed(c)
    if len(users) == 1 and not doors:
        return
    who = f"{', '.join(doors)} may let in anybody" if doors else f"{len(users) or 'no'} users are named"
    raise Refused(
        f"{host} can be reached from other machines and {who}, but all servers and tasks would run as one system "
        "account, with no border between users; listen on 127.0.0.1, allow exactly one user "
        "(c.Authenticator.allowed_users), or set c.OctopusLocalSpawner.separate_accounts = True and "
        f"{_TASKS}"
    )


def allowed(c: Config) -> tuple[set[str], list[str]]:
    """Return the users that are named, and the settings through which others come in."""
    users: set[str] = set()
    doors: list[str] = []
    # A setting may stand in the section of the authenticator's own class (c.GitHubOAuthenticator.allow_all).
    for name, section in sorted(c.items()):
        if not name.endswith("Authenticator") or not isinstance(section, Config):
            continue
        users |= names(section, "allowed_users") | names(section, "admin_users")
        for key in sorted(section):
            opens = key.startswith("allow") or (key.startswith("admin_") and not key.endswith("password"))
            if opens and key not in ("allowed_users", "admin_users") and given(section, key, None):
                doors.append(f"c.{name}.{key}")
    return users, doors


def spawner_class(c: Config) -> Any:
    """Return the class that ``c.JupyterHub.spawner_class`` names, None when it can't be loaded (the hub will say why)."""
    value = given(c.JupyterHub, "spawner_class", OWN_SPAWNER)
    if not isinstance(value, str):
        return value
    try:
        for entry in entry_points(group="jupyterhub.spawners"):
            if entry.name.lower() == value.lower():
                return entry.load()
        module, _, name = value.rpartition(".")
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return None


def _servers_apart(c: Config) -> bool:
    """Say whether servers of different users run as different system accounts (or further apart)."""
    spawner = spawner_class(c)
    if spawner is None:
        return False
    if issubclass(spawner, SimpleLocalProcessSpawner):
        sections = [c[each.__name__] for each in spawner.__mro__ if each.__name__ in c]
        settings = [given(section, "separate_accounts", None) for section in sections]
        return bool(next((value for value in settings if value is not None), False))
    return (
        True  # jupyterhub's local spawner changes the account; others (containers, systemd) keep borders of their own
    )


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
