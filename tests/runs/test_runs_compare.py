"""What differs between two records: pure, table by table, and as text."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus_hub.model.record import Cell, Environment, OutputFile, Record, TaskEnd
from octopus_hub.model.status import Phase
from octopus_hub.runs.compare import compare, render

replace = msgspec.structs.replace
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def record(**fields: Any) -> Record:
    spec = {"roles": [{"name": "worker", "replicas": 2, "command": ["python", "t.py"], "env": {"X": "1"}}], "seed": 7}
    tasks = [
        TaskEnd(name=f"job-worker-{at}-1", role="worker", index=at, attempt=1, state="Succeeded", exit_code=0)
        for at in range(2)
    ]
    return Record(
        **{
            "namespace": "anna",
            "name": "job",
            "uid": "u",
            "attempt": 1,
            "phase": Phase.SUCCEEDED,
            "spec": spec,
            "resolved": {"images": {"worker": A}, "descriptors": {"digests": {"framework/script": A}}},
            "workspace": A,
            "seed": 7,
            "environments": {"worker": Environment(image="default", digest=A, lock=["numpy==1.26.4"], python="3.11.2")},
            "tasks": tasks,
            "metrics": {"accuracy": 0.5},
            "outputs": [OutputFile(path="worker-0/model", digest=A, size=10)],
            "queued_at": 10.0,
            "started_at": 11.0,
            "finished_at": 21.5,
            **fields,
        }
    )


def test_a_record_is_equal_to_itself() -> None:
    found = compare(record(), record())
    assert found.equal and found.differences == []
    assert found.same == [
        "end Succeeded",
        "exits of 2 tasks",
        "code",
        "settings, parameters and seed",
        "1 package of the environment",
        "1 metric",
        "1 output",
    ]
    text = render(found)
    assert text.splitlines()[0] == "job@1 and job@1: the same in all that counts"
    assert "(as between any two runs) time ran: 10.5 s -> 10.5 s" in text


SPEC = record().spec
OTHER_SPEC = {**SPEC, "roles": [{**SPEC["roles"][0], "env": {"X": "2"}, "replicas": 3}]}
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "phase": (
        {"phase": Phase.FAILED, "message": "worker 0 failed"},
        ["end of the run: Succeeded -> Failed (worker 0 failed)"],
    ),
    "exit code": (
        {"tasks": [replace(record().tasks[0], exit_code=3), replace(record().tasks[1], exit_code=None, signal=9)]},
        ["exit worker 0: code 0 -> code 3", "exit worker 1: code 0 -> signal 9"],
    ),
    "a task fewer": ({"tasks": record().tasks[:1]}, ["exit worker 1: code 0 -> none"]),
    "code": ({"workspace": B}, ["code workspace: sha256:aaaaaaaaaaaa… -> sha256:bbbbbbbbbbbb…"]),
    "no code": ({"workspace": None}, ["code workspace: sha256:aaaaaaaaaaaa… -> none"]),
    "settings": (
        {"spec": OTHER_SPEC},
        ["setting roles[worker].env.X: 1 -> 2", "setting roles[worker].replicas: 2 -> 3"],
    ),
    "seed": ({"seed": 8}, ["setting seed: 7 -> 8"]),
    "descriptor": (
        {"resolved": {"images": {"worker": A}, "descriptors": {"digests": {"framework/script": B}}}},
        ["descriptor framework/script: sha256:aaaaaaaaaaaa… -> sha256:bbbbbbbbbbbb…"],
    ),
    "packages": (
        {
            "environments": {
                "worker": Environment(image="default", digest=B, lock=["numpy==2.1.0", "x==1"], python="3.12.0")
            }
        },
        [
            "package python: 3.11.2 -> 3.12.0 (of worker)",
            "package numpy: 1.26.4 -> 2.1.0 (of worker)",
            "package x: none -> 1 (of worker)",
        ],
    ),
    "output changed": (
        {"outputs": [OutputFile(path="worker-0/model", digest=B, size=11)]},
        ["output worker-0/model: sha256:aaaaaaaaaaaa… 10 B -> sha256:bbbbbbbbbbbb… 11 B (changed)"],
    ),
    "output missing and new": (
        {"outputs": [OutputFile(path="worker-0/log", digest=A, size=10)]},
        [
            "output worker-0/log: none -> sha256:aaaaaaaaaaaa… 10 B (new)",
            "output worker-0/model: sha256:aaaaaaaaaaaa… 10 B -> none (missing)",
        ],
    ),
    "metric": (
        {"metrics": {"accuracy": 0.55, "loss": 1.0}},
        ["metric accuracy: 0.5 -> 0.55 (+0.05, +10.00%)", "metric loss: none -> 1"],
    ),
    "input": (
        {"inputs": [{"uri": "file:///d", "digest": B}]},
        ["input file:///d: none -> sha256:bbbbbbbbbbbb…"],
    ),
    "cell": (
        {"cells": {"t": [Cell(index=-1, status="completed"), Cell(index=0, status="failed")]}},
        ["cell 1: none -> failed"],
    ),
}


@pytest.mark.parametrize(("fields", "expected"), CASES.values(), ids=CASES)
def test_one_thing_that_differs(fields: dict[str, Any], expected: list[str]) -> None:
    found = compare(record(), record(**fields))
    assert [str(each) for each in found.differences] == expected
    assert not found.equal
    first = render(found).splitlines()[0]
    assert first.endswith("1 thing differs" if len(expected) == 1 else f"{len(expected)} things differ")


@pytest.mark.parametrize(("fields", "expected"), CASES.values(), ids=CASES)
def test_comparing_the_other_way_round_finds_the_same_things(fields: dict[str, Any], expected: list[str]) -> None:
    there = {(each.part, each.what) for each in compare(record(), record(**fields)).differences}
    back = {(each.part, each.what) for each in compare(record(**fields), record()).differences}
    assert there == back


def test_what_no_two_runs_share_is_no_difference() -> None:
    slower = record(started_at=20.0, finished_at=99.0, uid="v", name="job-2", path="/elsewhere")
    assert compare(record(), slower).equal


def test_scheduling_is_no_difference() -> None:
    spec = {**SPEC, "hold": True, "after": [{"name": "x"}]}
    assert compare(record(spec=spec), record()).equal


def test_an_image_by_digest_is_the_image_by_name_while_the_digest_is_the_same() -> None:
    named = {**SPEC, "roles": [{**SPEC["roles"][0], "image": "lab"}]}
    by_digest = {**SPEC, "roles": [{**SPEC["roles"][0], "image": A}]}
    assert compare(record(spec=named), record(spec=by_digest)).equal
    other = record(spec=by_digest, resolved={**record().resolved, "images": {"worker": B}})
    assert [each.what for each in compare(record(spec=named), other).differences] == ["roles[worker].image"]


def test_the_executed_notebook_holds_times_so_it_never_counts_but_its_loss_does() -> None:
    spec = {**SPEC, "run": {"notebook": "nb/train.ipynb"}}
    path = "main-0/outputs/train.ipynb"
    first = record(spec=spec, outputs=[OutputFile(path=path, digest=A, size=1)])
    second = replace(first, outputs=[OutputFile(path=path, digest=B, size=1)])
    assert compare(first, second).equal
    assert not compare(first, replace(first, outputs=[])).equal


def test_only_the_last_try_of_a_task_counts() -> None:
    tries = [replace(record().tasks[0], exit_code=1), replace(record().tasks[0], attempt=2)]
    assert compare(record(), record(tasks=[*tries, record().tasks[1]])).equal


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.text(max_size=5), FINITE), st.dictionaries(st.text(max_size=5), FINITE))
def test_metrics_differ_exactly_where_their_values_do(old: dict[str, float], new: dict[str, float]) -> None:
    found = compare(record(metrics=old), record(metrics=new))
    names = {each.what for each in found.differences}
    assert names == {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    render(found)
