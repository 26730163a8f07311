"""The live view in a real browser, fed by a real WebSocket: what people see, press and are told."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
from octopus_widgets.gang_view import as_json
from playwright.async_api import Page, expect

from octopus_hub.model.status import Phase
from octopus_hub.model.task import TaskState
from octopus_hub.model.taskset import Metadata, Role, Spec, TaskSet
from tests.widgets.gangs import (
    UID,
    delta,
    failed,
    failed_rows,
    gang,
    node,
    row,
    rows,
    snapshot,
    view,
    waiting_place,
    wire,
)
from tests.widgets.pagehost import CHROMIUM, DEADLINE_MS, Host, chromium, opened, serving, until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
expect.set_options(timeout=DEADLINE_MS)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What a test opens."""
    async with AsyncExitStack() as opened_here:
        yield opened_here


async def begin(stack: AsyncExitStack, host_set: Any = None, **options: Any) -> tuple[Host, Page]:
    """Return a host and a page of it."""
    host = await stack.enter_async_context(serving())
    if host_set:
        host_set(host)
    browser = await stack.enter_async_context(chromium())
    return host, await stack.enter_async_context(opened(host, browser, **options))


async def test_roles_and_tasks_change_as_frames_come(stack: AsyncExitStack) -> None:
    """From queued with its place in numbers to running cards, by push."""
    host, page = await begin(stack)
    queued = gang(Phase.QUEUED)
    host.begin_with(snapshot(queued, places={UID: waiting_place()}))
    await host.mount(page, view(queued))
    await expect(page.locator(".phase")).to_have_text("Queued")
    await expect(page.locator(".badge")).to_have_text("live")
    await expect(page.locator(".waiting")).to_contain_text("Place 2 in queue research")
    await expect(page.locator(".waiting li.short")).to_have_text("virtualneeds 3, free 1")
    await expect(page.locator(".role h4")).to_have_text(["ps", "worker"])
    await expect(page.locator("button.card[data-shown='Waiting']")).to_have_count(4)

    host.send(delta(gang(version=2, attempt=2), tasks=rows()))
    await expect(page.locator(".phase")).to_have_text("Running")
    await expect(page.locator(".waiting")).to_be_hidden()
    await expect(page.locator(".subtitle")).to_contain_text("attempt 2")
    worker = page.locator("section.role").nth(1).locator("button.card").nth(1)
    await expect(worker).to_contain_text("running")
    await expect(worker).to_contain_text("73 %")
    await expect(worker).to_contain_text("local-1")
    await expect(page.locator(".figures")).to_contain_text("3 · 73 % busy")

    host.send(delta(tasks=[row("worker", 1, TaskState.FAILED, exit_code=1)], revision=3))
    await expect(worker).to_have_attribute("data-shown", "Failed")
    await expect(worker).to_have_attribute("aria-label", "worker 1: failed, on local-1, exit code 1")
    assert host.errors == []


async def test_reconnects_with_what_was_known_and_takes_the_new_snapshot(stack: AsyncExitStack) -> None:
    """A lost connection shows as such, keeps the picture, and heals with a snapshot; a gone row goes."""
    host, page = await begin(stack)
    host.begin_with(snapshot(gang(), tasks=rows()))
    await host.mount(page, view(gang()))
    await expect(page.locator(".badge")).to_have_text("live")
    host.begin_with(snapshot(gang(version=5), tasks=[row("ps", 0)], nodes=[node()]))
    host.accepts = False
    host.cut()
    await expect(page.locator(".badge")).to_have_attribute("data-state", "reconnecting")
    await expect(page.locator("button.card[data-shown='Running']")).to_have_count(4)
    host.accepts = True
    await expect(page.locator(".badge")).to_have_text("live")
    await expect(page.locator("button.card[data-shown='Running']")).to_have_count(1)
    host.say({"type": "status", "state": "reconnecting", "message": "the service is away"})
    await expect(page.locator(".badge")).to_have_attribute("title", "the service is away")
    assert await page.evaluate("window.sent.some((message) => message.type === 'follow')") is False


