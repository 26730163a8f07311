"""Estimates of run times: whose history counts, what is the same program, what is forgotten."""

from __future__ import annotations

from math import log
from typing import Any

import pytest

from octopus_hub.core.estimate import KEPT, KEYS, LEAST_OF_OWNER, error, estimate, fingerprint, learn, median
from octopus_hub.model.taskset import Role, RunSpec, Spec


def spec(*command: str, **fields: Any) -> Spec:
    return Spec(roles=[Role("w", command=list(command), **fields)])


def test_a_sweep_over_numbers_is_one_program_and_another_program_is_not() -> None:
    base = fingerprint(spec("python", "train.py", "--lr", "0.1", "--seed", "7"))
    assert fingerprint(spec("python", "train.py", "--lr", "1e-4", "--seed", "12")) == base
    assert fingerprint(spec("python", "eval.py", "--lr", "0.1", "--seed", "7")) != base
    assert fingerprint(spec("python", "train.py", "--lr", "0.1", "--seed", "7", image="torch")) != base
    notebooks = {fingerprint(Spec(roles=[Role("w")], run=RunSpec(notebook=name))) for name in ("a.ipynb", "b.ipynb")}
    assert len(notebooks) == 2


def test_the_same_command_counts_before_the_owner_and_nobody_elses_does() -> None:
    history: Any = {}
    assert estimate(history, "anna", "train") is None
    history = learn(history, "anna", "train", 100.0)
    assert estimate(history, "anna", "train") == 100.0
    assert estimate(history, "anna", "eval") is None, "one run says nothing about another program"
    assert estimate(history, "ben", "train") is None
    for seconds in (200.0, 600.0):
        history = learn(history, "anna", "eval", seconds)
    assert estimate(history, "anna", "eval") == 400.0
    assert LEAST_OF_OWNER == 3 and estimate(history, "anna", "new") == 200.0


def test_only_the_last_runs_count() -> None:
    history: Any = {}
    for _ in range(50):
        history = learn(history, "anna", "train", 10.0)
    for _ in range(KEPT):
        history = learn(history, "anna", "train", 70.0)
    assert estimate(history, "anna", "train") == 70.0 and len(history["anna/train"]) == KEPT


def test_history_is_bounded_and_what_was_used_last_stays() -> None:
    history: Any = {}
    for number in range(KEYS + 50):
        history = learn(history, "anna", f"c{number}", 10.0)
    assert len(history) == KEYS and "anna" in history
    assert f"anna/c{KEYS + 49}" in history and "anna/c0" not in history


def test_what_was_learned_before_is_not_changed() -> None:
    first = learn({}, "anna", "train", 10.0)
    learn(first, "anna", "train", 90.0)
    assert first == {"anna": [10.0], "anna/train": [10.0]}


@pytest.mark.parametrize(("values", "middle"), [([3.0], 3.0), ([9.0, 1.0, 5.0], 5.0), ([4.0, 1.0, 2.0, 8.0], 3.0)])
def test_median(values: list[float], middle: float) -> None:
    assert median(values) == middle


def test_an_error_is_the_same_either_way() -> None:
    assert error(100.0, 200.0) == error(200.0, 100.0) == pytest.approx(log(2))
    assert error(0.0, 0.2) == 0.0, "a second is as good as none"
