"""The view on the real way: real service, real Jupyter server with the extension, real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from octopus_hub.model.answers import TaskSetView
from octopus_hub.model.task import TaskState
from tests.widgets.chain import chain
from tests.widgets.pagehost import CHROMIUM, DEADLINE_MS, chromium, mount, until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
expect.set_options(timeout=DEADLINE_MS)


async def test_events_stop_logs_and_a_restarted_service(tmp_path: Path) -> None:
    """A task's event reaches the page, the page's Stop and log requests reach the service, a restart heals."""
    async with chromium() as browser, chain(browser, tmp_path) as way:
        page, backend = way.page, way.service.backend
        uid, tasks = await way.submit("mnist", 3)
        await mount(page, TaskSetView(taskset=backend.truth.tasksets[uid]))
        await expect(page.locator(".badge")).to_have_text("live")
        await expect(page.locator("button.card[data-shown='Pending']")).to_have_count(3)

        backend.set_task("alice", tasks[1].name, state=TaskState.RUNNING)
        await expect(page.locator("button.card").nth(1)).to_have_attribute("data-shown", "Running")
        backend.write_log("alice", tasks[1].name, b"epoch 1\n")
        await page.locator("button.card").nth(1).click()
        await expect(page.locator(".details pre")).to_have_text("epoch 1\n")
        backend.write_log("alice", tasks[1].name, b"epoch 2\n")
        await expect(page.locator(".details pre")).to_have_text("epoch 1\nepoch 2\n")

        await way.front.stop()
        await expect(page.locator(".badge")).to_have_attribute("data-state", "reconnecting")
        backend.set_task("alice", tasks[2].name, state=TaskState.RUNNING)
        way.front.start()
        await expect(page.locator(".badge")).to_have_text("live")
        await expect(page.locator("button.card").nth(2)).to_have_attribute("data-shown", "Running")

        await page.locator("button.stop").click()
        await page.locator("button.stop").click()
        await until(lambda: backend.truth.tasksets[uid].metadata.stop_requested_at is not None)
        await expect(page.locator("button.stop")).to_be_disabled()
        assert way.errors == []