async def test_a_page_that_wakes_asks_whether_anyone_is_there(stack: AsyncExitStack) -> None:
    """A pong and nothing changes; silence and it connects anew."""
    host, page = await begin(stack)
    host.begin_with(snapshot(gang(), tasks=rows()))
    await host.mount(page, view(gang()))
    await expect(page.locator(".badge")).to_have_text("live")
    await page.evaluate("window.dispatchEvent(new Event('online'))")
    await until(lambda: host.pings == 1)
    host.deaf = True
    await page.evaluate("window.dispatchEvent(new Event('online'))")
    await until(lambda: host.opened == 2)
    await expect(page.locator(".badge")).to_have_text("live")
    assert host.pings == 2


async def test_stop_is_two_presses_and_carries_the_xsrf_token(stack: AsyncExitStack) -> None:
    """One press asks, the second posts with the cookie's token; a refusal is told; Escape takes it back."""
    host, page = await begin(stack)
    host.begin_with(snapshot(gang(), tasks=rows()))
    await host.mount(page, view(gang()))
    stop = page.locator("button.stop")
    await stop.click()
    await expect(stop).to_have_text("Press again to stop")
    await stop.press("Escape")
    await expect(stop).to_have_text("Stop")
    assert host.posts == []

    host.refusal = (409, "it is not yours to stop")
    await stop.click()
    await stop.click()
    await expect(page.locator(".error")).to_have_text("Not stopped: it is not yours to stop")
    host.refusal = None
    await stop.click()
    await stop.click()
    await until(lambda: len(host.posts) == 2)
    cookies = {cookie["name"]: cookie["value"] for cookie in await page.context.cookies()}
    assert host.posts[-1] == ("tasksets/ada/mnist-ps/stop", cookies["_xsrf"])
    await expect(stop).to_have_text("Stopping…")
    host.send(delta(gang(version=3, stop_requested_at=5.0)))
    await expect(stop).to_be_disabled()
    host.send(delta(gang(Phase.STOPPED, version=4, recorded_attempt=1, record="/r/1")))
    await expect(stop).to_be_hidden()


async def test_all_views_of_a_page_share_one_connection(stack: AsyncExitStack) -> None:
    """A later view starts with what the page knows; when all have ended or closed, the connection does."""
    host, page = await begin(stack)
    other = gang(name="other", uid="uid-other")
    host.begin_with(snapshot(gang(), other, tasks=rows()))
    await host.mount(page, view(gang()))
    await expect(page.locator(".badge")).to_have_text("live")
    host.send(delta(gang(version=2, message="from a delta")))
    await expect(page.locator(".outcome")).to_have_text("from a delta")
    await host.mount(page, view(other))
    await host.mount(page, view(gang()))
    await expect(page.locator(".badge[data-state='live']")).to_have_count(3)
    await expect(page.locator(".outcome").nth(2)).to_have_text("from a delta")
    assert (host.opened, len(host.sockets)) == (1, 1)
    await page.evaluate("window.models.splice(1).forEach((each) => each.close())")
    host.send(delta(gang(Phase.SUCCEEDED, version=3, recorded_attempt=1, record="/r/1")))
    await expect(page.locator(".badge")).to_have_attribute("data-state", "ended")
    await until(lambda: not host.sockets)


async def test_failure_says_cause_and_advice_and_shows_the_log(stack: AsyncExitStack) -> None:
    """From the list of failures to the task, its end and its log; Escape leads back to the task."""
    host, page = await begin(stack)
    host.logs["worker/1"] = "epoch 1\n\x1b[31mMemoryError\x1b[0m\n"
    host.begin_with(snapshot(failed(), tasks=failed_rows()))
    await host.mount(page, view(gang()))
    await expect(page.locator(".outcome")).to_contain_text("killed for memory: used 256.0 MiB of 256.0 MiB")
    await expect(page.locator(".outcome")).to_contain_text("records/ada/mnist-ps/1")
    await page.locator(".outcome button.link").click()
    details = page.locator(".details")
    await expect(details).to_contain_text("What to do: ask for more memory or lower the batch size")
    await expect(details).to_contain_text("OOMKilled, signal 9")
    await expect(details.locator("pre")).to_have_text("epoch 1\nMemoryError\n")
    assert "role=worker&index=1&attempt=1&tail=200" in host.asked[0] and "follow" not in host.asked[0]
    await page.keyboard.press("Escape")
    await expect(details).to_be_hidden()
    await expect(page.locator("button.card:focus")).to_have_attribute(
        "aria-label", "worker 1: failed, on local-1, killed for memory: used 256.0 MiB of 256.0 MiB"
    )
    await expect(page.locator("button.card[data-shown='Stopped']")).to_have_count(3)


