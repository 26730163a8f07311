"""``POST .../scale``: wishes are stored, shown, repeated without effect, and refused in one sentence."""

from __future__ import annotations

from typing import Any

from octopus_hub.model.status import Phase
from tests.service.running import Running, document

ELASTIC = [{"name": "worker", "replicas": {"min": 2, "max": 6}, "command": ["sleep", "9"]}, {"name": "ps", "command": ["true"]}]  # fmt: skip


async def scale(service: Running, sizes: Any, token: str = "alice-token", name: str = "mnist") -> Any:
    return await service.client(token).post(f"tasksets/alice/{name}/scale", json={"sizes": sizes})


async def test_a_wish_is_stored_and_repeating_it_changes_nothing(service: Running) -> None:
    made = await service.client("alice-token").post("tasksets", json=document(roles=ELASTIC))
    assert made.status_code == 201, made.text
    answer = await scale(service, {"worker": 4})
    assert answer.status_code == 200, answer.text
    meta = answer.json()["metadata"]
    assert meta["sizes"] == {"worker": 4} and meta["scaledAt"] > 0
    again = await scale(service, {"worker": 4})
    assert again.json()["metadata"]["version"] == meta["version"]
    assert "sizes" not in (await scale(service, {"worker": None})).json()["metadata"]


async def test_what_can_t_be_is_refused_in_one_sentence(service: Running) -> None:
    await service.client("alice-token").post("tasksets", json=document(roles=ELASTIC))
    for sizes, words in (
        ({"worker": 7}, "role worker of mnist can have 2 to 6 tasks, not 7"),
        ({"ps": 2}, "role ps of mnist always has 1 task"),
        ({"nobody": 2}, "mnist has no role 'nobody'"),
    ):
        answer = await scale(service, sizes)
        assert answer.status_code == 422 and answer.json()["detail"].startswith(words), answer.text
    for bad in ({"worker": "four"}, {"worker": 2.5}, [], None):
        assert (await scale(service, bad)).status_code in (400, 422)
    taskset = next(iter(service.backend.truth.tasksets.values()))
    assert taskset.metadata.sizes == {} and taskset.status.phase is Phase.QUEUED


async def test_others_can_t_scale_it(service: Running) -> None:
    await service.client("alice-token").post("tasksets", json=document(roles=ELASTIC))
    assert (await scale(service, {"worker": 3}, "bob-token")).status_code == 404
    assert (await scale(service, {"worker": 3}, name="none")).status_code == 404


async def test_a_submitter_can_t_wish_sizes_in_the_document(service: Running) -> None:
    sent = document(roles=ELASTIC)
    sent["metadata"]["sizes"] = {"worker": 99}
    answer = await service.client("alice-token").post("tasksets", json=sent)
    stored = [each.metadata.sizes for each in service.backend.truth.tasksets.values()]
    assert answer.status_code == 422 or stored == [{}]
