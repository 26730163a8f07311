"""What ran here before as the jobs of a simulation: records of TaskSets, told where they contradict themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.node import Node
from octopus_hub.model.record import Record, TaskEnd, to_json
from octopus_hub.model.status import Phase
from octopus_hub.simulate.events import simulate
from octopus_hub.simulate.history import nodes_of, parse, read
from octopus_hub.simulate.jobs import Trace
from octopus_hub.simulate.setup import Setup


def record(
    uid: str, attempt: int, queued: float | None, began: float | None, ended: float | None, **more: Any
) -> Record:
    spec = {
        "queue": "research",
        "priority": "high",
        "roles": [
            {
                "name": "worker",
                "replicas": 2,
                "command": ["python", "train.py"],
                "resources": {"cpu": "2", "memory": "1Gi", "devices": {"gpu": 2}},
            },
            {"name": "ps", "replicas": 1, "command": ["python", "ps.py"], "resources": {"cpu": "1", "memory": "1Gi"}},
        ],
    }
    task = TaskEnd(name=f"{uid}-worker-0", role="worker", index=0, attempt=attempt, started_at=began, finished_at=ended)
    fields = {"phase": Phase.SUCCEEDED, "owner": "ada", "namespace": "ada", "spec": spec, "tasks": [task], **more}
    return Record(name=uid, uid=uid, attempt=attempt, queued_at=queued, finished_at=ended, **fields)


def test_a_job_is_a_taskset_with_the_time_of_all_its_attempts() -> None:
    trace = parse([record("a", 2, 1000.0, 1500.0, 1800.0), record("a", 1, 1000.0, 1100.0, 1150.0, final=False)])
    (job,) = trace.jobs
    assert (job.uid, job.submitted, job.duration, job.gpus) == ("a", 1000.0, 350.0, 4)
    assert (job.cluster, job.owner, job.priority) == ("research", "ada", 100)
    assert [(need.role, need.count, need.each.cpu_millis) for need in job.needs] == [
        ("worker", 2, 2000),
        ("ps", 1, 1000),
    ]
    assert trace == Trace((job,))


def test_the_same_command_has_the_same_name_and_another_one_another() -> None:
    one, same = (record(uid, 1, 1.0, 2.0, 3.0) for uid in "ab")
    other = record("c", 1, 1.0, 2.0, 3.0)
    other.spec["roles"][0]["command"] = ["python", "eval.py"]
    names = [job.command for job in parse([one, same, other]).jobs]
    assert names[0] == names[1] != names[2]


def test_what_never_ran_or_goes_on_is_no_job() -> None:
    trace = parse([record("never", 1, 5.0, None, 9.0), record("going", 1, 5.0, 6.0, 9.0, final=False)], strict=True)
    assert trace.jobs == ()
    assert trace.notes == ("left out, because not ended: 1 TaskSet",)


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([("a", 1, 10.0, 30.0, 20.0)], "attempt 1 ended 10 s before it began"),
        (
            [("a", 1, 10.0, 30.0, 40.0), ("a", 2, 10.0, 35.0, 50.0)],
            "attempt 2 began 5 s before the one before it ended",
        ),
        ([("a", 1, 35.0, 30.0, 40.0)], "queued after it began"),
        ([("a", 1, None, 30.0, 40.0)], "when it was queued is missing"),
        ([("a", 1, 10.0, 30.0, 1e12)], "nothing has run for so long"),
    ],
)
def test_records_that_contradict_themselves_are_told_with_their_names(
    records: list[tuple[str, int, float | None, float, float]], told: str
) -> None:
    trace = parse(record(*each) for each in records)
    assert trace.bad_rows == 1
    assert trace.problems[0].startswith("ada/a: ")
    assert told in trace.problems[0]
    with pytest.raises(InvalidSpec, match="can't be true"):
        parse((record(*each) for each in records), strict=True)


def test_only_what_was_submitted_lately() -> None:
    records = [record("a", 1, 100.0, 200.0, 300.0), record("b", 1, 150.0, 200.0, 300.0)]
    assert [job.uid for job in parse(records, since=120.0).jobs] == ["b"]


def test_last_month_again_on_the_nodes_of_now_and_on_others() -> None:
    """Two gangs of 2 tasks with 2 GPUs and a parameter server: a node of 4 GPUs holds one, of 8 both."""
    trace = parse([record("a", 1, 100.0, 200.0, 300.0), record("b", 1, 110.0, 310.0, 400.0)])
    small = Node(name="n", capacity=Amounts(cpu_millis=64_000, memory_bytes=1 << 40, devices={"gpu": 4}))
    outcome = simulate(trace.jobs, Setup(nodes=nodes_of([small])))
    assert [(each.started, each.ended) for each in outcome.ran] == [(100.0, 200.0), (200.0, 290.0)]
    outcome = simulate(trace.jobs, Setup(gpus=8))
    assert [each.started for each in outcome.ran] == [100.0, 110.0]


def test_records_are_read_from_a_folder(tmp_path: Path) -> None:
    place = tmp_path / "records" / "ada" / "a" / "1"
    place.mkdir(parents=True)
    (place / "record.json").write_bytes(to_json(record("a", 1, 100.0, 200.0, 300.0)))
    assert [job.uid for job in read(tmp_path).jobs] == ["a"]
    (place / "record.json").write_text("{}")
    with pytest.raises(InvalidSpec, match=r"record\.json: it is not a record"):
        read(tmp_path)
    with pytest.raises(InvalidSpec, match=r"no record\.json lies in"):
        read(tmp_path / "elsewhere")
