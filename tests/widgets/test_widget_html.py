"""The plain output of reopened notebooks: golden files, escaping, bounds. Renew with OCTOPUS_GOLDEN=write."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from octopus_widgets.html import render

from octopus_hub.model.answers import TaskSetView
from octopus_hub.model.status import Phase
from octopus_hub.model.task import TaskState
from octopus_hub.model.taskset import Metadata, Role, Spec, TaskSet
from tests.widgets.gangs import T0, failed, failed_rows, gang, row, rows, view, waiting_place

GOLDEN = Path(__file__).parent / "golden"
CASES: dict[str, TaskSetView] = {
    "queued": view(gang(Phase.QUEUED), place=waiting_place()),
    "running": view(gang(attempt=2), rows()),
    "failed": view(failed(), failed_rows()),
    "succeeded": view(
        gang(Phase.SUCCEEDED, recorded_attempt=1, record="/records/ada/mnist-ps/1"), rows(TaskState.SUCCEEDED)
    ),
    "large": view(
        gang(workers=200), [row("worker", at, TaskState.FAILED if at == 7 else TaskState.RUNNING) for at in range(200)]
    ),
}
# What JupyterLab's sanitizer lets through, of what is used (@jupyterlab/apputils sanitizer).
ELEMENTS = {"div", "b", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "code"}
PROPERTIES = {"border-left", "padding", "margin", "color", "text-align", "font-size"}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Golden files are of one time zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    """The whole output, as it stands in a notebook."""
    file = GOLDEN / f"{case}.html"
    html = render(CASES[case], T0 + 80) + "\n"
    if os.environ.get("OCTOPUS_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(html)
    assert html == file.read_text()


class Seen(HTMLParser):
    """Collects elements, attributes and text; notes what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.properties: set[str] = set()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.open.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "style":
                self.properties |= {part.partition(":")[0].strip() for part in (value or "").split(";")}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def seen(html: str) -> Seen:
    """Parse a rendering."""
    parser = Seen()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("case", CASES)
def test_only_what_a_notebook_keeps(case: str) -> None:
    """Well-formed, and of elements, attributes and properties that no sanitizer removes."""
    found = seen(render(CASES[case], T0 + 80))
    assert found.elements <= ELEMENTS
    assert found.attributes <= {"class", "style"}
    assert found.properties <= PROPERTIES


def test_everything_is_escaped() -> None:
    """Markup in any text stays text, quotes in the uid cannot leave the class."""
    bad = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"
    taskset = TaskSet(
        metadata=Metadata(name=bad, uid=bad, namespace="ada"),
        spec=Spec(roles=[Role(bad, replicas=1, devices={bad: 1})]),
        status=failed(message=bad, reason=bad, record=bad).status,
    )
    why = msgspec.structs.replace(taskset.status.roles[1].exceptional[0], cause=bad, advice=bad)
    role = msgspec.structs.replace(taskset.status.roles[1], name=bad, exceptional=[why])
    status = msgspec.structs.replace(taskset.status, roles=[role])
    taskset = msgspec.structs.replace(taskset, status=status)
    task = row("ps", 0, TaskState.FAILED, node=bad, message=bad, devices={bad: [bad]})
    place = msgspec.structs.replace(waiting_place(), message=bad, basis=bad)
    queued = msgspec.structs.replace(taskset, status=msgspec.structs.replace(status, phase=Phase.QUEUED))
    for each in (view(taskset, [msgspec.structs.replace(task, role=bad)]), view(queued, place=place)):
        found = seen(render(each, T0 + 80))
        assert found.elements <= ELEMENTS and found.attributes <= {"class", "style"}
        assert "".join(found.words).count("<script>") >= 3


def test_what_we_stopped_has_not_failed() -> None:
    """A parameter server that is stopped because the workers are done is no failure."""
    html = render(view(gang(Phase.SUCCEEDED), [row("ps", 0, TaskState.FAILED, end_reason="Stopped", signal=15)]), T0)
    assert "Stopped" in html and "Failed" not in html and "signal" not in html


def test_large_gangs_stay_small() -> None:
    """Ten thousand tasks are counted, not listed."""
    tasks = [row("worker", at) for at in range(10_000)]
    assert len(render(view(gang(workers=10_000), tasks), T0)) < 4000
