"""Counts of ends: the engine's way by records gives what the simulator's gives, stored, crashed or rebuilt between."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus_hub.control import apply, ledger, lives
from octopus_hub.control.ledger import Ledger, charge, counted, load, rebuild, store, store_counts
from octopus_hub.control.lives import Lives
from octopus_hub.core.history import Chronicle, Life
from octopus_hub.model.record import Record, TaskEnd
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Role, Spec
from tests.control.engines import Engine, World
from tests.control.played import job, role
from tests.control.timetravel import travel

AGES = [0.0, 29.9, 30.0, 400.0, 9e4, 1e7]
OWNERS = ["anna", "ben"]
WIDTHS = [1, 2, 16, 40]


def record(number: int, owner: str, width: int, command: str, age: float) -> Record:
    begun = 1e7 * (number + 1)
    spec = Spec(queue="default", roles=[Role("w", command=[command], devices={"gpu": width})])
    return Record(
        namespace=owner,
        name=f"job{number}",
        uid=f"u{number}",
        owner=owner,
        attempt=1,
        phase=Phase.SUCCEEDED,
        spec=msgspec.to_builtins(spec),
        started_at=begun,
        finished_at=begun + age,
        tasks=[TaskEnd(name="w-0", role="w", index=0, attempt=1, state="Succeeded", started_at=begun)],
    )


def life_of(each: Record, width: int, age: float) -> Life:
    return Life(each.owner, float(width), ledger.kin(each.owner, msgspec.convert(each.spec, Spec)), age)


ages = st.one_of(st.sampled_from(AGES), st.integers(0, 9_000_000).map(lambda tenths: tenths / 10))
ends = st.lists(
    st.tuples(st.sampled_from(OWNERS), st.sampled_from(WIDTHS), st.sampled_from(["train", "eval"]), ages), max_size=25
)


def again(content: dict[str, object]) -> dict[str, object]:
    stored: dict[str, object] = msgspec.json.decode(msgspec.json.encode(content))
    return stored


@given(ends, st.integers(1, 6), st.sets(st.integers(0, 25)))
def test_law_11_records_teach_what_the_simulator_is_taught(
    ended: list[tuple[str, int, str, float]], every: int, crashes: set[int]
) -> None:
    """``every``: lives between two writings of the counts; a crash comes after those and before the ledger's."""
    chronicle, known, counts = Chronicle(), Ledger(), Lives()
    on_disk = store(known), {}
    asked: list[Life] = []
    records = [record(number, *each) for number, each in enumerate(ended)]
    for number, (each, (_, width, _, age)) in enumerate(zip(records, ended, strict=True)):
        life = life_of(each, width, age)
        chronicle.ended(life)
        asked.append(life)
        if len(known.lives) >= every:
            known = counted(known, counts)
            on_disk = on_disk[0], again(store_counts(counts))
        if number in crashes:
            loaded = load(*on_disk)
            assert loaded is not None
            known, counts = loaded
        known = charge(known, each)
        on_disk = again(store(known)), on_disk[1]
    asked += [Life(owner, width, "new", age) for owner in [*OWNERS, "carl"] for width in WIDTHS for age in AGES]
    living = asked[::3]
    truth = chronicle.history(living)
    for book, table in ((known, counts), load(*on_disk), rebuild(reversed(records))):
        counted(book, table)
        assert table.ended == len(records)
        found = table.chronicle.history(living)
        assert [found.rest(each) for each in asked] == [truth.rest(each) for each in asked]
        assert table.chronicle.past() == chronicle.past()


def test_counts_that_do_not_fit_the_ledger_are_rebuilt() -> None:
    known, counts = rebuild([record(number, "anna", 1, "train", 50.0) for number in range(3)])
    shorter = counted(known, counts)
    assert load(store(shorter), store_counts(counts)) is not None
    assert load(store(shorter), {}) is None, "the counts are lost"
    assert load(store(shorter), store_counts(Lives(ended=4))) is None, "of a later ledger"
    assert load(store(shorter), {**store_counts(counts), "version": 1}) is None


def test_the_engine_keeps_the_last_lives_in_the_ledger_and_all_in_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (apply, ledger, lives):
        monkeypatch.setattr(module, "LIVES_APART", 3)

    async def main() -> None:
        world = World()
        names = [f"quick{number}" for number in range(10)]
        async with Engine(world.backend) as engine:
            for name in names:
                await world.backend.create(job(name, role("w", "run 20")))
                await world.ended(name)
            await asyncio.sleep(60)
            assert engine.cache.ledger.ended == 10 and len(engine.cache.ledger.lives) < 10
        kept = dict(world.backend.truth.ledgers)
        assert kept["lives"]["ended"] >= 6
        pasts = []
        for content in (kept, {"usage": kept["usage"]}, {}):  # as it was, the counts lost, all lost
            world.backend.truth.ledgers.clear()
            world.backend.truth.ledgers.update(content)
            async with Engine(world.backend) as engine:
                counted(engine.cache.ledger, engine.cache.lives)
                assert engine.cache.lives.ended == 10
                pasts.append(engine.cache.lives.chronicle.past())
        assert pasts[0] == pasts[1] == pasts[2]

    travel(main())
