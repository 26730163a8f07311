"""Archives of records: outputs as tar.gz, the whole as a research object crate; both streamed, safe and repeatable."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from octopus_hub.client.outputs import receiver
from octopus_hub.model.canonical import digest
from octopus_hub.model.errors import NotFound, Unavailable
from octopus_hub.model.record import OutputFile, Record, TaskEnd
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Input, Role
from octopus_hub.runs.archives import Archives
from octopus_hub.runs.streams import Member, safe_name, tar_gz, zipped
from tests.backends.harness import Harness
from tests.runs.engine import Engine, python

replace = msgspec.structs.replace
TEXT = "print('hello'); import pathlib; pathlib.Path('out').mkdir(); pathlib.Path('out/a b.csv').write_text('1'); open('out/é', 'w').close()"


async def whole(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


@pytest.fixture
async def record(engine: Engine) -> Record:
    return await engine.run(
        "job",
        {"train.py": "x = 1"},
        roles=[Role("main", command=python(TEXT))],
        outputs=["out/*"],
        inputs=[Input(uri="https://example.org/data.csv"), Input(uri="file:///data/x", digest="sha256:" + "7" * 64)],
    )


async def test_outputs_come_as_they_are_recorded(engine: Engine, record: Record, tmp_path: Path) -> None:
    packed = await whole(engine.archives.outputs(record))
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        members = {member.name: member for member in tar}
    assert list(members) == ["main-0/out/a b.csv", "main-0/out/é"]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.mode, m.type) for m in members.values()} == {
        (0, 0, 0, "", 0o644, tarfile.REGTYPE)
    }
    assert packed[4:8] == b"\0\0\0\0", "no time in the gzip header either"
    with receiver(record, tmp_path / "got") as target:  # what a client does with it, digests checked
        target.write(packed)
        assert [path.name for path in target.unpack()] == ["a b.csv", "é"]


async def test_the_same_record_gives_the_same_bytes(engine: Engine, record: Record) -> None:
    for archive in (engine.archives.outputs, engine.archives.crate):
        assert await whole(archive(record)) == await whole(archive(record))


async def test_no_outputs_are_an_empty_archive(engine: Engine) -> None:
    packed = await whole(engine.archives.outputs(bare()))
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        assert tar.getnames() == []


async def test_content_that_is_gone_is_told_before_any_byte(engine: Engine) -> None:
    lost = bare(outputs=[OutputFile(path="main-0/model", digest="sha256:" + "0" * 64, size=3)])
    for archive in (engine.archives.outputs, engine.archives.crate):
        with pytest.raises(NotFound, match=r"main-0/model is gone from the store; `octopus replay` runs job again"):
            await anext(archive(lost))


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/../../b", "", "a//b", "./a", "a\0b"])
def test_names_stay_inside(name: str) -> None:
    with pytest.raises(Unavailable):
        safe_name(name)
    for archive in (tar_gz, zipped):
        with pytest.raises(Unavailable):
            list(archive([Member(name, b"x")]))


def test_large_content_is_streamed(tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(200 << 20)
    for archive in (tar_gz, zipped):
        tracemalloc.start()
        size = sum(len(piece) for piece in archive([Member("big", big)]))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert size < 4 << 20 and peak < 16 << 20


def test_long_and_many_names() -> None:
    members = [Member("/".join(["d" * 100] * 3) + f"/{at}", bytes([at])) for at in range(256)]
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar_gz(members))), mode="r:gz") as tar:
        assert [(m.name, tar.extractfile(m).read()) for m in tar] == [(m.name, m.content) for m in members]  # type: ignore[union-attr]
    with zipfile.ZipFile(io.BytesIO(b"".join(zipped(members)))) as archive:
        assert archive.testzip() is None and archive.namelist() == [member.name for member in members]


# --- the crate


@pytest.fixture
async def crate(engine: Engine, record: Record, tmp_path: Path) -> Path:
    """The crate, unpacked somewhere else."""
    place = tmp_path / "crate"
    with zipfile.ZipFile(io.BytesIO(await whole(engine.archives.crate(record)))) as archive:
        archive.extractall(place)
    return place


def entities(place: Path) -> dict[str, dict[str, Any]]:
    document = json.loads((place / "ro-crate-metadata.json").read_text())
    assert document["@context"] == [
        "https://w3id.org/ro/crate/1.1/context",
        "https://w3id.org/ro/terms/workflow-run/context",
    ]
    found = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(found) == len(document["@graph"]), "every entity once"
    return found


def ids(value: Any) -> list[str]:
    return [each["@id"] for each in (value if isinstance(value, list) else [value])]


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [value["@id"]] if set(value) == {"@id"} else [r for each in value.values() for r in references(each)]
    return [r for each in value for r in references(each)] if isinstance(value, list) else []


async def test_the_crate_keeps_ro_crate_1_1(crate: Path) -> None:
    """Every MUST of https://w3id.org/ro/crate/1.1 that a machine can check without a network."""
    found = entities(crate)
    descriptor = found["ro-crate-metadata.json"]
    assert descriptor["@type"] == "CreativeWork" and descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = found["./"]
    assert root["@type"] == "Dataset" and root["name"] and root["description"]
    assert datetime.fromisoformat(root["datePublished"]).tzinfo is not None
    assert found[root["license"]["@id"]]["@type"] == "CreativeWork"
    files = {path.relative_to(crate).as_posix() for path in crate.rglob("*") if path.is_file()}
    from urllib.parse import unquote

    parts = {unquote(part) for part in ids(root["hasPart"])}
    assert parts == files - {"ro-crate-metadata.json"}, "everything is described, nothing described is missing"
    for identifier, entity in found.items():
        assert entity["@type"]
        for reference in references([value for key, value in entity.items() if key != "@id"]):
            assert reference in found or reference == "https://w3id.org/ro/crate/1.1", f"{identifier} -> {reference}"


