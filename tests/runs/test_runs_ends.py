"""A record at the end of every attempt, whatever its end (law 13), also over a closed engine and lost files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.record import Record, from_json, to_json
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Lifetime, Restart, Role
from tests.runs.engine import OWNER, Engine, python, started


def logs(record: Record) -> dict[str, str]:
    return {task.log: Path(record.path, task.log).read_text() for task in record.tasks}


def on_disk(record: Record) -> Record:
    content = Path(record.path, "record.json").read_bytes()
    assert json.loads(content)["schemaVersion"] == 1, "stated, whatever the default"
    return from_json(content)


@pytest.mark.parametrize(
    ("text", "phase", "exit_code", "signal"),
    [
        ("print('fine')", Phase.SUCCEEDED, 0, None),
        ("print('bad'); raise SystemExit(3)", Phase.FAILED, 3, None),
        ("import os; print('ugly', flush=True); os.kill(os.getpid(), 11)", Phase.FAILED, None, 11),
    ],
)
async def test_every_way_to_end(
    engine: Engine, text: str, phase: Phase, exit_code: int | None, signal: int | None
) -> None:
    record = await engine.run("job", roles=[Role("main", command=python(text))])
    assert (record.phase, record.tasks[0].exit_code, record.tasks[0].signal) == (phase, exit_code, signal)
    assert record.final and record.attempt == 1 and record.seed == 7
    assert record.started_at and record.finished_at and record.started_at <= record.finished_at
    assert on_disk(record) == record
    assert next(iter(logs(record).values())).split()[0] in ("fine", "bad", "ugly")
    environment = record.environments["main"]
    assert environment.digest == record.resolved["images"]["main"]
    assert any(line.startswith("msgspec==") for line in environment.lock)


async def test_a_command_that_does_not_exist(engine: Engine) -> None:
    record = await engine.run("job", roles=[Role("main", command=["no-such-command"])])
    assert record.phase is Phase.FAILED and record.tasks[0].failure_class == "permanent"
    assert "no-such-command" in record.message


async def test_a_stop_and_a_delete(engine: Engine) -> None:
    forever = Role(
        "main", command=python("open('out.txt','w').write('x'); print('up', flush=True); import time; time.sleep(600)")
    )
    job = await engine.submit("job", roles=[forever], outputs=["out.txt"])
    await engine.phase(job, Phase.RUNNING)
    await engine.until_file(engine.folder / "tasks/anna/job/job-main-0-1/work/out.txt")
    await engine.backend.update_intent(job.metadata.uid, delete=True)
    await engine.until(lambda: job.metadata.uid not in engine.cache.tasksets)
    record = await engine.backend.get_record(OWNER, job.metadata.uid)
    assert record.phase is Phase.STOPPED and record.final
    assert [output.path for output in record.outputs] == ["main-0/out.txt"]
    assert logs(record) == {"logs/main-0-1.log": "up\n"}, "logs stay when the TaskSet is deleted"
    assert not (engine.folder / "tasks/anna/job").exists()


async def test_a_deadline(engine: Engine) -> None:
    role = Role("main", command=["sleep", "600"])
    record = await engine.run("job", roles=[role], lifetime=Lifetime(max_runtime_seconds=0.2))
    assert (record.phase, record.reason) == (Phase.FAILED, "DeadlineExceeded")


async def test_every_attempt_before_a_restart_has_its_own(engine: Engine) -> None:
    text = "import os; n = int(os.environ['OCTOPUS_ATTEMPT']); print('attempt', n); open('n','w').write(str(n)); exit(n < 3)"
    role = Role("main", command=python(text), restart=Restart(scope="gang", max_restarts=3, delay_seconds=0.01))
    job = await engine.submit("job", roles=[role], outputs=["n"])
    last = await engine.recorded(job)
    assert (last.attempt, last.phase, last.final) == (3, Phase.SUCCEEDED, True)
    for attempt in (1, 2):
        record = await engine.backend.get_record(OWNER, "job", attempt)
        assert not record.final and record.phase is Phase.FAILED and record.reason == "TaskFailed"
        assert [(task.attempt, task.exit_code) for task in record.tasks] == [(attempt, 1)]
        assert "exit code 1" in record.message, "what ended this attempt, not what came after"
        assert logs(record) == {f"logs/main-0-{attempt}.log": f"attempt {attempt}\n"}
        assert Path(record.path, "outputs/main-0/n").read_text() == str(attempt)
        assert record.started_at == record.tasks[0].started_at
    assert last.started_at == last.tasks[0].started_at, "its own start, not that of the first attempt"
    assert Path(last.path, "outputs/main-0/n").read_text() == "3"


async def test_a_task_restarted_alone_keeps_its_logs_and_gives_its_last_outputs(engine: Engine) -> None:
    text = (
        "import os; n = int(os.environ['OCTOPUS_ATTEMPT']); print('try', n); open(f'n{n}','w').write('x'); exit(n < 2)"
    )
    role = Role("main", command=python(text), restart=Restart(scope="task", max_restarts=3, delay_seconds=0.01))
    record = await engine.run("job", roles=[role], outputs=["n*"])
    assert record.phase is Phase.SUCCEEDED and record.attempt == 1
    assert logs(record) == {"logs/main-0-1.log": "try 1\n", "logs/main-0-2.log": "try 2\n"}
    assert [output.path for output in record.outputs] == ["main-0/n2"], "an unfinished try leaves no results"


async def test_an_end_while_no_engine_ran(tmp_path: Path) -> None:
    """Law 11: closed before the end, opened after it; the record is written then, with outputs and log."""
    gate = tmp_path / "gate"
    text = f"""
