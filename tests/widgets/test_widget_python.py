"""The Python side: traits, messages, the kernel's follower, the plain output beside the view."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import msgspec
import octopus_widgets
import pytest
from octopus_widgets import GangView
from octopus_widgets.follower import Follower, Mirror, follower_of, part_for
from octopus_widgets.gang_view import as_json, page_without_extension
from octopus_widgets.shown import Shown

from octopus_hub.model.answers import Frame, TaskSetView
from octopus_hub.model.errors import Refused, Unavailable
from octopus_hub.model.status import Phase
from octopus_hub.model.task import TaskState
from tests.widgets.fakes import DEADLINE, FedClient
from tests.widgets.gangs import UID, delta, gang, node, row, rows, snapshot, view, waiting_place


class Sent:
    """Messages that a view sent to its pages."""

    def __init__(self, widget: GangView, monkeypatch: pytest.MonkeyPatch) -> None:
        self.messages: list[dict[str, Any]] = []
        self._some = threading.Condition()
        monkeypatch.setattr(widget, "send", self.take)
        self._hear = widget._hear

    def take(self, content: dict[str, Any], buffers: Any = None) -> None:
        """Called instead of the comm."""
        with self._some:
            self.messages.append(content)
            self._some.notify_all()

    def hear(self, **content: Any) -> None:
        """Say something as a page."""
        self._hear(None, content, [])

    def until(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many messages."""
        with self._some:
            assert self._some.wait_for(lambda: len(self.messages) >= count, DEADLINE), self.messages
            return self.messages


def settled(version: int = 9) -> Any:
    """Return the gang at its end, with its record."""
    return gang(Phase.SUCCEEDED, version=version, recorded_attempt=1, record="/records/1")


def test_traits_carry_a_first_picture() -> None:
    """The page needs no round trip to show something."""
    widget = GangView(FedClient().job(view(gang(), rows())))
    assert (widget.namespace, widget.name, widget.uid) == ("ada", "mnist-ps", UID)
    read = msgspec.json.decode(widget.view, type=TaskSetView)
    assert read.taskset.status.phase is Phase.RUNNING and read.tasks is not None and len(read.tasks) == 4
    assert abs(widget.now - time.time()) < 60
    assert {"namespace", "name", "uid", "view", "now", "_esm"} <= set(widget.get_state())


def test_rows_of_thousands_are_left_to_the_stream() -> None:
    """A message to the page stays small."""
    tasks = [row("worker", index) for index in range(5000)]
    assert len(as_json(view(gang(workers=5000), tasks))) < 5000


def test_bundle_shows_the_table_where_there_is_no_browser() -> None:
    """Both forms at once: a terminal takes the text, a notebook the view."""
    widget = GangView(FedClient().job(view(gang(), rows())))
    data, _ = widget._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    assert "mnist-ps" in data["text/plain"] and "worker" in data["text/plain"] and "Running" in data["text/plain"]


def test_stop_log_and_clock_by_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page without the extension asks of the kernel, and how it is refused."""
    client = FedClient()
    sent = Sent(GangView(client.job(view(gang()))), monkeypatch)
    sent.hear(type="hello")
    assert sent.messages[-1]["type"] == "clock" and abs(sent.messages[-1]["now"] - time.time()) < 60
    sent.hear(type="stop", id=1)
    assert sent.messages[-1] == {"type": "answer", "id": 1, "text": ""} and client.stopped == ["ada/mnist-ps"]
    sent.hear(type="log", id=2, role="worker", index=1, attempt=1, tail=200, follow=True)
    assert sent.messages[-1]["text"] == "line 1\nline 2\n"
    assert (client.queries[0].role, client.queries[0].index, client.queries[0].follow) == ("worker", 1, False)
    client.refusal = Refused("it is not yours to stop")
    sent.hear(type="stop", id=3)
    assert sent.messages[-1] == {"type": "answer", "id": 3, "error": "it is not yours to stop"}
    sent.hear(type="log", id=4, role=["x"], index="1", attempt=1, tail=200)
    assert "error" in sent.messages[-1]
    before = len(sent.messages)
    sent.hear(type="nonsense")
    sent.hear()
    assert len(sent.messages) == before


def test_frames_are_sent_only_when_a_page_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread begins with the first request and ends with the end; what is others' is left out."""
    client = FedClient()
    sent = Sent(GangView(client.job(view(gang(Phase.QUEUED)))), monkeypatch)
    assert client.streams == []
    sent.hear(type="follow")
    sent.hear(type="follow")
    other = gang(name="other", uid="uid-other")
    client.fed.put(snapshot(gang(), other, tasks=[*rows(), row("worker", 0, taskset="other", taskset_uid="uid-other")]))
    first = sent.until(1)[0]
    assert first["type"] == "snapshot" and "snapshot" not in first
    assert [each["metadata"]["uid"] for each in first["tasksets"]] == [UID] and len(first["tasks"]) == 4
    client.fed.put(delta(gang(name="other", uid="uid-other", version=2)))
    client.fed.put(delta(settled()))
    assert sent.until(2)[1]["tasksets"][0]["status"]["phase"] == "Succeeded"
    follower = follower_of(client, "ada")
    follower.join(DEADLINE)
    assert not follower.running and client.streams == [("ada", "")]


