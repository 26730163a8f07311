"""A running engine with its service that tests may hit, and an account that knows it: REST, the command, the files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from octopus_hub.backends.local import process
from octopus_hub.model.status import Phase
from tests.engine import DEADLINE, NODES, ROOT, RunningEngine
from tests.product import until

WAITS = "echo started >> starts; echo up; while [ ! -e go ]; do sleep 0.05; done; "
STUBBORN = "trap '' TERM; echo started >> starts; echo up; while [ ! -e go ]; do sleep 0.05; done"
HOLDING = """apiVersion: octopus-hub.io/v1alpha1
kind: Hook
name: holding
stages: [prepare, finish]
command: ["./holding.sh"]
timeoutSeconds: 120
retries: 0
"""
HOLDING_SH = """#!/bin/sh
cat > /dev/null
case $HOOK_STAGE-$HOOK_TASKSET in prepare-starting*|finish-ending*)
  while [ ! -e "$HOLD/$HOOK_TASKSET" ]; do sleep 0.05; done;;
esac
"""  # keeps TaskSets of these names in Starting, or between their record and its mark, until told


def put_hook(state: Path, hold: Path) -> None:
    """Put the hook that holds TaskSets by their names; a file of a TaskSet's name in ``hold`` lets it go on."""
    place = state / "plugins" / "hooks"
    place.mkdir(parents=True)
    (place / "holding.yaml").write_text(HOLDING + f"env: {{HOLD: '{hold}'}}\n")
    (place / "holding.sh").write_text(HOLDING_SH)
    (place / "holding.sh").chmod(0o755)
    hold.mkdir()