async def test_keyboard_and_screen_reader(stack: AsyncExitStack) -> None:
    """One tab stop per role, arrows between tasks, Enter opens; phases are announced."""
    host, page = await begin(stack)
    host.begin_with(snapshot(gang(), tasks=rows()))
    await host.mount(page, view(gang(Phase.QUEUED)))
    await expect(page.locator("[aria-live]").first).to_have_text("mnist-ps: Running")
    await page.locator("button.stop").focus()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await expect(page.locator("button:focus")).to_have_attribute("aria-label", "worker 0: running, on local-0")
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("button:focus")).to_have_attribute("aria-label", "worker 1: running, on local-1")
    await page.keyboard.press("Enter")
    await expect(page.locator(".details h4")).to_contain_text("worker 1")
    host.send(delta(gang(Phase.FAILED, version=2, message="role worker failed")))
    await expect(page.locator("[aria-live]").first).to_have_text("mnist-ps: Failed. role worker failed")


async def test_thousands_of_tasks_are_a_map_that_answers(stack: AsyncExitStack) -> None:
    """Ten thousand squares, hovered, moved through and opened; a delta is drawn soon."""
    host, page = await begin(stack)
    taskset = gang(workers=10_000)
    host.begin_with(snapshot(taskset, tasks=[row("worker", index) for index in range(10_000)]))
    await host.mount(page, view(taskset))
    canvas = page.locator("canvas")
    await expect(page.locator(".counts").nth(1)).to_contain_text("10,000 running")
    assert await page.locator("section.role").nth(1).locator("button").count() == 0
    await canvas.hover(position={"x": 10, "y": 3})
    await expect(page.locator(".tip")).to_contain_text("worker 1 · running")
    host.send(delta(tasks=[row("worker", 2, TaskState.FAILED, exit_code=3)]))
    await expect(page.locator(".counts").nth(1)).to_contain_text("1 failed")
    await canvas.focus()
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Enter")
    await expect(page.locator(".details")).to_contain_text("exit code 3")
    assert host.errors == []


async def test_names_and_messages_are_never_markup(stack: AsyncExitStack) -> None:
    """Whatever a name, message, metric or log says, it is text."""
    host, page = await begin(stack)
    bad = "<img src=x onerror=window.hit=1><script>window.hit=1</script>"
    taskset = TaskSet(
        metadata=Metadata(name=bad, uid=UID, namespace="ada", version=1),
        spec=Spec(roles=[Role(bad, replicas=1, command=["x"], devices={bad: 1})], queue=bad, framework=bad),
        status=failed(message=bad, record=bad, reason=bad).status,
    )
    task = row("ps", 0, TaskState.FAILED, node=bad, message=bad, metrics={bad: 1.0}, devices={bad: [bad]})
    host.logs[f"{bad}/0"] = bad
    host.begin_with(snapshot(taskset, tasks=[msgspec.structs.replace(task, role=bad)], places={UID: waiting_place()}))
    await host.mount(page, view(taskset))
    await page.locator("button.card").first.click()
    await expect(page.locator(".details pre")).to_have_text(bad)
    await expect(page.locator("h3")).to_have_text(bad)
    found = "!!(window.hit || [...document.querySelectorAll('.octopus-gang')].some((e) => e.shadowRoot.querySelector('img, script')))"
    assert await page.evaluate(found) is False


async def test_where_the_extension_is_missing_the_kernel_is_asked(stack: AsyncExitStack) -> None:
    """Two refusals and the view says it asks the kernel; frames from there are shown and named; the log as well."""
    host, page = await begin(stack)
    host.accepts = False
    await host.mount(page, view(gang(Phase.QUEUED)))
    await page.wait_for_function("window.sent.some((message) => message.type === 'follow')")
    await kernel_says(page, snapshot_message())
    await expect(page.locator(".badge")).to_have_text("live through the kernel")
    await expect(page.locator(".phase")).to_have_text("Running")
    host.begin_with(snapshot(gang(version=9, message="over the socket"), tasks=rows()))
    host.accepts = True
    await expect(page.locator(".badge")).to_have_text("live")
    await expect(page.locator(".outcome")).to_have_text("over the socket")
    await page.wait_for_function("window.sent.some((message) => message.type === 'unfollow')")


