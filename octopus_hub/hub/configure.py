"""``configure(c)``: all of JupyterHub's configuration for the workbench. Merges into ``c``, never replaces.

Called from ``jupyterhub_config.py``. What differs from one machine to the next comes from the environment that
``octopus up`` sets (:class:`Settings`); settings that the file made before the call win.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupyterhub
from traitlets.config import Config

from octopus_hub.hub.given import given, keep, names
from octopus_hub.hub.scopes import ADMIN, CUSTOM, SERVER_DEFAULT, SERVICE, USER
from octopus_hub.hub.tenants import OWN_SPAWNER, allowed, check_tenants
from octopus_hub.model.errors import Refused

OUR_SERVICES = ("octopus", "octopus-up")
OUR_ROLES = ("octopus-service", "octopus-up")


@dataclass(frozen=True)
class Settings:
    """Where things are.

    Attributes
    ----------
    state : Path
        Folder of the hub's database, cookie secret and pid files (0700).
    service_url, service_token : str
        The external octopus service and the token it knows itself to the hub by.
    stop_token : str
        With which ``octopus up`` stops hub, proxy and servers.
    proxy_token : str
        Kept over restarts of the hub, so that a new one can speak to the proxy that still runs.
    user : str
        The only account that may log in; "" leaves the authenticator to the configuration file.
    password_file, admin_password_file : Path
        Passwords of the packaged log-in, for users and for those that the file makes administrators.
    separate_tasks : bool
        The engine runs tasks as the system accounts of their owners.
    """

    state: Path
    bind_url: str
    hub_port: int
    proxy_api_port: int
    service_url: str
    service_token: str
    stop_token: str
    proxy_token: str
    user: str
    password_file: Path
    root_dir: str
    proxy_command: list[str]
    admin_password_file: Path | None = None
    separate_tasks: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read what ``octopus up`` set."""
        state = Path(environ["OCTOPUS_HUB_STATE"])
        return cls(
            state=state,
            bind_url=environ.get("OCTOPUS_BIND_URL", "http://127.0.0.1:8000"),
            hub_port=int(environ.get("OCTOPUS_HUB_PORT", "8081")),
            proxy_api_port=int(environ.get("OCTOPUS_PROXY_API_PORT", "8001")),
            service_url=environ["OCTOPUS_SERVICE_URL"],
            service_token=(state / "service_token").read_text().strip(),
            stop_token=(state / "stop_token").read_text().strip(),
            proxy_token=(state / "proxy_token").read_text().strip(),
            user=environ.get("OCTOPUS_USER", ""),
            password_file=Path(environ["OCTOPUS_PASSWORD_FILE"]),
            root_dir=environ.get("OCTOPUS_ROOT_DIR", ""),
            proxy_command=environ.get("OCTOPUS_PROXY_COMMAND", "configurable-http-proxy").split("\n"),
            admin_password_file=Path(admin) if (admin := environ.get("OCTOPUS_ADMIN_PASSWORD_FILE", "")) else None,
            separate_tasks=environ.get("OCTOPUS_TASK_ACCOUNTS", "") == "separate",
        )


def configure(c: Config, settings: Settings | None = None) -> None:
    """Configure a hub for octopus.

    Parameters
    ----------
    c : Config
        JupyterHub's configuration object.
    settings : Settings, optional
        Read from the environment when absent.
    """
    settings = settings or Settings.from_environment()
    _hub(c, settings)
    _login(c, settings)
    _spawner(c, settings)
    grant(c, settings)
    check_tenants(c, settings.bind_url, separate_tasks=settings.separate_tasks)


def grant(c: Config, settings: Settings) -> None:
    """Register the service and widen the scopes of users, servers and OAuth clients."""
    hub = c.JupyterHub
    hub.custom_scopes = {**given(hub, "custom_scopes", {}), **CUSTOM}
    hub.services = [
        *(each for each in given(hub, "services", []) if each.get("name") not in OUR_SERVICES),
        {
            "name": "octopus",
            "url": settings.service_url.split("/services/")[0],
            "api_token": settings.service_token,
            "oauth_no_confirm": True,
            "oauth_client_allowed_scopes": list(ADMIN),
        },
        {"name": "octopus-up", "api_token": settings.stop_token},
    ]
    roles = [dict(role) for role in given(hub, "load_roles", []) if role["name"] not in OUR_ROLES]
    roles.append({"name": "octopus-service", "services": ["octopus"], "scopes": list(SERVICE)})
    roles.append({"name": "octopus-up", "services": ["octopus-up"], "scopes": ["shutdown"]})
    _grant_users(hub, roles)
    admins = sorted(set().union(*(names(section, "admin_users") for section in _sections(c, "Authenticator"))))
    if admins and not any(role["name"] == "octopus-admin" for role in roles):
        roles.append({"name": "octopus-admin", "users": admins, "scopes": list(ADMIN)})
    hub.load_roles = roles


