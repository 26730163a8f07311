"""Comparisons in parallel, curves and pictures: the same figures give the same files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.simulate import plots
from octopus_hub.simulate.compare import compare
from octopus_hub.simulate.events import simulate
from octopus_hub.simulate.generate import generate, parse_load
from octopus_hub.simulate.jobs import Job
from octopus_hub.simulate.series import series
from octopus_hub.simulate.setup import Setup

TRACE = generate(parse_load("jobs=150,load=1.2,users=3,commands=3"), 2, 32)


def figures(result: object) -> dict[str, object]:
    found = result.report.to_dict()  # type: ignore[attr-defined]
    found.pop("schedule_seconds")
    return found


def test_parallel_processes_give_what_one_gives_in_the_order_asked_for() -> None:
    setups = [Setup(gpus=gpus, policy=policy) for gpus in (32, 40) for policy in ("priority", "fifo")]
    alone, side_by_side = compare(TRACE.jobs, setups, 1), compare(TRACE.jobs, setups, 2)
    assert [each.setup for each in side_by_side] == setups
    assert [figures(each) for each in side_by_side] == [figures(each) for each in alone]
    assert [each.series for each in side_by_side] == [each.series for each in alone]


def test_curves_add_up_to_what_was_held() -> None:
    jobs = [Job("1", 0, 100, 8, "a"), Job("2", 0, 50, 4, "b"), Job("3", 0, 30, 8, "b")]
    outcome = simulate(jobs, Setup(gpus=16))
    curves = series(outcome, 10)
    assert curves.clusters == {
        "a": (0.5,) * 10,
        "b": (0.25,) * 5 + (0.5,) * 3 + (0.0,) * 2,
    }
    assert curves.used == (0.75,) * 5 + (1.0,) * 3 + (0.5,) * 2
    assert curves.waits["8"][0] == 0.0
    assert curves.waits["8"][-1] == pytest.approx(50 / 3600)
    assert set(curves.waits) == {"2-4", "8"}
    outcome = simulate(TRACE.jobs, Setup(gpus=32))
    curves = series(outcome)
    held = sum((until - since) * gpus for since, until, _, gpus in outcome.held)
    assert sum(curves.used) * curves.hours * 3600 * 32 == pytest.approx(held)


def test_pictures_are_made_and_the_same_again(tmp_path: Path) -> None:
    results = compare(TRACE.jobs, [Setup(gpus=32, policy=policy) for policy in ("fifo", "priority")], 1)
    made = plots.draw(results, tmp_path / "one" / "deep")
    again = plots.draw(results, tmp_path / "two")
    assert [path.name for path in made] == ["use.svg", "use.png", "waits.svg", "waits.png", "shares.svg", "shares.png"]
    for first, second in zip(made, again, strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert b"<dc:date>" not in made[0].read_bytes()
    assert made[1].read_bytes().startswith(b"\x89PNG")


def test_what_differs_between_runs_names_them() -> None:
    setups = [Setup(gpus=32), Setup(gpus=40), Setup(gpus=32, checkpointing=0.5)]
    names = plots.labels(compare(TRACE.jobs[:20], setups, 1))
    assert names == [
        "fifo, 32 GPUs, 100% checkpoint",
        "fifo, 40 GPUs, 100% checkpoint",
        "fifo, 32 GPUs, 50% checkpoint",
    ]
    assert plots.labels(compare(TRACE.jobs[:20], setups[:1], 1)) == ["fifo"]


def test_without_matplotlib_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InvalidSpec, match=r"pip install 'octopus-hub\[simulate\]'"):
        plots.draw([], tmp_path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidSpec, match="can't be written"):
        plots.draw(compare(TRACE.jobs[:5], [Setup(gpus=32)], 1), tmp_path / "file")