async def test_outside_jupyter_everything_goes_through_the_kernel(stack: AsyncExitStack) -> None:
    """No Jupyter page: frames, Stop, log and clock by messages; a busy kernel is said to be one."""
    host, page = await begin(stack, host_set=lambda host: setattr(host, "jupyter", False))
    await host.mount(page, view(gang(Phase.QUEUED)), now=time.time() + 1000)
    await expect(page.locator(".badge")).to_have_attribute("data-state", "offline")
    await expect(page.locator(".badge")).to_contain_text("kernel busy")
    await kernel_says(page, snapshot_message())
    await expect(page.locator(".badge")).to_have_text("live through the kernel")
    assert host.opened == 0
    await page.locator("button.stop").click()
    await page.locator("button.stop").click()
    await page.wait_for_function("window.sent.some((message) => message.type === 'stop')")
    await answer(page, "stop", {"error": "it has ended already"})
    await expect(page.locator(".error")).to_have_text("Not stopped: it has ended already")
    await page.locator("button.card").nth(1).click()
    await page.wait_for_function("window.sent.some((message) => message.type === 'log')")
    await answer(page, "log", {"text": "from the kernel\n"})
    await expect(page.locator(".details pre")).to_have_text("from the kernel\n")
    assert host.posts == [] and host.asked == []


async def test_a_newer_view_of_the_kernel_is_taken(stack: AsyncExitStack) -> None:
    """Traits are renewed at phase changes even while the page can reach nothing."""
    host, page = await begin(stack, host_set=lambda host: setattr(host, "jupyter", False))
    await host.mount(page, view(gang(Phase.QUEUED)))
    over = gang(Phase.SUCCEEDED, version=4, recorded_attempt=1, record="/r/1")
    await page.evaluate(
        "view => window.models[0].model.set('view', view)", as_json(view(over, rows(TaskState.SUCCEEDED)))
    )
    await expect(page.locator(".phase")).to_have_text("Succeeded")
    await expect(page.locator(".badge")).to_have_attribute("data-state", "ended")


async def test_plain_output_hides_while_a_view_lives(stack: AsyncExitStack) -> None:
    """The same notebook shows one of the two, never both, never neither."""
    host, page = await begin(stack)
    host.begin_with(snapshot(gang(), tasks=rows()))
    await page.evaluate(
        "uid => { const plain = document.createElement('div'); plain.className = `octopus-static octopus-static-${uid}`;"
        " plain.textContent = 'plain'; document.body.append(plain); }",
        UID,
    )
    plain = page.locator(".octopus-static")
    await expect(plain).to_be_visible()
    await host.mount(page, view(gang()))
    await expect(plain).to_be_hidden()
    await page.evaluate("window.models[0].close()")
    await expect(plain).to_be_visible()


async def test_theme_follows_the_page(stack: AsyncExitStack) -> None:
    """JupyterLab's body says light or dark, also later."""
    host, page = await begin(stack)
    host.begin_with(snapshot(gang(), tasks=rows()))
    await host.mount(page, view(gang()))
    await expect(page.locator("article")).to_have_attribute("data-theme", "light")
    await page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    await expect(page.locator("article")).to_have_attribute("data-theme", "dark")


def snapshot_message() -> dict[str, Any]:
    """Return what a kernel's follower sends first."""
    return wire(snapshot(gang(version=2), tasks=rows()))


async def kernel_says(page: Page, message: dict[str, Any]) -> None:
    """Send a message as the kernel's comm would."""
    await page.evaluate("message => window.models[0].model.hear(message)", message)


async def answer(page: Page, kind: str, content: dict[str, Any]) -> None:
    """Answer the page's last request of a kind."""
    find = "kind => window.sent.findLast((message) => message.type === kind).id"
    identity = await page.evaluate(find, kind)
    await kernel_says(page, {"type": "answer", "id": identity, **content})