async def test_the_crate_keeps_process_run_crate_0_5(crate: Path, record: Record) -> None:
    found = entities(crate)
    root = found["./"]
    profile = found[root["conformsTo"]["@id"]]
    assert profile == {
        "@id": "https://w3id.org/ro/wfrun/process/0.5",
        "@type": "CreativeWork",
        "name": "Process Run Crate",
        "version": "0.5",
    }
    action = found[root["mentions"]["@id"]]
    assert action["@type"] == "CreateAction"
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus" and "error" not in action
    start, end = (datetime.fromisoformat(action[name]).timestamp() for name in ("startTime", "endTime"))
    assert start == pytest.approx(record.started_at, abs=0.001) and end == pytest.approx(record.finished_at, abs=0.001)
    agent = found[action["agent"]["@id"]]
    assert (agent["@type"], agent["name"]) == ("Person", "anna")
    tool = found[action["instrument"]["@id"]]
    assert tool["@type"] == "SoftwareApplication" and tool["name"] == "job"
    assert ids(tool["softwareRequirements"]) == ["environments/main.txt"] and "python" in tool["description"].lower()
    assert found["workspace.tar.gz"]["@type"] == ["File", "SoftwareSourceCode"]
    went_in = [found[each] for each in ids(action["object"])]
    assert [each.get("name") for each in went_in] == [
        "The code",
        "https://example.org/data.csv",
        "file:///data/x",
        "seed",
    ]
    assert ids(action["result"]) == ["outputs/main-0/out/a%20b.csv", "outputs/main-0/out/%C3%A9"]


async def test_digests_of_the_crate_are_those_of_its_files(crate: Path, record: Record) -> None:
    found = entities(crate)
    checked = 0
    from urllib.parse import unquote

    for identifier, entity in found.items():
        if "sha256" in entity and identifier != "record.json":
            content = (crate / unquote(identifier)).read_bytes()
            assert hashlib.sha256(content).hexdigest() == entity["sha256"], identifier
            assert int(entity.get("contentSize", len(content))) == len(content)
            checked += 1
    assert checked == 3  # two outputs and the code
    travelled = msgspec.json.decode((crate / "record.json").read_bytes(), type=Record)
    assert travelled == replace(record, path=""), "without the folder it had here"
    assert found["record.json"]["sha256"] == digest(travelled).removeprefix("sha256:")
    assert (crate / "logs/main-0-1.log").read_text() == "hello\n"


async def test_the_statement_names_what_came_out_of_what(crate: Path, record: Record) -> None:
    statement = json.loads((crate / "provenance.intoto.json").read_text())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    assert list(subjects) == ["record", "outputs/main-0/out/a b.csv", "outputs/main-0/out/é"]
    assert subjects["outputs/main-0/out/a b.csv"] == hashlib.sha256(b"1").hexdigest()
    build = statement["predicate"]["buildDefinition"]
    assert build["buildType"] and build["externalParameters"]["spec"] == record.spec
    dependencies = {each.get("name", each.get("uri")): each for each in build["resolvedDependencies"]}
    assert dependencies["workspace"]["digest"] == {"sha256": str(record.workspace).removeprefix("sha256:")}
    assert dependencies["environment of main"]["digest"]["sha256"] in str(record.resolved["images"]["main"])
    assert "framework/script" in dependencies and dependencies["file:///data/x"]["digest"] == {"sha256": "7" * 64}
    details = statement["predicate"]["runDetails"]
    assert details["builder"]["id"] and details["metadata"]["invocationId"] == f"{record.uid}/1"


