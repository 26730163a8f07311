"""The ledger: charges by attempt, none twice, the same again when it is rebuilt from the records."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus_hub.control.ledger import KEEP_CHARGED, Account, Ledger, charge, load, rebuild, store
from octopus_hub.model.record import Record, TaskEnd
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Role, Spec

SPEC = msgspec.to_builtins(
    Spec(
        queue="research",
        roles=[Role("w", replicas=3, cpu="500m", memory="1Gi", devices={"gpu": 2}), Role("ps", cpu="2", memory="2Gi")],
    )
)


def record(
    uid: str = "u1", attempt: int = 1, *, begun: float | None = 100.0, ended: float | None = 110.0, owner: str = "anna"
) -> Record:
    ends = [TaskEnd(name="x", role="w", index=n, attempt=1, started_at=begun + n) for n in range(2)] if begun else []
    return Record(
        namespace=owner,
        name="job",
        uid=uid,
        owner=owner,
        attempt=attempt,
        phase=Phase.SUCCEEDED,
        spec=SPEC,
        started_at=50.0,
        finished_at=ended,
        tasks=ends,
    )


def test_an_attempt_is_charged_for_what_it_held_and_how_long() -> None:
    ledger = charge(Ledger(), record())
    assert ledger.accounts == {
        "research/anna": Account(
            attempts=1,
            cpu_seconds=10 * (3 * 0.5 + 2),
            memory_byte_seconds=10 * (5 << 30),
            device_seconds={"gpu": 10.0 * 6},
        )
    }
    assert ledger.as_of == 110.0


def test_a_later_attempt_is_charged_from_its_own_start() -> None:
    """The record's start is that of the first attempt; charging from there would count the first one twice."""
    ledger = charge(charge(Ledger(), record()), record(attempt=2, begun=200.0, ended=205.0))
    assert ledger.accounts["research/anna"].device_seconds == {"gpu": 60.0 + 30.0}


def test_a_record_is_charged_once() -> None:
    once = charge(Ledger(), record())
    assert charge(once, record()) is once


@pytest.mark.parametrize(
    ("begun", "ended", "seconds"),
    [(None, 110.0, 60.0), (120.0, 110.0, 0.0)],
    ids=["no task started", "a clock set back"],
)
def test_odd_times(begun: float | None, ended: float, seconds: float) -> None:
    ledger = charge(Ledger(), record(begun=begun, ended=ended))
    assert ledger.accounts["research/anna"].device_seconds == {"gpu": 6 * seconds}


def test_what_has_not_ended_is_not_charged() -> None:
    assert charge(Ledger(), record(ended=None)) == Ledger()


def test_marks_of_charges_are_bounded() -> None:
    ledger = Ledger()
    for number in range(KEEP_CHARGED + 50):
        ledger = charge(ledger, record(f"u{number}"))
    assert len(ledger.charged) == KEEP_CHARGED
    assert ledger.accounts["research/anna"].attempts == KEEP_CHARGED + 50


_records = st.lists(
    st.builds(
        record,
        uid=st.sampled_from(["u1", "u2", "u3"]),
        attempt=st.integers(1, 3),
        begun=st.floats(1, 1000),
        ended=st.floats(1, 1000),
        owner=st.sampled_from(["anna", "ben"]),
    ),
    max_size=12,
    unique_by=lambda each: (each.uid, each.attempt),
)


@given(_records)
def test_rebuilt_from_records_it_is_the_same(records: list[Record]) -> None:
    ledger = Ledger()
    for each in sorted(records, key=lambda each: (each.finished_at or 0, each.uid, each.attempt)):
        ledger = charge(ledger, each)
    assert rebuild(records) == ledger == rebuild(list(reversed(records)))
    assert load(msgspec.json.decode(msgspec.json.encode(store(ledger)))) == ledger


def test_nothing_stored_is_an_empty_ledger() -> None:
    assert load({}) == Ledger() == load(store(Ledger()))
