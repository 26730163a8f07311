"""A job in a program, against a real engine: see it, wait for it, read it, fetch its results."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from octopus_hub import Role, TaskSet, run, submit
from octopus_hub.client import job as jobs
from octopus_hub.client.failures import TaskSetFailed, WaitTimeout
from octopus_hub.client.job import Job, Logs, lines_of
from octopus_hub.client.sync import Client
from octopus_hub.model.errors import Conflict, InvalidSpec, NotFound, OctopusError
from octopus_hub.model.status import Phase
from tests.client.drivers import small
from tests.engine import RunningEngine


@pytest.fixture
def stopped_after(client: Client) -> Iterator[list[Job]]:
    """Jobs that a test leaves running."""
    left: list[Job] = []
    yield left
    for job in left:
        job.stop()


def test_submit_wait_logs_outputs_record(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    Path("train.py").write_text(
        "import octopus_hub, os\n"
        "print('rank', os.environ['OCTOPUS_RANK'])\n"
        "octopus_hub.log(step=1, loss=0.5)\n"
        "os.makedirs('out', exist_ok=True)\n"
        "open('out/rank.csv', 'w').write(os.environ['OCTOPUS_RANK'])\n"
    )
    taskset = TaskSet(
        "train", roles=[Role("worker", replicas=2, command=["python", "train.py"])], outputs=["out/*.csv"]
    )
    job = submit(taskset, client=client)
    assert job.name == "train"
    assert job.wait(120) is Phase.SUCCEEDED
    assert list(job.logs("worker", 1)) == ["rank 1\n"]
    assert str(job.logs(index=0)) == "rank 0\n"
    assert {output.path for output in job.outputs} == {"worker-0/out/rank.csv", "worker-1/out/rank.csv"}
    assert "worker-1/out/rank.csv  1 B   sha256:" in repr(job.outputs)
    files = job.outputs.download()
    assert [file.read_text() for file in files] == ["0", "1"]
    assert files[0] == Path("train-outputs/worker-0/out/rank.csv")
    assert job.outputs.download(tmp_path / "there")[0].parent.parent == tmp_path / "there" / "worker-0"
    assert job.record.phase is Phase.SUCCEEDED
    assert Path(job.record.path, "record.json").is_file()
    assert job.metrics == {"loss": 0.5}
    assert str(job.timeline).splitlines()[-1].split()[3] == "Succeeded"
    again = submit(taskset, client=client)
    assert again.name == "train-2", "running the cell again is never an error"
    assert again.uid != job.uid
    again.wait(120)


def test_text_of_a_job(client: Client, stopped_after: list[Job]) -> None:
    job = submit(small("texts", "sleep", "600"), None, client=client)
    stopped_after.append(job)
    next(view for view in job.watch(60) if view.taskset.status.phase is Phase.RUNNING)
    text = str(job)
    assert text.startswith("texts  Running")
    assert "ROLE    TASK  STATE" in text
    assert repr(job) == "<Job ada/texts Running>"
    assert job._repr_mimebundle_()["text/plain"].startswith("texts  Running")
    with pytest.raises(NotImplementedError):
        job._ipython_display_()  # no kernel here: IPython shows the text instead
    assert [task.role for task in job.tasks] == ["worker"]
    assert Job.find("texts", client=client).uid == job.uid


def test_why_it_runs_and_how_it_ended(client: Client) -> None:
    job = submit(TaskSet("why", roles=[Role("worker", command=["sleep", "600"])]), None, client=client)
    next(view for view in job.watch(60) if view.taskset.status.phase is Phase.RUNNING)
    text = repr(job.why())
    assert text.splitlines()[0] == "why" and "worker runs on node-" in text and "preempt it" in text
    job.stop()
    assert job.wait(60) is Phase.STOPPED
    assert job.why().splitlines()[1].startswith("  Stopped")


def test_interrupting_wait_leaves_it_running(client: Client, stopped_after: list[Job]) -> None:
    job = submit(small("interrupted", "sleep", "600"), None, client=client)
    stopped_after.append(job)
    seen = threading.Event()

    def interrupt() -> None:
        seen.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    real = job._changes

    def watched(timeout: float | None) -> Iterator[object]:
        for view in real(timeout):
            seen.set()
            yield view

    job._changes = watched  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyboardInterrupt, match=r"interrupted keeps running; job\.stop\(\) stops it"):
        job.wait()
    assert not job.status().phase.terminal


def test_waiting_not_for_ever(client: Client, stopped_after: list[Job]) -> None:
    job = submit(small("patient", "sleep", "600"), None, client=client)
    stopped_after.append(job)
    with pytest.raises(WaitTimeout, match=r"patient is still \w+ after 0.3 s; it keeps running"):
        job.wait(0.3)
    with pytest.raises(TimeoutError):  # what other libraries raise
        job.wait(0)
    assert not job.status().phase.terminal


def test_stop(client: Client) -> None:
    job = submit(small("stopped", "sleep", "600"), None, client=client)
    job.stop()
    assert job.wait(60) is Phase.STOPPED
    assert job.record.phase is Phase.STOPPED or job.record.attempt == 0
    job.stop()


def test_a_job_that_never_started_has_no_record(client: Client) -> None:
    job = submit(small("unstarted", hold=True), None, client=client)
    assert "unstarted  Held" in str(job)
    with pytest.raises(Conflict, match="has not ended, so it has no record yet"):
        _ = job.record
    job.hold()
    job.stop()
    assert job.wait(60) is Phase.STOPPED
    released = submit(small("released", hold=True), None, client=client)
    released.release()
    assert released.wait(60) is Phase.SUCCEEDED


def test_run_says_why_it_failed(client: Client) -> None:
    with pytest.raises(TaskSetFailed) as told:
        run(small("failing", "sh", "-c", "exit 3"), None, timeout=120, client=client)
    assert "worker 0 failed" in told.value.message
    assert "exit code 3" in told.value.message
    assert told.value.details == {"name": "failing", "phase": "Failed"}
    assert run(small("fine"), None, timeout=120, client=client).view.taskset.status.phase is Phase.SUCCEEDED


def test_following_a_log(client: Client, tmp_path: Path) -> None:
    """Lines come while the task runs; the reading ends with the task."""
    gate = tmp_path / "gate"
    code = f"echo one; while [ ! -e {gate} ]; do sleep 0.05; done; printf two"
    job = submit(small("followed", "sh", "-c", code), None, client=client)
    lines = iter(job.logs(follow=True))
    assert next(lines) == "one\n"
    assert not job.status().phase.terminal
    gate.touch()
    assert list(lines) == ["two"]
    assert list(job.logs(tail=1)) == ["two"]
    job.wait(60)


def test_a_log_that_is_followed_before_its_task_exists(client: Client) -> None:
    """Whoever comes first, the reader or the task's folder: the reader gets the log."""
    for number in range(10):
        job = submit(small(f"early-{number}", "echo", "hi", hold=True), None, client=client)
        read: list[str] = []
        reader = threading.Thread(target=lambda job=job, read=read: read.extend(job.logs(follow=True)), daemon=True)
        reader.start()
        job.release()
        reader.join(60)
        assert read == ["hi\n"]


