"""Every documented exit code, provoked; and every kind of mistake, told in one sentence."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from octopus_hub.cli import exits
from octopus_hub.client.exchange import StreamLost
from octopus_hub.client.failures import LocalFileError
from octopus_hub.model.errors import error_classes
from tests.cli.shell import WITHIN, Shell

DOCUMENT = """apiVersion: octopus-hub.io/v1alpha1
kind: TaskSet
metadata: {name: ok}
spec: {roles: [{name: w, command: [x]}]}
"""
AWAY = {"OCTOPUS_URL": "http://127.0.0.1:9", "OCTOPUS_TOKEN": "t"}


@pytest.mark.parametrize(
    ("code", "words", "env"),
    [
        (exits.OK, ["list"], {}),
        (exits.FAILED, ["submit", "--name", "f", "--no-workspace", "-w", "--", "false"], {}),
        (exits.USAGE, ["submit"], {}),
        (exits.USAGE, ["nonsense"], {}),
        (exits.USAGE, [], {}),
        (exits.REFUSED, ["submit", "--name", "f", "--devices", "virtual=99", "--no-workspace", "--", "x"], {}),
        (exits.REFUSED, ["list"], {"OCTOPUS_TOKEN": "forged"}),
        (exits.NOT_FOUND, ["get", "no-such"], {}),
        (exits.NOT_FOUND, ["logs", "no-such"], {}),
        (exits.NOT_FOUND, ["replay", "no-such"], {}),
        (exits.UNREACHABLE, ["list"], AWAY),
        (exits.UNREACHABLE, ["list"], {"OCTOPUS_STATE": "/nonexistent"}),
        (exits.UNREACHABLE, ["logs", "-f", "x"], AWAY),
        (exits.UNREACHABLE, ["events", "-f"], AWAY),
    ],
)
def test_exit_codes(shell: Shell, code: int, words: list[str], env: dict[str, str]) -> None:
    shell.octopus(*words, env=env, code=code)


def test_interrupted(shell: Shell) -> None:
    with shell.started("events", "-f", "-o", "json") as process:
        shell.octopus("submit", "--name", "seen", "--hold", "--no-workspace", "--", "true")
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(WITHIN) == exits.INTERRUPTED


def test_every_error_has_a_code_and_every_code_a_meaning() -> None:
    codes = {kind.code for kind in error_classes().values() if kind.__module__.startswith("octopus_hub.")}
    assert {StreamLost.code, LocalFileError.code} <= codes
    assert {kind.code for kind in error_classes().values() if kind.__module__.endswith("model.errors")} <= set(
        exits._BY_CODE
    )
    assert set(exits._BY_CODE.values()) <= set(exits.MEANINGS)


def test_the_reference_page_documents_them() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text()
    for code, meaning in exits.MEANINGS.items():
        assert f"| {code} | {meaning} |" in page


# --- mistakes

FLAT = ["submit", "--no-workspace", "--name", "m"]
END = ["--", "true"]
MISTAKES = {
    "no file": (["submit", "nowhere.yaml"], "there is no file nowhere.yaml"),
    "a folder": (["submit", "."], ". can't be read: Is a directory"),
    "no home folder": (["submit", "~no-such-account/x.yaml"], "there is no such home folder"),
    "neither file nor command": (["submit"], "give a file, or --name NAME and the command after --"),
    "a file and a command": (["submit", "f.yaml", *END], "not both"),
    "a command without dashes": (["submit", "--name", "m", "python", "x.py"], "comes after --"),
    "a command elsewhere": (["list", *END], "`octopus list` takes no command after --"),
    "a wrong name": (["submit", "--name", "My_Job", *END], "a lower-case|lower-case letters"),
    "no number": ([*FLAT, "--replicas", "many", *END], "--replicas: 'many' is not a whole number"),
    "negative replicas": ([*FLAT, "--replicas", "-1", *END], "--replicas: '-1' is not a whole number"),
    "no replicas": ([*FLAT, "--replicas", "0", *END], r"spec\.roles\[0\]\.replicas: 0 is not from 1 to 10000"),
    "10,001 replicas": ([*FLAT, "--replicas", "10001", *END], "10001 is not from 1 to 10000"),
    "no pair": ([*FLAT, "--devices", "gpu", *END], "--devices takes TYPE=N, not 'gpu'"),
    "a part not of n": ([*FLAT, "--devices", "gpu=0.3", *END], "a whole number of devices, or one of n equal parts"),
    "parts not to be had": ([*FLAT, "--devices", "gpu=1/99", *END], "a gpu can be divided into at most 48 parts"),
    "negative devices": ([*FLAT, "--devices", "gpu=-1", *END], "-1"),
    "negative CPU": ([*FLAT, "--cpu", "-3", *END], "'-3' is negative"),
    "CPU that is no number": ([*FLAT, "--cpu", "nan", *END], "'nan' is not an amount of CPU"),
    "memory in words": ([*FLAT, "--memory", "lots", *END], "'lots' is not an amount of memory"),
    "an unset variable": ([*FLAT, "--env", "NO_SUCH_VARIABLE", *END], "is not set here"),
    "an unknown secret": ([*FLAT, "--secret", "A=none", *END], "there is no secret none"),
    "an unknown image": ([*FLAT, "--image", "nope", *END], "there is no image nope"),
    "an unknown framework": ([*FLAT, "--framework", "pytorsh", *END], "pytorch"),
    "an unknown queue": ([*FLAT, "--queue", "defualt", *END], "did you mean default?"),
    "an unknown priority": ([*FLAT, "--priority", "hihg", *END], "did you mean high?"),
    "itself after itself": ([*FLAT, "--after", "no such", *END], "no such"),
    "no workspace": (["submit", "--name", "m", "--workspace", "/nowhere", *END], "is not a folder"),
    "an unknown option": (["submit", "--wrkspace", "."], "did you mean --workspace?"),
    "an option cut short": (["submit", "--work", "."], "has no option --work"),
    "an unknown command": (["sumbit"], "there is no command 'sumbit'; did you mean submit?"),
    "one argument too many": (["version", "extra"], "has no use for 'extra'"),
    "one argument too few": (["get"], "NAME"),
    "an unknown format": (["list", "-o", "xml"], "there is no 'xml'; there are table, yaml, json, name"),
    "an unknown phase": (["list", "--phase", "Runing"], "there is no phase Runing; phases are"),
    "no label": (["list", "--label", "team"], "--label takes KEY=VALUE, not 'team'"),
    "no name": (["get", "/x"], "'/x' names no TaskSet"),
    "three parts": (["get", "a/b/c"], "'a/b/c' names no TaskSet"),
    "an endless name": (["get", "x" * 100_000], "no address can be made of that name"),
    "a name that is no text": (["get", b"caf\xe9"], "is not UTF-8 text"),
    "a negative index": (["logs", "x", "--index", "-1"], "'-1' is not a whole number"),
    "a negative tail": (["logs", "x", "--tail", "-1"], "'-1' is not a whole number"),
    "a timeout that is none": (["wait", "x", "--timeout", "nan"], "'nan' is not a number of seconds"),
    "an age that is none": (["prune", "--older-than", "soon"], "'soon' is no age"),
    "no such record's folder": (["replay", "./nowhere"], "there is no nowhere; give a record's folder"),
    "a folder without a record": (["replay", "/tmp"], r"there is no /tmp/record\.json"),
    "no number of an attempt": (["replay", "mnist@first"], "the attempt is a number"),
    "an unknown schema": (["schema", "TaskSett"], "there is no schema of TaskSett"),
    "no secret's name": (["secrets", "set"], "name the secret"),
    "a wrong secret's name": (["secrets", "set", "A B"], "A B can't name a secret"),
    "a secret's value": (["secrets", "list", "x"], "values are never shown"),
    "an unknown shell": (["completion", "fish"], "there is no 'fish'; there are bash, zsh"),
    "no address": (["list"], "OCTOPUS_URL is not an address"),
}
ENVIRONMENTS = {"no address": {"OCTOPUS_URL": "nonsense"}}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(account: Shell, mistake: str) -> None:
    words, sentence = MISTAKES[mistake]
    done = account.octopus(*words, given="value", env=ENVIRONMENTS.get(mistake, {}), code=exits.USAGE)  # type: ignore[arg-type]
    assert done.out == ""
    assert len(done.err.splitlines()) == 1, done.err
    assert re.search(sentence, done.complaint)


DOCUMENTS = {
    "empty": (b"", "standard input holds no document"),
    "only dashes": (b"---\n---\n", "standard input holds no document"),
    "a list": (b"- a\n- b\n", "a document is a mapping"),
    "a word": (b"hello", "a document is a mapping"),
    "malformed YAML": (b"a: [1, 2\nb: }", "standard input, line 2, column 2: this is not YAML"),
    "tabs": (b"a:\n\tb: 1\n", "with spaces in YAML, not with tabs"),
    "malformed JSON": (b'{"a": 1,, }', "neither JSON nor YAML"),
    "binary": (b"\xff\xfe\x00\x01", "is not UTF-8 text"),
    "a key twice": (b"kind: TaskSet\nkind: TaskSet\n", "'kind' is given twice"),
    "a tag": (b"a: !!python/object/apply:os.system [x]\n", "is not possible here"),
    "an alias bomb": (
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (n, n, *([n - 1] * 7)) for n in range(98, 110)),
        "more than 100000 values",
    ),
    "too deep": (b"[" * 100_000, "nesting|nested deeper"),
    "deep JSON": (b'{"a":' * 100_000, "nested deeper|not JSON|neither"),
    "another kind": (DOCUMENT.replace("kind: TaskSet", "kind: Job").encode(), "kind"),
    "another version": (DOCUMENT.replace("v1alpha1", "v9").encode(), "apiVersion"),
    "the seed's": (DOCUMENT.replace("octopus-hub.io", "octopus.openi.pcl.cn").encode(), "octopus import"),
    "an unknown field": (DOCUMENT.replace("command", "comand").encode(), "did you mean command?"),
    "a wrong type": (DOCUMENT.replace("[x]", "{a: 1}").encode(), r"spec\.roles\[0\]\.command"),
}


@pytest.mark.parametrize("wrong", DOCUMENTS)
def test_a_wrong_document_is_told_with_its_place(account: Shell, wrong: str) -> None:
    content, sentence = DOCUMENTS[wrong]
    for command in (["submit", "-", "--no-workspace"], ["plan", "-", "--offline"]):
        done = account.octopus(*command, given=content, code=exits.USAGE)
        assert re.search(sentence, done.complaint)
        assert len(done.err) < 2000


def test_every_problem_of_a_document_at_once_and_which_document(account: Shell) -> None:
    wrong = DOCUMENT.replace("name: w", "name: W, replicas: -1")
    done = account.octopus("plan", "-", "--offline", given=f"{DOCUMENT}---\n{wrong}", code=exits.USAGE)
    first, *rest = done.err.splitlines()
    assert first == "octopus: document 2 of 2: ok can't be accepted; 2 things are wrong"
    assert [line.split(":")[0] for line in rest] == ["  spec.roles[0].name", "  spec.roles[0].replicas"]


def test_100_mb_are_refused_at_once(account: Shell) -> None:
    done = account.octopus("submit", "-", given=b"a: " + b"x" * (100 << 20), code=exits.REFUSED)
    assert done.complaint == "octopus: standard input is larger than 16 MiB; a TaskSet is a few kilobytes"


def test_a_record_from_tomorrow(shell: Shell) -> None:
    for name, content, words in (
        ("tomorrow", {"schemaVersion": 999, "kind": "Record"}, "999"),
        ("none", {"hello": 1}, "record"),
        ("text", "x", "record"),
    ):
        folder = shell.folder / name
        folder.mkdir()
        (folder / "record.json").write_text(json.dumps(content))
        assert words in shell.octopus("replay", f"./{name}", code=exits.USAGE).complaint
    (shell.folder / "text" / "record.json").write_bytes(b"\xff")
    shell.octopus("replay", "./text", code=exits.USAGE)


def test_a_damaged_account_file(account: Shell, tmp_path: Path) -> None:
    for content in ("", "{", "[]"):
        (tmp_path / "client.json").write_text(content)
        done = account.octopus("list", env={"OCTOPUS_STATE": str(tmp_path)}, code=exits.UNREACHABLE)
        assert "is damaged" in done.complaint


def test_a_mistake_of_our_own_is_one_sentence_too(account: Shell, tmp_path: Path) -> None:
    """Nobody meant it to happen, so it says where more can be read."""
    (tmp_path / "sitecustomize.py").write_text(
        "import octopus_hub.cli.show as show\ndef broken(*a, **k): raise ZeroDivisionError('oops')\nshow.show_many = broken\n"
    )
    env = {"PYTHONPATH": str(tmp_path)}
    done = account.octopus("list", env=env, code=exits.FAULT)
    assert done.complaint == (
        "octopus: this is a mistake in octopus itself (ZeroDivisionError: oops); "
        "OCTOPUS_DEBUG=1 before the command shows where; report that"
    )


def test_what_lacks_a_package_says_how_to_get_it() -> None:
    """``octopus simulate`` runs the scheduler, which needs numpy; a plain client has none and needs none."""
    code = (
        "import sys; sys.modules['numpy'] = None; import octopus_hub.cli as cli, octopus_hub.client.sync;"
        "print(cli.main(['simulate', '--generate', 'jobs=10']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "octopus: numpy is not installed; install it with: pip install 'octopus-hub[simulate]'\n"
    assert done.stdout == f"{exits.USAGE}\n"