import os, time
print("waiting", flush=True)
while not os.path.exists({str(gate)!r}):
    time.sleep(0.02)
open("out.txt", "w").write("done")
print("done")
"""
    async with started(tmp_path / "state") as engine:
        job = await engine.submit("job", roles=[Role("main", command=python(text))], outputs=["out.txt"])
        await engine.phase(job, Phase.RUNNING)
        await engine.close()
        gate.touch()
        await engine.until_file(engine.folder / "tasks/anna/job/job-main-0-1/exit.json")
        engine.reset()
        await engine.open()
        record = await engine.recorded(job)
    assert record.phase is Phase.SUCCEEDED and record.tasks[0].exit_code == 0
    assert [output.path for output in record.outputs] == ["main-0/out.txt"]
    assert logs(record) == {"logs/main-0-1.log": "waiting\ndone\n"}


async def test_an_engine_closed_between_end_and_record(tmp_path: Path) -> None:
    """The verdict stands, the record does not: the next engine writes it, once and equal."""
    async with started(tmp_path / "state") as engine:
        reached = engine.stop_before_record()
        role = Role("main", command=python("open('out.txt', 'w').write('x')"))
        job = await engine.submit("job", roles=[role], outputs=["out.txt"])
        await engine.happened(reached)
        assert engine.cache.tasksets[job.metadata.uid].status.phase is Phase.SUCCEEDED
        await engine.close()
        engine.reset()
        await engine.open()
        record = await engine.recorded(job)
        assert record.phase is Phase.SUCCEEDED and [o.path for o in record.outputs] == ["main-0/out.txt"]
        assert len(await engine.backend.list_records(OWNER)) == 1


async def test_an_engine_closed_in_the_middle_of_a_record(tmp_path: Path) -> None:
    """The files stand, the index and the status do not know: written again, it is the same record."""
    async with started(tmp_path / "state") as engine:
        reached = engine.stop_after_record()
        job = await engine.submit("job", roles=[Role("main", command=["true"])])
        await engine.happened(reached)
        first = on_disk(await engine.backend.get_record(OWNER, "job"))
        await engine.close()
        engine.reset()
        await engine.open()
        again = await engine.recorded(job)
        assert again == first and len(await engine.backend.list_records(OWNER)) == 1


async def test_outputs_that_vanished_are_said_not_fatal(tmp_path: Path) -> None:
    async with started(tmp_path / "state") as engine:
        reached = engine.stop_before_record()
        role = Role("main", command=python("open('out.txt', 'w').write('x')"))
        job = await engine.submit("job", roles=[role], outputs=["out.txt", "more/*"])
        await engine.happened(reached)
        await engine.close()
        shutil.rmtree(engine.folder / "tasks/anna/job")
        engine.reset()
        await engine.open()
        record = await engine.recorded(job)
    assert record.phase is Phase.SUCCEEDED and record.outputs == []
    assert "Nothing was left that matches the declared outputs (out.txt, more/*)." in record.message


async def test_a_record_that_can_not_be_written_is_tried_again(engine: Engine) -> None:
    """A full or read-only disk delays a record, it does not lose it."""
    place = engine.folder / "records"
    shutil.rmtree(place, ignore_errors=True)
    place.write_text("in the way")
    job = await engine.submit("job", roles=[Role("main", command=["true"])])
    await engine.phase(job, Phase.SUCCEEDED)
    await engine.failures(1)
    place.unlink()
    record = await engine.recorded(job)
    assert record.phase is Phase.SUCCEEDED


async def test_a_name_that_is_no_text_costs_the_output_not_the_record(engine: Engine) -> None:
    text = "import os; os.makedirs(b'out'); open(b'out/\\xff.bin', 'w').close(); open('out/ok', 'w').close()"
    record = await engine.run("job", roles=[Role("main", command=python(text))], outputs=["out/*"])
    assert [output.path for output in record.outputs] == ["main-0/out/ok"]
    assert "An output of main 0 was left out: its name is not UTF-8." in record.message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("print('no data', file=open('.octopus/message', 'w'))", "no data"),
        ("open('.octopus/message', 'wb').write(b'\\xff\\x1b[31mred\\nsecond line' + b'x' * 9999)", "� [31mred"),
        ("import os; os.symlink('/etc/hostname', '.octopus/message')", ""),
        ("import os; os.mkfifo('.octopus/message')", ""),
        (
            "import os, shutil; shutil.rmtree('.octopus'); os.mkdir('else'); open('else/message', 'w').write('x');"
            "os.symlink('else', '.octopus')",
            "",
        ),
    ],
)
async def test_what_a_task_says_about_its_failure(engine: Engine, text: str, shown: str) -> None:
    record = await engine.run("job", roles=[Role("main", command=python(f"{text}; exit(1)"))])
    assert record.phase is Phase.FAILED
    plain = "the program ended with an error (exit code 1)"
    assert record.tasks[0].cause == (f"{plain}: {shown}" if shown else plain)


async def test_the_folder_is_a_research_object(engine: Engine) -> None:
    record = await engine.run("job", {"a.py": "x = 1"}, roles=[Role("main", command=["true"])])
    names = {path.relative_to(record.path).as_posix() for path in Path(record.path).rglob("*") if path.is_file()}
    assert names == {
        "record.json",
        "ro-crate-metadata.json",
        "provenance.intoto.json",
        "environments/main.txt",
        "workspace.tar.gz",
        "logs/main-0-1.log",
    }
    graph = json.loads(Path(record.path, "ro-crate-metadata.json").read_text())["@graph"]
    root = next(entity for entity in graph if entity["@id"] == "./")
    assert {part["@id"] for part in root["hasPart"]} == names - {"ro-crate-metadata.json"}


async def test_metrics_of_the_main_role_count(engine: Engine) -> None:
    def report(value: float) -> list[str]:
        return python(f"import octopus_hub; octopus_hub.log(loss={value})")

    roles = [Role("chief", command=report(0.25), main=True), Role("helper", replicas=2, command=report(0.5))]
    record = await engine.run("job", roles=roles)
    assert record.metrics == {"loss": 0.25}


def test_records_of_other_versions() -> None:
    """What states no version is of the first; a later one is refused with the way out."""
    first = b'{"namespace": "anna", "name": "job", "uid": "u", "attempt": 1, "phase": "Failed", "spec": {}}'
    assert from_json(first).schema_version == 1
    later = first.replace(b'{"name', b'{"schemaVersion": 9, "invented": true, "name', 1)
    with pytest.raises(InvalidSpec, match="schema version 9, and this octopus-hub knows up to 1: upgrade octopus-hub"):
        from_json(later)
    for damaged in (b"", b"[]", b"{", b'{"schemaVersion": "x"}', first.replace(b"Failed", b"Odd")):
        with pytest.raises(InvalidSpec, match="it is not a record"):
            from_json(damaged)
    assert from_json(to_json(from_json(first))) == from_json(first)
