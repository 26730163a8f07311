"""What a notebook's cell shows of a job: short words, and no wall of fields or frames of our own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

import octopus_hub
from octopus_hub import Lifetime, TaskSet, submit
from octopus_hub.client.sync import Client
from octopus_hub.model import taskset
from octopus_hub.model.base import ApiStruct
from octopus_hub.model.status import Phase
from tests.client.drivers import small


def test_the_end_and_the_record_in_one_line(client: Client) -> None:
    job = submit(small("short", "true"), None, client=client)
    assert repr(job.wait(120)) == "Succeeded"
    assert job.phase is Phase.SUCCEEDED
    assert repr(job.record) == f"<Record ada/short@1 Succeeded {job.record.path}>"


def test_interrupting_a_followed_log(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit(small("read", "sh", "-c", "echo begun; sleep 600"), None, client=client)
    real = client.logs

    def interrupted(*asked: Any) -> Iterator[bytes]:
        yield next(iter(real(*asked)))
        signal.raise_signal(signal.SIGINT)  # while the reader waits for more

    monkeypatch.setattr(client, "logs", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt, match="the reading has ended; read goes on") as caught:
            for line in job.logs(follow=True):
                assert line == "begun\n"
        assert caught.value.__suppress_context__
        assert not job.phase.terminal
    finally:
        job.stop()


def test_whatever_a_spec_is_written_with_is_a_public_name() -> None:
    kinds = [value for value in vars(taskset).values() if isinstance(value, type) and issubclass(value, ApiStruct)]
    written = {kind.__name__ for kind in kinds if kind.__module__ == taskset.__name__}
    assert written - set(octopus_hub.__all__) == {"Metadata", "Resolved", "Spec", "Workspace"}  # the flat form's, ours
    assert TaskSet("tied", roles=[], lifetime=Lifetime(mode="kernel")).spec.lifetime.mode == "kernel"
