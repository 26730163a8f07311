"""``octopus up`` at a terminal, and what ends together with the notebook servers."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from octopus_hub.model.status import Phase
from tests.product import BIN, DEADLINE, Product, says, started, until

pytestmark = [pytest.mark.hub, pytest.mark.slow]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Product]:
    with started(tmp_path) as own:
        yield own


def read_until(terminal: int, words: str) -> str:
    """Read what is shown at a terminal until some words come."""
    shown = b""
    deadline = time.monotonic() + DEADLINE
    while words.encode() not in shown:
        assert time.monotonic() < deadline, shown.decode()
        if select.select([terminal], [], [], 1.0)[0]:
            shown += os.read(terminal, 65536)
    return shown.decode()


def test_a_terminal_is_shown_the_password_and_ctrl_c_stops(tmp_path: Path) -> None:
    account = Product(tmp_path)
    ours, theirs = pty.openpty()
    command = [str(BIN / "octopus"), "up", "--port", "0", "--ip", "127.0.0.2", "--state", str(tmp_path / "state")]
    account.state = tmp_path / "state"
    # a session of its own with this terminal: what is typed reaches it and all its children, as at a shell
    account.process = subprocess.Popen(
        ["setsid", "--ctty", *command], env=account.environ, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        shown = read_until(ours, "  stop ")
        assert f"{account.password} ({account.state / 'password'})" in shown
        assert re.search(r"address +http://127.0.0.2:\d+ \(listens on 127.0.0.2\)", shown)
        assert f"OCTOPUS_STATE={account.state}" in shown, "what another shell needs"
        hub = account.pid("hub")
        os.write(ours, b"\x03")
        assert "no TaskSet is left running" in read_until(ours, "left running")
        assert account.process.wait(DEADLINE) == 0
        assert not Path(f"/proc/{hub}").exists()
    finally:
        if account.process.poll() is None:
            account.process.send_signal(signal.SIGTERM)
            account.process.wait(DEADLINE)
        os.close(ours)


async def test_what_is_tied_to_a_server_or_kernel_ends_with_the_workbench(own: Product) -> None:
    source = """
from octopus_hub import Role, TaskSet, submit
for mode in ("detached", "server", "kernel"):
    role = Role("worker", command=["sh", "-c", "exec tail -f /dev/null"])
    submit(TaskSet(mode, roles=[role], lifetime={"mode": mode}), workspace=None)
"""
    async with own.visitor() as visitor, visitor.kernel("tied.ipynb") as kernel:
        await says(kernel, source)
        with own.client() as client:
            until(lambda: all(each.taskset.status.phase is Phase.RUNNING for each in client.list()), "all run")
        said = own.stop()
    assert "still there: detached (1 running)" in said
    own.start()
    with own.client() as client:
        phases = {each.taskset.name: each.taskset.status.phase for each in client.list()}
        told = client.get("server").taskset.status.message
    assert phases == {"detached": Phase.RUNNING, "server": Phase.STOPPED, "kernel": Phase.STOPPED}
    assert "workbench" in told
