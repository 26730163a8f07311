"""Queue boards: places, reasons, who stands where."""

from __future__ import annotations

from octopus_hub.control.boards import boards
from octopus_hub.core.plan import Waits
from octopus_hub.core.reason import Reason
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.status import QueuePlace
from octopus_hub.model.taskset import Metadata, Spec, TaskSet

NO_FIT = Reason(
    code="NoFit", message="needs 4 gpu, 2 are free", need=Amounts(devices={"gpu": 4}), free=Amounts(), where="n1"
)
HELD = Reason(code="Held", message="held")


def waiting(uid: str, queue: str = "default") -> TaskSet:
    return TaskSet(metadata=Metadata(name=uid, uid=uid), spec=Spec(queue=queue))


def test_each_queue_has_a_board_with_the_places_in_order() -> None:
    rows = [waiting("c"), waiting("a"), waiting("b"), waiting("other", "research")]
    waits = {"a": Waits(2, NO_FIT), "b": Waits(1, NO_FIT), "c": Waits(3, NO_FIT), "other": Waits(1, NO_FIT)}
    found = boards(rows, waits, {}, ["default", "empty"], 5.0)
    assert {name: [(place.uid, place.place) for place in board.places] for name, board in found.items()} == {
        "default": [("b", 1), ("a", 2), ("c", 3)],
        "empty": [],
        "research": [("other", 1)],
    }
    assert {(board.queue, board.at) for board in found.values()} == {(name, 5.0) for name in found}


def test_a_place_says_why_in_numbers() -> None:
    (place,) = boards([waiting("a")], {"a": Waits(1, NO_FIT)}, {}, ["default"], 5.0)["default"].places
    assert place == QueuePlace(
        uid="a", place=1, code="NoFit", message="needs 4 gpu, 2 are free", need=NO_FIT.need, free=Amounts(), where="n1"
    )


def test_who_is_withheld_stands_behind_without_a_place() -> None:
    found = boards([waiting("h"), waiting("a")], {"a": Waits(1, NO_FIT)}, {"h": HELD}, ["default"], 5.0)["default"]
    assert [(place.uid, place.place, place.code) for place in found.places] == [("a", 1, "NoFit"), ("h", 0, "Held")]


def test_who_was_just_admitted_or_is_not_looked_at_yet_has_no_place() -> None:
    assert boards([waiting("a")], {}, {}, ["default"], 5.0)["default"].places == []
