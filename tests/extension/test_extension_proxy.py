"""The proxy: what passes, what does not, in both directions."""

from __future__ import annotations

from tests.extension.serving import Jupyter
from tests.service.running import Running, document


async def test_a_round_trip(server: Jupyter, service: Running) -> None:
    browser = await server.browser()
    created = await browser.post("tasksets", json=document(), headers={"Idempotency-Key": "k-1"})
    assert created.status_code == 201, created.text
    assert created.json()["metadata"]["namespace"] == "alice"
    again = await browser.post("tasksets", json=document(), headers={"Idempotency-Key": "k-1"})
    assert again.status_code == 200 and again.json()["metadata"]["uid"] == created.json()["metadata"]["uid"]
    listed = (await browser.get("tasksets", params={"phase": "Queued"})).json()
    assert [item["taskset"]["metadata"]["name"] for item in listed["items"]] == ["mnist"]
    stopped = await browser.post("tasksets/-/mnist/stop")
    assert stopped.status_code == 200, stopped.text
    assert service.backend.truth.tasksets[created.json()["metadata"]["uid"]].spec is not None
