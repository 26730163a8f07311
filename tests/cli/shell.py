"""A shell in which the ``octopus`` command is run as users run it: as a program, with its own streams, or at a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from octopus_hub.client.sync import Client
from tests.engine import BIN, DEADLINE, RunningEngine

OCTOPUS = str(BIN / "octopus")
WITHIN = 60.0


class Shell:
    """An account's shell in a folder."""

    def __init__(self, engine: RunningEngine, folder: Path | None = None) -> None:
        self.engine = engine
        self.folder = folder or Path(engine.environ["HOME"])

    @contextlib.contextmanager
    def at(self, folder: Path) -> Iterator[Shell]:
        """Give the shell in another folder; TaskSets that were submitted there are gone afterwards."""
        with self.client() as client:
            before = {view.taskset.metadata.uid for view in client.list()}
            yield Shell(self.engine, folder)
            for view in client.list():
                if view.taskset.metadata.uid not in before:
                    client.delete(view.taskset.name)

    def client(self) -> Client:
        """Return a client of the account."""
        found = json.loads((self.engine.state / "client.json").read_text())
        return Client(found["url"], found["token"])

    def octopus(
        self, *words: str, code: int | None = 0, given: str | bytes = b"", env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run the command to its end; ``code`` is the exit code that it must have (None: any)."""
        done = subprocess.run(
            [OCTOPUS, *words],
            cwd=self.folder,
            env=self.engine.environ | dict(env or {}),
            input=given.encode() if isinstance(given, str) else given,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        found = Outcome(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))
        assert "Traceback" not in found.err, found.err
        assert code is None or found.code == code, f"octopus {words} ended with {found.code}:\n{found.out}{found.err}"
        return found

    def bash(self, script: str, code: int | None = 0) -> Outcome:
        """Run a script."""
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.engine.environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return Outcome(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Give a command that runs; it is gone afterwards."""
        process = subprocess.Popen(
            [OCTOPUS, *words],
            cwd=self.folder,
            env=self.engine.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def document(self, text: str, name: str = "f.yaml") -> str:
        """Write a file; returns its name."""
        (self.folder / name).write_text(text)
        return name

    def until(self, name: str, holds: Callable[[Any], bool]) -> Any:
        """Return the view of a TaskSet as soon as something holds of it."""
        with self.client() as client:
            view = client.get(name)
            if holds(view):
                return view
            for _ in client.stream("-", name, deadline=time.monotonic() + WITHIN):
                view = client.get(name)
                if holds(view):
                    return view
        raise AssertionError("the stream ended")

    def until_phase(self, name: str, *phases: str) -> Any:
        """Return the view in one of these phases."""
        return self.until(name, lambda view: view.taskset.status.phase.value in phases)


class Outcome:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def lines(self) -> list[str]:
        """Lines of the output."""
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        """The output as JSON."""
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one sentence about what is wrong."""
        lines = self.err.splitlines()
        assert lines, "nothing was said"
        assert lines[0].startswith("octopus"), self.err
        return self.err.strip()


class Terminal:
    """A command at a terminal of its own (80 columns, unless told)."""

    def __init__(self, shell: Shell, *words: str, columns: int = 80) -> None:
        environ = {name: value for name, value in shell.engine.environ.items() if name != "COLUMNS"}
        self._pid, self._end = pty.fork()
        if self._pid == 0:
            try:
                os.chdir(shell.folder)
                os.environ.clear()
                os.environ.update(environ | {"TERM": "xterm", "COLUMNS": str(columns)})
                os.execv(OCTOPUS, [OCTOPUS, *words])
            finally:
                os._exit(127)
        self.shown = ""

    def until(self, pattern: str) -> str:
        """Read until something is shown; returns everything shown so far."""
        end = time.monotonic() + WITHIN
        while not re.search(pattern, self.shown):
            assert self._read(end), f"{pattern!r} was never shown:\n{self.shown}"
        return self.shown

    def type(self, text: str) -> None:
        """Type."""
        os.write(self._end, text.encode())

    def close(self) -> int:
        """Read to the end; returns the exit code."""
        end = time.monotonic() + WITHIN
        while self._read(end):
            pass
        _, status = os.waitpid(self._pid, 0)
        os.close(self._end)
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    def _read(self, end: float) -> bool:
        ready, _, _ = select.select([self._end], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            self.kill()
            return False
        try:
            data = os.read(self._end, 1 << 16)
        except OSError:  # the program has closed its end
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)
