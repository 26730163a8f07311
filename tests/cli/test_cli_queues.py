"""``octopus queues`` and ``cohorts`` on a real engine: looked at, changed while gangs wait, kept over a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from octopus_hub.app.report import started
from octopus_hub.cli.queues import given_fields, share_text
from octopus_hub.model.errors import InvalidSpec
from tests.cli.shell import Shell
from tests.engine import engine

CONFIG = """
nodes:
- {name: node-a, cpu: "4", memory: 8Gi, devices: {virtual: 4}}
cohorts:
- {name: lab}
queues:
- {name: default}
- {name: a, cohort: lab, nominal: {devices: {virtual: 2}}}
- {name: b, cohort: lab, nominal: {devices: {virtual: 2}}}
"""


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """An account with an engine whose queues are in a cohort."""
    with engine(tmp_path_factory.mktemp("queues"), CONFIG) as running:
        yield Shell(running)


def submit(shell: Shell, name: str, *words: str) -> None:
    shell.octopus(
        "submit", "--name", name, "--no-workspace", "--cpu", "100m", "--memory", "64Mi", *words, "--", "sleep", "600"
    )


def test_a_policy_that_changes_under_waiting_gangs_counts_at_once_and_loses_nothing(shell: Shell) -> None:
    submit(shell, "holds", "--queue", "default", "--devices", "virtual=4")
    shell.until_phase("holds", "Running")
    for name, priority in (("first", "low"), ("second", "normal"), ("third", "high")):
        submit(shell, name, "--queue", "default", "--devices", "virtual=4", "--priority", priority)
    uids = {name: shell.until_phase(name, "Queued").taskset.metadata.uid for name in ("first", "second", "third")}
    shell.until("first", lambda view: view.queue_place is not None and view.queue_place.place == 1)
    quiet = "preemption.within=false"
    assert shell.octopus("queues", "set", "default", "policy=priority", quiet).out == "changed queue default\n"
    shell.until("third", lambda view: view.queue_place is not None and view.queue_place.place == 1)
    shell.until("first", lambda view: view.queue_place is not None and view.queue_place.place == 3)
    assert shell.until_phase("holds", "Running").taskset.status.attempt == 1, "what runs was left alone"
    shell.octopus("queues", "set", "default", "paused=true")
    shell.octopus("stop", "holds")
    shell.until_phase("holds", "Stopped")
    shell.until("third", lambda view: view.queue_place is not None and view.queue_place.code == "QueuePaused")
    assert shell.octopus("queues", "reset", "default").out == "queue default is as in the configuration file\n"
    shell.until_phase("first", "Running")
    with shell.client() as client:
        assert {name: client.get(name).taskset.metadata.uid for name in uids} == uids


def test_wide_shows_who_borrows_and_who_lends(shell: Shell) -> None:
    submit(shell, "borrows", "--queue", "a", "--devices", "virtual=3")
    shell.until_phase("borrows", "Running")
    shell.octopus("queues", "set", "b", "weight=2", "budget.deviceHours=10", "budget.window=day", "budget.atEnd=low")
    header, *rows = shell.octopus("queues", "-o", "wide").lines
    cells = {row.split()[0]: " ".join(row.split()) for row in rows}
    assert header.split()[:7] == ["NAME", "COHORT", "WEIGHT", "POLICY", "BACKFILL", "STATE", "NOMINAL"]
    assert cells["a"].startswith("a lab 1 gittins any open 2 virtual 3 virtual, 0.1 CPU, 64 MiB 1 virtual nothing")
    assert cells["a"].endswith(" - 0 1 0")
    assert cells["b"].startswith(
        "b lab 2 gittins any open 2 virtual nothing nothing 1 virtual 0 % 0.0 h used, 10.0 h left"
    )
    assert shell.octopus("cohorts").lines[1].split()[:3] == ["lab", "-", "1"]
    assert shell.octopus("cohorts", "-o", "name").lines == ["lab"]
    shell.octopus("queues", "reset", "b")


def test_create_show_change_by_file_and_delete(shell: Shell, tmp_path: Path) -> None:
    words = ("policy=las", "nominal.devices.virtual=1", "nominal.memory=2Gi", "allowedGroups=[lab, course]")
    assert shell.octopus("queues", "create", "night", *words).out == "created queue night\n"
    shown = shell.octopus("queues", "show", "night").out
    assert "policy: las" in shown and "memory: 2Gi" in shown and "virtual: 1" in shown and "- course" in shown
    (tmp_path / "night.yaml").write_text(shown.replace("las", "fair"))
    assert shell.octopus("queues", "set", "-f", "night.yaml").out == "stored queue night\n"
    assert shell.octopus("queues", "show", "night", "-o", "json").json["policy"] == "fair"
    shell.octopus("queues", "set", "-f", "-", given="name: night\nweight: 4\n")
    assert shell.octopus("queues", "show", "night").out == "name: night\npolicy: gittins\nweight: 4\n"
    shell.octopus("cohorts", "create", "site")
    shell.octopus("cohorts", "set", "site", "nominal.devices.virtual=3", "weight=5")
    assert "weight: 5" in shell.octopus("cohorts", "show", "site").out
    shell.octopus("queues", "set", "night", "cohort=site")
    refused = shell.octopus("cohorts", "delete", "site", code=3)
    assert refused.complaint.startswith("octopus: queue night belongs to cohort site")
    assert shell.octopus("queues", "delete", "night").out == "deleted queue night\n"
    assert shell.octopus("cohorts", "delete", "site").out == "deleted cohort site\n"
    shell.octopus("queues", "show", "night", code=4)


MISTAKES = [
    (("set", "a", "weight=heavy"), 2, "octopus: weight: needs a whole number from 0 to 1000000, not the text 'heavy'"),
    (("set", "a", "wieght=3"), 2, "octopus: wieght: unknown field; did you mean weight?"),
    (("set", "a", "policy=fare"), 2, "octopus: policy: unknown policy 'fare'; did you mean fair?"),
    (("set", "a", "cohort=lap"), 2, "octopus: a: there is no cohort lap; did you mean lab?"),
    (("set", "a", "weight"), 2, "octopus: 'weight' is not FIELD=VALUE, such as weight=3 or nominal.devices.gpu=8"),
    (("set", "a"), 2, "octopus: say what to change: octopus queues set a weight=3 nominal.devices.gpu=8"),
    (("set",), 2, "octopus: name the queue: octopus queues set NAME"),
    (("set", "aa", "weight=3"), 4, "octopus: there is no queue aa; see `octopus queues`; to make it: octopus queues create aa"),
    (("create", "a"), 2, "octopus: there is a queue a already; to change it: octopus queues set a FIELD=VALUE"),
    (("delete", "a"), 3, "octopus: queue a is declared in the configuration file; take it out there and start octopus again"),
    (("delete", "none"), 4, "octopus: there is no queue none; octopus queues shows those that exist"),
    (("show", "a", "x=1"), 2, "octopus: octopus queues show takes no fields, but 'x=1' was given"),
    (("list", "a"), 2, "octopus: octopus queues list takes no name; octopus queues show NAME has one"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "said"), MISTAKES, ids=[" ".join(words) for words, _, _ in MISTAKES])
def test_mistakes_get_one_sentence(account: Shell, words: tuple[str, ...], code: int, said: str) -> None:
    assert account.octopus("queues", *words, code=code).complaint == said


def test_fields_are_read_as_yaml() -> None:
    words = ["nominal.devices.gpu:a100=8", "nominal.cpu=2.5", "paused=true", "budget=", "cohort='007'"]
    devices = {"gpu:a100": 8}
    nominal = {"devices": devices, "cpu": 2.5}
    assert given_fields(words) == {"nominal": nominal, "paused": True, "budget": None, "cohort": "007"}
    for wrong in (["a.b=1", "a=2"], ["a=2", "a.b=1"], ["a=1", "a=1"], ["a=[1"], [".a=1"], ["=1"]):
        with pytest.raises(InvalidSpec):
            given_fields(wrong)


def test_shares_in_words() -> None:
    assert [share_text(each) for each in (0, 1_000_000, 1_505_000, 10**18)] == ["0 %", "100 %", "150 %", "last"]


def test_octopus_up_names_queues_that_differ_from_the_file(tmp_path: Path) -> None:
    told = started("u", "ada", tmp_path, password_file=tmp_path / "p", differing=["a", "b", "cohort lab"])
    assert "  queues    changed since octopus.yaml: a, b, cohort lab (`octopus queues reset NAME` goes back)" in told
    assert "  queues  " not in started("u", "ada", tmp_path, password_file=tmp_path / "p")