def test_which_role_is_meant(client: Client) -> None:
    two = TaskSet("roles", roles=[Role("ps", command=["true"]), Role("worker", command=["true"])], hold=True)
    job = submit(two, None, client=client)
    with pytest.raises(InvalidSpec, match="roles has the roles ps, worker; say which"):
        job.logs()
    with pytest.raises(NotFound, match="has no role 'chief'; its roles are ps, worker"):
        job.logs("chief")
    assert isinstance(job.logs("ps"), Logs)
    main = TaskSet("m", roles=[Role("ps", command=["x"]), Role("worker", main=True, command=["x"])])
    assert jobs.choose_role(main, None) == "worker"
    job.delete()


def test_a_deleted_job_and_a_namesake(client: Client) -> None:
    job = submit(small("namesake", hold=True, labels={"n": "1"}), None, client=client)
    watching = job.watch(60)
    next(watching)
    job.delete()
    with pytest.raises(NotFound, match="was deleted"):
        for _ in watching:
            pass
    other = submit(small("namesake", hold=True), None, client=client)
    assert other.name == "namesake"
    with pytest.raises(NotFound, match="another TaskSet has that name now"):
        job.refresh()
    with pytest.raises(NotFound):
        job.wait(60)
    assert "as last seen" in str(job)
    other.delete()


def test_a_finished_job_says_the_same_without_the_service(client: Client) -> None:
    job = submit(small("settled"), None, client=client, wait=True)
    assert job.record.name == "settled"
    job.client = Client("http://127.0.0.1:9", "t")
    assert str(job).startswith("settled  Succeeded")
    assert job.record.name == "settled"
    assert job.wait() is Phase.SUCCEEDED


def test_a_job_whose_service_is_away_shows_what_was_seen(client: Client) -> None:
    job = submit(small("unseen", hold=True), None, client=client)
    job.client, mine = Client("http://127.0.0.1:9", "t"), job.client
    text = str(job)
    assert text.startswith("unseen  ")
    assert "as last seen; the octopus service at" in text
    job.client = mine
    job.delete()


def test_notices_are_warnings(client: Client, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        submit(small("noticed", hold=True), tmp_path, client=client).delete()
    assert [str(each.message) for each in caught] == [
        "left out of the workspace, since it leads elsewhere: link -> /etc/hostname"
    ]
    assert caught[0].filename == __file__


def test_the_default_client_follows_the_environment(account: RunningEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTOPUS_STATE", str(account.state))
    for name in ("OCTOPUS_URL", "OCTOPUS_TOKEN", "OCTOPUS_SERVICE_URL"):
        monkeypatch.delenv(name, raising=False)
    first = jobs.default_client()
    assert jobs.default_client() is first
    assert first.whoami()["user"] == "ada"
    monkeypatch.setenv("OCTOPUS_URL", first.connection.url)
    monkeypatch.setenv("OCTOPUS_TOKEN", "other")
    assert jobs.default_client() is not first
    monkeypatch.delenv("OCTOPUS_URL")
    monkeypatch.setenv("OCTOPUS_STATE", "/nonexistent")
    with pytest.raises(OctopusError, match="no octopus service is known"):
        jobs.default_client()


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([], []),
        ([b"a\nb\n"], ["a\n", "b\n"]),
        ([b"a", b"b", b"\nc"], ["ab\n", "c"]),
        ([b"\n\n"], ["\n", "\n"]),
        (["é".encode()[:1], "é".encode()[1:] + b"\n"], ["é\n"]),
        ([b"\xff\n\xc3"], ["\N{REPLACEMENT CHARACTER}\n", "\N{REPLACEMENT CHARACTER}"]),
        ([b"a\r\nb\x0cc\x1cd\n"], ["a\r\n", "b\x0cc\x1cd\n"]),
    ],
)
def test_lines_of_bytes(chunks: list[bytes], lines: list[str]) -> None:
    assert list(lines_of(iter(chunks))) == lines


def test_a_line_of_many_pieces_takes_no_time_that_grows_with_its_square() -> None:
    pieces = [b"x" * 1000] * 20_000
    assert [len(line) for line in lines_of(iter(pieces))] == [20_000_000]
