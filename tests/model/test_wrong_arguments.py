"""What people write by mistake in a notebook: one sentence that says what is needed, an error of ours, no frames."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from octopus_hub import Role, TaskSet
from octopus_hub.client import submission
from octopus_hub.model.errors import InvalidSpec, OctopusError

RUN = ["true"]


def worker(*args: Any, **fields: Any) -> TaskSet:
    fields.setdefault("command", RUN)
    return TaskSet("x", roles=[Role("worker", *args, **fields)])


CASES: list[tuple[Callable[[], Any], str]] = [
    (lambda: worker(replica=3), "Role has no field replica; did you mean replicas?"),
    (lambda: worker(3), "only the name may be given by position"),
    (lambda: Role(), 'a Role needs a name: Role("name", ...)'),  # type: ignore[call-arg]
    (lambda: TaskSet(roles=[]), 'a TaskSet needs a name: TaskSet("name", ...)'),  # type: ignore[call-arg]
    (lambda: Role("a", name="b"), "Role a: the name is given twice"),  # type: ignore[misc]
    (lambda: TaskSet("x", role=[]), "TaskSet has no field role; did you mean roles?"),  # type: ignore[call-arg, misc]
    (
        lambda: worker(devices=1),
        "devices: needs a mapping of device types to numbers, such as gpu: 1, not the number 1",
    ),
    (lambda: worker(devices="gpu"), "such as gpu: 1, not the text 'gpu'"),
    (lambda: worker(devices=["gpu"]), "such as gpu: 1, not a list"),
    (lambda: worker(replicas={"min": 3, "max": 2}), "replicas: min 3 is more than max 2"),
    (lambda: worker(replicas={"min": 2}), "replicas.max: is missing"),
    (
        lambda: worker(replicas={"min": "2", "max": 4}),
        "replicas.min: needs a whole number from 1 to 10000, not the text '2'",
    ),
    (lambda: worker(devices=None), "devices: has no value; give one or leave the field out"),
    (lambda: worker(devices={"gpu": "1"}), "devices.gpu: needs a whole number from 0 to 1000, not the text '1'"),
    (lambda: worker(memory=None), "memory: has no value; give one or leave the field out"),
    (lambda: worker(cpu=True), "resources.cpu: needs an amount of CPU, such as 2, 0.5 or 500m, not true"),
    (lambda: worker(cpu=float("nan")), "'nan' is not an amount of CPU"),
    (lambda: worker(memory="8GB"), "the unit is G, not GB"),
    (lambda: worker(replicas="3"), "replicas: needs a whole number from 1 to 10000, not the text '3'"),
    (lambda: worker(command="python x.py"), "command: needs a list of texts, not the text 'python x.py'"),
    (lambda: worker(command=print), "a TaskSet can't hold a builtin_function_or_method"),
    (lambda: worker(env=["A=1"]), "env: needs a mapping of names to values, not a list"),
    (lambda: Role("worker"), "a TaskSet is submitted, not a Role: TaskSet("),
    (lambda: "train.yaml", "a file is submitted by the command `octopus submit FILE`"),
    (lambda: None, "a TaskSet is submitted, not nothing"),
    (lambda: [worker()], "a TaskSet is submitted, not a list"),
]


@pytest.mark.parametrize(("make", "words"), CASES, ids=[words[:40] for _, words in CASES])
def test_it_is_told_in_one_sentence(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        submission.prepare(make(), None)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_workspace_that_is_no_path() -> None:
    with pytest.raises(InvalidSpec, match="a path is a text, not the number 3"):
        submission.prepare(worker(), 3)  # type: ignore[arg-type]


def test_wrong_arguments_are_type_errors_as_python_says_them() -> None:
    with pytest.raises(TypeError):
        Role("worker", replica=3)  # type: ignore[call-arg, misc]


def test_a_notebook_shows_the_sentence_and_the_callers_line() -> None:
    try:
        exec(compile("x = 1\nRole('worker', replica=3)", "/tmp/ipykernel_7/123.py", "exec"), {"Role": Role})
    except OctopusError as error:
        shown = error._render_traceback_()
    assert shown == [
        "WrongArgument: Role has no field replica; did you mean replicas?",
        "  (line 2 of the cell)",
    ]
    try:
        submission.prepare({}, None)
    except OctopusError as error:
        line = error.__traceback__.tb_lineno if error.__traceback__ else 0
        assert error._render_traceback_()[-1] == f"  ({Path(__file__)}, line {line})"
    assert InvalidSpec("never raised")._render_traceback_() == ["InvalidSpec: never raised"]


def test_ipython_asks_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell, hook = InteractiveShell(), sys.excepthook
    try:
        shell.run_cell("from octopus_hub import Role\nRole('worker', replica=3)")
    finally:
        shell.history_manager.end_session() if shell.history_manager else None
        sys.excepthook = hook
    said = capsys.readouterr().out
    assert "Role has no field replica" in said and "Traceback" not in said and "flat.py" not in said
