"""The ledger: charges by attempt, none twice, the same again when it is rebuilt from the records."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus_hub.control.ledger import (
    HALF_LIFE_SECONDS,
    KEEP_CHARGED,
    Account,
    Ledger,
    attained,
    burst,
    charge,
    decayed,
    expected,
    load,
    rebuild,
    spent,
    store,
    typical_error,
)
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
            recent=pytest.approx(burst(6, 100.0, 110.0, 110.0)),
            recent_at=110.0,
        )
    }
    assert ledger.as_of == 110.0


def test_a_part_of_a_device_is_charged_for_its_part() -> None:
    """Four who share a device for an hour use one device-hour together; the scheduler counts each as one wide."""
    spec = msgspec.to_builtins(Spec(queue="research", roles=[Role("w", replicas=2, devices={"gpu": 0.25})]))
    ledger = charge(Ledger(), msgspec.structs.replace(record(), spec=spec))
    account = ledger.accounts["research/anna"]
    assert account.device_seconds == {"gpu-1of4": 20.0}
    assert account.recent == pytest.approx(burst(0.5, 100.0, 110.0, 110.0))
    assert spent(ledger, "research", "day", 110.0) == 5.0
    assert [life.width for life in ledger.lives] == [2.0]


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
    assert rebuild(records)[0] == ledger == rebuild(list(reversed(records)))[0]
    loaded = load(msgspec.json.decode(msgspec.json.encode(store(ledger))), {})
    assert loaded is not None and loaded[0] == ledger


def test_what_is_not_stored_or_of_an_older_version_is_rebuilt() -> None:
    assert load({}, {}) is None
    assert load({"accounts": {"research/anna": {"attempts": 3}}}, {}) is None
    loaded = load(store(Ledger()), {})
    assert loaded is not None and loaded[0] == Ledger()


# --- decayed use


def test_a_use_is_half_forgotten_after_a_half_life() -> None:
    assert decayed(100.0, HALF_LIFE_SECONDS) == 50.0
    assert decayed(100.0, -5.0) == 100.0, "a clock set back makes nothing more"


@given(st.floats(1, 64), st.lists(st.floats(0, 1e6), min_size=2, max_size=6), st.floats(0, 1e7))
def test_it_does_not_matter_in_how_many_pieces_a_use_is_charged(rate: float, cuts: list[float], later: float) -> None:
    times = sorted(cuts)
    at = times[-1] + later
    whole = burst(rate, times[0], times[-1], at)
    pieces = sum(burst(rate, a, b, at) for a, b in itertools.pairwise(times))
    assert whole == pytest.approx(pieces, rel=1e-6, abs=1e-3)
    assert whole <= rate * (times[-1] - times[0]) * (1 + 1e-6) + 1e-3


@given(_records, st.floats(1000, 5e6))
def test_law_11_decayed_use_is_the_same_from_accounts_and_by_hand(records: list[Record], at: float) -> None:
    """The accounts are updated at irregular times; here every attempt is decayed from its own."""
    found = attained(rebuild(records)[0], at)
    by_hand: dict[tuple[str, str], float] = {}
    for each in records:
        key = "research", each.owner
        begun = min(end.started_at for end in each.tasks if end.started_at is not None)
        by_hand[key] = by_hand.get(key, 0.0) + burst(6, begun, each.finished_at or 0.0, at)
    assert found == pytest.approx(by_hand, rel=1e-6, abs=1e-3)


def test_use_without_devices_counts_its_cpus() -> None:
    plain = msgspec.to_builtins(Spec(queue="q", roles=[Role("w", replicas=4, cpu="500m", command=["x"])]))
    ledger = charge(Ledger(), msgspec.structs.replace(record(), spec=plain))
    assert attained(ledger, 110.0)["q", "anna"] == pytest.approx(burst(2.0, 100.0, 110.0, 110.0))
    assert ledger.spent == {}, "budgets are of devices"


# --- budgets


DAY = 86_400.0
MIDNIGHT = 20_000 * DAY


def test_use_is_summed_by_calendar_windows_and_a_new_one_begins_at_nothing() -> None:
    late = record(begun=MIDNIGHT - 100, ended=MIDNIGHT + 50)
    ledger = charge(Ledger(), record("u2", begun=MIDNIGHT - 500, ended=MIDNIGHT - 400))
    assert spent(ledger, "research", "day", MIDNIGHT - 300) == 600.0
    assert spent(ledger, "research", "day", MIDNIGHT + 1) == 0.0
    ledger = charge(ledger, late)
    assert spent(ledger, "research", "day", MIDNIGHT + 60) == 6 * 50.0, "only what lies in the window"
    assert spent(ledger, "research", "month", MIDNIGHT + 60) == 600.0 + 6 * 150.0
    again = charge(ledger, record("u3", begun=MIDNIGHT - 50, ended=MIDNIGHT - 10))  # told late
    assert spent(again, "research", "day", MIDNIGHT + 60) == 6 * 50.0
    assert spent(again, "other", "day", MIDNIGHT + 60) == 0.0


# --- run times


def test_run_times_of_what_succeeded_make_estimates_and_their_error_is_kept() -> None:
    spec = msgspec.convert(SPEC, Spec)
    ledger = Ledger()
    assert expected(ledger, "anna", spec) is None and typical_error(ledger) is None
    for number, seconds in enumerate((10.0, 40.0, 20.0)):
        ledger = charge(ledger, record(f"u{number}", ended=100.0 + seconds))
    assert expected(ledger, "anna", spec) == 20.0
    assert ledger.errors == [1.386, 0.223], "40 against 10, 20 against 25"
    failed = msgspec.structs.replace(record("u8", ended=9000.0), phase=Phase.FAILED)
    broken_off = msgspec.structs.replace(record("u9", ended=9000.0), final=False, reason="Preempted")
    ledger = charge(charge(ledger, failed), broken_off)
    assert expected(ledger, "anna", spec) == 20.0
    assert ledger.accounts["research/anna"].preemptions == 1


def test_what_went_on_after_a_preemption_counts_with_what_it_had_done() -> None:
    went_on = msgspec.structs.replace(record(ended=130.0), served_seconds=500.0)
    assert expected(charge(Ledger(), went_on), "anna", msgspec.convert(SPEC, Spec)) == 530.0