def test_unfollow_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that found the extension wants nothing from the kernel any more."""
    client = FedClient()
    sent = Sent(GangView(client.job(view(gang()))), monkeypatch)
    sent.hear(type="follow")
    client.fed.put(snapshot(gang(), tasks=rows()))
    sent.until(1)
    sent.hear(type="unfollow")
    client.fed.put(delta(gang(version=2)))
    follower_of(client, "ada").join(DEADLINE)
    assert len(sent.messages) == 1


def test_a_deleted_one_is_told_as_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the snapshot, and the service does not know it: removed. Unknown to the snapshot only: patience."""
    client = FedClient()
    sent = Sent(GangView(client.job(view(gang()))), monkeypatch)
    sent.hear(type="follow")
    client.fed.put(snapshot())
    assert not sent.until(1)[0].get("removed")
    client.known = None
    client.fed.put(snapshot(revision=2))
    assert sent.until(2)[1]["removed"] == {"tasksets": [UID]}


def test_pages_that_cannot_reach_the_extension_are_fed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In VS Code a request would be heard only after the running cell."""
    for name in ("VSCODE_PID", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    assert not page_without_extension()
    monkeypatch.setenv("VSCODE_PID", "1")
    assert page_without_extension()
    client = FedClient()
    GangView(client.job(view(gang())))
    client.fed.put(snapshot(settled()))
    follower_of(client, "ada").join(DEADLINE)
    assert client.streams == [("ada", "")]


class Told:
    """A listener that remembers."""

    def __init__(self, uid: str = UID) -> None:
        self.uid = uid
        self.done = False
        self.frames: list[Frame] = []
        self.losses: list[str] = []
        self.some = threading.Event()
        self.ends_with = 0

    def frame(self, frame: Frame) -> None:
        """Take a frame."""
        self.frames.append(frame)
        self.done = self.done or self.ends_with == len(self.frames)
        self.some.set()

    def lost(self, message: str) -> None:
        """Take a loss."""
        self.losses.append(message)
        self.some.set()


def follow(client: FedClient) -> Follower:
    """Return a follower of its own."""
    return Follower(client, "ada")  # type: ignore[arg-type]


def test_a_late_listener_starts_with_a_snapshot() -> None:
    """One thread for all; the second listener is told what is known, at once."""
    client = FedClient()
    follower = follow(client)
    early, late = Told(), Told("uid-late")
    follower.add(early)
    client.fed.put(snapshot(gang(), gang(name="late", uid="uid-late"), nodes=[node()]))
    client.fed.put(
        delta(tasks=[row("worker", 0, taskset="late", taskset_uid="uid-late")], places={"uid-late": waiting_place()})
    )
    client.fed.put(delta(gang(version=2)))
    while len(early.frames) < 2:
        assert early.some.wait(DEADLINE)
        early.some.clear()
    follower.add(late)
    assert late.frames[0].snapshot and [task.taskset for task in late.frames[0].tasks] == ["late"]
    assert late.frames[0].places and late.frames[0].nodes
    assert client.streams == [("ada", "")]
    early.done = late.done = True
    client.fed.put(delta(gang(version=3)))
    follower.join(DEADLINE)
    assert not follower.running


def test_an_absent_service_is_told_once_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread goes on; a new listener hurries it."""
    monkeypatch.setattr("octopus_widgets.follower.FIRST_PAUSE_SECONDS", 3600.0)
    client = FedClient()
    follower = follow(client)
    first = Told()
    follower.add(first)
    client.fed.put(Unavailable("no service here"))
    assert first.some.wait(DEADLINE)
    assert first.losses == ["no service here"]
    second = Told()
    first.ends_with = second.ends_with = 1
    follower.add(second)
    client.fed.put(snapshot(gang()))
    follower.join(DEADLINE)
    assert len(first.frames) == len(second.frames) == 1 and not follower.running


