"""``configure(c)``: all of JupyterHub's configuration for the workbench. Merges into ``c``, never replaces.

Called from ``jupyterhub_config.py``. What differs from one machine to the next comes from the environment that
``octopus up`` sets (:class:`Settings`); settings that the file made before the call win.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jupyterhub
from traitlets.config import Config

from octopus_hub.hub.scopes import ADMIN, CUSTOM, SERVICE, USER
from octopus_hub.model.errors import Refused


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
    check_tenants(c, settings)


def grant(c: Config, settings: Settings) -> None:
    """Register the service and widen the scopes of users, servers and OAuth clients."""
    hub = c.JupyterHub
    hub.custom_scopes = {**_given(hub, "custom_scopes", {}), **CUSTOM}
    hub.services = [
        *(each for each in _given(hub, "services", []) if each.get("name") not in ("octopus", "octopus-up")),
        {
            "name": "octopus",
            "url": settings.service_url.split("/services/")[0],
            "api_token": settings.service_token,
            "oauth_no_confirm": True,
            "oauth_client_allowed_scopes": list(ADMIN),
        },
        {"name": "octopus-up", "api_token": settings.stop_token},
    ]
    roles = list(_given(hub, "load_roles", []))
    roles.append({"name": "octopus-service", "services": ["octopus"], "scopes": list(SERVICE)})
    roles.append({"name": "octopus-up", "services": ["octopus-up"], "scopes": ["shutdown"]})
    if int(jupyterhub.__version__.split(".")[0]) >= 6:
        hub.extra_user_scopes = {*_given(hub, "extra_user_scopes", set()), *USER}
    else:
        user = next((role for role in roles if role["name"] == "user"), None)
        if user is None:
            roles.append({"name": "user", "scopes": ["self", *USER]})
        else:
            user["scopes"] = sorted({*user.get("scopes", ["self"]), *USER})
    admin = next((role for role in roles if role["name"] == "octopus-admin"), None)
    if admin is None:
        admins = sorted(_given(c.Authenticator, "admin_users", set()))
        if admins:
            roles.append({"name": "octopus-admin", "users": admins, "scopes": list(ADMIN)})
    hub.load_roles = roles


def check_tenants(c: Config, settings: Settings) -> None:
    """Refuse a network address where several users would share one system account; raises Refused with the way out."""
    host = urlsplit(settings.bind_url).hostname or ""
    if host == "localhost" or ipaddress.ip_address(host).is_loopback:
        return
    authenticator = c.Authenticator
    users = _given(authenticator, "allowed_users", set()) | _given(authenticator, "admin_users", set())
    # A setting may stand in the section of the authenticator's own class (c.GitHubOAuthenticator.allow_all).
    open_door = any(section.get("allow_all") or section.get("allow_existing_users") for section in _sections(c))
    if len(users) == 1 and not open_door:
        return
    spawner = str(_given(c.JupyterHub, "spawner_class", ""))
    if c.OctopusLocalSpawner.get("separate_accounts", False) or "OctopusLocalSpawner" not in spawner:
        return
    who = "anybody may log in" if open_door else f"{len(users)} users may log in"
    raise Refused(
        f"{host} can be reached from other machines and {who}, but all servers and tasks would run as one system "
        "account, with no border between users; listen on 127.0.0.1, allow exactly one user "
        "(c.Authenticator.allowed_users), or set c.OctopusLocalSpawner.separate_accounts = True"
    )


def _sections(c: Config) -> list[Config]:
    return [value for name, value in c.items() if name.endswith("Authenticator") and isinstance(value, Config)]


def _hub(c: Config, settings: Settings) -> None:
    hub = c.JupyterHub
    hub.bind_url = settings.bind_url
    hub.hub_ip = "127.0.0.1"
    hub.hub_port = settings.hub_port
    hub.db_url = f"sqlite:///{settings.state / 'jupyterhub.sqlite'}"
    hub.cookie_secret_file = str(settings.state / "cookie_secret")
    hub.pid_file = str(settings.state / "hub.pid")
    # `octopus up` stops servers and proxy itself; a hub that is only restarted leaves them running.
    hub.cleanup_servers = False
    hub.cleanup_proxy = False
    c.ConfigurableHTTPProxy.auth_token = settings.proxy_token
    c.ConfigurableHTTPProxy.command = settings.proxy_command
    c.ConfigurableHTTPProxy.pid_file = str(settings.state / "proxy.pid")
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{settings.proxy_api_port}"


def _login(c: Config, settings: Settings) -> None:
    if not settings.user or "authenticator_class" in c.JupyterHub:
        return
    c.JupyterHub.authenticator_class = "shared-password"
    c.SharedPasswordAuthenticator.user_password = settings.password_file.read_text().strip()
    c.Authenticator.allowed_users = {settings.user}


def _spawner(c: Config, settings: Settings) -> None:
    if "spawner_class" not in c.JupyterHub:
        c.JupyterHub.spawner_class = "octopus_hub.hub.spawner.OctopusLocalSpawner"
    c.OctopusLocalSpawner.service_url = settings.service_url
    if settings.root_dir and "notebook_dir" not in c.Spawner:
        c.Spawner.notebook_dir = settings.root_dir
    if "default_url" not in c.Spawner:
        c.Spawner.default_url = "/lab"
    args = list(_given(c.Spawner, "args", []))
    if os.geteuid() == 0 and not c.OctopusLocalSpawner.get("separate_accounts", False) and "--allow-root" not in args:
        args.append("--allow-root")
    c.Spawner.args = args


def _given(section: Any, name: str, default: Any) -> Any:
    """Return what the file set before, as a value (traitlets hands out a LazyConfigValue for what is not set)."""
    return section[name] if name in section else default  # noqa: SIM401  (a Config makes up what is asked for)
