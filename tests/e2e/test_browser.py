"""The path of a researcher in a real browser on the running product: log in, notebook, live gang, stop, saved notebook.

With ``OCTOPUS_PICTURES=docs/images`` the pictures of the documentation are taken on the way.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.product import Product, until
from tests.widgets.pagehost import CHROMIUM, chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.hub,
    pytest.mark.xdist_group("product"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
PATIENCE_MS = 120_000  # of two busy cores
PICTURES = os.environ.get("OCTOPUS_PICTURES", "")
FAILED = Path(tempfile.gettempdir()) / "octopus-browser-failed.png"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@asynccontextmanager
async def logged_in(browser: Browser, product: Product) -> AsyncIterator[Page]:
    """Give a page of the hub whose user has logged in by the form."""
    context = await browser.new_context(viewport={"width": 1180, "height": 1060})
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page = await context.new_page()
    await page.goto(product.url)
    await page.fill("input[name=username]", product.user)
    await page.fill("input[name=password]", product.password)
    await page.click("input[type=submit], button[type=submit]")
    await page.wait_for_url("**/lab**")
    try:
        yield page
    except BaseException:
        await page.screenshot(path=FAILED)
        print("the page as it was:", FAILED)
        raise
    await context.close()


async def open_notebook(page: Page, product: Product, path: str) -> None:
    await page.goto(f"{product.url}/user/{product.user}/lab/workspaces/auto-{abs(hash(path))}/tree/{path}")
    await page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    await expect(page.locator("#jp-main-statusbar")).to_contain_text("Python 3 (ipykernel) | Idle")
    news = page.get_by_role("button", name="No", exact=True)
    if await news.is_visible():
        await news.click()


async def run_next_cell(page: Page) -> None:
    await page.keyboard.press("Shift+Enter")


def notebook(product: Product, name: str, *cells: str) -> str:
    """Write a notebook into the folder that the server shows; returns its path there."""
    code = [
        {"cell_type": "code", "id": f"c{at}", "metadata": {}, "outputs": [], "execution_count": None, "source": cell}
        for at, cell in enumerate(cells)
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    document = {"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": code}
    (product.root / name).write_text(json.dumps(document))
    return name


async def picture(what: Page | Locator, name: str) -> None:
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        await what.screenshot(path=Path(PICTURES) / f"{name}.png")


async def test_from_the_log_in_form_to_the_record(browser: Browser, product: Product) -> None:
    async with logged_in(browser, product) as page:
        await open_notebook(page, product, "examples/quickstart/quickstart.ipynb")
        await page.locator(".jp-Notebook .jp-CodeCell").first.click()
        await run_next_cell(page)
        await page.locator(".octopus-gang .phase").wait_for()
        await expect(page.locator(".octopus-gang button.card")).to_have_count(4)
        if PICTURES:  # of a gang that still runs, which takes some luck: it is done within seconds
            await expect(page.locator(".octopus-gang button.card", has_text="loss")).to_have_count(3)
            await picture(page, "notebook")
            await picture(page.locator(".jp-OutputArea", has=page.locator(".octopus-gang")).first, "gang-view")
        for _ in range(5):
            await run_next_cell(page)
        await expect(page.locator(".octopus-gang .phase")).to_have_text("Succeeded")
        await expect(page.locator(".jp-OutputArea-output", has_text="test accuracy").last).to_be_visible()
        said = page.locator(".jp-OutputArea-output", has_text="record /").last
        await expect(said).to_be_visible()
        where = (await said.inner_text()).rsplit("record ", 1)[1].strip()
        assert (Path(where) / "record.json").is_file()


async def test_the_view_lives_and_stops_a_gang_while_the_kernel_is_busy(browser: Browser, product: Product) -> None:
    source = (
        "from octopus_hub import Role, TaskSet, submit\n"
        "job = submit(TaskSet('busy', roles=[Role('w', replicas=2, devices={'virtual': 1}, command=['sleep', '3600'])]),"
        " workspace=None)\njob"
    )
    path = notebook(product, "busy.ipynb", source, "import time\nprint('sleeping')\ntime.sleep(3600)")
    async with logged_in(browser, product) as page:
        await open_notebook(page, product, path)
        await page.locator(".jp-Notebook .jp-CodeCell").first.click()
        await run_next_cell(page)
        await page.locator(".octopus-gang .phase").wait_for()
        await run_next_cell(page)
        await expect(page.locator(".jp-OutputArea-output", has_text="sleeping")).to_be_visible()
        await expect(page.locator(".octopus-gang .phase")).to_have_text("Running")
        await expect(page.locator(".octopus-gang .badge")).to_have_text("live")
        stop = page.locator(".octopus-gang button.stop")
        await stop.click()
        await expect(stop).to_have_text("Press again to stop")
        await stop.click()
        await expect(page.locator(".octopus-gang .phase")).to_have_text("Stopped")
        status = product.client().get("busy").taskset.status
        assert status.phase == "Stopped" and status.reason == "StopRequested"


async def test_a_waiting_gang_says_why_in_numbers(browser: Browser, product: Product) -> None:
    client = product.client()
    product.run(
        "octopus", "submit", "--name", "all", "--replicas", "8", "--devices", "virtual=1", "--", "sleep", "3600"
    )
    until(lambda: client.get("all").taskset.status.phase == "Running", "the first gang runs")
    source = (
        "from octopus_hub import Role, TaskSet, submit\n"
        "job = submit(TaskSet('second', roles=[Role('w', replicas=2, devices={'virtual': 2}, command=['true'])]),"
        " workspace=None)\njob"
    )
    path = notebook(product, "waits.ipynb", source)
    async with logged_in(browser, product) as page:
        await open_notebook(page, product, path)
        await page.locator(".jp-Notebook .jp-CodeCell").first.click()
        await run_next_cell(page)
        await expect(page.locator(".octopus-gang .phase")).to_have_text("Queued")
        await expect(page.locator(".octopus-gang .waiting")).to_contain_text("Place 1 in queue default")
        await expect(page.locator(".octopus-gang .waiting li.short")).to_have_text("virtualneeds 4, free 0")
        await picture(page.locator(".jp-OutputArea", has=page.locator(".octopus-gang")).first, "waiting")
        client.stop("all")
        await expect(page.locator(".octopus-gang .phase")).to_have_text("Succeeded")
        await expect(page.locator(".octopus-gang .waiting")).to_be_hidden()


async def test_a_saved_notebook_shows_the_last_state_without_a_kernel(browser: Browser, product: Product) -> None:
    source = (
        "from octopus_hub import Role, TaskSet, submit\n"
        "job = submit(TaskSet('saved', roles=[Role('w', command=['true'])]), workspace=None)\njob"
    )
    path = notebook(product, "saved.ipynb", source, "job.wait()")
    async with logged_in(browser, product) as page:
        await open_notebook(page, product, path)
        await page.locator(".jp-Notebook .jp-CodeCell").first.click()
        await run_next_cell(page)
        await page.locator(".octopus-gang .phase").wait_for()
        await run_next_cell(page)
        await expect(page.locator(".octopus-gang .phase")).to_have_text("Succeeded")
        await page.keyboard.press("Control+s")
        until(lambda: "Succeeded" in (product.root / path).read_text(), "the notebook is saved with its last state")
    saved = json.loads((product.root / path).read_text())
    outputs = [each for cell in saved["cells"] for each in cell["outputs"] if "text/html" in each.get("data", {})]
    pages = ["".join(each["data"]["text/html"]) for each in outputs]
    assert any("saved" in each and "Succeeded" in each for each in pages)


async def test_the_services_own_page_is_reached_through_the_hub(browser: Browser, product: Product) -> None:
    async with logged_in(browser, product) as page:
        answer = await page.goto(f"{product.url}/services/octopus/")
        assert answer is not None and answer.status == 200
        await expect(page.locator("body")).to_contain_text(f"TaskSets of {product.user}")
        await picture(page, "status-page")
