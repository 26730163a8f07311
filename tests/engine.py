"""Engine and service as a process of their own, and the ``octopus`` command in an account that knows them.

For tests that want the whole product but no hub. ``python -m tests.engine STATE`` is the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
DEADLINE = 120.0
NODES = """nodes:
- {name: node-a, cpu: "4", memory: 8Gi, devices: {virtual: 4}}
- {name: node-b, cpu: "4", memory: 8Gi, devices: {virtual: 4}}
"""  # the same on every machine; the default depends on the machine's devices


class RunningEngine:
    """A state folder with an engine on it, and an account in which commands and programs are run."""

    def __init__(self, state: Path, home: Path) -> None:
        self.state = state
        kept = {name: os.environ[name] for name in ("LANG", "PATH") if name in os.environ}
        self.environ = kept | {
            "HOME": str(home),
            "OCTOPUS_STATE": str(state),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "COLUMNS": "200",
        }

    def octopus(self, *words: str, code: int | None = 0, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run the command; ``code`` is the exit code that it must have (None: any)."""
        return self.run([str(BIN / "octopus"), *words], code=code, cwd=cwd)

    def run(
        self, command: Sequence[str], *, code: int | None = 0, cwd: Path = ROOT
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the account."""
        done = subprocess.run(
            command, cwd=cwd, env=self.environ, capture_output=True, text=True, timeout=2 * DEADLINE, check=False
        )
        assert code is None or done.returncode == code, (
            f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done


@contextlib.contextmanager
def engine(folder: Path, config: str = NODES) -> Iterator[RunningEngine]:
    """Start an engine on a fresh state below ``folder``; tasks and engine are gone at the end."""
    state, home = folder / "state", folder / "home"
    state.mkdir(mode=0o700)
    home.mkdir()
    (state / "octopus.yaml").write_text(config)
    started = RunningEngine(state, home)
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.engine", str(state)],
            cwd=ROOT,
            env=started.environ,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", (folder / "engine.log").read_text()
        yield started
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


async def _serve(state: Path) -> None:
    from octopus_hub.app.engine import Engine

    running: Any = Engine(state, "ada")
    await running.start()
    print("ready", flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    for taskset in running.unfinished():
        await running.backend.update_intent(taskset.metadata.uid, stop=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DEADLINE / 2):
            await running.until_ended()
    await running.stop()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
