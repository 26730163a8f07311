"""``stop, hold, release, delete, prune, secrets, records, outputs, replay, version``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from octopus_hub import __version__
from octopus_hub.cli.naming import namespace_and_name, pairs, seconds
from octopus_hub.model.errors import InvalidSpec
from tests.cli.shell import Shell, Terminal

LEAVES = ("sh", "-c", "mkdir -p out; cat data.txt > out/a.csv")


def submit(shell: Shell, name: str, *words: str) -> None:
    """Submit something small."""
    shell.octopus("submit", "--name", name, "--no-workspace", *(words or ("--", "true")))


def test_stop(shell: Shell) -> None:
    submit(shell, "runs", "--", "sleep", "600")
    shell.until_phase("runs", "Running")
    assert shell.octopus("stop", "runs").out == "stopping runs\n"
    shell.until_phase("runs", "Stopped")
    assert shell.octopus("stop", "runs").out == "runs has ended: Stopped\n", "may be repeated, and says so"


def test_hold_and_release(shell: Shell) -> None:
    submit(shell, "kept", "--hold", "--", "true")
    assert shell.octopus("hold", "kept").out == "held kept\n"
    assert shell.octopus("release", "kept").out == "released kept\n"
    shell.octopus("wait", "kept")
    done = shell.octopus("hold", "kept", code=3)
    assert done.complaint == "octopus: kept is Succeeded; only a TaskSet that waits can be held"


def test_scale(shell: Shell, tmp_path: Path) -> None:
    roles = [{"name": "worker", "replicas": {"min": 1, "max": 3}, "command": ["sleep", "600"]}]
    document = {"kind": "TaskSet", "metadata": {"name": "stretchy"}, "spec": {"roles": roles, "hold": True}}
    (tmp_path / "stretchy.json").write_text(json.dumps(document))
    shell.octopus("submit", "--no-workspace", str(tmp_path / "stretchy.json"))
    assert shell.octopus("scale", "stretchy", "worker=2").out == "worker of stretchy: 1..3; wished: 2\n"
    assert shell.octopus("scale", "stretchy", "worker=any").out == "worker of stretchy: 1..3; no wish any more\n"
    assert "1..3" in shell.octopus("describe", "stretchy").out
    done = shell.octopus("scale", "stretchy", "worker=4", code=2)
    assert done.complaint == "octopus: role worker of stretchy can have 1 to 3 tasks, not 4"
    done = shell.octopus("scale", "stretchy", "worker=many", code=2)
    assert done.complaint == "octopus: 'many' is no number of tasks; give one, or worker=any to take the wish back"
    shell.octopus("delete", "stretchy")


def test_several_names_are_all_tried(shell: Shell) -> None:
    for name in ("first", "last"):
        submit(shell, name, "--hold", "--", "true")
    done = shell.octopus("delete", "first", "no-such", "last", code=4)
    assert done.lines == ["deleting first", "deleting last"]
    assert done.complaint == "octopus: there is no TaskSet no-such; see `octopus list`"


def test_prune_deletes_what_ended_a_while_ago(shell: Shell) -> None:
    submit(shell, "old")
    submit(shell, "unfinished", "--hold", "--", "true")
    shell.octopus("wait", "old")
    assert "old" not in shell.octopus("prune", "--older-than", "1h").out
    assert "would delete old" in shell.octopus("prune", "--older-than", "0s", "--dry-run").lines
    assert shell.octopus("get", "old", "-o", "name").lines == ["old"]
    pruned = shell.octopus("prune", "--older-than", "0s").lines
    assert "deleting old" in pruned
    assert "deleting unfinished" not in pruned
    assert shell.octopus("records", "old", "-o", "name").lines == ["old@1"], "its record stays"


def test_secrets_are_set_and_never_shown(shell: Shell) -> None:
    assert shell.octopus("secrets", "set", "hf-token", given="s3cret\n").out == "stored hf-token\n"
    listed = shell.octopus("secrets")
    assert "hf-token" in listed.lines
    assert "s3cret" not in listed.out
    words = ("--secret", "TOKEN=hf-token", "-w", "--", "sh", "-c", 'test "$TOKEN" = s3"cre"t')
    submit(shell, "secretive", *words)
    assert "s3cret" not in shell.octopus("get", "secretive", "-o", "yaml").out
    assert shell.octopus("secrets", "delete", "hf-token").out == "deleted hf-token\n"
    assert "hf-token" not in shell.octopus("secrets", "list").lines


def test_a_secret_typed_at_a_terminal_is_not_shown(shell: Shell) -> None:
    terminal = Terminal(shell, "secrets", "set", "typed")
    terminal.until("value of typed: ")
    terminal.type("s3cret\n")
    assert terminal.close() == 0
    assert "s3cret" not in terminal.shown
    shell.octopus("secrets", "delete", "typed")


def test_outputs_and_records(shell: Shell) -> None:
    (shell.folder / "data.txt").write_text("42\n")
    shell.octopus("submit", "--name", "leaves", "--output", "out/*.csv", "-w", "--", *LEAVES)
    assert shell.octopus("outputs", "leaves").lines == ["leaves-outputs/worker-0/out/a.csv"]
    assert shell.octopus("outputs", "leaves", "--to", "there").lines == ["there/worker-0/out/a.csv"]
    assert (shell.folder / "there/worker-0/out/a.csv").read_text() == "42\n"
    table = shell.octopus("records", "leaves").lines
    assert table[0].split() == ["NAME", "ATTEMPT", "PHASE", "ENDED", "RAN", "OUTPUTS", "PATH"]
    assert re.match(r"leaves +1 +Succeeded +\d\d:\d\d:\d\d +\d+s +1 +/", table[1])
    record = shell.octopus("records", "leaves", "-o", "json").json["items"][0]
    assert Path(record["path"], "record.json").is_file()
    shell.octopus("delete", "leaves")
    assert shell.octopus("outputs", "leaves", "--to", "later").lines == ["later/worker-0/out/a.csv"]


def test_outputs_that_are_not_there(shell: Shell) -> None:
    submit(shell, "waits", "--hold", "--", "true")
    assert shell.octopus("outputs", "waits", code=3).complaint == (
        "octopus: waits has not ended; `octopus wait waits` first"
    )
    submit(shell, "nothing", "-w", "--", "true")
    done = shell.octopus("outputs", "nothing")
    assert done.out == ""
    assert "left no outputs" in done.err
    assert shell.octopus("outputs", "no-such", code=4).complaint.startswith("octopus: there is no")


@pytest.mark.parametrize("how", ["name", "attempt", "folder", "file"])
def test_replay(shell: Shell, how: str) -> None:
    (shell.folder / "data.txt").write_text("42\n")
    shell.octopus("submit", "--name", "origin", "--output", "out/*.csv", "-w", "--", *LEAVES)
    path = shell.octopus("records", "origin", "-o", "json").json["items"][0]["path"]
    record = {"name": "origin", "attempt": "origin@1", "folder": path, "file": f"{path}/record.json"}[how]
    done = shell.octopus("replay", record, "--watch")
    assert done.lines[0] == "submitted origin-2"
    assert "the same in all that counts" in done.out
    assert shell.octopus("outputs", "origin-2", "--to", "again").lines == ["again/worker-0/out/a.csv"]
    assert (shell.folder / "again/worker-0/out/a.csv").read_text() == "42\n"


def test_replay_says_what_differs(shell: Shell) -> None:
    words = ("--output", "n", "-w", "--", "sh", "-c", "date +%s%N > n")
    submit(shell, "random", *words)
    done = shell.octopus("replay", "random", "-w")
    assert "worker-0/n" in done.out
    named = shell.octopus("replay", "random", "-o", "name")
    assert named.out == "random-3\n"


def test_version(shell: Shell) -> None:
    client, service = shell.octopus("version").lines
    assert client == f"client   {__version__}"
    assert re.fullmatch(rf"service  {re.escape(__version__)} at http://127\.0\.0\.1:\d+/services/octopus", service)
    assert shell.octopus("--version").out == f"octopus {__version__}\n"
    away = shell.octopus("version", env={"OCTOPUS_STATE": "/nonexistent"})
    assert "no octopus service is known" in away.lines[1]
    assert json.loads(shell.octopus("version", "-o", "json").out)["client"] == __version__


# --- words


@pytest.mark.parametrize(
    ("text", "found"), [("mnist", ("-", "mnist")), ("ada/mnist", ("ada", "mnist")), ("-/mnist", ("-", "mnist"))]
)
def test_names(text: str, found: tuple[str, str]) -> None:
    assert namespace_and_name(text) == found


@pytest.mark.parametrize("text", ["", "/", "/mnist", "ada/", "a/b/c", "//"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidSpec, match="names no TaskSet"):
        namespace_and_name(text)


def test_pairs() -> None:
    assert pairs(["A=1", "B=x=y", "C="], "--env") == {"A": "1", "B": "x=y", "C": ""}
    for wrong in (["A"], ["=x"], [""]):
        with pytest.raises(InvalidSpec, match="--devices takes TYPE=N"):
            pairs(wrong, "--devices", "TYPE=N")
    with pytest.raises(InvalidSpec, match="gives A twice"):
        pairs(["A=1", "A=2"], "--env")


@pytest.mark.parametrize(("text", "amount"), [("0s", 0), ("90m", 5400), ("12h", 43200), ("7d", 604800), ("1.5h", 5400)])
def test_ages(text: str, amount: float) -> None:
    assert seconds(text) == amount


@pytest.mark.parametrize("text", ["", "7", "x", "7w", "-1d", "nand", "infd", "d"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(InvalidSpec, match="is no age"):
        seconds(text)
