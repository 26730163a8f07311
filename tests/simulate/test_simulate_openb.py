"""Pod lists and node lists in the form of Alibaba's traces: good rows, bad rows, and what is simulated of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.simulate import sources
from octopus_hub.simulate.events import simulate
from octopus_hub.simulate.openb import parse, read_nodes
from octopus_hub.simulate.setup import Setup

HEADER = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time"
GOOD = "openb-pod-0000,12000,16384,1,1000,,LS,Running,0,125,5"
NODES = """sn,cpu_milli,memory_mib,gpu,model
openb-node-0,64000,262144,2,P100
openb-node-1,96000,786432,8,V100M32
openb-node-2,32000,262144,0,nan
"""

BAD_ROWS = {
    "no name": (",1,1,1,1000,,LS,Running,0,9,5", "name is missing"),
    "same name": ("openb-pod-0000,1,1,1,1000,,LS,Running,0,9,5", "which line 2 has"),
    "negative": ("a,-1,1,1,1000,,LS,Running,0,9,5", "cpu_milli is negative"),
    "half a gpu": ("a,1,1,0.5,1000,,LS,Running,0,9,5", "num_gpu is '0.5'"),
    "share of more": ("a,1,1,1,2000,,LS,Running,0,9,5", "gpu_milli is 2000, more than 1000"),
    "no creation": ("a,1,1,1,1000,,LS,Running,,9,5", "creation_time is missing"),
    "deleted before it was scheduled": ("a,1,1,1,1000,,LS,Running,0,4,5", "they can't follow like this"),
    "scheduled before it was created": ("a,1,1,1,1000,,LS,Running,6,9,5", "they can't follow like this"),
    "absurd": ("a,1,1,1,1000,,LS,Running,0,1e12,5", "no such job has run"),
}


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    path = tmp_path / "nodes.csv"
    path.write_text(NODES)
    return path


@pytest.mark.parametrize(("bad", "told"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_pod_is_left_out_and_told_with_its_line(bad: str, told: str) -> None:
    trace = parse([HEADER, GOOD, bad])
    assert (len(trace.jobs), trace.bad_rows) == (1, 1)
    assert trace.problems[0].startswith("line 3: ")
    assert told in trace.problems[0]
    with pytest.raises(InvalidSpec, match="1 row can't be true"):
        parse([HEADER, GOOD, bad], strict=True)


def test_a_pod_runs_from_its_scheduling_to_its_deletion_and_asks_for_what_it_names() -> None:
    (job,) = parse([HEADER, GOOD]).jobs
    assert (job.submitted, job.duration, job.gpus, job.cluster) == (0.0, 120.0, 1, "LS")
    each = job.needs[0].each
    assert (each.cpu_millis, each.memory_bytes, each.devices) == (12_000, 16 << 30, {"gpu": 1})


def test_what_is_not_simulated_as_it_stands_is_noted_and_not_an_error() -> None:
    share = "b,1000,1024,1,460,,LS,Running,0,9,1"
    never = "c,1000,1024,1,1000,,LS,Pending,0,9,"
    trace = parse([HEADER, share, never], strict=True)
    assert [job.gpus for job in trace.jobs] == [1]
    assert trace.notes == ("left out, because never scheduled: 1 pod", "given a whole GPU instead of a share: 1 pod")


def test_pods_run_on_the_nodes_of_the_list_and_on_the_models_they_name(nodes: Path) -> None:
    rows = [
        "big,1000,1024,2,1000,P100,LS,Running,0,100,0",
        "either,1000,1024,2,1000,P100|V100M32,LS,Running,1,51,1",
        "again,1000,1024,1,1000,P100,LS,Running,2,12,2",
        "plain,1000,1024,0,0,,BE,Running,3,13,3",
        "never,1000,1024,9,1000,,BE,Running,3,13,3",
        "other,1000,1024,1,1000,A100,BE,Running,3,13,3",
    ]
    trace = parse([HEADER, *rows])
    outcome = simulate(trace.jobs, Setup(nodes=read_nodes(nodes)))
    assert outcome.gpus == 10
    assert [each.gpus for each in outcome.refused] == [9, 1]
    starts = {int(each.job.uid): each.started for each in outcome.ran}
    assert starts[2] == 0.0
    assert starts[3] == 1.0  # on the other model, since the first is taken
    assert starts[4] == 100.0  # there is no other for it
    assert len(outcome.ran) == 4


def test_a_node_list_with_a_hole_is_refused(tmp_path: Path) -> None:
    for content, told in (
        (NODES + "openb-node-0,1,1,1,\n", "line 5: sn is 'openb-node-0', which an earlier line has"),
        (NODES + ",1,1,1,\n", "line 5: sn is '', no name"),
        (NODES + "x,1,1,-1,\n", "line 5: gpu is negative"),
        (NODES.splitlines()[0], "names no nodes"),
        ("sn,gpu\n", "lacks cpu_milli"),
    ):
        path = tmp_path / "nodes.csv"
        path.write_text(content)
        with pytest.raises(InvalidSpec, match=told):
            read_nodes(path)


def test_the_first_line_of_a_file_tells_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(f"{HEADER}\n{GOOD}\n")
    assert sources.read(path).jobs[0].duration == 120.0
    path.write_text("timestamp,duration,num_gpus,gpu_time,cluster\n2017-10-09 07:01:55,66.0,1,66.0,a\n")
    assert sources.read(path).jobs[0].duration == 66.0
    path.write_text("")
    with pytest.raises(InvalidSpec, match="first line"):
        sources.read(path)
