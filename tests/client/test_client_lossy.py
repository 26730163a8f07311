"""Connections that break: what is safe is sent again and happens once; what is not is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from octopus_hub.client import archive, calls, exchange, transport
from octopus_hub.client.calls import LogQuery
from octopus_hub.client.exchange import StreamLost
from octopus_hub.client.failures import WaitTimeout
from octopus_hub.client.sync import Client
from octopus_hub.model.errors import NotFound, Unavailable
from tests.client.drivers import DRIVERS, AsyncDriver, Driver, LossyProxy, SyncDriver, connection_of, small
from tests.engine import RunningEngine

BOTH = pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.__name__)
Lossy = Callable[..., tuple[Driver, LossyProxy]]


@pytest.fixture
def lossy(account: RunningEngine) -> Iterator[Lossy]:
    """Make a driver whose connections go through a lossy proxy."""
    made: list[Any] = []

    def make(kind: type[SyncDriver] | type[AsyncDriver], *plan: str) -> tuple[Driver, LossyProxy]:
        url, token = connection_of(account)
        proxy = LossyProxy(url, *plan)
        driver = kind(proxy.url, token)
        made.extend((driver, proxy))
        return driver, proxy

    yield make
    for each in made:
        each.__exit__(None, None, None)


@BOTH
@pytest.mark.parametrize("loss", ["refuse", "before", "after"])
def test_a_submission_that_was_lost_is_repeated_and_creates_once(
    kind: Any, loss: str, lossy: Lossy, client: Client
) -> None:
    driver, proxy = lossy(kind, loss, loss, "pass")
    name = f"lossy-{loss}-{kind.__name__.lower()}"
    made = driver.call("submit", small(name, hold=True))
    assert proxy.connections == 3
    assert [view.taskset.name for view in client.list() if view.taskset.name.startswith(name)] == [made.name] == [name]


@BOTH
def test_a_call_that_is_not_safe_is_not_repeated(kind: Any, lossy: Lossy, client: Client) -> None:
    """Without a key, nothing tells whether the submission came through: the user has to look."""
    driver, proxy = lossy(kind, "after", "pass")
    name = f"unsafe-{kind.__name__.lower()}"
    unsafe = calls.submit(small(name, hold=True))
    assert not unsafe.safe
    with pytest.raises(Unavailable):
        driver.call("_call", unsafe)
    assert proxy.connections == 1
    assert len([view for view in client.list() if view.taskset.name.startswith(name)]) == 1


@BOTH
def test_what_was_never_sent_is_sent_again_safe_or_not(kind: Any, lossy: Lossy) -> None:
    driver, proxy = lossy(kind)
    proxy.close()  # nobody listens
    with pytest.raises(Unavailable, match="connection refused") as told:
        driver.call("_call", calls.submit(small("nobody")))
    assert proxy.url in str(told.value)
    assert "octopus up" in str(told.value)


@BOTH
@pytest.mark.parametrize(
    ("method", "arguments"),
    [("whoami", ()), ("list", ()), ("stop", ("wished",)), ("nodes", ()), ("plan", (small("p"),))],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_safe_calls_survive_losses(kind: Any, method: str, arguments: Any, lossy: Lossy, client: Client) -> None:
    try:
        client.get("wished")
    except NotFound:
        client.submit(small("wished", hold=True))
    driver, proxy = lossy(kind, "after", "before", "refuse", "pass")
    assert driver.call(method, *arguments)
    assert proxy.connections == 4


@BOTH
def test_a_delete_whose_answer_was_lost_is_done(kind: Any, lossy: Lossy, client: Client) -> None:
    name = client.submit(small("gone", hold=True)).name
    driver, _ = lossy(kind, "after", "pass")
    driver.call("delete", name)
    with pytest.raises(NotFound):
        for _ in client.stream("-", name):  # until the engine has taken it away
            client.get(name)


@BOTH
def test_an_upload_starts_from_the_beginning_again(kind: Any, lossy: Lossy, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(kind.__name__.encode() * 100_000)
    packed = archive.pack(tmp_path)
    driver, _ = lossy(kind, "pass", "before", "pass")
    driver.call("_call", calls.put_blob(packed.digest, packed.size, packed.chunks))
    assert driver.call("has_blob", packed.digest)


@BOTH
def test_a_service_that_stays_away_is_told_after_some_tries(
    kind: Any, lossy: Lossy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "FIRST_DELAY_SECONDS", 0.01)
    driver, proxy = lossy(kind, "before")
    with pytest.raises(Unavailable, match="can't be reached"):
        driver.call("whoami")
    assert proxy.connections == exchange.TRIES


# --- streams


@BOTH
def test_a_stream_begins_with_a_snapshot_and_goes_on_with_deltas(kind: Any, lossy: Lossy, client: Client) -> None:
    driver, _ = lossy(kind, "pass")
    name = client.submit(small("streamed", hold=True)).name
    seen: list[Any] = []

    def released(frame: Any) -> bool:
        seen.append(frame)
        if len(seen) == 1:
            client.release(name)
        return any(each.status.phase.terminal for each in frame.tasksets if each.name == name)

    driver.take("stream", "-", name, until=released)
    assert [frame.snapshot for frame in seen] == [True, *[False] * (len(seen) - 1)]
    assert [frame.revision for frame in seen] == sorted(frame.revision for frame in seen)
    assert {each.name for frame in seen for each in frame.tasksets} == {name}, "only what was asked for"
    assert any(frame.tasks for frame in seen)


@BOTH
def test_a_lost_stream_begins_again_with_a_snapshot(kind: Any, lossy: Lossy, client: Client) -> None:
    """What happened in the gap is in the snapshot: level, not edge."""
    driver, proxy = lossy(kind, "pass")
    name = client.submit(small("gap", hold=True)).name
    seen: list[Any] = []

    def cut_then_again(frame: Any) -> bool:
        seen.append(frame)
        if len(seen) == 1:
            proxy.plan("refuse", "before", "pass")
            client.stop(name)
            proxy.cut()
        return frame.snapshot and len(seen) > 1

    driver.take("stream", "-", name, until=cut_then_again)
    snapshots = [frame for frame in seen if frame.snapshot]
    assert len(snapshots) == 2
    assert snapshots[0].tasksets[0].metadata.stop_requested_at is None
    assert snapshots[1].tasksets[0].metadata.stop_requested_at is not None


@BOTH
def test_a_stream_whose_service_stays_away_ends_with_a_sentence(
    kind: Any, lossy: Lossy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange.Patience.__init__, "__defaults__", (0.5,))
    driver, proxy = lossy(kind, "pass")

    def cut(frame: Any) -> bool:
        proxy.close()
        return False

    with pytest.raises(Unavailable, match="can't be reached"):
        driver.take("stream", until=cut)


def test_a_deadline_ends_a_silent_stream(lossy: Lossy) -> None:
    """Keep-alive comments renew the timeout of a read; the deadline counts all the same."""
    driver, _ = lossy(SyncDriver, "pass")
    started = time.monotonic()
    with pytest.raises(WaitTimeout):
        driver.take("stream", "-", "no-such-name", deadline=started + 0.3)
    assert 0.3 <= time.monotonic() - started < 20


def test_a_deadline_counts_while_the_service_is_away(lossy: Lossy) -> None:
    driver, proxy = lossy(SyncDriver, "pass")

    def away(frame: Any) -> bool:
        proxy.plan("refuse")
        proxy.cut()
        return False

    with pytest.raises(WaitTimeout):
        driver.take("stream", deadline=time.monotonic() + 1.0, until=away)


@BOTH
def test_a_log_that_breaks_off_is_told(kind: Any, lossy: Lossy, client: Client) -> None:
    """What was read is the caller's; that it may not be all is said."""
    name = client.submit(small("talker", "sh", "-c", "echo first; sleep 600")).name
    driver, proxy = lossy(kind, "pass")

    def cut(chunk: bytes) -> bool:
        if b"first" in chunk:
            proxy.cut()
        return False

    with pytest.raises(StreamLost, match="was lost"):
        driver.take("logs", name, LogQuery("worker", 0, follow=True), until=cut)
    client.stop(name)


def test_timeouts_allow_for_the_keep_alive_of_the_service() -> None:
    read = transport.STREAM_TIMEOUT.read
    assert read is not None
    assert read >= 2 * transport.KEEP_ALIVE_SECONDS
    assert transport.LOG_TIMEOUT.read is None
