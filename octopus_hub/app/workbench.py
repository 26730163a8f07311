"""The whole workbench of one machine: engine and service in this process, the hub beside it as a child.

Order matters both ways: the service listens before the hub starts (the hub polls its spawners at once), and the hub goes
before the service. Tasks outlive both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

from octopus_hub.app import checks
from octopus_hub.app.engine import LOOPBACK, Engine, HubLink
from octopus_hub.app.hubprocess import HubProcess, HubSettings, end_leftovers
from octopus_hub.backends.local import statefolder
from octopus_hub.hub.proxy import proxy_command
from octopus_hub.model.errors import OctopusError
from octopus_hub.model.taskset import TaskSet

log = logging.getLogger(__name__)
TIED = "its notebook server was stopped together with the workbench"
TIED_SECONDS = 60.0
PACKAGED_CONFIG = Path(__file__).parents[1] / "hub" / "jupyterhub_config.py"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for.

    Attributes
    ----------
    ip, port : str, int
        Where browsers find the hub; port 0 takes a free one.
    root_dir : str
        Folder that servers show; "" is the account's home.
    """

    state: Path
    user: str
    ip: str = LOOPBACK
    port: int = 8000
    root_dir: str = ""
    config_file: Path | None = None
    hub_config: Path | None = None


class Workbench:
    """One running workbench; see the module's docstring.

    Raises from :meth:`start`: OctopusError in one sentence with the way out; nothing is left running then.
    """

    def __init__(self, wishes: Wishes) -> None:
        self.wishes = wishes
        self.state = wishes.state
        self.port = wishes.port
        self.engine: Engine
        self.hub: HubProcess
        self._stack = contextlib.AsyncExitStack()

    @property
    def url(self) -> str:
        """Address of the hub for a browser on this machine."""
        return f"http://{_host(self.wishes.ip)}:{self.port}"

    @property
    def password_file(self) -> Path:
        """Where the password stands, 0600."""
        return self.state / "password"

    async def start(self) -> None:
        """Start everything and wait until the hub answers."""
        checks.check_platform()
        self.state = statefolder.prepare(self.wishes.state)
        command = proxy_command()
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack, command)
            self._stack = stack.pop_all()

    async def stop(self) -> list[TaskSet]:
        """Stop hub, proxy, servers, service and engine; returns the TaskSets that are left, which keep running."""
        await self.hub.stop()
        await self._end_tied()
        left = self.engine.unfinished()
        await self._stack.aclose()
        return left

    async def _end_tied(self) -> None:
        """Stop what lives only as long as a notebook server or a kernel: none is left."""
        tied = [each for each in self.engine.unfinished() if each.spec.lifetime.mode != "detached"]
        for taskset in tied:
            with contextlib.suppress(OctopusError):
                await self.engine.backend.update_intent(taskset.metadata.uid, stop=True, why=TIED)
        try:
            async with asyncio.timeout(TIED_SECONDS):
                await self.engine.until_ended({each.metadata.uid for each in tied})
        except TimeoutError:
            log.warning("TaskSets that were tied to servers have not ended yet; the next start ends them")

    async def _start(self, stack: contextlib.AsyncExitStack, command: list[str]) -> None:
        hub_state = self.state / "hub"
        hub_state.mkdir(mode=0o700, exist_ok=True)
        lock = statefolder.Lock(self.state)  # a second one must not touch the first one's hub or ports
        try:
            await asyncio.to_thread(end_leftovers, hub_state)
            self.port = self.port or checks.free_port()
            checks.check_port(self.wishes.ip, self.port)
            ports = checks.inner_ports(self.state)
        finally:
            lock.release()
        token = checks.private_file(hub_state / "service_token", 32)
        api_url = f"http://{LOOPBACK}:{ports['hub']}/hub/api"
        self.engine = Engine(
            self.state,
            self.wishes.user,
            port=ports["service"],
            config_file=self.wishes.config_file,
            hub=HubLink(api_url, token),
        )
        await self.engine.start()
        stack.push_async_callback(self.engine.stop)
        self.hub = HubProcess(self._hub_settings(hub_state, ports, api_url, command))
        stack.push_async_callback(self.hub.stop)  # before the start: one that is interrupted must leave nothing
        await self.hub.start()

    def _hub_settings(self, state: Path, ports: dict[str, int], api_url: str, command: list[str]) -> HubSettings:
        checks.private_file(self.password_file, 12)
        checks.private_file(self.state / "admin_password", 32)
        stop_token = checks.private_file(state / "stop_token", 32)
        checks.private_file(state / "proxy_token", 32)
        environ = {
            "OCTOPUS_HUB_STATE": str(state),
            "OCTOPUS_BIND_URL": f"http://{_bracketed(self.wishes.ip)}:{self.port}",
            "OCTOPUS_HUB_PORT": str(ports["hub"]),
            "OCTOPUS_PROXY_API_PORT": str(ports["proxy_api"]),
            "OCTOPUS_SERVICE_URL": self.engine.url,
            "OCTOPUS_USER": self.wishes.user,
            "OCTOPUS_PASSWORD_FILE": str(self.password_file),
            "OCTOPUS_ADMIN_PASSWORD_FILE": str(self.state / "admin_password"),
            "OCTOPUS_ROOT_DIR": self.wishes.root_dir,
            "OCTOPUS_PROXY_COMMAND": "\n".join(command),
            "OCTOPUS_TASK_ACCOUNTS": "separate" if self.engine.separate_accounts else "",
        }
        return HubSettings(
            state=state,
            config=self.wishes.hub_config or PACKAGED_CONFIG,
            environ=environ,
            api_url=api_url,
            public_url=self.url,
            stop_token=stop_token,
            own_config=self.wishes.hub_config is not None,
        )


def _host(ip: str) -> str:
    return LOOPBACK if ip in ("", "0.0.0.0") else "[::1]" if ip == "::" else _bracketed(ip)


def _bracketed(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip
