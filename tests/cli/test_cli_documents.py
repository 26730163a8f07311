"""``submit``, ``plan``, ``import``, ``schema``: documents in, TaskSets out."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from octopus_hub.client.documents import load_documents
from octopus_hub.model.taskset import TaskSet
from tests.cli.shell import Shell

ONE = """apiVersion: octopus-hub.io/v1alpha1
kind: TaskSet
metadata: {name: one, labels: {team: vision}}
spec:
  roles:
  - {name: worker, replicas: 2, command: [sh, -c, "cat data.txt; echo $RATE"], env: {RATE: "1e-3"}}
"""
TWO = ONE.replace("name: one", "name: two")
SEED = """apiVersion: octopus.openi.pcl.cn/v1alpha1
kind: TaskSet
metadata: {name: old}
spec:
  retryPolicy: {retry: true, maxRetryCount: 3, delay: 5}
  roles:
  - name: worker
    replicas: 2
    completionPolicy: {maxFailed: 1, minSucceeded: 2}
    eventPolicy: [{event: RoleCompleted, action: TaskSetCompleted}]
    template:
      spec:
        containers: [{name: main, command: [python, train.py], resources: {limits: {cpu: 1, memory: 1Gi}}}]
"""


def test_a_file_with_its_folder(shell: Shell) -> None:
    (shell.folder / "data.txt").write_text("from the workspace\n")
    assert shell.octopus("submit", shell.document(ONE)).out == "submitted one\n"
    shell.octopus("wait", "one")
    assert shell.octopus("logs", "one", "--role", "worker", "--index", "1").out == "from the workspace\n1e-3\n"
    assert shell.octopus("submit", "f.yaml").out == "submitted one-2\n", "a taken name gets a suffix"


def test_several_documents_from_standard_input(shell: Shell) -> None:
    done = shell.octopus("submit", "-", "-o", "name", "--no-workspace", given=f"{ONE}---\n---\n{TWO}")
    assert done.lines == ["one", "two"]


def test_json_is_a_document_too(shell: Shell) -> None:
    document = json.dumps(load_documents(ONE, "x")[0])
    assert shell.octopus("submit", "-", given=document).lines == ["submitted one"]


def test_a_command_after_two_dashes(shell: Shell) -> None:
    words = ["--replicas", "2", "--devices", "virtual=1", "--cpu", "500m", "--memory", "512Mi", "--env", "RATE=1e-3"]
    more = [
        "--env",
        "LANG",
        "--label",
        "team=vision",
        "--priority",
        "high",
        "--seed",
        "7",
        "--max-runtime",
        "60",
        "--hold",
    ]
    done = shell.octopus("submit", "--name", "flat", *words, *more, "-o", "json", "--", "python", "-o", "--", "x.py")
    taskset = TaskSet.parse(done.out)
    role = taskset.spec.roles[0]
    assert (role.name, role.replicas, role.command) == ("worker", 2, ["python", "-o", "--", "x.py"])
    assert role.resources.devices == {"virtual": 1}
    assert (role.resources.cpu, role.resources.memory) == ("500m", "512Mi")
    assert (
        role.env == {"RATE": "1e-3", "LANG": shell.engine.environ["LANG"]} if "LANG" in shell.engine.environ else True
    )
    assert (taskset.spec.priority, taskset.spec.seed, taskset.spec.hold) == ("high", 7, True)
    assert taskset.metadata.labels == {"team": "vision"}
    assert taskset.spec.lifetime.max_runtime_seconds == 60


def test_watching_gives_the_taskset_s_end(shell: Shell) -> None:
    good = shell.octopus("submit", "--name", "good", "--watch", "--no-workspace", "--", "true")
    assert good.out == "submitted good\n"
    assert good.err.startswith("octopus: good succeeded after")
    bad = shell.octopus("submit", "--name", "bad", "-w", "--no-workspace", "--", "sh", "-c", "exit 7", code=1)
    assert "octopus: bad failed: worker 0 failed" in bad.err
    assert "exit code 7" in bad.err


@pytest.mark.parametrize("style", ["yaml", "json"])
def test_what_get_prints_can_be_submitted(shell: Shell, style: str) -> None:
    shell.octopus("submit", shell.document(ONE), "--no-workspace")
    shell.octopus("hold", "one", code=None)
    shell.octopus("submit", "--name", "waits", "--hold", "--no-workspace", "--", "true")
    for name in ("one", "waits"):  # one that has run, and one that has a place in its queue
        printed = shell.octopus("get", name, "-o", style).out
        again = shell.octopus("submit", "-", "-o", style, given=printed).out
        before, after = (TaskSet.parse(load_documents(text, "x")[0]).spec for text in (printed, again))
        assert before == after


def test_notices_stand_beside_the_output(shell: Shell) -> None:
    (shell.folder / "link").symlink_to("/etc/hostname")
    done = shell.octopus("submit", "--name", "linked", "-o", "name", "--hold", "--", "true")
    assert done.out == "linked\n"
    assert done.err == "octopus: left out of the workspace, since it leads elsewhere: link -> /etc/hostname\n"


def test_a_home_folder_is_not_taken_along(shell: Shell) -> None:
    home = shell.folder / "home"
    home.mkdir()
    for number in range(600):
        (home / f"file{number}").touch()
    within = Shell(shell.engine, home)
    done = within.octopus("submit", "--name", "home", "--hold", "--", "true", env={"HOME": str(home)})
    assert "is your home folder" in done.err


# --- plan


def test_a_plan_without_a_service_is_a_check(shell: Shell) -> None:
    away = {"OCTOPUS_STATE": "/nonexistent"}
    done = shell.octopus("plan", shell.document(f"{ONE}---\n{TWO}"), env=away)
    assert done.lines == ["one: valid; needs 0.2 CPU, 512 MiB", "two: valid; needs 0.2 CPU, 512 MiB"]
    assert done.err.startswith("octopus: whether it would run now is not known: no octopus service is known")
    assert shell.octopus("plan", "f.yaml", "--offline", env=away).err == ""
    wrong = shell.octopus("plan", "-", given=ONE.replace("replicas", "replica"), env=away, code=2)
    assert wrong.complaint == "octopus: spec.roles[0].replica: unknown field; did you mean replicas?"


def test_a_plan_says_where_it_would_run(shell: Shell) -> None:
    before = len(shell.octopus("list", "-o", "name").lines)
    done = shell.octopus("plan", shell.document(ONE))
    assert done.out.startswith("one: valid; would run now: worker on node-")
    answer = shell.octopus("plan", "f.yaml", "-o", "json").json["items"][0]
    assert (answer["name"], answer["valid"], answer["fitsEmpty"], answer["runsNow"]) == ("one", True, True, True)
    assert len(shell.octopus("list", "-o", "name").lines) == before, "nothing was submitted"


def test_a_plan_that_never_fits_is_refused_with_the_numbers(shell: Shell) -> None:
    large = ONE.replace("replicas: 2", "replicas: 2, resources: {devices: {virtual: 5}}")
    done = shell.octopus("plan", "-", given=large, code=3)
    assert "one: valid, but would never run here: role worker needs 2 x 5 virtual, the largest node has 4" in done.out
    assert "role worker: room for 0 of 2 tasks, each with 5 virtual" in done.out
    assert shell.octopus("submit", "-", given=large, code=3).complaint.startswith("octopus: one can never run here")


# --- the seed platform's documents


def test_import_converts_and_lists_what_has_no_equivalent(shell: Shell) -> None:
    done = shell.octopus("import", shell.document(SEED))
    taskset = TaskSet.parse(load_documents(done.out, "x")[0])
    assert taskset.name == "old"
    assert taskset.spec.roles[0].command == ["python", "train.py"]
    assert all(line.startswith("octopus: ") for line in done.err.splitlines())
    assert shell.octopus("import", "f.yaml", "-o", "json").json["kind"] == "TaskSet"
    assert shell.octopus("plan", "-", "--offline", given=done.out).out.startswith("old: valid")


def test_import_can_submit(shell: Shell) -> None:
    done = shell.octopus("import", shell.document(SEED), "--submit")
    assert done.out == "submitted old\n"
    assert shell.octopus("get", "old", "-o", "name").lines == ["old"]


# --- schema


def test_the_schema_accepts_what_is_accepted(shell: Shell) -> None:
    schema = shell.octopus("schema").json
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(ONE), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(ONE.replace("replicas", "replica")), schema)
    jsonschema.Draft202012Validator.check_schema(shell.octopus("schema", "Record").json)