def test_a_view_that_fails_does_not_stop_the_others() -> None:
    """Each listener's trouble is its own."""

    class Bad(Told):
        def frame(self, frame: Frame) -> None:
            self.done = True
            raise RuntimeError("the comm is gone")

    client = FedClient()
    follower = follow(client)
    good = Told()
    good.ends_with = 1
    follower.add(Bad())
    follower.add(good)
    client.fed.put(snapshot(gang()))
    follower.join(DEADLINE)
    assert len(good.frames) == 1


def test_mirror_is_level() -> None:
    """A snapshot replaces all; rows of ended TaskSets are kept where wanted only."""
    mirror = Mirror()
    mirror.apply(snapshot(gang(), tasks=rows()), set())
    mirror.apply(delta(gone_tasks=["ada/mnist-ps-ps-0-1"]), set())
    assert len(mirror.snapshot(UID).tasks) == 3
    mirror.apply(delta(settled()), {UID})
    assert len(mirror.snapshot(UID).tasks) == 3
    mirror.apply(delta(), set())
    assert mirror.snapshot(UID).tasks == [] and mirror.snapshot(UID).tasksets
    mirror.apply(delta(gone=[UID]), set())
    assert mirror.snapshot(UID).tasksets == []
    mirror.apply(snapshot(gang(), tasks=rows()), set())
    mirror.apply(snapshot(), set())
    assert mirror.snapshot(UID).tasksets == []


def test_part_of_a_frame() -> None:
    """Only what is said about one TaskSet; nothing is nothing."""
    assert part_for(delta(gang(name="other", uid="other")), UID, "ada") is None
    part = part_for(
        delta(gang(), gang(name="other", uid="other"), gone=["x", UID], gone_tasks=["ada/a", "eve/b"]), UID, "ada"
    )
    assert part is not None
    assert [each.metadata.uid for each in part.tasksets] == [UID]
    assert (part.removed.tasksets, part.removed.tasks) == ([UID], ["ada/a"])


def test_plain_output_is_written_at_phase_changes_only() -> None:
    """Not at each row's news; the traits get the same view; it ends with the record."""
    written: list[str] = []
    renewed: list[TaskSetView] = []
    shown = Shown(view(gang(Phase.QUEUED)), written.append, renewed.append)
    shown.frame(snapshot(gang(Phase.QUEUED), places={UID: waiting_place()}))
    assert written == []
    shown.frame(delta(gang(version=2), tasks=rows()))
    assert len(written) == 1 and "Running" in written[0] and "worker" in written[0]
    shown.frame(delta(tasks=[row("worker", 0, usage=rows()[1].usage)]))
    assert len(written) == 1
    shown.frame(delta(gang(Phase.SUCCEEDED, version=3), tasks=rows(TaskState.SUCCEEDED)))
    assert not shown.done
    shown.frame(delta(settled()))
    assert shown.done and len(written) == 3 and "/records/1" in written[-1]
    assert [each.taskset.status.phase.value for each in renewed] == ["Running", "Succeeded", "Succeeded"]


def test_plain_output_of_one_that_is_too_new_for_a_snapshot_catches_up() -> None:
    """A job that is shown the moment it was submitted is not in what the thread knows yet."""
    written: list[str] = []
    shown = Shown(view(gang(Phase.STARTING), rows(TaskState.PENDING)), written.append, lambda _: None)
    shown.frame(snapshot())
    assert written == [] and not shown.done
    shown.frame(delta(gang(version=2), tasks=rows()))
    shown.frame(delta(settled(), tasks=rows(TaskState.SUCCEEDED)))
    assert len(written) == 2 and "Succeeded" in written[-1] and shown.done


def test_importing_the_package_is_cheap() -> None:
    """ipywidgets is imported when a view is made, not before."""
    code = "import sys, octopus_widgets; assert 'anywidget' not in sys.modules and 'ipywidgets' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = octopus_widgets.Nothing
