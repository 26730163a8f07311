"""JupyterHub as a child process: started, watched, started again when it dies, stopped with its proxy and servers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import psutil

from octopus_hub.model.errors import Unavailable

START_SECONDS = 120.0
STOP_SECONDS = 60.0
_KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "USER",
    "SHELL",
    "TZ",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "TMPDIR",
)


class HubProcess:
    """One hub.

    Parameters
    ----------
    state : Path
        Folder of the hub's files (``{state folder}/hub``).
    config : Path
        Its configuration file.
    environ : mapping
        What ``configure`` reads.
    api_url : str
        Hub's API, reachable on loopback without the proxy.
    stop_token : str
        Token with the ``shutdown`` scope.
    """

    def __init__(self, state: Path, config: Path, environ: Mapping[str, str], api_url: str, stop_token: str) -> None:
        self._state = state
        self._config = config
        self._environ = {name: os.environ[name] for name in _KEPT if name in os.environ} | dict(environ)
        # Servers find jupyterhub-singleuser, and their terminals `octopus`, in this environment.
        self._environ["PATH"] = os.pathsep.join([str(Path(sys.prefix) / "bin"), self._environ.get("PATH", os.defpath)])
        self._api_url = api_url
        self._stop_token = stop_token
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False
        self._began = 0  # where this start's part of the log begins

    @property
    def log(self) -> Path:
        """The hub's log."""
        return self._state / "hub.log"

    async def start(self) -> None:
        """Start the hub and wait until its API answers; raises Unavailable with the log's last error."""
        self._began = self.log.stat().st_size if self.log.exists() else 0
        await self._spawn()
        await self._wait_ready()
        self._watch = asyncio.create_task(self._keep_alive(), name="hub")

    async def stop(self) -> None:
        """Stop servers, proxy and hub."""
        self._stopping = True
        if self._watch:
            self._watch.cancel()
        process = self._process
        if process is None:
            return
        asked = await self._ask_to_stop()
        if not asked and process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
        if not asked:
            end_by_pid_file(self._state / "proxy.pid", "configurable-http-proxy")

    async def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "jupyterhub",
                "-f",
                str(self._config),
                cwd=self._state,
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop the hub in order
            )

    async def _wait_ready(self) -> None:
        process = self._process
        assert process is not None
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        async with httpx.AsyncClient(trust_env=False) as client:
            while asyncio.get_running_loop().time() < deadline:
                if process.returncode is not None:
                    raise Unavailable(f"JupyterHub ended while starting: {self._last_error()} (log: {self.log})")
                with contextlib.suppress(httpx.HTTPError):
                    answer = await client.get(f"{self._api_url}/", timeout=2.0)
                    if answer.status_code == 200:
                        return
                await asyncio.sleep(0.2)
        raise Unavailable(f"JupyterHub did not answer within {START_SECONDS:.0f} s; see {self.log}")

    async def _keep_alive(self) -> None:
        delay = 1.0
        while True:
            assert self._process is not None
            await self._process.wait()
            if self._stopping:
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, 60.0)
            await self._spawn()
            with contextlib.suppress(Unavailable):
                await self._wait_ready()
                delay = 1.0

    async def _ask_to_stop(self) -> bool:
        headers = {"Authorization": f"token {self._stop_token}"}
        body = {"proxy": True, "servers": True}
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                answer = await client.post(f"{self._api_url}/shutdown", headers=headers, json=body, timeout=10.0)
            except httpx.HTTPError:
                return False
        return answer.status_code < 300

    def _last_error(self) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(self._began)
                lines = log.read(1 << 20).decode(errors="replace").splitlines()
        except OSError:
            return "its log can't be read"
        for line in reversed(lines):
            if line.strip() and not line.startswith(("    ", "Traceback")):
                return re.sub(r"^octopus_hub[\w.]*: ", "", line.strip())[:500]
        return "it said nothing"


def end_leftovers(state: Path) -> None:
    """End hub and proxy whose ``octopus up`` was killed; servers stay and are found again through the database."""
    end_by_pid_file(state / "hub.pid", "jupyterhub")
    end_by_pid_file(state / "proxy.pid", "configurable-http-proxy")


def end_by_pid_file(file: Path, word: str, seconds: float = 10.0) -> None:
    """End the process of a pid file if its command line holds ``word`` (a reused pid is left alone)."""
    try:
        process = psutil.Process(int(file.read_text()))
        if not any(word in part for part in process.cmdline()):
            return
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(seconds)
            return
        process.kill()
        process.wait(seconds)
    except (OSError, ValueError, psutil.Error):
        return