def _grant_users(hub: Any, roles: list[dict[str, Any]]) -> None:
    """Give every user our scopes. A `user` role in the file stands in the way of hub 6's ``extra_user_scopes``."""
    user = next((role for role in roles if role["name"] == "user"), None)
    if user is not None:
        user["scopes"] = sorted({*user.get("scopes", ["self"]), *USER})
    elif int(jupyterhub.__version__.split(".")[0]) >= 6:
        hub.extra_user_scopes = {*given(hub, "extra_user_scopes", set()), *USER}
    else:
        roles.append({"name": "user", "scopes": ["self", *USER]})


def _hub(c: Config, settings: Settings) -> None:
    hub = c.JupyterHub
    if given(hub, "base_url", "/") != "/":
        raise Refused("c.JupyterHub.base_url can't be used with `octopus up`, which serves the hub at /; remove it")
    # What `octopus up` speaks to and stops is its own; the rest is a default.
    hub.bind_url = settings.bind_url
    hub.hub_ip = "127.0.0.1"
    hub.hub_port = settings.hub_port
    c.ConfigurableHTTPProxy.auth_token = settings.proxy_token
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{settings.proxy_api_port}"
    c.ConfigurableHTTPProxy.pid_file = str(settings.state / "proxy.pid")
    keep(c.ConfigurableHTTPProxy, "command", settings.proxy_command)
    hub.pid_file = str(settings.state / "hub.pid")
    keep(hub, "db_url", f"sqlite:///{settings.state / 'jupyterhub.sqlite'}")
    keep(hub, "cookie_secret_file", str(settings.state / "cookie_secret"))
    # `octopus up` stops servers and proxy itself; a hub that is only restarted leaves them running.
    keep(hub, "cleanup_servers", False)
    keep(hub, "cleanup_proxy", False)


def _login(c: Config, settings: Settings) -> None:
    """Let exactly one user in, by the generated password, unless the file says how users log in."""
    if settings.user and "authenticator_class" not in c.JupyterHub:
        c.JupyterHub.authenticator_class = "shared-password"
        keep(c.SharedPasswordAuthenticator, "user_password", settings.password_file.read_text().strip())
        c.Authenticator.allowed_users = names(c.Authenticator, "allowed_users") | {settings.user}
        if settings.admin_password_file:  # used by jupyterhub for those in admin_users, whom the other one keeps out
            keep(c.SharedPasswordAuthenticator, "admin_password", settings.admin_password_file.read_text().strip())
    users, doors = allowed(c)
    if len(users) == 1 and not doors:
        # jupyterhub also lets in whom its database knows, for instance from a time with more users
        keep(c.Authenticator, "allow_existing_users", False)


def _spawner(c: Config, settings: Settings) -> None:
    keep(c.JupyterHub, "spawner_class", OWN_SPAWNER)
    c.OctopusLocalSpawner.service_url = settings.service_url
    if settings.root_dir:
        keep(c.Spawner, "notebook_dir", settings.root_dir)
    keep(c.Spawner, "default_url", "/lab")
    c.Spawner.environment = {**given(c.Spawner, "environment", {}), "OCTOPUS_SERVICE_URL": settings.service_url}
    # A server's token, and a browser's at the server, get what is listed here and the user holds. jupyterhub's
    # defaults go when anything is listed, so they are listed as well.
    keep(c.Spawner, "server_token_scopes", list(SERVER_DEFAULT))
    keep(c.Spawner, "oauth_client_allowed_scopes", [])
    for section in _sections(c, "Spawner"):
        for name in ("server_token_scopes", "oauth_client_allowed_scopes"):
            if name in section:
                section[name] = _widened(given(section, name, []))


def _widened(scopes: Any) -> Any:
    """Return a spawner's list of scopes, or the function that makes it, with ours."""
    if callable(scopes):
        return lambda spawner: [*scopes(spawner), *USER]
    return [*scopes, *(scope for scope in USER if scope not in scopes)]


def _sections(c: Config, ending: str) -> list[Config]:
    return [value for name, value in c.items() if name.endswith(ending) and isinstance(value, Config)]
