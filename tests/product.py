"""The whole product as a user starts it: ``octopus up`` as a process, in an account of its own. For any test.

The fixture ``product`` (``tests/conftest.py``) is one that runs for the whole session, for tests that leave it as it
is; mark those ``pytest.mark.xdist_group("product")``, so that it is started once. A test that breaks something starts
its own: ``with started(tmp_path) as own: ...``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from octopus_hub.app.walk import Kernel, Walk
from octopus_hub.client.sync import Client

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
DEADLINE = 120.0
NODES = """nodes:
- {name: node-a, cpu: "4", memory: 8Gi, devices: {virtual: 4}}
- {name: node-b, cpu: "4", memory: 8Gi, devices: {virtual: 4}}
"""  # the same on every machine; the default depends on the machine's devices
CANARIES = {
    "CONFIGPROXY_AUTH_TOKEN": "canary-of-the-proxy",
    "JUPYTERHUB_CRYPT_KEY": "ca" * 32,
    "JUPYTERHUB_API_TOKEN": "canary-of-another-server",
    "OCTOPUS_TOKEN": "canary-of-the-service",
    "AWS_SECRET_ACCESS_KEY": "canary-of-the-shell",
}  # in the environment that `octopus up` is started from; must reach no server and no task
T = TypeVar("T")


class Product:
    """One ``octopus up`` with its account.

    Attributes
    ----------
    home, root, state : Path
        The account's home, the folder that servers show (with a copy of ``examples/``), the state folder.
    environ : dict
        The account's environment, as its shell has it.
    process : subprocess.Popen
        ``octopus up`` itself.
    """

    def __init__(self, folder: Path, config: str = NODES, *options: str) -> None:
        self.folder = folder
        self.home, self.root = folder / "home", folder / "root"
        self.state = self.home / ".local" / "state" / "octopus-hub"
        self.options = options
        self.program = [str(BIN / "octopus")]
        kept = {name: os.environ[name] for name in ("LANG", "USER", "LOGNAME") if name in os.environ}
        self.environ = kept | {"HOME": str(self.home), "PATH": f"{BIN}:{os.environ['PATH']}", "COLUMNS": "200"}
        self.state.mkdir(parents=True, mode=0o700)
        (self.state / "octopus.yaml").write_text(config)
        shutil.copytree(ROOT / "examples", self.root / "examples")
        self.process: subprocess.Popen[bytes]

    # --- octopus up
    def start(self, *options: str, port: int = 0) -> None:
        """Start ``octopus up`` and wait for its block."""
        self.launch("--port", str(port), "--root-dir", str(self.root), *self.options, *options)
        until(lambda: "  stop " in self.output() or self.process.poll() is not None, "octopus up is ready")
        assert self.process.poll() is None, self.output()

    def launch(self, *options: str) -> None:
        """Start ``octopus up`` with these options alone."""
        with (self.folder / "up.log").open("wb") as output:
            self.process = subprocess.Popen(
                [*self.program, "up", *options],
                env=self.environ | CANARIES,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def output(self) -> str:
        """Return what ``octopus up`` has said since its last start."""
        return (self.folder / "up.log").read_text()

    def stop(self, number: int = signal.SIGINT) -> str:
        """End it as Ctrl-C does; returns all it said. Tasks keep running."""
        self.process.send_signal(number)
        self.process.wait(DEADLINE)
        return self.output()

    def kill(self) -> None:
        """Kill -9 ``octopus up``; hub, proxy, servers and tasks stay."""
        self.process.kill()
        self.process.wait(DEADLINE)

    def close(self) -> None:
        """End everything, tasks included."""
        if self.process.poll() is None:
            self.stop()
        if "no TaskSet is left running" not in self.output():
            self.run("octopus", "up", "--stop-tasks", code=None)
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()

    # --- what it tells
    def line(self, name: str) -> str:
        """Return a value of the block that it printed."""
        for line in self.output().splitlines():
            words = line.split(maxsplit=1)
            if len(words) == 2 and words[0] == name:
                return words[1]
        raise AssertionError(f"no {name} in:\n{self.output()}")

    @property
    def url(self) -> str:
        """Where browsers find the hub."""
        return self.line("address")

    @property
    def user(self) -> str:
        """Who may log in."""
        return self.line("user")

    @property
    def password(self) -> str:
        """The generated password."""
        return (self.state / "password").read_text().strip()

    def pid(self, name: str) -> int:
        """Return the pid of the ``hub`` or the ``proxy``."""
        return int((self.state / "hub" / f"{name}.pid").read_text())

    def servers(self) -> list[psutil.Process]:
        """Return the notebook servers."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):  # what ended since it was listed is none
                if any("singleuser" in word for word in process.cmdline()[:3]):
                    found.append(process)
        return found

    def processes(self) -> list[psutil.Process]:
        """Return every process of this account: hub, proxy, servers, kernels, tasks (not ``octopus up`` itself)."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != self.process.pid and str(self.folder) in "\n".join(process.environ().values()):
                    found.append(process)
        return found

    # --- the account
    def run(self, *words: str, code: int | None = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in the account's shell; ``code`` is the exit code it must have (None: any)."""
        done = subprocess.run(
            [str(BIN / words[0]) if (BIN / words[0]).exists() else words[0], *words[1:]],
            cwd=cwd or self.root,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE,
            check=False,
        )
        assert code is None or done.returncode == code, f"{words} -> {done.returncode}:\n{done.stdout}{done.stderr}"
        return done

    def client(self) -> Client:
        """Return a client as the account's own programs have it."""
        import json

        found = json.loads((self.state / "client.json").read_text())
        return Client(found["url"], found["token"])

    @contextlib.asynccontextmanager
    async def visitor(self, *, spawn: bool = True) -> AsyncIterator[Walk]:
        """Give a browser without a screen that has logged in; its server runs."""
        visitor = Walk(self.url, self.user)
        try:
            await visitor.log_in(self.password)
            if spawn:
                await visitor.spawn()
            yield visitor
        finally:
            await visitor.close()


async def says(kernel: Kernel, source: str) -> str:
    """Run some code on a kernel; returns what it prints."""
    said: list[str] = []
    await kernel.execute(source, "the cell", said.append)
    return "".join(said)


def until(holds: Callable[[], T], what: str, seconds: float = DEADLINE) -> T:
    """Wait until something holds and return it; for what tells nobody."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for: {what}"
        time.sleep(0.05)
    return found


def alive(pids: Sequence[int]) -> list[int]:
    """Return those that live (a zombie does not)."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


@contextlib.contextmanager
def started(folder: Path, config: str = NODES, *options: str) -> Iterator[Product]:
    """Start a product of one's own below ``folder``; everything is gone at the end, tasks included."""
    own = Product(folder, config, *options)
    try:
        own.start()
        yield own
    finally:
        own.close()


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product that tests share; leave it running and as it is."""
    with started(tmp_path_factory.mktemp("product")) as shared:
        yield shared
