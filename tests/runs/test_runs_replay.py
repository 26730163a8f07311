"""Running a record again: the same document, every digest checked, what differs is said with the way out."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import venv
from pathlib import Path
from typing import Any

import msgspec
import pytest

from octopus_hub.backends.local.backend import LocalBackend
from octopus_hub.backends.local.config import Config
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.record import Environment, Record
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import After, Lifetime, Role, Spec
from octopus_hub.plugins.registry import Registry
from octopus_hub.runs.archives import Archives
from octopus_hub.runs.compare import compare
from octopus_hub.runs.packages import changes, instructions
from octopus_hub.runs.replay import REPLAY_OF, label, replay
from tests.runs.engine import Engine, notebook, parameters, run_of
from tests.service.running import running

replace = msgspec.structs.replace
TRAIN = """
import os, pathlib, random
random.seed(int(os.environ["OCTOPUS_SEED"]))
pathlib.Path("out.txt").write_text(f"{random.random()} {pathlib.Path('data.txt').read_text()}")
"""


async def test_a_replay_reproduces_the_run(engine: Engine) -> None:
    first = await engine.run(
        "job",
        {"train.py": TRAIN, "data.txt": "42"},
        roles=[Role("main", command=["python", "train.py"])],
        outputs=["*.txt"],
    )
    document = await engine.archives.replay(first)
    assert document.name == "job" and document.metadata.labels == {REPLAY_OF: "anna.job.1"}
    assert document.spec.seed == 7 and document.spec.workspace.digest == first.workspace
    assert document.spec.roles[0].image == first.environments["main"].digest, "by digest, whatever the name means now"
    second = await engine.recorded(await engine.create(document))
    assert second.name == "job-2" and second.phase is Phase.SUCCEEDED
    found = compare(first, second)
    assert found.equal, str(found)
    assert "2 outputs" in found.same and "code" in found.same
    third = await engine.recorded(await engine.create(await engine.archives.replay(second)))
    assert compare(first, third).equal, "a replay replays"


async def test_a_replayed_notebook_takes_the_same_parameters(engine: Engine) -> None:
    source = notebook(parameters("lr = 1"), "open('lr.txt', 'w').write(str(lr))")
    first = await engine.run("nb", {"nb.ipynb": source}, outputs=["lr.txt"], **run_of("nb.ipynb", lr=0.5))
    second = await engine.recorded(await engine.create(await engine.archives.replay(first)))
    found = compare(first, second)
    assert found.equal, str(found)
    assert [each.what for each in found.incidental if each.part == "output"] == ["main-0/outputs/nb.ipynb"]
    assert second.parameters == {"lr": 0.5}


async def test_what_places_a_run_in_time_is_left_out(engine: Engine) -> None:
    tied = Lifetime(mode="kernel", lease="kernel-1", max_runtime_seconds=60)
    roles = [Role("main", command=["true"])]
    record = record_of(Spec(roles=roles, after=[After(name="prepare")], hold=True, lifetime=tied))
    document = await engine.archives.replay(record)
    assert document.spec.after == [] and document.spec.hold is False
    assert document.spec.lifetime == Lifetime(max_runtime_seconds=60)


async def test_every_reason_is_told_at_once(engine: Engine) -> None:
    record = record_of(
        Spec(roles=[Role("main", command=["true"])]),
        workspace="sha256:" + "1" * 64,
        resolved={
            "images": {"main": "sha256:" + "2" * 64},
            "descriptors": {"digests": {"framework/script": "sha256:old"}},
        },
        environments={"main": Environment(image="nowhere", digest="sha256:" + "2" * 64)},
    )
    with pytest.raises(InvalidSpec) as caught:
        await engine.archives.replay(record)
    problems = caught.value.problems
    assert len(problems) >= 3 and caught.value.message.startswith("job (attempt 1) can't be replayed as it ran;")
    assert problems[0].startswith("workspace: the code sha256:111") and "octopus replay FOLDER" in problems[0]
    assert problems[1].startswith("image of main: there is no image nowhere")
    assert any(each.startswith("framework/script: this descriptor changed") for each in problems)


async def test_a_foreign_workspace_is_like_a_missing_one() -> None:
    """Bob learns nothing about what alice has uploaded, though he knows its digest."""
    async with running() as service:
        service.app.settings["service"].runs.replay = Archives(service.backend, Registry.load().resolve).replay
        alice, bob = service.client("alice-token"), service.client("bob-token")
        content = b"alice's code"
        hers, nobodys = (f"sha256:{hashlib.sha256(text).hexdigest()}" for text in (content, b"other"))
        assert (await alice.put(f"blobs/{hers}", content=content)).status_code == 201
        answers = []
        for digest in (hers, nobodys):
            record = msgspec.to_builtins(record_of(Spec(roles=[Role("main", command=["true"])]), workspace=digest))
            record["spec"]["workspace"] = {"digest": digest}
            answer = await bob.post("replay", json={"record": record})
            assert answer.status_code == 422
            answers.append(answer.text.replace(digest, "DIGEST"))
            assert (await alice.post("replay", json={"record": record})).status_code == (201 if digest == hers else 422)
        assert answers[0] == answers[1] and "octopus replay FOLDER" in answers[0]


async def test_damaged_code_is_noticed(engine: Engine) -> None:
    record = await engine.run("job", {"a": "1"}, roles=[Role("main", command=["true"])])
    path = await engine.backend.blob_path(str(record.workspace))
    path.chmod(0o600)
    path.write_bytes(b"something else")
    with pytest.raises(InvalidSpec, match=r"the stored code .* is damaged"):
        await engine.archives.replay(record)


async def test_an_environment_that_changed_names_the_packages(tmp_path: Path) -> None:
    """A real virtual environment, a real package in it, upgraded between run and replay."""
    place = tmp_path / "venv"
    await asyncio.to_thread(lambda: venv.create(place, with_pip=False, symlinks=True))
    site = next(place.glob("lib/python*/site-packages"))
    install(site, "numbers", "1.26.4")
    install(site, "old_thing", "3.0")
    backend = LocalBackend(tmp_path / "state", config=Config(images={"lab": str(place)}), descriptors=())
    await backend.open()
    try:
        before = await backend.resolve_image("lab")
        record = record_of(
            Spec(roles=[Role("main", image="lab", command=["true"])]),
            resolved={"images": {"main": before.digest}, "imageNames": {"main": "lab"}},
            environments={"main": before.environment},
        )
        assert (await replay(backend, record)).spec.roles[0].image == before.digest
        shutil.rmtree(site / "numbers-1.26.4.dist-info")
        install(site, "numbers", "2.1.0")
        shutil.rmtree(site / "old_thing-3.0.dist-info")
        install(site, "new_thing", "0.1")
        with pytest.raises(InvalidSpec) as caught:
            await replay(backend, record)
        assert caught.value.problems == [
            "image of main: the environment lab changed: + new-thing 0.1, numbers 1.26.4 -> 2.1.0, - old-thing 3.0; "
            "put it back (pip install numbers==1.26.4 old-thing==3.0; pip uninstall new-thing), "
            "or submit the TaskSet anew to run with what is there now"
        ]
        shutil.rmtree(site / "numbers-2.1.0.dist-info")
        shutil.rmtree(site / "new_thing-0.1.dist-info")
        install(site, "numbers", "1.26.4")
        install(site, "old_thing", "3.0")
        assert (await replay(backend, record)).spec.roles[0].image == before.digest, "put back, it replays"
    finally:
        await backend.close()


async def test_a_record_from_another_machine_is_compared_with_the_environment_of_that_name(engine: Engine) -> None:
    here = (await engine.backend.resolve_image("default")).environment
    there = replace(here, digest="sha256:" + "9" * 64, python="3.99.1", lock=[*here.lock[1:], "zzz==1"])
    record = record_of(
        Spec(roles=[Role("main", command=["true"])]),
        resolved={"images": {"main": there.digest}},
        environments={"main": there},
    )
    with pytest.raises(
        InvalidSpec, match=r"environment default changed: python 3\.99\.1 -> 3\..* make an environment with"
    ):
        await replay(engine.backend, record)


async def test_a_record_of_a_later_schema_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidSpec, match="schema version 99; this service knows up to 1: upgrade it"):
        await engine.archives.replay(record_of(Spec(), schema_version=99))


async def test_a_record_that_is_no_record(engine: Engine) -> None:
    record = replace(record_of(Spec()), spec={"roles": 5})
    with pytest.raises(InvalidSpec, match="the record of job can't be read"):
        await engine.archives.replay(record)


def test_labels_fit() -> None:
    assert label(record_of(Spec())) == "anna.job.1"
    long = replace(record_of(Spec()), namespace="n" * 60, name="m" * 40)
    assert label(long) == f"{'m' * 40}.1" and len(label(long)) <= 63


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ([], [], []),
        (["a==1"], ["A==1"], []),
        (["zope.interface==1"], ["zope-interface==1"], []),
        (["a==1", "b==2"], ["a==2", "c==3"], ["a 1 -> 2", "- b 2", "+ c 3"]),
    ],
)
def test_packages(before: list[str], now: list[str], expected: list[str]) -> None:
    old, new = Environment(image="e", lock=before), Environment(image="e", lock=now)
    assert changes(old, new) == expected


def test_instructions_stay_short() -> None:
    old = Environment(image="e", lock=[f"p{at:03}==1" for at in range(500)])
    text = instructions(old, Environment(image="e"))
    assert len(text) < 500 and "the rest of the record's lock" in text


def install(site: Path, name: str, version: str) -> None:
    """Do what installing a package leaves behind."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def record_of(spec: Spec, **fields: Any) -> Record:
    return Record(
        **{
            "namespace": "anna",
            "name": "job",
            "uid": "u",
            "owner": "anna",
            "attempt": 1,
            "phase": Phase.SUCCEEDED,
            "spec": msgspec.to_builtins(spec),
            **fields,
        }
    )
