"""Device models in order, taints and what they bring about, through the real loop in imagined time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from octopus_hub.backends.memory import node
from octopus_hub.control.cache import Cache
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.names import SKU_LABEL
from octopus_hub.model.node import Node
from octopus_hub.model.placing import PlacementPreferences, SkuChoice
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Role
from tests.control.engines import Engine, World
from tests.control.played import job, queue, role
from tests.control.timetravel import travel


def labelled(name: str, model: str, gpus: int, *taints: str) -> Node:
    made = node(name, gpu=gpus)
    return msgspec.structs.replace(made, labels={**made.labels, SKU_LABEL: model}, taints=list(taints))


NODES = [labelled("a", "a100", 1), labelled("v", "v100", 4)]


def either(part: str = "run 5", tasks: int = 2) -> Role:
    """One ``a100`` for each task, else two ``v100``."""
    models: list[str | SkuChoice] = ["a100", SkuChoice(sku="v100", devices=2)]
    return role("w", part, tasks, devices={"gpu": 1}, placement=PlacementPreferences(sku=models))


def tell(story: Callable[[World], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def main() -> None:
        world = World(**options)
        async with Engine(world.backend):
            await story(world)
        world.lawful()

    travel(main())


def test_a_gang_runs_on_the_next_model_with_its_own_number_of_devices() -> None:
    async def story(world: World) -> None:
        await world.backend.create(job("two", either()))
        running = await world.phase("two", Phase.RUNNING)
        assert running.status.choices == {"w": 1}
        assert [len(task.devices["gpu"]) for task in world.rows("two")] == [2, 2]
        anew = Cache()  # what is held is rebuilt from truth
        anew.replace(await world.backend.listing())
        usage = anew.snapshot().usage
        assert usage.nodes["v"].devices == {"gpu": 4}
        assert usage.queues["default"].devices == {"gpu": 4, "gpu:v100": 4}
        await world.backend.create(job("one", either(tasks=1)))
        assert (await world.phase("one", Phase.RUNNING)).status.choices == {}, "the preferred model is free for one"
        await world.ended("one", "two")

    tell(story, nodes=NODES)


def test_the_records_and_the_ledger_know_the_model() -> None:
    async def main() -> None:
        world = World(nodes=NODES)
        async with Engine(world.backend) as engine:
            await world.backend.create(job("two", either("run 100")))
            await world.ended("two")
            record = await world.backend.get_record("anna", "two")
            assert record.choices == {"w": 1}
            account = engine.controller._apply.ledger.accounts["default/anna"]
            assert 400 <= account.device_seconds["gpu"] < 440

    travel(main())


def test_a_quota_decides_between_models() -> None:
    """Two of four ``v100`` would be over the queue's three devices, so it waits for the ``a100``."""

    async def story(world: World) -> None:
        await world.backend.create(job("first", either("run 60", 1)))
        await world.phase("first", Phase.RUNNING)
        await world.backend.create(job("second", either("run 5", 2)))
        done = (await world.ended("second", "first"))[0]
        assert done.status.choices == {}
        assert done.status.admitted_at >= world.named("first").status.finished_at

    many = [labelled("a", "a100", 2), labelled("v", "v100", 8)]
    tell(story, nodes=many, queues=[queue(nominal=Amounts(cpu_millis=9000, memory_bytes=9 << 30, devices={"gpu": 3}))])


def test_only_who_tolerates_a_taint_gets_the_node() -> None:
    async def story(world: World) -> None:
        course = PlacementPreferences(tolerations=["course"])
        await world.backend.create(job("other", role("w", "run 5", 2, devices={"gpu": 1})))
        await world.backend.create(job("course", role("w", "run 5", 2, devices={"gpu": 1}, placement=course)))
        other, mine = await world.ended("other", "course")
        assert {span.node for span in mine.status.placement["w"]} == {"cot"}
        assert {span.node for span in other.status.placement["w"]} == {"free"}

    tell(story, nodes=[labelled("cot", "t4", 2, "course=ml"), labelled("free", "t4", 2)])
