"""The spawner of the one-machine product: a server as a local process that can call the service.

Servers get no secret of the hub or the proxy: their environment starts from jupyterhub's short list of kept names.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner, set_user_setuid
from traitlets import Bool, Unicode, default

from octopus_hub.hub.scopes import SERVER_DEFAULT, USER


class OctopusLocalSpawner(SimpleLocalProcessSpawner):
    """Spawns servers under the account that runs the hub, or under accounts of their own."""

    service_url = Unicode(
        "",
        config=True,
        help="URL of the octopus service as servers reach it, e.g. http://127.0.0.1:10101/services/octopus/",
    )
    separate_accounts = Bool(
        False,
        config=True,
        help="""Run each server as the system account of the same name.

        Needs a hub that runs as root and an existing account per user. The engine then runs tasks as those
        accounts, too (`accounts: {separate: true}` in octopus.yaml).""",
    )

    @default("server_token_scopes")
    def _server_token_scopes(self) -> list[str]:
        return [*SERVER_DEFAULT, *USER]

    @default("oauth_client_allowed_scopes")
    def _oauth_client_allowed_scopes(self) -> list[str]:
        return list(USER)

    @default("home_dir")
    def _default_home_dir(self) -> str:
        try:
            return pwd.getpwnam(self.user.name).pw_dir
        except KeyError:
            return str(self.home_dir_template.format(username=self.user.name))

    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        """Return what runs in the child before the server: the change of account, or of folder."""
        if self.separate_accounts:
            return set_user_setuid(name)  # type: ignore[no-any-return]
        return super().make_preexec_fn(name)  # type: ignore[no-any-return]

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Add what belongs to the account."""
        if self.separate_accounts:
            return LocalProcessSpawner.user_env(self, env)  # type: ignore[no-any-return]
        env = super().user_env(env)
        # In one account the server sees what the account's shell would: its own HOME, not a made-up one.
        if Path(env["HOME"]) != Path.home() and pwd.getpwuid(os.getuid()).pw_name == self.user.name:
            env["HOME"] = str(Path.home())
        return env

    def get_env(self) -> dict[str, Any]:
        """Return the server's environment, with the address of the service."""
        env: dict[str, Any] = super().get_env()
        env["OCTOPUS_SERVICE_URL"] = self.service_url
        return env
