"""The spawner of the one-machine product: a server as a local process that can call the service.

Servers get no secret of the hub or the proxy: their environment starts from jupyterhub's short list of kept names.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner, set_user_setuid
from traitlets import Bool, Unicode, default

from octopus_hub.hub.scopes import SERVER_DEFAULT, USER

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


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
        # In one account a server sees what the account's shell would, whatever name its user logs in by.
        return str(Path.home())

    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        """Return what runs in the child before the server: the change of account, or of folder."""
        if self.separate_accounts:
            return set_user_setuid(name)  # type: ignore[no-any-return]
        return super().make_preexec_fn(name)  # type: ignore[no-any-return]

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Add what belongs to the account."""
        base = LocalProcessSpawner if self.separate_accounts else SimpleLocalProcessSpawner
        return base.user_env(self, env)  # type: ignore[no-any-return]

    def get_env(self) -> dict[str, Any]:
        """Return the server's environment, with the address of the service."""
        env: dict[str, Any] = super().get_env()
        env["OCTOPUS_SERVICE_URL"] = self.service_url
        return env

    def get_args(self) -> list[str]:
        """Return the server's arguments; Jupyter refuses to run as root unless told."""
        args: list[str] = super().get_args()
        if os.geteuid() == 0 and not self.separate_accounts and "--allow-root" not in args:
            args.append("--allow-root")
        return args

    # A pid alone may be another process after a restart of the machine: that one must neither pass for the server
    # nor be stopped in its place.

    def get_state(self) -> dict[str, Any]:
        """Return what a restarted hub knows the server by."""
        state: dict[str, Any] = super().get_state()
        if pid := state.get("pid"):
            state["started"] = process_identity(pid)
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up the server that runs, if it is that one."""
        super().load_state(state)
        pid = int(state.get("pid", 0))
        if pid and state.get("started") != process_identity(pid):
            self.pid = 0


def process_identity(pid: int) -> str:
    """Return what tells a process from a later one with the same pid: start time and boot; "" when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return f"{fields[19]}@{BOOT_ID.read_text().strip()}" if fields[0] not in "ZX" else ""
    except OSError:
        return ""