class Faulty(RunningEngine):
    """One state folder and its engine, which may be killed, held and started again."""

    def __init__(self, folder: Path, config: str = NODES, hooks: bool = False) -> None:
        self.folder = folder
        state, home = folder / "state", folder / "home"
        state.mkdir(mode=0o700)
        home.mkdir()
        (state / "octopus.yaml").write_text(config)
        super().__init__(state, home)
        self.log = folder / "engine.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._clients: dict[tuple[str, str], httpx.Client] = {}
        if hooks:
            put_hook(state, folder / "hold")

    # --- the engine
    def launch(self, point: str = "", **environ: str) -> subprocess.Popen[bytes]:
        """Start the engine, and do not wait until it serves."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.engine", str(self.state), *([point] if point else [])],
                cwd=ROOT,
                env={**self.environ, "FAULT_TOLD": str(self.folder / "told"), **environ},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        return self.process

    def start(self, point: str = "", **environ: str) -> None:
        """Start the engine and wait until it serves."""
        started = self.launch(point, **environ)
        assert started.stdout is not None
        assert started.stdout.readline() == b"ready\n", self.log.read_text()
        found = json.loads((self.state / "client.json").read_text())
        self.url = f"{found['url']}/api/v1/"
        self.token = found["token"]

    def refused(self) -> str:
        """Start the engine, which must not come up; returns the last line that it left."""
        started = self.launch()
        output, _ = started.communicate(timeout=DEADLINE)
        assert started.returncode and not output
        return self.log.read_text().splitlines()[-1]

    def kill(self) -> None:
        """Kill -9; tasks stay."""
        assert self.process is not None
        self.process.kill()
        self.wait()

    def wait(self) -> None:
        """Wait until the engine is gone."""
        assert self.process is not None
        self.process.communicate(timeout=DEADLINE)

    def restart(self) -> None:
        """Kill -9 and start again."""
        self.kill()
        self.start()

    def close(self) -> None:
        """End everything, tasks first of all."""
        for client in self._clients.values():
            client.close()
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for path in self.state.glob("tasks/*/*/*/parent.json"):
            with contextlib.suppress(OSError, ValueError):
                identity = json.loads(path.read_text())
                if process.lives(identity):
                    os.kill(identity["pid"], signal.SIGKILL)
        for pid, _ in process.marked(f"{self.state.as_posix()}/"):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    # --- the account
    def client(self, token: str | None = None) -> httpx.Client:
        """Return a client of the API."""
        key = self.url, self.token if token is None else token
        if key not in self._clients:
            self._clients[key] = httpx.Client(
                base_url=self.url,
                headers={"Authorization": f"Bearer {key[1]}"} if key[1] else {},
                timeout=DEADLINE,
                trust_env=False,
            )
        return self._clients[key]

    def submit(self, name: str, command: str | list[str], *, role: dict[str, Any] | None = None, **spec: Any) -> str:
        """Submit a TaskSet of one role whose command is a list, or run by a shell; returns its name."""
        words = ["sh", "-c", command] if isinstance(command, str) else command
        roles = [{"name": "w", "command": words, **(role or {})}]
        answer = self.client().post("tasksets", json=document(name, roles=roles, **spec))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["metadata"]["name"])

    def get(self, name: str) -> dict[str, Any]:
        """Return a TaskSet's view."""
        answer = self.client().get(f"tasksets/-/{name}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def status(self, name: str) -> dict[str, Any]:
        """Return a TaskSet's status."""
        found: dict[str, Any] = self.get(name)["taskset"].get("status", {})
        return found

    def phase(self, name: str) -> Phase:
        """Return a TaskSet's phase."""
        return Phase(self.status(name).get("phase", "Queued"))

    def until(self, name: str, *phases: Phase) -> dict[str, Any]:
        """Wait for one of these phases; returns the status."""
        until(lambda: self.phase(name) in phases, f"{name} is {[each.value for each in phases]}")
        return self.status(name)

    def ended(self, *names: str) -> list[dict[str, Any]]:
        """Wait until all have ended and their records stand; returns their statuses."""

        def over(status: dict[str, Any]) -> bool:
            return Phase(status.get("phase", "Queued")).terminal and status.get("recordedAttempt", 0) >= status.get(
                "attempt", 0
            )

        for name in names:
            until(lambda each=name: over(self.status(each)), f"{name} has ended")  # type: ignore[misc]
        return [self.status(name) for name in names]

    def tasks(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of its tasks."""
        rows: list[dict[str, Any]] = self.client().get(f"tasksets/-/{name}/tasks").json()["items"]
        return rows

    def record(self, name: str) -> dict[str, Any]:
        """Return the record of its last attempt."""
        answer = self.client().get(f"records/-/{name}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def text(self, name: str, query: str = "") -> str:
        """Return a log."""
        return self.client().get(f"tasksets/-/{name}/logs{query}").text

    # --- the files
    def folders(self, name: str) -> list[Path]:
        """Return the folders of its tasks, oldest first."""
        found = self.state.glob(f"tasks/*/{name}/[!.]*/")
        return sorted(found, key=lambda path: path.stat().st_ctime_ns)

    def starts(self, name: str) -> int:
        """Count how often user code began, in all its tasks."""
        return sum(len(file.read_text().split()) for file in self.state.glob(f"tasks/*/{name}/*/work/starts"))

    def go(self, name: str) -> None:
        """Let its tasks end, and a hook that holds it go on."""
        for folder in self.folders(name):
            (folder / "work" / "go").touch()
        if (self.folder / "hold").is_dir():
            (self.folder / "hold" / name).touch()

    def up(self, name: str, count: int = 1) -> None:
        """Wait until the code of so many tasks runs."""
        until(lambda: self.starts(name) >= count, f"{count} tasks of {name} run")

    def parent(self, folder: Path) -> psutil.Process:
        """Return a task's parent."""
        until(lambda: (folder / "parent.json").exists(), f"{folder.name} has a parent")
        return psutil.Process(json.loads((folder / "parent.json").read_text())["pid"])

    def strays(self, name: str) -> list[int]:
        """Return what is left of the TaskSet's processes."""
        return [pid for pid, marker in process.marked(f"{self.state.as_posix()}/") if f"/{name}-w-" in marker]


def document(name: str, **spec: Any) -> dict[str, Any]:
    """Return a TaskSet as REST takes it."""
    return {
        "apiVersion": "octopus-hub.io/v1alpha1",
        "kind": "TaskSet",
        "metadata": {"name": name},
        "spec": {"roles": [{"name": "w", "command": ["true"]}], **spec},
    }


@contextlib.contextmanager
def faulty(
    folder: Path, config: str = NODES, *, hooks: bool = False, start: bool = True, log: Path | None = None
) -> Iterator[Faulty]:
    """Give an engine on a fresh state below ``folder``; everything is gone at the end."""
    own = Faulty(folder, config, hooks)
    own.log = log or own.log
    try:
        if start:
            own.start()
        yield own
    finally:
        own.close()
