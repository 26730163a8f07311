"""``octopus reservations`` and ``octopus nodes drain`` on a real engine with real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.shell import Shell
from tests.engine import engine

CONFIG = """
nodes:
- {name: node-a, cpu: "4", memory: 8Gi, devices: {virtual: 4}}
- {name: node-b, cpu: "4", memory: 8Gi, devices: {virtual: 4}}
queues:
- {name: default}
- {name: course}
"""
UTC = {"TZ": "UTC"}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """An account with an engine of two nodes and a queue for a course."""
    with engine(tmp_path_factory.mktemp("calendar"), CONFIG) as running:
        yield Shell(running)


def submit(shell: Shell, name: str, *words: str) -> None:
    base = ("--name", name, "--no-workspace", "--cpu", "100m", "--memory", "64Mi", "--devices", "virtual=4")
    shell.octopus("submit", *base, *words, "--", "sleep", "600")


def node_of(shell: Shell, name: str) -> str:
    with shell.client() as client:
        (node,) = {span.node for spans in client.get(name).taskset.status.placement.values() for span in spans}
    return node


def test_a_reservation_keeps_nodes_for_its_queue_and_gives_them_back(shell: Shell) -> None:
    made = shell.octopus(
        "reservations", "add", "ml", "--from", "+2h", "--to", "+4h", "--nodes", "2", "--queue", "course", "--message",
        "exam", env=UTC,
    )  # fmt: skip
    assert made.out.startswith("ml: 2 nodes are reserved for course from ")
    submit(shell, "endless")
    view = shell.until("endless", lambda view: view.queue_place is not None and view.queue_place.code == "Reserved")
    assert view.queue_place is not None
    assert "2 nodes are reserved for course" in view.queue_place.message
    assert "without a maximum runtime (lifetime.maxRuntimeSeconds)" in view.queue_place.message
    submit(shell, "short", "--max-runtime", "600")
    shell.until_phase("short", "Running")
    submit(shell, "own", "--queue", "course")
    shell.until_phase("own", "Running")
    listed = shell.octopus("reservations", env=UTC).out
    assert "ml" in listed and "node-a, node-b" in listed and "exam" in listed
    assert "reserved for course from" in shell.octopus("nodes").out
    shell.octopus("stop", "short")
    shell.until_phase("short", "Stopped")
    shell.until_phase("endless", "Queued")
    assert shell.octopus("reservations", "delete", "ml").out == "deleted ml\n"
    shell.until_phase("endless", "Running")
    shell.octopus("stop", "endless", "own")
    for name in ("endless", "own"):
        shell.until_phase(name, "Stopped")


def test_a_drain_moves_what_may_be_preempted_and_lets_the_rest_finish(shell: Shell) -> None:
    submit(shell, "moves")
    shell.until_phase("moves", "Running")
    drained = node_of(shell, "moves")
    other = "node-b" if drained == "node-a" else "node-a"
    told = shell.octopus("nodes", "drain", drained, "--reason", "new fan").out
    assert told.startswith(f"drain.{drained}: {drained} is drained: new fan")
    shell.until(
        "moves",
        lambda view: any(span.node == other for spans in view.taskset.status.placement.values() for span in spans),
    )
    shell.until_phase("moves", "Running")
    assert "drained" in shell.octopus("nodes").out
    shell.octopus("nodes", "close", other)
    assert shell.until_phase("moves", "Running").taskset.status.attempt == 2  # a closed node lets it finish
    submit(shell, "waits")
    shell.until("waits", lambda view: view.queue_place is not None)
    assert shell.octopus("nodes", "open", drained).out == f"{drained} is open\n"
    shell.until_phase("waits", "Running")
    assert node_of(shell, "waits") == drained
    shell.octopus("nodes", "open", drained, other)
    assert shell.octopus("reservations", "list", "--format", "name").out == ""


WRONG = [
    (("reservations", "add"), "name the reservation: octopus reservations add NAME"),
    (("reservations", "add", "x", "--nodes", "1", "--queue", "course"), "say when: --from TIME --to TIME"),
    (("reservations", "list", "--nodes", "1"), "octopus reservations list takes no times, nodes or queues"),
    (
        ("reservations", "add", "x", "--from", "25:00", "--to", "+1h", "--nodes", "1", "--queue", "course"),
        "start: '25:00' is no time; write 2026-11-30T10:00 with a zone, or 2026-11-30T10:00Z",
    ),
    (
        ("reservations", "add", "x", "--from", "+1h", "--to", "+2h", "--nodes", "3", "--queue", "course"),
        "count: asks for 3 nodes; there are 2",
    ),
    (
        ("reservations", "add", "x", "--from", "+1h", "--to", "+2h", "--devices", "virtual=x", "--queue", "course"),
        "--devices takes TYPE=N with a whole number, not 'x'",
    ),
    (("nodes", "drain"), "name the node: octopus nodes drain NAME"),
    (("nodes", "open", "node-a", "--reason", "x"), "octopus nodes open takes no --reason"),
    (("nodes", "close", "node-a", "--at", "10:00"), "octopus nodes close takes no times"),
    (("nodes", "drain", "node-x"), "there is no node node-x; see `octopus nodes`"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG, ids=[" ".join(case[0]) for case in WRONG])
def test_what_is_wrong_is_one_sentence(shell: Shell, words: tuple[str, ...], sentence: str) -> None:
    done = shell.octopus(*words, code=None)
    assert done.code != 0
    assert done.err.startswith(f"octopus: {sentence}") and done.err.count("\n") == 1
