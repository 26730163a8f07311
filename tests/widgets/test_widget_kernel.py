"""A job shown in a real kernel, with a real service: the two outputs, their updates while a cell runs, frames by messages."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import start_new_async_kernel

from tests.service.running import DEADLINE, Running, document, running

TOKEN = "alice-token"
WIDGET = "application/vnd.jupyter.widget-view+json"


class Notebook:
    """A kernel as a notebook sees it."""

    def __init__(self, client: AsyncKernelClient) -> None:
        self.client = client
        self.comms: list[str] = []

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read what the kernel publishes until a message is wanted; returns its content."""
        async with asyncio.timeout(3 * DEADLINE):
            while True:
                message = await self.client.get_iopub_msg(timeout=3 * DEADLINE)
                assert message["msg_type"] != "error", message["content"]
                if message["msg_type"] == "comm_open":
                    self.comms.append(message["content"]["comm_id"])
                if wanted(message):
                    content: dict[str, Any] = message["content"]
                    return content

    async def shown(self, kind: str, words: str) -> dict[str, Any]:
        """Wait for an output of that kind with these words in any of its forms."""
        return await self.until(
            lambda message: message["msg_type"] == kind and words in str(message["content"]["data"])
        )

    def tell(self, comm: str, **content: Any) -> None:
        """Send a custom message of the widget's page."""
        data = {"method": "custom", "content": content}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", {"comm_id": comm, "data": data}))

    async def told(self, kind: str) -> dict[str, Any]:
        """Wait for a custom message to the widget's page."""

        def wanted(message: dict[str, Any]) -> bool:
            data = message["content"].get("data", {}) if message["msg_type"] == "comm_msg" else {}
            return data.get("method") == "custom" and data["content"]["type"] == kind

        found: dict[str, Any] = (await self.until(wanted))["data"]["content"]
        return found


@pytest.fixture
async def service() -> AsyncIterator[Running]:
    """A running service."""
    async with running() as started:
        yield started


@pytest.fixture
async def notebook(service: Running, tmp_path: Path) -> AsyncIterator[Notebook]:
    """A kernel that knows the service."""
    known = {key: value for key, value in os.environ.items() if not key.startswith(("OCTOPUS_", "VSCODE_", "COLAB_"))}
    address = f"http://127.0.0.1:{service.port}"
    env = {**known, "OCTOPUS_URL": address, "OCTOPUS_TOKEN": TOKEN, "IPYTHONDIR": str(tmp_path / "ipython")}
    env["PYTHONPATH"] = os.pathsep.join(str(Path(__file__).parents[2] / part) for part in ("", "widgets"))
    manager, client = await start_new_async_kernel(kernel_name="python3", env=env, cwd=str(tmp_path))
    yield Notebook(client)
    client.stop_channels()
    await manager.shutdown_kernel(now=True)


async def test_outputs_follow_while_the_kernel_is_busy(service: Running, notebook: Notebook, tmp_path: Path) -> None:
    """Live view and plain output at once; the plain one and the traits change although a cell runs."""
    answer = await service.client(TOKEN).post("tasksets", json=document("mnist"))
    uid = answer.json()["metadata"]["uid"]
    free = tmp_path / "free"
    cell = "from octopus_hub.client.job import Job; job = Job.find('mnist'); display(job)"
    busy = f"import pathlib, time\nwhile not pathlib.Path({str(free)!r}).exists(): time.sleep(0.01)"
    notebook.client.execute(f"{cell}\n{busy}")
    live = await notebook.shown("display_data", WIDGET)
    assert "mnist" in live["data"]["text/plain"] and "Queued" in live["data"]["text/plain"]
    plain = await notebook.shown("display_data", "octopus-static")
    assert list(plain["data"]) == ["text/html"] and f"octopus-static-{uid}" in plain["data"]["text/html"]

    await service.start_tasks(uid)
    changed = await notebook.shown("update_display_data", "Running")
    assert changed["transient"]["display_id"] == plain["transient"]["display_id"]
    free.touch()

    notebook.tell(live["data"][WIDGET]["model_id"], type="follow")
    frame = await notebook.told("snapshot")
    assert frame["tasksets"][0]["status"]["phase"] == "Running" and len(frame["tasks"]) == 2
    notebook.tell(live["data"][WIDGET]["model_id"], type="stop", id=7)
    assert (await notebook.told("answer")) == {"type": "answer", "id": 7, "text": ""}
    assert service.backend.truth.tasksets[uid].metadata.stop_requested_at is not None
