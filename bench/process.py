"""The real engine with its service in a process of its own, for benchmarks: ``with engine(folder) as running: ...``.

``python -m bench.process STATE`` is that process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from octopus_hub.client.sync import Client

ROOT = Path(__file__).resolve().parent.parent
END_SECONDS = 60.0
NODES = """nodes:
- {name: node-a, cpu: "16", memory: 64Gi, devices: {virtual: 8}}
"""  # declared: the figures must not depend on the machine's devices


@dataclass(frozen=True)
class Running:
    """An engine that answers."""

    pid: int
    state: Path

    def client(self) -> Client:
        """Return a client of the account's own."""
        found = json.loads((self.state / "client.json").read_text())
        return Client(found["url"], found["token"])


@contextlib.contextmanager
def engine(folder: Path) -> Iterator[Running]:
    """Start an engine on a fresh state below ``folder``; tasks that are left are ended with it."""
    state = folder / "state"
    state.mkdir(mode=0o700)
    (state / "octopus.yaml").write_text(NODES)
    environ = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.process", str(state)], cwd=ROOT, env=environ, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise SystemExit("the engine did not start")
        yield Running(process.pid, state)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=2 * END_SECONDS)


async def serve(state: Path) -> None:
    """Be the engine until SIGTERM."""
    from octopus_hub.app.engine import Engine

    running = Engine(state, "bench")
    await running.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print("ready", flush=True)
    await stopped.wait()
    for taskset in running.unfinished():
        await running.backend.update_intent(taskset.metadata.uid, stop=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            await running.until_ended()
    await running.stop()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
