"""The contract of every backend: reservations are kept, told, replaced only as known, and removed."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from octopus_hub.model.errors import Conflict, NotFound
from octopus_hub.model.reservation import Chosen, Reservation
from tests.backends.harness import DEADLINE, Harness

COURSE = Reservation(
    name="course", start=1.8e9, end=1.8e9 + 7200, every="week", zone="Europe/Berlin", count=2, queues=["ml"]
)


async def test_a_reservation_is_listed_and_told(harness: Harness) -> None:
    revision = (await harness.backend.listing()).revision
    await harness.backend.put_reservation(COURSE)
    assert (await harness.backend.listing()).reservations == [COURSE]
    await harness.backend.delete_reservation("course")
    assert (await harness.backend.listing()).reservations == []
    changes = harness.backend.watch(revision)
    async with asyncio.timeout(DEADLINE):
        told = [await anext(changes), await anext(changes)]
    assert [(change.type, change.object) for change in told] == [("put", COURSE), ("deleted", COURSE)]


async def test_the_same_again_is_no_change(harness: Harness) -> None:
    await harness.backend.put_reservation(COURSE)
    revision = (await harness.backend.listing()).revision
    await harness.backend.put_reservation(COURSE)
    assert (await harness.backend.listing()).revision == revision


async def test_one_that_changed_meanwhile_is_not_overwritten(harness: Harness) -> None:
    await harness.backend.put_reservation(COURSE)
    newer = msgspec.structs.replace(COURSE, count=3)
    await harness.backend.put_reservation(newer)
    chosen = msgspec.structs.replace(COURSE, chosen=[Chosen(start=1.8e9, nodes=["a", "b"])])
    with pytest.raises(Conflict, match="changed meanwhile"):
        await harness.backend.put_reservation(chosen, known=COURSE)
    with pytest.raises(Conflict, match="changed meanwhile"):
        await harness.backend.put_reservation(msgspec.structs.replace(COURSE, name="other"), known=COURSE)
    await harness.backend.put_reservation(chosen, known=newer)
    assert (await harness.backend.listing()).reservations == [chosen]


async def test_what_does_not_exist_can_not_be_removed(harness: Harness) -> None:
    with pytest.raises(NotFound, match="octopus reservations"):
        await harness.backend.delete_reservation("course")


async def test_reservations_outlive_the_engine(harness: Harness) -> None:
    if harness.kind == "memory":
        pytest.skip("keeps nothing")
    drain = Reservation(name="drain.node-a", start=5.0, purpose="drain", nodes=["node-a"])
    for each in (COURSE, drain, msgspec.structs.replace(COURSE, name="gone")):
        await harness.backend.put_reservation(each)
    await harness.backend.delete_reservation("gone")
    await harness.backend.close()
    harness.backend = harness.make()
    await harness.backend.open()
    assert (await harness.backend.listing()).reservations == [COURSE, drain]
