"""The cache's calendar: windows follow reservations, nodes and time, and stay the same objects between changes."""

from __future__ import annotations

from octopus_hub.backends.base import Change, Listing
from octopus_hub.backends.memory import node
from octopus_hub.control.cache import Cache
from octopus_hub.model.reservation import DAY, Reservation

HOUR = 3600.0
COURSE = Reservation(name="course", start=10 * HOUR, end=12 * HOUR, every="week", count=1, queues=["ml"])


def filled() -> Cache:
    cache = Cache()
    cache.replace(Listing(revision=1, nodes=[node("a"), node("b")], reservations=[COURSE]))
    return cache


def change(cache: Cache, item: object, kind: str = "put") -> None:
    cache.apply(Change(revision=cache.revision + 1, type=kind, object=item))


def test_windows_are_the_same_object_while_nothing_changes() -> None:
    cache = filled()
    first = cache.snapshot(HOUR).windows
    assert [(each.name, each.start, each.nodes) for each in first] == [
        ("course", 10 * HOUR, {"a"}),
        ("course", 10 * HOUR + 7 * DAY, {"a"}),
        ("course", 10 * HOUR + 14 * DAY, {"a"}),
    ]
    change(cache, node("a", cpu=4))  # what does not matter to them
    for later in (None, 1.5 * HOUR, 11 * HOUR, None):
        assert cache.snapshot(later).windows is first


def test_windows_end_and_come_by_time_alone() -> None:
    cache = filled()
    assert len(cache.snapshot(11.9 * HOUR).windows) == 3
    after = cache.snapshot(12 * HOUR).windows
    assert [each.start for each in after] == [10 * HOUR + 7 * DAY, 10 * HOUR + 14 * DAY]
    later = cache.snapshot(7 * DAY + HOUR).windows
    assert [each.start for each in later] == [10 * HOUR + days * DAY for days in (7, 14, 21)]
    assert cache.snapshot().windows is later


def test_windows_follow_reservations_and_nodes() -> None:
    cache = filled()
    before = cache.snapshot(HOUR).windows
    drain = Reservation(name="drain.a", start=0.0, purpose="drain", nodes=["a"])
    change(cache, drain)
    assert {each.name: each.nodes for each in cache.snapshot(HOUR).windows} == {"course": {"b"}, "drain.a": {"a"}}
    change(cache, drain, "deleted")
    assert cache.snapshot(HOUR).windows == before
    change(cache, node("a"), "deleted")
    assert {each.nodes for each in cache.snapshot(HOUR).windows} == {frozenset({"b"})}


def test_a_listing_takes_what_is_gone() -> None:
    cache = filled()
    other = Reservation(name="other", start=HOUR, end=2 * HOUR, nodes=["b"], queues=["ml"])
    told = cache.replace(Listing(revision=9, nodes=[node("a"), node("b")], reservations=[other]))
    assert {(each.type, each.object.name) for each in told} == {("deleted", "course"), ("put", "other")}
    assert [each.name for each in cache.snapshot(HOUR).windows] == ["other"]
