"""Rendered tasks run: a gang finds itself through the pytorch wiring, a device variable and peers file arrive, for real."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from octopus_hub.core.actions import Member
from octopus_hub.core.expand import expand, port_names
from octopus_hub.model.status import Span, Status
from octopus_hub.model.task import TaskState
from octopus_hub.model.taskset import Metadata, Resolved, Role, Spec, TaskSet
from octopus_hub.plugins.registry import Registry
from tests.backends.harness import Harness

# Rank 0 listens where MASTER_* says and adds up what the others send; everyone prints what it sees.
PROGRAM = """
import json, os, socket, time
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
master = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
if rank == 0:
    with socket.create_server(master) as server:
        total = 0
        for _ in range(size - 1):
            connection, _ = server.accept()
            total += int(connection.recv(10))
else:
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = socket.create_connection(master)
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    connection.send(str(rank).encode())
    total = None
peers = json.load(open(os.environ["OCTOPUS_PEERS"]))
names = ("OCTOPUS_VIRTUAL_DEVICES", "OCTOPUS_DEVICES", "CUDA_VISIBLE_DEVICES", "OCTOPUS_HOST", "OCTOPUS_PORT")
print(json.dumps({"total": total, "peers": peers, **{name: os.environ.get(name) for name in names}}))
"""


async def test_a_gang_finds_itself(tmp_path: Path) -> None:
    worker = Role("worker", replicas=3, command=[sys.executable, "-c", PROGRAM], devices={"virtual": 1})
    taskset = TaskSet(metadata=Metadata(name="ring", namespace="anna"), spec=Spec(roles=[worker], framework="pytorch"))
    taskset = msgspec.structs.replace(taskset, resolved=Resolved(descriptors=Registry.load().resolve(taskset)))
    harness = Harness("local", tmp_path)
    await harness.backend.open()
    try:
        stored = await harness.backend.create(taskset)
        spans = [Span(node="node-a", first=0, count=2), Span(node="node-b", first=2, count=1)]
        stored = msgspec.structs.replace(stored, status=Status(attempt=1, placement={"worker": spans}))
        members = [("worker", index) for index in range(3)]
        addresses = await harness.backend.reserve(stored, members, port_names(stored))
        specs = expand(stored, [Member("worker", index, 1) for index in range(3)], addresses)
        await harness.backend.create_tasks(specs)
        names = [(spec.namespace, spec.name) for spec in specs]
        await harness.wait(*names, states=(TaskState.BOUND,))
        await harness.backend.release(names)
        ends = await harness.wait(*names)
        said = [json.loads(b"".join([part async for part in harness.backend.read_log(*name)])) for name in names]
    finally:
        await harness.close()
    assert [end.state for end in ends] == [TaskState.SUCCEEDED] * 3
    assert [each["total"] for each in said] == [1 + 2, None, None]
    for index, each in enumerate(said):
        assert each["peers"]["worker"][index]["ports"]["main"] == int(each["OCTOPUS_PORT"])
        assert each["OCTOPUS_VIRTUAL_DEVICES"] == each["OCTOPUS_DEVICES"] != ""
        assert each["CUDA_VISIBLE_DEVICES"] == "", "GPUs that were not asked for are hidden"
    assert len({each["OCTOPUS_DEVICES"] for each in said}) == 3
