"""The contract of every backend: live queues and cohorts win over declared ones, are kept, told, and never break the tree."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from octopus_hub.backends.base import Backend
from octopus_hub.backends.local.backend import LocalBackend
from octopus_hub.backends.local.config import Config
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import Conflict, InvalidSpec, NotFound
from octopus_hub.model.queue import Cohort, Queue
from octopus_hub.model.status import Phase
from tests.backends.harness import DEADLINE, Harness, with_phase

LAB = Cohort(name="lab", nominal=Amounts(devices={"gpu": 8}))
NIGHT = Queue(name="night", policy="las", cohort="lab", weight=3)


async def queues(backend: Backend) -> dict[str, Queue]:
    return {each.name: each for each in (await backend.listing()).queues}


async def again(harness: Harness, config: Config | None = None) -> Backend:
    """Close and open anew, with another configuration."""
    await harness.backend.close()
    harness.backend = LocalBackend(harness.folder, config=config, clock=harness.clock, descriptors=())
    await harness.backend.open()
    return harness.backend


async def test_queues_and_cohorts_are_put_listed_and_told(harness: Harness) -> None:
    backend = harness.backend
    revision = (await backend.listing()).revision
    await backend.put_cohort(LAB)
    await backend.put_queue(NIGHT)
    await backend.put_queue(NIGHT)
    slower = msgspec.structs.replace(NIGHT, weight=1)
    await backend.put_queue(slower)
    listing = await backend.listing()
    assert listing.cohorts == [LAB] and slower in listing.queues
    await backend.delete_queue("night")
    await backend.delete_cohort("lab")
    assert "night" not in await queues(backend) and (await backend.listing()).cohorts == []
    changes = backend.watch(revision)
    async with asyncio.timeout(DEADLINE):
        told = [await anext(changes) for _ in range(5)]
    assert [(change.type, change.object) for change in told] == [
        ("put", LAB),
        ("put", NIGHT),
        ("put", slower),
        ("deleted", slower),
        ("deleted", LAB),
    ], "the same again is no change"


async def test_a_live_definition_wins_until_it_is_reset(harness: Harness) -> None:
    backend = harness.backend
    declared = (await queues(backend))["default"]
    assert declared in await backend.declared()
    await backend.put_queue(Queue(name="default", policy="fair"))
    assert (await queues(backend))["default"].policy == "fair"
    assert declared in await backend.declared()
    await backend.reset_queue("default")
    await backend.reset_queue("default")
    assert (await queues(backend))["default"] == declared


async def test_what_is_declared_is_not_deleted_and_what_is_not_is_not_reset(harness: Harness) -> None:
    backend = harness.backend
    await backend.put_cohort(LAB)
    await backend.put_queue(NIGHT)
    with pytest.raises(Conflict, match="queue default is declared in the configuration file; take it out there"):
        await backend.delete_queue("default")
    with pytest.raises(Conflict, match="octopus queues delete night"):
        await backend.reset_queue("night")
    with pytest.raises(Conflict, match="octopus cohorts delete lab"):
        await backend.reset_cohort("lab")
    for call in (backend.delete_queue, backend.reset_queue):
        with pytest.raises(NotFound, match="there is no queue nowhere; octopus queues shows"):
            await call("nowhere")
    for call in (backend.delete_cohort, backend.reset_cohort):
        with pytest.raises(NotFound, match="there is no cohort nowhere; octopus cohorts shows"):
            await call("nowhere")


async def test_a_queue_in_which_taskset_wait_or_run_is_not_deleted(harness: Harness) -> None:
    backend = harness.backend
    await backend.put_queue(Queue(name="night"))
    job = await harness.create(queue="night")
    with pytest.raises(Conflict, match=r"1 TaskSet waits or runs in queue night; pause it \(octopus queues set night"):
        await backend.delete_queue("night")
    ended = with_phase(job.status, Phase.STOPPED)
    await backend.update_status(job.metadata.uid, ended, version=job.metadata.version, epoch=backend.epoch)
    await backend.delete_queue("night")
    assert "night" not in await queues(backend)


async def test_the_tree_can_not_be_broken(harness: Harness) -> None:
    backend = harness.backend
    with pytest.raises(InvalidSpec, match="night: there is no cohort lab; none is defined"):
        await backend.put_queue(NIGHT)
    await backend.put_cohort(LAB)
    await backend.put_cohort(Cohort(name="site"))
    await backend.put_cohort(Cohort(name="lab", parent="site"))
    with pytest.raises(InvalidSpec, match="go in a circle"):
        await backend.put_cohort(Cohort(name="site", parent="lab"))
    with pytest.raises(Conflict, match="cohort lab belongs to cohort site; take out what is in it"):
        await backend.delete_cohort("site")
    await backend.put_queue(NIGHT)
    with pytest.raises(Conflict, match="queue night belongs to cohort lab"):
        await backend.delete_cohort("lab")
    assert {each.name for each in (await backend.listing()).cohorts} == {"site", "lab"}


async def test_live_definitions_outlive_the_engine_and_a_changed_file(harness: Harness) -> None:
    if harness.kind == "memory":
        pytest.skip("keeps nothing")
    file = Config(queues=(Queue(name="default"), Queue(name="day")), cohorts=(Cohort(name="lab", weight=2),))
    backend = await again(harness, file)
    await backend.put_cohort(LAB)
    await backend.put_queue(NIGHT)
    await backend.put_queue(Queue(name="day", weight=5))
    await backend.put_queue(Queue(name="gone"))
    await backend.delete_queue("gone")
    changed = Config(queues=(Queue(name="default", weight=7), Queue(name="day", weight=9)))
    backend = await again(harness, changed)
    assert {name: each.weight for name, each in (await queues(backend)).items()} == {"default": 7, "day": 5, "night": 3}
    assert (await backend.listing()).cohorts == [LAB]
    await backend.reset_queue("day")
    assert (await queues(backend))["day"].weight == 9, "the file's, as it is now"


async def test_a_file_that_no_longer_fits_live_definitions_does_not_keep_the_engine_from_starting(
    harness: Harness,
) -> None:
    if harness.kind == "memory":
        pytest.skip("keeps nothing")
    backend = await again(harness, Config(cohorts=(LAB,)))
    await backend.put_queue(NIGHT)
    backend = await again(harness, Config())
    assert (await queues(backend))["night"] == NIGHT, "its cohort is gone: it has what an empty one has"
    paused = msgspec.structs.replace(NIGHT, paused=True)
    await backend.put_queue(paused)
    assert (await queues(backend))["night"] == paused, "a fault from before is no reason to refuse"
