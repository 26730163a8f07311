"""JupyterHub as a child process: started, watched, started again when it dies, stopped with its proxy and servers.

Processes of an earlier start are known by their environment, never by a pid file alone (a pid may have been reused).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from octopus_hub.model.errors import Unavailable

START_SECONDS = 120.0
STOP_SECONDS = 60.0
END_SECONDS = 10.0
LOG_BYTES = 16 << 20
STATE_VARIABLE = "OCTOPUS_HUB_STATE"
SERVICE_VARIABLE = "OCTOPUS_SERVICE_URL"
_KEPT = frozenset(
    ("PATH", "HOME", "LANG", "LC_ALL", "USER", "SHELL", "TZ", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH", "TMPDIR")
)
# Of a surrounding notebook server, or of our command line: not what this hub is configured by.
_FOREIGN = re.compile(r"JUPYTERHUB_(?!CRYPT_KEY$)|JPY_|OCTOPUS_|CONFIGPROXY_")
_HEADING = re.compile(r"Traceback .*|\[[A-Z] [^]]*\]")  # of a traceback; of a log entry without a message

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubSettings:
    """What a hub is started with.

    Attributes
    ----------
    state : Path
        Folder of the hub's files (``{state folder}/hub``).
    config : Path
        Its configuration file.
    environ : mapping
        What ``configure`` reads.
    api_url, public_url : str
        The hub's API, reachable on loopback without the proxy; where browsers find the hub.
    stop_token : str
        Token with the ``shutdown`` scope.
    own_config : bool
        The configuration file is the administrator's, who may have it read the environment.
    """

    state: Path
    config: Path
    environ: Mapping[str, str]
    api_url: str
    public_url: str
    stop_token: str = field(repr=False)
    own_config: bool = False


class HubProcess:
    """One hub."""

    def __init__(self, settings: HubSettings) -> None:
        self._settings = settings
        self._environ = _environment(settings)
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._began = 0  # where this start's part of the log begins

    @property
    def log(self) -> Path:
        """The hub's log."""
        return self._settings.state / "hub.log"

    async def start(self) -> None:
        """Start the hub and wait until it answers; raises Unavailable with the log's last error."""
        await self._spawn()
        await self._wait_ready()
        self._watch = asyncio.create_task(self._keep_alive(), name="hub")

    async def stop(self) -> None:
        """Stop servers, proxy and hub, whatever state they are in; may be called twice."""
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        process, self._process = self._process, None
        if process is None:
            return
        asked = await self._ask_to_stop()
        if not asked and process.returncode is None:
            process.terminate()
        try:
            # One that took the request stops its servers first; one that did not is not waited for that long.
            await asyncio.wait_for(process.wait(), STOP_SECONDS if asked else END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
        # What the hub did not get to, because it was gone or hung.
        await asyncio.to_thread(end_leftovers, self._settings.state)
        await asyncio.to_thread(end_servers, self._environ[SERVICE_VARIABLE])

    async def _spawn(self) -> None:
        forget_pid_files(self._settings.state)
        self._bound_log()
        self._began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "jupyterhub",
                "-f",
                str(self._settings.config),
                cwd=self._settings.state,
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop the hub in order
            )

    def _bound_log(self) -> None:
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > LOG_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))

    async def _wait_ready(self) -> None:
        process = self._process
        assert process is not None
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=2.0) as client:
            while asyncio.get_running_loop().time() < deadline:
                if process.returncode is not None:
                    raise Unavailable(f"JupyterHub ended while starting: {self._last_error()} (log: {self.log})")
                if await self._answers(client):
                    return
                await asyncio.sleep(0.1)
        raise Unavailable(f"JupyterHub did not answer within {START_SECONDS:.0f} s; see {self.log}")

    async def _answers(self, client: httpx.AsyncClient) -> bool:
        """Say whether the hub answers, by itself and through the proxy."""
        try:
            answer = await client.get(f"{self._settings.api_url}/")
            if answer.status_code != 200:
                return False
            return (await client.get(f"{self._settings.public_url}/hub/health")).status_code < 500
        except httpx.RemoteProtocolError:
            return True  # the administrator's proxy speaks TLS; somebody listens
        except httpx.HTTPError:
            return False

    async def _keep_alive(self) -> None:
        delay = 1.0
        while True:
            assert self._process is not None
            code = await self._process.wait()
            log.warning("JupyterHub ended (%s) and is started again; servers and tasks keep running", code)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 60.0)
            # The proxy knows the ended hub's routes; the new hub would end it, too, but wait for seconds.
            await asyncio.to_thread(end_leftovers, self._settings.state)
            try:
                await self._spawn()
                await self._wait_ready()
                delay = 1.0
            except (Unavailable, OSError) as error:
                log.error("%s; trying again in %.0f s", error, delay)

    async def _ask_to_stop(self) -> bool:
        headers = {"Authorization": f"token {self._settings.stop_token}"}
        body = {"proxy": True, "servers": True}
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=END_SECONDS) as client:
            try:
                answer = await client.post(f"{self._settings.api_url}/shutdown", headers=headers, json=body)
            except httpx.HTTPError:
                return False
        return answer.status_code < 300

    def _last_error(self) -> str:
        try:
            with self.log.open("rb") as output:
                output.seek(self._began)
                lines = output.read(1 << 20).decode(errors="replace").splitlines()
        except OSError:
            return "its log can't be read"
        for line in reversed(lines):
            # jupyterhub indents a traceback by four; its frames are indented further
            if line.strip() and not line.startswith("     ") and not _HEADING.fullmatch(line.strip()):
                return re.sub(r"^octopus_hub[\w.]*: ", "", line.strip())[:1000]
        return "it said nothing"


def end_leftovers(state: Path) -> None:
    """End hub and proxy of this state folder that nobody watches; servers stay and are found again by the next hub."""
    wanted = str(state)
    end_processes(lambda process: process.environ().get(STATE_VARIABLE) == wanted)
    forget_pid_files(state)


def end_servers(service_url: str) -> None:
    """End notebook servers that were given this service's address (their kernels go with them)."""

    def ours(process: psutil.Process) -> bool:
        # The short list of parts first: looking into every environment would cost more.
        words = process.cmdline()[:3]
        return any("singleuser" in word for word in words) and process.environ().get(SERVICE_VARIABLE) == service_url

    end_processes(ours)


def end_processes(chosen: Callable[[psutil.Process], bool], seconds: float = END_SECONDS) -> None:
    """Ask the chosen processes to end, then make them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and chosen(process):
                process.terminate()
                found.append(process)
    _, alive = psutil.wait_procs(found, seconds)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, seconds)


def forget_pid_files(state: Path) -> None:
    """Remove pid files of ended processes: the hub would kill whatever process has such a number now."""
    for name in ("hub.pid", "proxy.pid"):
        file = state / name
        with contextlib.suppress(OSError, ValueError):
            pid = int(file.read_text())
            with contextlib.suppress(psutil.Error):
                if psutil.Process(pid).environ().get(STATE_VARIABLE) == str(state):
                    continue
            file.unlink()


def _environment(settings: HubSettings) -> dict[str, str]:
    """Return the hub's environment; servers get a few names of it, tasks none."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or (settings.own_config and not _FOREIGN.match(name))
    }
    # Servers find jupyterhub-singleuser, and their terminals `octopus`, in this environment.
    path = os.pathsep.join([str(Path(sys.prefix) / "bin"), kept.get("PATH", os.defpath)])
    return {**kept, "PATH": path, STATE_VARIABLE: str(settings.state), **settings.environ}
