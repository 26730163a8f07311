"""How good start estimates are: counted against true starts, without a say in what happens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from octopus_hub.simulate.events import simulate
from octopus_hub.simulate.foresight import Foreseen, quality
from octopus_hub.simulate.jobs import Job
from octopus_hub.simulate.report import ESTIMATES_HEADER, estimates_row, report
from octopus_hub.simulate.setup import Setup

HOUR = 3600.0


def jobs(count: int, *, exact: bool) -> list[Job]:
    """Jobs that come at once, with the maximum runtime that they need or without one."""
    lasts = [HOUR * (1 + number % 3) for number in range(count)]
    return [
        Job(f"{number:08d}", 0.0, seconds, 8, "vc", max_runtime=seconds if exact else None)
        for number, seconds in enumerate(lasts)
    ]


def test_with_exact_ends_and_no_arrivals_every_start_is_inside() -> None:
    outcome = simulate(jobs(30, exact=True), Setup(gpus=16, estimates=1))
    found = report(outcome).estimates
    assert found is not None
    assert (found.asked, found.inside, found.ranged) == (28, 1.0, 1.0)


@pytest.mark.parametrize("policy", ["fifo", "las", "fifo+reserve"])
def test_asking_changes_nothing_but_the_estimates(policy: str) -> None:
    setup = Setup(gpus=16, policy=policy)
    plain = simulate(jobs(40, exact=False), setup)
    asked = simulate(jobs(40, exact=False), replace(setup, estimates=3))
    assert replace(asked, setup=setup, foreseen=()) == plain
    assert len(asked.foreseen) == 12 and report(plain).estimates is None


def test_what_is_counted() -> None:
    foreseen = [
        Foreseen("early", 0.0, 10.0, 20.0, 15.0),
        Foreseen("inside", 0.0, 10.0, 20.0, 15.0),
        Foreseen("open", 0.0, 10.0, None, None),
        Foreseen("unknown", 0.0, None, None, None),
        Foreseen("never", 0.0, 1.0, 2.0, 1.5),
    ]
    found = quality(foreseen, {"early": 5.0, "inside": 17.0, "open": 1e6, "unknown": 3.0}, 0.5)
    assert found is not None
    assert (found.asked, found.inside, found.ranged) == (4, 0.5, 0.5)
    assert found.error_hours == pytest.approx(6 / 3600) and found.wait_hours == pytest.approx(11 / 3600)
    assert quality([], {}, 0.0) is None


def test_the_table_has_columns_for_it() -> None:
    row = estimates_row(report(simulate(jobs(10, exact=True), Setup(gpus=16, estimates=1))))
    assert len(row) == len(ESTIMATES_HEADER) and row[:3] == ("8", "100.0%", "100.0%")
    assert estimates_row(report(simulate(jobs(3, exact=True), Setup(gpus=16))))[0] == "0"