async def test_the_library_reads_the_crate_back(crate: Path) -> None:
    from rocrate.rocrate import ROCrate

    read = ROCrate(str(crate), version="1.1")
    assert read.name == "job, attempt 1"
    assert {entity.id for entity in read.get_by_type("CreateAction")} == {read.root_dataset["mentions"].id}
    assert len(read.root_dataset["hasPart"]) == 7


async def test_the_environment_is_a_requirements_file(crate: Path, record: Record) -> None:
    lines = (crate / "environments/main.txt").read_text().splitlines()
    assert lines[0].startswith("# default sha256:") and lines[1].startswith("# python 3.")
    assert lines[2:] == record.environments["main"].lock


async def test_a_failed_run_is_a_failed_action(engine: Engine, tmp_path: Path) -> None:
    record = await engine.run("job", roles=[Role("main", command=python("exit(3)"))])
    place = Path(record.path)
    found = entities(place)
    action = found[found["./"]["mentions"]["@id"]]
    assert action["actionStatus"] == "http://schema.org/FailedActionStatus" and "exit code 3" in action["error"]


async def test_logs_outlive_the_taskset_in_the_crate(engine: Engine, record: Record) -> None:
    await engine.backend.update_intent(record.uid, delete=True)
    await engine.until(lambda: record.uid not in engine.cache.tasksets)
    with zipfile.ZipFile(io.BytesIO(await whole(engine.archives.crate(record)))) as archive:
        assert archive.read("logs/main-0-1.log") == b"hello\n"


async def test_a_backend_without_folders_gives_the_same_kind_of_crate(tmp_path: Path) -> None:
    harness = Harness("memory", tmp_path)
    (task,) = await harness.run(await harness.create("job"), ["echo", "from memory"])
    end = TaskEnd(name=task.name, role=task.role, index=0, attempt=1, log="logs/w-0-1.log")
    record = await harness.backend.put_record(bare(tasks=[end]))
    with zipfile.ZipFile(io.BytesIO(await whole(Archives(harness.backend).crate(record)))) as archive:
        assert archive.read("logs/w-0-1.log") == b"from memory\n"
        assert "record.json" in archive.namelist() and "workspace.tar.gz" not in archive.namelist()
    await harness.close()


async def test_code_that_was_pruned_is_left_out_and_not_described(engine: Engine) -> None:
    gone = bare(workspace="sha256:" + "3" * 64)
    with zipfile.ZipFile(io.BytesIO(await whole(engine.archives.crate(gone)))) as archive:
        assert "workspace.tar.gz" not in archive.namelist()
        graph = json.loads(archive.read("ro-crate-metadata.json"))["@graph"]
    assert "workspace.tar.gz" not in {entity["@id"] for entity in graph}


async def test_many_outputs_and_logs_are_described_as_a_folder() -> None:
    from octopus_hub.runs.crate import metadata

    files = [OutputFile(path=f"main-0/{at}", digest="sha256:" + "1" * 64, size=1) for at in range(5000)]
    ends = [TaskEnd(name=f"t-{at}", role="w", index=at, attempt=1, log=f"logs/{at}.log") for at in range(5000)]
    graph = (await asyncio.to_thread(lambda: metadata(bare(outputs=files, tasks=ends), code=False)))["@graph"]
    parts = next(each for each in graph if each["@id"] == "./")["hasPart"]
    assert {"@id": "outputs/"} in parts and {"@id": "logs/"} in parts
    assert len(graph) < 30


def test_nothing_is_imported_before_a_crate_is_made() -> None:
    """rocrate costs 27 MB; an engine that makes none, and a base install, do without."""
    program = """
import sys
import octopus_hub.runs.archives, octopus_hub.runs.record, octopus_hub.runs.compare, octopus_hub.runs.replay
import octopus_hub.core.notebook
print(sorted({name.partition(".")[0] for name in sys.modules} & {"rocrate", "papermill", "nbformat", "nbclient"}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_service_without_rocrate_says_how_to_get_crates(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    import octopus_hub.runs.crate

    monkeypatch.setitem(sys.modules, "rocrate.model", None)
    monkeypatch.delitem(sys.modules, "octopus_hub.runs.crate")
    monkeypatch.delattr(octopus_hub.runs, "crate")
    with pytest.raises(Unavailable, match=r"install octopus-hub\[runs\]"):
        await anext(engine.archives.crate(record))


def bare(**fields: Any) -> Record:
    return Record(
        **{
            "namespace": "anna",
            "name": "job",
            "uid": "u-1",
            "owner": "anna",
            "attempt": 1,
            "phase": Phase.SUCCEEDED,
            "spec": {"roles": [{"name": "main", "command": ["true"]}]},
            **fields,
        }
    )


def test_the_gzip_is_one_stream() -> None:
    assert gzip.decompress(b"".join(tar_gz([Member("a", b"x" * 100)])))[:1] == b"a"
